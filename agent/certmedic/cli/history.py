"""The commands that read what the service wrote down: `incidents`, `show`, `status`. They never write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from certmedic.cli import show
from certmedic.cli.look import JSON
from certmedic.config import ConfigError, load
from certmedic.core import message
from certmedic.core.decision import explain
from certmedic.core.examine import stamp
from certmedic.core.model import Silence
from certmedic.edge.store import Incident, Store, StoreError

CONFIG = click.option("--config", "config_path", type=click.Path(path_type=Path), help="Configuration file.")


def store(config_path: Path | None) -> Store:
    """Open the state for reading, or say why not and exit."""
    path = show.state(config_path)
    try:
        return Store(path, readonly=True)
    except StoreError as error:
        show.fail(str(error))


def hushes(config_path: Path | None, state: Store, now: datetime) -> list[Silence]:
    """Return the silences that have not ended, and the maintenance windows that are open."""
    windows = show.config(config_path).notify.maintenance
    return [*state.silences(now=now), *message.windows(windows, now)]


@contextmanager
def quietly(ctx: click.Context) -> Iterator[Store | None]:
    """Open the state for reading while a person presses Tab; None where that fails, for then is no time for errors."""
    state = None
    with suppress(ConfigError, StoreError):
        state = Store(load(ctx.params.get("config_path")).state / "state.sqlite3", readonly=True)
    try:
        yield state
    finally:
        if state is not None:
            state.close()


def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer incidents, with what they are about."""
    with quietly(ctx) as state:
        found = state.incidents() if state else []
    return [
        CompletionItem(str(one.id), help=f"{one.state}, {one.diagnosis.cause}, {one.diagnosis.suspect}")
        for one in found
        if str(one.id).startswith(incomplete)
    ]


