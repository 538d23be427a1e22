"""`incidents`, `show`, `approve`, `reset`: the incidents that the service recorded, and a person's leave to act on them."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from certmedic import app
from certmedic.cli import inputs, output
from certmedic.config import Config
from certmedic.core import message
from certmedic.core.decision import explain
from certmedic.core.model import Decision, Gate, GateName, Severity, Silence, WaitsFor
from certmedic.core.text import count
from certmedic.edge import actor
from certmedic.edge.store import Incident, Store

APPROVED_FOR = timedelta(hours=4)  # an approval is for tonight, not for a similar fault next month
# While one of these gates is closed there is no action to approve. The others may open by themselves within the four hours.
NO_ACTION = frozenset({GateName.EVIDENCE, GateName.CURE, GateName.VERSION, GateName.AUTHORITY, GateName.TARGET})
HEADS = ("ID", "STATE", "SEVERITY", "CAUSE", "WHOSE", "WHICH", "OPENED (UTC)", "LINES")


def offered(state: Store) -> Iterable[tuple[int, str]]:
    """Return the incidents that the shell offers."""
    return [
        (incident.id, f"{incident.state}, {incident.diagnosis.cause}, {incident.diagnosis.suspect}")
        for incident in state.incidents()
    ]


NUMBER = click.argument(
    "number",
    required=False,
    callback=inputs.number("incidents"),
    metavar="ID",
    shell_complete=inputs.completion(offered),
)


def silences_of(settings: Config, state: Store, now: datetime) -> list[Silence]:
    """Return the silences that have not ended, and the maintenance windows that are open."""
    return [*state.silences(now=now), *message.windows(settings.notify.maintenance, now)]


def silence_of(incident: Incident, silences: Sequence[Silence], now: datetime) -> Silence | None:
    """Return the silence that covers an incident; none covers a resolved one."""
    return None if incident.state == "resolved" else message.silence_of(incident.diagnosis, silences, now)


def row(incident: Incident, silence: Silence | None) -> dict[str, Any]:
    """Return an incident as `--json` shows it."""
    return {
        "silenced": message.silence_text(silence) if silence else None,
        "id": incident.id,
        "state": incident.state,
        "severity": incident.severity,
        "opened_at": output.when(incident.opened_at),
        "announced_at": output.when(incident.announced_at),
        "last_seen": output.when(incident.last_seen),
        "resolved_at": output.when(incident.resolved_at),
        "count": incident.count,
        "diagnosis": output.diagnosis(incident.diagnosis),
        "decision": output.decision(incident.decision),
    }


# ---------------------------------------------------------------- incidents


@inputs.command(
    "incidents", "List incidents, newest first.", "certmedic incidents --open", "certmedic incidents --all --json"
)
@inputs.JSON
@inputs.CONFIG
@click.option("--open", "only_open", is_flag=True, help="Only incidents that are not resolved.")
@click.option("--all", "with_strangers", is_flag=True, help="Also list lines of untrusted programs.")
def incidents(*, as_json: bool, config_path: Path | None, only_open: bool, with_strangers: bool) -> None:
    """List incidents: the open ones first, the gravest on top; then the others, newest first."""
    settings, now = inputs.config(config_path, looks=True), datetime.now(UTC)
    with inputs.state(settings) as state:
        listed, silences = state.incidents(unresolved=only_open), silences_of(settings, state, now)
        strangers = state.strangers() if with_strangers else []
    rows = [(incident, silence_of(incident, silences, now)) for incident in listed]
    if as_json:
        more = {"strangers": strangers} if with_strangers else {}
        output.as_json(cluster=app.identity(settings).name, incidents=[row(*pair) for pair in rows], **more)
        return
    if not rows:
        output.say("No incident.", colour="green")
    else:
        tell_incidents(rows)
    if with_strangers:
        tell_strangers(strangers)


def tell_strangers(strangers: Sequence[Mapping[str, Any]]) -> None:
    """Print the lines of programs that are not trusted."""
    if not strangers:
        output.say("No line of an untrusted program.")
        return
    output.say("\nLogged by untrusted programs. These lines decide nothing:", bold=True)
    for line in strangers:
        last = f"last {line['last_seen'][:19]} UTC"
        output.item(f"  {line['count']} x ", f"{line['who']}: {line['symptom']}, {last}: {line['line']}")


def matters(incident: Incident) -> tuple[bool, int, int]:
    """Return the order of an incident: an open one first, the gravest of the open ones, the newest of equals."""
    is_over = incident.state == "resolved"
    return is_over, 0 if is_over else list(Severity).index(incident.severity), -incident.id


def tell_incidents(rows: Sequence[tuple[Incident, Silence | None]]) -> None:
    """Print a table of incidents."""
    cells = []
    rows = sorted(rows, key=lambda row: matters(row[0]))
    for incident, silence in rows:
        about = incident.diagnosis
        names = [c.path for c in about.certificates] or about.neighbours or [about.source]
        cells.append(
            [
                str(incident.id),
                f"{incident.state}, silenced" if silence else incident.state,
                incident.severity,
                about.cause,
                about.suspect,
                f"{names[0] or '-'} +{len(names) - 1}" if len(names) > 1 else names[0] or "-",
                f"{incident.opened_at:%Y-%m-%d %H:%M}",
                str(incident.count),
            ]
        )
    colours = [None if i.state == "resolved" else output.COLOURS.get(i.severity) for i, _ in rows]
    output.table(HEADS, cells, colours=colours, stacked=["WHICH"])


# ---------------------------------------------------------------- show


@inputs.command(
    "show",
    "Show one incident with its decision and story.",
    "certmedic show 1",
    "certmedic show 1 --html > report.html",
)
@inputs.JSON
@click.option(
    "--html", "form", flag_value="html", help="Print a report for the post-mortem, one page that loads nothing."
)
@click.option("--markdown", "form", flag_value="markdown", help="Print the same report as Markdown.")
@inputs.CONFIG
@NUMBER
def show_incident(number: int, *, as_json: bool, form: str | None, config_path: Path | None) -> None:
    """Show one incident: diagnosis, decision with every gate, log lines, events and messages."""
    if as_json and form:
        raise click.UsageError(f"--json and --{form}: choose one")
    settings, now = inputs.config(config_path, looks=True), datetime.now(UTC)
    with inputs.state(settings) as state:
        incident = state.incident(number)
        if incident is None:
            output.fail(f"there is no incident {number}; `certmedic incidents` lists them")
        events, folds, messages = state.events(number), state.folds(number), state.messages(number)
        acts = state.acts(incident=number)
        silence = silence_of(incident, silences_of(settings, state, now), now)
    if form:
        cluster = app.identity(settings).name
        output.page(written(form, incident, cluster=cluster, events=events, folds=folds, messages=messages, now=now))
        return
    if as_json:
        output.as_json(
            cluster=app.identity(settings).name,
            **row(incident, silence),
            events=events,
            lines=folds,
            messages=messages,
            acts=[
                {
                    "target": act.target,
                    "state": act.state,
                    "at": output.when(act.at),
                    "ended_at": output.when(act.ended_at),
                    "detail": act.detail,
                }
                for act in acts
            ],
        )
        return
    output.say(f"incident {incident.id}, {incident.state}", bold=True)
    if silence is not None:
        output.item("silenced ", message.silence_text(silence), colour="yellow")
    seen = replace(incident.diagnosis, count=incident.count, last_seen=incident.last_seen)
    output.tell(seen, now=incident.resolved_at or incident.last_seen)
    if incident.decision is not None:
        tell_decision(incident.decision)
    if folds:
        output.say("\nlines", bold=True)
    for fold in folds:
        output.item(f"  {fold['count']} x  ", fold["sample"])
    story = [(event["at"], event["what"], event["said"]) for event in events]
    story += [(each["created_at"], f"message {each['kind']}", delivery(each)) for each in messages]
    output.say("\nstory (UTC)", bold=True)
    for at, what, text in sorted(story, key=lambda event: event[0]):
        output.item(f"  {at[:19].replace('T', ' ')}  {what:<18} ", text)


def written(form: str, incident: Incident, *, cluster: str, now: datetime, **rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the report on an incident as HTML or Markdown."""
    from certmedic.core import pages, postmortem  # noqa: PLC0415 - only a report needs them

    story = postmortem.story(
        incident,
        host=message.machine(cluster, socket.gethostname()),
        events=rows["events"],
        folds=rows["folds"],
        messages=rows["messages"],
        now=now,
    )
    return pages.incident_page(story) if form == "html" else pages.incident_markdown(story)


