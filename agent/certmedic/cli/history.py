"""The commands that read what the service wrote down: `incidents`, `show`, `status`. They never write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from certmedic.cli import show
from certmedic.cli.look import JSON
from certmedic.core.examine import stamp
from certmedic.edge.store import Incident, Store, StoreError

CONFIG = click.option("--config", "config_path", type=click.Path(path_type=Path), help="Configuration file.")


def store(config_path: Path | None) -> Store:
    """Open the state for reading, or say why not and exit."""
    path = show.config(config_path).state / "state.sqlite3"
    if not path.exists():
        show.fail(f"{path}: no state here yet: has the service run? (systemctl status certmedic)")
    try:
        return Store(path, readonly=True)
    except StoreError as error:
        show.fail(str(error))


def row(incident: Incident) -> dict[str, Any]:
    """Return an incident as `--json` shows it."""
    return {
        "id": incident.id,
        "state": incident.state,
        "severity": incident.severity,
        "opened_at": show.when(incident.opened_at),
        "announced_at": show.when(incident.announced_at),
        "last_seen": show.when(incident.last_seen),
        "resolved_at": show.when(incident.resolved_at),
        "count": incident.count,
        "diagnosis": show.diagnosis(incident.diagnosis),
        "decision": show.decision(incident.decision),
    }


@click.command()
@JSON
@CONFIG
@click.option("--open", "only_open", is_flag=True, help="Only those that last.")
def incidents(*, as_json: bool, config_path: Path | None, only_open: bool) -> None:
    """List what was seen, newest first."""
    with store(config_path) as state:
        found = state.incidents(unresolved=only_open)
    if as_json:
        show.as_json(incidents=[row(one) for one in found])
        return
    if not found:
        show.say("No incident.", colour="green")
        return
    lines = [
        [
            str(one.id),
            one.state,
            one.diagnosis.cause,
            one.diagnosis.suspect,
            ", ".join(c.path for c in one.diagnosis.certificates) or ", ".join(one.diagnosis.neighbours) or "-",
            one.opened_at.strftime("%Y-%m-%d %H:%M"),
            str(one.count),
        ]
        for one in found
    ]
    colours = [None if one.state == "resolved" else show.COLOURS.get(one.severity) for one in found]
    show.table(["ID", "STATE", "CAUSE", "WHOSE", "WHICH", "OPENED (UTC)", "LINES"], lines, colours=colours)


@click.command(name="show")
@JSON
@CONFIG
@click.argument("number", type=int, metavar="ID")
def show_incident(number: int, *, as_json: bool, config_path: Path | None) -> None:
    """Tell the whole story of one incident."""
    with store(config_path) as state:
        incident = state.incident(number)
        if incident is None:
            show.fail(f"there is no incident {number}; `certmedic incidents` lists them")
        events, folds, messages = state.events(number), state.folds(number), state.messages(number)
        acts = state.acts(incident=number)
    if as_json:
        show.as_json(
            **row(incident),
            events=events,
            lines=folds,
            messages=messages,
            acts=[
                {
                    "target": a.target,
                    "state": a.state,
                    "at": show.when(a.at),
                    "ended_at": show.when(a.ended_at),
                    "detail": a.detail,
                }
                for a in acts
            ],
        )
        return
    show.say(f"incident {incident.id}, {incident.state}", bold=True)
    show.tell(incident.diagnosis, now=incident.resolved_at or incident.last_seen)
    if incident.decision is not None:
        show.say(f"\ndecision: {incident.decision.reason}", bold=True)
        for gate in incident.decision.gates:
            show.say(
                f"  {'open  ' if gate.passed else 'CLOSED'}  {gate.name:<11} {gate.why}",
                colour=None if gate.passed else "yellow",
            )
    show.say("\nlines", bold=True)
    for fold in folds:
        show.say(f"  {fold['count']} x  {fold['sample']}")
    story = [(e["at"], e["what"], e["said"]) for e in events]
    for message in messages:
        where = f"{message['label']}: {message['state']}" if message["label"] else "no channel"
        story.append(
            (
                message["created_at"],
                f"message {message['kind']}",
                f"{where}{' (' + message['error'] + ')' if message['error'] else ''}",
            )
        )
    show.say("\nstory", bold=True)
    for at, what, said in sorted(story):
        show.say(f"  {at[:19].replace('T', ' ')}  {what:<18} {said}")


@click.command()
@JSON
@CONFIG
def status(*, as_json: bool, config_path: Path | None) -> None:
    """Say what is read, how far, and what is open."""
    with store(config_path) as state:
        sources, found, messages = state.sources(), state.incidents(unresolved=True), state.messages()
    pending = [m for m in messages if m["state"] == "pending"]
    if as_json:
        show.as_json(
            sources=sources,
            open=[row(one) for one in found],
            outbox={"pending": len(pending), "oldest": min((m["created_at"] for m in pending), default=None)},
        )
        return
    for source in sources:
        well = f"{source.get('seen', 0)} read, {source.get('matched', 0)} matched, lag {source.get('lag_seconds', 0):.0f} s  {source.get('detail', '')}"
        show.say(
            f"{source['source']:<10} {'BLIND: ' + source['down'] if source['down'] else well.rstrip()}",
            colour="red" if source["down"] else None,
        )
    if not sources:
        show.say("No source has reported yet.")
    show.say(f"outbox     {len(pending)} waiting")
    for one in found:
        show.say(
            f"incident {one.id}: {one.diagnosis.cause}, {one.diagnosis.suspect}, last seen {stamp(one.last_seen)}",
            colour=show.COLOURS[one.severity],
        )
    if not found:
        show.say("No open incident.", colour="green")


COMMANDS = (incidents, show_incident, status)
