"""The report on an incident as Markdown, for a wiki or an issue. Text that could be markup is set as code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from certmedic.core.decision.gates import explain
from certmedic.core.message.words import WHAT, harmless, spans, whose
from certmedic.core.postmortem import Moment, Story
from certmedic.core.text import printable, span, stamp


def incident_markdown(story: Story) -> str:
    """Return the story of an incident as Markdown."""
    return "\n".join(_blocks(story)) + "\n"


def _blocks(story: Story) -> Iterator[str]:
    incident, diagnosis = story.incident, story.incident.diagnosis
    yield f"# {safe(f'{story.host}: {whose(diagnosis)}: {WHAT[diagnosis.cause]}')}"
    lasted = f"lasted {span(story.end - incident.opened_at)}" if incident.resolved_at else "still open"
    yield f"\nIncident {incident.id}, {incident.severity}, {incident.state}, {lasted}. {safe(diagnosis.effect)}".rstrip()
    yield from _list("So that it does not happen again", story.lessons, "1.")
    yield from _list("Time line (UTC)", map(_moment, story.moments), "1.")
    files = (
        f"{c.path or '(in memory)'} ({c.subject}), valid until {stamp(c.not_after)}" for c in diagnosis.certificates
    )
    yield from _list("Certificates", map(safe, files))
    if incident.decision is not None:
        gates = (
            f"{gate.name}: {'open' if gate.passed else 'closed'}: {explain(gate)}" for gate in incident.decision.gates
        )
        yield from _list("Decision", map(safe, (incident.decision.reason, *gates)))
    yield f"\n## Fix\n\n{safe(diagnosis.remedy.why)}"
    if diagnosis.remedy.command:
        yield f"\n    {printable(diagnosis.remedy.command)}"
    lines = (f"{line.count} x {line.text}" for line in story.lines)
    yield from _list("Evidence", map(safe, (*diagnosis.evidence, *lines)))
    yield from _list("Messages that were not delivered", map(safe, story.undelivered))


def _list(head: str, entries: Iterable[str], sign: str = "-") -> Iterator[str]:
    listed = [f"{sign} {entry}" for entry in entries]
    if listed:
        yield f"\n## {head}\n"
        yield from listed


def _moment(moment: Moment) -> str:
    until = f" to {moment.until:%H:%M:%S}" if moment.until and moment.until != moment.at else ""
    return f"{moment.at:%Y-%m-%d %H:%M:%S}{until}: *{safe(moment.what)}*: {safe(moment.text)}"


def safe(text: str) -> str:
    """Return foreign text as Markdown that formats nothing and links nowhere."""
    return "".join(f"`{piece}`" if code else piece for code, piece in spans(harmless(text)))