def tell_decision(decision: Decision) -> None:
    """Print a decision with every gate, the closed ones first."""
    output.say()
    output.item("decision ", decision.reason)
    for gate in sorted(decision.gates, key=lambda gate: gate.passed):
        head = f"  {'pass   ' if gate.passed else 'BLOCKED'}  {gate.name:<11} "
        output.item(head, explain(gate), colour=None if gate.passed else "yellow")


def delivery(row: Mapping[str, Any]) -> str:
    """Return the state of a message on one channel, in words."""
    if not row["label"]:
        return "no channel is configured for it"
    state, tries = row["state"], row["attempts"]
    text = {
        "sent": f"delivered {(row['sent_at'] or '')[:19].replace('T', ' ')}"
        + (f", attempt {tries}" if tries > 1 else ""),
        "pending": f"WAITING after {count(tries, 'attempt')}, next {row['due_at'][:19].replace('T', ' ')}"
        if tries
        else "waiting",
        "expired": f"NOT DELIVERED after {count(tries, 'attempt')}",
        "superseded": "dropped: a later message replaced it",
    }.get(state, state)
    return f"{row['label']}: {text}{': ' + row['error'] if row['error'] else ''}"


# ---------------------------------------------------------------- approve, reset


@inputs.command(
    "approve",
    "Approve the action proposed for an incident.",
    "certmedic approve 1",
    "certmedic approve 1 --config ./certmedic.toml",
)
@inputs.JSON
@inputs.CONFIG
@NUMBER
def approve(*, number: int, as_json: bool, config_path: Path | None) -> None:
    """Approve the action that certmedic proposes for an incident (mode "approve"). The approval holds for four hours."""
    settings, now = inputs.config(config_path), datetime.now(UTC)
    with inputs.state(settings, writable=True) as state:
        incident = state.incident(number)
        if incident is None or incident.state == "resolved":
            output.fail(f"there is no open incident {number}; `certmedic incidents --open` lists them")
        if settings.mode != "approve":
            output.fail(f'mode is "{settings.mode}"; only mode "approve" waits for approvals')
        if lacking := list(unapprovable(incident.decision)):
            output.fail(f"incident {number} has no action to approve: {lacking[0]}")
        state.approve(number, inputs.author(), until=now + APPROVED_FOR)
        state.event(number, "approved", f"by {inputs.author()}, until {now + APPROVED_FOR:%H:%M} UTC", now=now)
        state.recheck("incident", number, now)
    if as_json:
        output.as_json(id=number, approved_until=output.when(now + APPROVED_FOR))
        return
    output.say(f"approved: incident {number}; `certmedic show {number}` shows the result", colour="green")


