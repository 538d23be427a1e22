"""One-line texts: for terminals, at login, and in the heartbeat."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from certmedic.core.message.lead import advice
from certmedic.core.message.report import Report
from certmedic.core.message.words import brief, harmless, whose
from certmedic.core.model import Decision, Diagnosis, Facts, Message, MessageKind, Silence, Trust
from certmedic.core.text import count, cut, printable, stamp

MOST = 5  # lines at login
BREAKER = "certmedic: an action failed, so it does nothing more (after you looked: sudo certmedic reset)"


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
    """Return the line on an open incident that people see at login."""
    if silence is not None:
        whom = f" by {silence.author}" if silence.id else ", maintenance window,"
        state = f"silenced{whom} until {stamp(silence.ends_at)}"
    elif escalated:
        state = "NOT FIXED, a person is needed"
    else:
        kind = MessageKind.REMINDER
        report = Report(kind=kind, diagnosis=diagnosis, incident=incident, host="", now=now, decision=decision)
        state, _ = advice(report)
    text = f"{cut(whose(diagnosis), 40)}: {brief(diagnosis, now)}: {state}"
    return f"certmedic: {cut(harmless(text), 140)} (sudo certmedic show {incident})"


def in_few_words(diagnosis: Diagnosis, now: datetime) -> str:
    """Return whose certificate it is, and what is wrong."""
    return harmless(f"{cut(whose(diagnosis), 40)}: {brief(diagnosis, now)}")


def few_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """Return at most `MOST` lines, and one that counts the rest."""
    rest = len(lines) - MOST
    more = (f"certmedic: and {rest} more (sudo certmedic incidents --open)",) if rest > 0 else ()
    return (*lines[:MOST], *more)


def pulse(host: str, facts: Facts, now: datetime) -> str:
    """Return the text of the heartbeat: the number of trusted certificates, and which expires next."""
    trusted = (stored.certificate for stored in facts.stored if stored.trust is Trust.SYSTEM)
    ends = sorted(trusted, key=lambda certificate: certificate.not_after)
    coming = [certificate for certificate in ends if certificate.not_after > now]
    gone = f", {len(ends) - len(coming)} expired" if len(coming) < len(ends) else ""
    head = f"{host}: {count(len(ends), 'certificate')}{gone}"
    return f"{head}; next expiry {stamp(coming[0].not_after)}: {printable(coming[0].path)}" if coming else head


def silence_text(silence: Silence) -> str:
    """Return who silenced an incident, until when, and why."""
    if not silence.id:
        return f"maintenance window {silence.comment}, until {stamp(silence.ends_at)}"
    return f"by {silence.author} until {stamp(silence.ends_at)}: {silence.comment} (silence {silence.id})"
