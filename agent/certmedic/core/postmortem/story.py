"""The story of one incident as moments on lanes: certificates, log lines, decisions, actions, messages and checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from certmedic.core.incident.state import Incident
from certmedic.core.model import Cause
from certmedic.core.postmortem.prevention import lessons
from certmedic.core.text import count

Row = Mapping[str, Any]  # as the store returns it, with times as ISO 8601


class Lane(StrEnum):
    """The lanes of the picture, from top to bottom."""

    CERTIFICATE = "certificate"
    LINES = "log lines"
    DECISION = "decision"
    ACTION = "action"
    CHECK = "verification"
    MESSAGE = "message"


# Event of the history -> its lane, its name for people, and whether it is bad news.
EVENTS: Mapping[str, tuple[Lane, str, bool]] = {
    "opened": (Lane.DECISION, "incident opened", False),
    "decided": (Lane.DECISION, "decided", False),
    "approved": (Lane.DECISION, "approved by a person", False),
    "superseded": (Lane.DECISION, "replaced by another incident", False),
    "intent": (Lane.ACTION, "action intended", False),
    "acted": (Lane.ACTION, "action done", False),
    "withdrawn": (Lane.ACTION, "action withdrawn", False),
    "failed": (Lane.CHECK, "action failed", True),
    "resolved": (Lane.CHECK, "resolved", False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One thing that happened. `text` may hold foreign text."""

    at: datetime
    lane: Lane
    what: str
    text: str
    until: datetime | None = None  # of a span
    is_bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Equal log lines."""

    count: int
    text: str
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One incident with all that happened, oldest first."""

    host: str  # after the name of its cluster, if that is known
    incident: Incident
    moments: tuple[Moment, ...]
    lines: tuple[Line, ...]
    undelivered: tuple[str, ...]  # messages that reached a channel late or never, a sentence each
    lessons: tuple[str, ...]
    at: datetime  # when the report was written

    @property
    def end(self) -> datetime:
        """When it was over; the present time while it lasts."""
        return self.incident.resolved_at or self.at


def story(  # noqa: PLR0913 - each is a table of the store
    incident: Incident,
    *,
    host: str,
    events: Iterable[Row],
    folds: Iterable[Row],
    messages: Sequence[Row],
    now: datetime,
) -> Story:
    """Return the story of an incident from its rows in the store."""
    lines = tuple(_line(fold) for fold in folds)
    undelivered = tuple(_undelivered(messages))
    moments = [
        *_certificates(incident, incident.resolved_at or now),
        *(_of_line(line) for line in lines),
        *(_of_event(event) for event in events),
        *_of_messages(messages),
    ]
    order = list(Lane)
    return Story(
        host=host,
        incident=incident,
        moments=tuple(sorted(moments, key=lambda moment: (moment.at, order.index(moment.lane)))),
        lines=lines,
        undelivered=undelivered,
        lessons=lessons(incident.diagnosis, incident.decision, undelivered=len(undelivered)),
        at=now,
    )


def _certificates(incident: Incident, end: datetime) -> Iterator[Moment]:
    """Yield when the certificates of an incident became bad, each time once; a forecast has none."""
    paths: dict[datetime, list[str]] = {}
    for certificate in incident.diagnosis.certificates:
        paths.setdefault(certificate.not_after, []).append(certificate.path or f"{certificate.subject_cn} (in memory)")
    for moment, names in paths.items():
        if moment <= end:
            yield Moment(
                at=moment, lane=Lane.CERTIFICATE, what="certificate expired", text=", ".join(names), is_bad=True
            )
    since = incident.diagnosis.since
    if since is not None and since <= end and since not in paths and incident.diagnosis.cause is not Cause.EXPIRES_SOON:
        yield Moment(
            at=since, lane=Lane.CERTIFICATE, what="fault began", text=str(incident.diagnosis.cause), is_bad=True
        )


def _line(fold: Row) -> Line:
    return Line(
        count=fold["count"],
        text=fold["sample"],
        first=datetime.fromisoformat(fold["first_seen"]),
        last=datetime.fromisoformat(fold["last_seen"]),
    )


def _of_line(line: Line) -> Moment:
    return Moment(at=line.first, until=line.last, lane=Lane.LINES, what=count(line.count, "log line"), text=line.text)


def _of_event(event: Row) -> Moment:
    lane, what, is_bad = EVENTS.get(event["what"], (Lane.DECISION, event["what"].replace("-", " "), False))
    return Moment(at=datetime.fromisoformat(event["at"]), lane=lane, what=what, text=event["said"], is_bad=is_bad)


def _of_messages(messages: Iterable[Row]) -> Iterator[Moment]:
    """Yield each message once, with the number of channels that it reached."""
    of_message: dict[int, list[Row]] = {}
    for row in messages:
        of_message.setdefault(row["id"], []).append(row)
    for rows in of_message.values():
        first, asked = rows[0], [row for row in rows if row["label"]]
        sent = sum(row["state"] == "sent" for row in asked)
        reached = f"reached {sent} of {count(len(asked), 'channel')}" if asked else "no channel is configured for it"
        yield Moment(
            at=datetime.fromisoformat(first["created_at"]),
            lane=Lane.MESSAGE,
            what=f"message: {first['kind']}",
            text=f"{first['title']}: {reached}",
            is_bad=sent < len(asked),
        )


def _undelivered(messages: Iterable[Row]) -> Iterator[str]:
    for row in messages:
        if row["label"] and row["state"] in ("pending", "expired") and row["attempts"]:
            tries, error = count(row["attempts"], "attempt"), f": {row['error']}" if row["error"] else ""
            yield f"{row['kind']}: not delivered to {row['label']} after {tries}{error}"
