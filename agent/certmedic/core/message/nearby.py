"""Words for those who are at the machine, or watch it from afar: all terminals, the line at login, the heartbeat."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from certmedic.core.examine import stamp
from certmedic.core.message.compose import Scene, in_short
from certmedic.core.message.words import brief, cut, harmless, printable, whose
from certmedic.core.model import Decision, Diagnosis, Facts, Message, MessageKind, Silence

MOST = 5  # lines at login


def wall_text(message: Message, incident: int) -> str:
    """Return a message for terminals: its first line, and how to see more."""
    first = message.plain.partition("\n")[0]
    return f"{first}\nMore: sudo certmedic show {incident}\n"


def login_line(  # noqa: PLR0913 - each is a part of the line
    incident: int,
    diagnosis: Diagnosis,
    decision: Decision | None,
    *,
    now: datetime,
    escalated: bool,
    silence: Silence | None,
) -> str:
    """Return an open incident in a line for whoever logs in."""
    if silence is not None:
        whom = f" by {silence.author}" if silence.id else ", maintenance window,"
        state = f"silenced{whom} until {stamp(silence.ends_at)}"
    elif escalated:
        state = "NOT CURED, a person is needed"
    else:
        scene = Scene(
            kind=MessageKind.REMINDER,
            diagnosis=diagnosis,
            incident=incident,
            host="",
            now=now,
            decision=decision,
            outcome="",
            opened_at=None,
        )
        state = in_short(scene)
    told = f"{cut(whose(diagnosis), 40)}: {brief(diagnosis, now)}: {state}"
    return f"certmedic: {cut(harmless(told), 140)} (sudo certmedic show {incident})"


def in_few_words(diagnosis: Diagnosis, now: datetime) -> str:
    """Return who it is about, and what is wrong there."""
    return harmless(f"{cut(whose(diagnosis), 40)}: {brief(diagnosis, now)}")


def few_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """Return no more lines than a person reads at login."""
    rest = len(lines) - MOST
    more = (f"certmedic: and {rest} more (sudo certmedic incidents --open)",) if rest > 0 else ()
    return (*lines[:MOST], *more)


def pulse(host: str, facts: Facts, now: datetime) -> str:
    """Return what a heartbeat says: how many certificates there are, and which ends next."""
    ends = sorted((stored.certificate for stored in facts.stored), key=lambda one: one.not_after)
    coming = [one for one in ends if one.not_after > now]
    gone = f", {len(ends) - len(coming)} expired" if len(coming) < len(ends) else ""
    head = f"{host}: {len(ends)} certificate{'s' if len(ends) != 1 else ''}{gone}"
    return f"{head}; next expiry {stamp(coming[0].not_after)}: {printable(coming[0].path)}" if coming else head


def silence_said(silence: Silence) -> str:
    """Return who asked for silence, until when, and why."""
    if not silence.id:
        return f"maintenance window {silence.comment}, until {stamp(silence.ends_at)}"
    return f"by {silence.author} until {stamp(silence.ends_at)}: {silence.comment} (silence {silence.id})"