def row(incident: Incident, silence: Silence | None) -> dict[str, Any]:
    """Return an incident as `--json` shows it."""
    return {
        "silenced": message.silence_said(silence) if silence else None,
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


HEADS = ["ID", "STATE", "CAUSE", "WHOSE", "WHICH", "OPENED (UTC)", "LINES"]
WHICH = HEADS.index("WHICH")


@click.command()
@JSON
@CONFIG
@click.option("--open", "only_open", is_flag=True, help="Only those that last.")
@click.option("--all", "with_strangers", is_flag=True, help="Also what programs logged that certmedic does not trust.")
def incidents(*, as_json: bool, config_path: Path | None, only_open: bool, with_strangers: bool) -> None:
    """List what was seen, newest first."""
    now = datetime.now(UTC)
    with store(config_path) as state:
        found, silences = state.incidents(unresolved=only_open), hushes(config_path, state, now)
        strangers = state.strangers() if with_strangers else []
    quiet = {one.id: message.silence_of(one.diagnosis, silences, now) for one in found if one.state != "resolved"}
    if as_json:
        more = {"strangers": strangers} if with_strangers else {}
        show.as_json(incidents=[row(one, quiet.get(one.id)) for one in found], **more)
        return
    if not found:
        show.say("No incident.", colour="green")
    else:
        list_incidents(found, quiet)
    if with_strangers:
        list_strangers(strangers)


def list_strangers(strangers: Sequence[Mapping[str, Any]]) -> None:
    """Print what programs logged that are not trusted: it decided nothing."""
    if not strangers:
        show.say("No line of a program that is not trusted.")
        return
    show.say("\nLogged by programs that are not trusted. These lines decide nothing:", bold=True)
    for one in strangers:
        show.item(
            f"  {one['count']} x ", f"{one['who']}: {one['symptom']}, last {one['last_seen'][:19]} UTC: {one['line']}"
        )


def list_incidents(found: Sequence[Incident], quiet: Mapping[int, Silence | None]) -> None:
    """Print a table of incidents."""
    lines = [
        [
            str(one.id),
            f"{one.state}, silenced" if quiet.get(one.id) else one.state,
            one.diagnosis.cause,
            one.diagnosis.suspect,
            which([c.path for c in one.diagnosis.certificates] or one.diagnosis.neighbours or [one.diagnosis.source]),
            one.opened_at.strftime("%Y-%m-%d %H:%M"),
            str(one.count),
        ]
        for one in found
    ]
    # One line for each where that can be: of a path the end tells.
    room = show.columns() - sum(
        max(len(row[n]) for row in [HEADS, *lines]) + 2 for n in range(len(HEADS)) if n != WHICH
    )
    if show.columns() and room >= 12:
        lines = [[show.shortened(cell, room) if n == WHICH else cell for n, cell in enumerate(row)] for row in lines]
    colours = [None if one.state == "resolved" else show.COLOURS.get(one.severity) for one in found]
    show.table(HEADS, lines, colours=colours)


@click.command(name="show")
@JSON
@CONFIG
@click.argument("number", type=int, metavar="ID", shell_complete=complete)
def show_incident(number: int, *, as_json: bool, config_path: Path | None) -> None:
    """Tell the whole story of one incident."""
    now = datetime.now(UTC)
    with store(config_path) as state:
        incident = state.incident(number)
        if incident is None:
            show.fail(f"there is no incident {number}; `certmedic incidents` lists them")
        events, folds, messages = state.events(number), state.folds(number), state.messages(number)
        acts = state.acts(incident=number)
        silence = message.silence_of(incident.diagnosis, hushes(config_path, state, now), now)
    if incident.state == "resolved":
        silence = None
    if as_json:
        show.as_json(
            **row(incident, silence),
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
    if silence is not None:
        show.item("silenced ", message.silence_said(silence), colour="yellow")
    seen = replace(incident.diagnosis, count=incident.count, last_seen=incident.last_seen)
    show.tell(seen, now=incident.resolved_at or incident.last_seen)
    if incident.decision is not None:
        show.say()
        show.item("decision ", incident.decision.reason)
        for gate in incident.decision.gates:
            show.item(
                f"  {'pass   ' if gate.passed else 'BLOCKED'}  {gate.name:<11} ",
                explain(gate),
                colour=None if gate.passed else "yellow",
            )
    if folds:
        show.say("\nlines", bold=True)
    for fold in folds:
        show.item(f"  {fold['count']} x  ", fold["sample"])
    story = [(e["at"], e["what"], e["said"]) for e in events]
    story += [(m["created_at"], f"message {m['kind']}", delivery(m)) for m in messages]
    show.say("\nstory (UTC)", bold=True)
    for at, what, said in sorted(story, key=lambda told: told[0]):
        show.item(f"  {at[:19].replace('T', ' ')}  {what:<18} ", said)


def which(names: Sequence[str]) -> str:
    """Return the first of some names, and how many there are besides."""
    return f"{names[0]} +{len(names) - 1}" if len(names) > 1 else "".join(names) or "-"


def delivery(one: dict[str, Any]) -> str:
    """Say what became of a message on one channel."""
    if not one["label"]:
        return "no channel is configured for it"
    state, tries = one["state"], one["attempts"]
    told = {
        "sent": f"taken {(one['sent_at'] or '')[:19].replace('T', ' ')}" + (f" at try {tries}" if tries > 1 else ""),
        "pending": f"WAITING after {tries} tries, next {one['due_at'][:19].replace('T', ' ')}" if tries else "waiting",
        "expired": f"NEVER TAKEN, given up after {tries} tr{'ies' if tries != 1 else 'y'}",
        "superseded": "dropped, a later message says more",
    }.get(state, state)
    return f"{one['label']}: {told}{': ' + one['error'] if one['error'] else ''}"


@click.command()
@JSON
@CONFIG
def status(*, as_json: bool, config_path: Path | None) -> None:
    """Say what is read, how far, what is open, and whether messages get through."""
    now = datetime.now(UTC)
    with store(config_path) as state:
        sources, found, channels = state.sources(), state.incidents(unresolved=True), state.channels()
        silences = [one for one in hushes(config_path, state, now) if one.starts_at <= now]
    waiting = sum(one["waiting"] for one in channels)
    oldest = min((one["oldest"] for one in channels if one["oldest"]), default=None)
    quiet = {one.id: message.silence_of(one.diagnosis, silences, now) for one in found}
    if as_json:
        show.as_json(
            sources=sources,
            open=[row(one, quiet[one.id]) for one in found],
            outbox={"pending": waiting, "oldest": oldest, "age_seconds": age(oldest, now) if oldest else 0},
            channels=channels,
            silences=[one.id for one in silences if one.id],
            maintenance=[{"window": one.comment, "ends_at": show.when(one.ends_at)} for one in silences if not one.id],
        )
        return
    for source in sources:
        come = f", at {source['position']}" if source.get("position") else ""
        well = f"{source.get('seen', 0)} read, {source.get('matched', 0)} matched, lag {source.get('lag_seconds', 0):.0f} s{come}  {source.get('detail', '')}"
        show.say(
            f"{source['source']:<12} {'BLIND: ' + source['down'] if source['down'] else well.rstrip()}",
            colour="red" if source["down"] else None,
        )
    if not sources:
        show.say("No source has reported yet.")
    late = f", the oldest for {show.span(age(oldest, now))}" if oldest else ""
    show.say(f"outbox       {waiting} waiting{late}", colour="yellow" if waiting else None)
    for one in channels:
        show.item("channel      ", fares(one, now), colour="red" if one["waiting"] and one["error"] else None)
    for hush in silences:
        show.item("silence      ", message.silence_said(hush))
    for incident in found:
        hushed = ", silenced" if quiet[incident.id] else ""
        show.item(
            f"incident {incident.id}  ".ljust(13),
            f"{message.in_few_words(incident.diagnosis, now)}{hushed}, last seen {stamp(incident.last_seen)}",
            colour=show.COLOURS[incident.severity],
        )
    if not found:
        show.say("No open incident.", colour="green")


def age(moment: str, now: datetime) -> float:
    """Return how many seconds a moment of the state is past."""
    return max((now - datetime.fromisoformat(moment)).total_seconds(), 0.0)


def fares(one: dict[str, Any], now: datetime) -> str:
    """Say how a channel fares."""
    told = [f"{one['waiting']} waiting"] if one["waiting"] else []
    if one["waiting"] and one["error"]:
        told[0] += f" after {one['attempts']} tries: {one['error']}"
    told.append(
        f"last taken {show.span(age(one['last_sent'], now))} ago" if one["last_sent"] else "never took a message"
    )
    if one["expired"]:
        told.append(f"{one['expired']} never taken")
    return f"{one['label']}: {'; '.join(told)}"


COMMANDS = (incidents, show_incident, status)