def unapprovable(decision: Decision | None) -> Iterator[str]:
    """Yield why a decision proposes no action that a person could approve."""
    if decision is None or not decision.gates:
        yield decision.reason if decision else "no decision yet"
        return
    blocking: list[Gate] = [gate for gate in decision.gates if not gate.passed]
    yield from (explain(gate) for gate in blocking if gate.name in NO_ACTION)
    if [gate.name for gate in blocking] == [GateName.MODE] and decision.waits_for is not WaitsFor.APPROVAL:
        yield explain(blocking[0])


@inputs.command(
    "reset", "Allow actions again after one has failed.", "certmedic reset", "certmedic reset --config ./certmedic.toml"
)
@inputs.JSON
@inputs.CONFIG
def reset(*, as_json: bool, config_path: Path | None) -> None:
    """Allow actions again after one has failed. After a failed action certmedic stops acting until a person resets it."""
    with inputs.state(inputs.config(config_path), writable=True) as state:
        tripped = state.tripped()
        state.reset(inputs.author(), now=datetime.now(UTC))
    if as_json:
        output.as_json(failure=tripped or None, actor=actor.is_installed())
        return
    output.say(
        f"actions are allowed again; the failure was: {tripped}" if tripped else "no action had failed", colour="green"
    )
    if actor.is_installed():
        output.say("The actor keeps its own record, which only root resets: sudo certmedic-actor reset")
