"""From a diagnosis to what people read.

A tired person reads the first line: the host, the verdict, the one thing to do. Then come at most five facts, the command to
copy, and how to see more. Evidence and gates are in `certmedic show`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, tzinfo

from certmedic.core.message import blocks
from certmedic.core.message.lead import done, headline, lead
from certmedic.core.message.render import Block, Form, render
from certmedic.core.message.report import Report
from certmedic.core.message.words import thread
from certmedic.core.model import Cause, Decision, Diagnosis, Message, MessageKind, Severity
from certmedic.core.text import stamp


def compose(  # noqa: PLR0913 - each is a part of the message
    kind: MessageKind,
    diagnosis: Diagnosis,
    *,
    incident: int,
    host: str,
    now: datetime,
    cluster: str = "",
    decision: Decision | None = None,
    outcome: str = "",
    sick: str = "",
    opened_at: datetime | None = None,
    failed: bool = False,
    mark: str = "",
    zone: tzinfo | None = None,
) -> Message:
    """Return one message about an incident. `outcome` is the result of an action or a check, in a sentence; in a first message, members with the same fault.

    `sick`: in a last message, the members that still have the fault. `failed`: an action of certmedic failed. `zone`: dates are in this zone, too. `mark` stands before the title and the first line, for messages that are no alarm.
    The title has at most 120 characters; title and text together at most 1,200 in plain and in Markdown.
    """
    report = Report(
        kind=kind,
        diagnosis=diagnosis,
        incident=incident,
        host=host,
        cluster=cluster,
        now=now,
        decision=decision,
        outcome=outcome,
        sick=sick,
        opened_at=opened_at,
        failed=failed,
        zone=zone,
    )
    first = Block("", (mark + lead(report),), Form.LEAD)
    word = "RESOLVED" if kind is MessageKind.RESOLVED else report.severity.upper()
    title = (mark or f"[{word}] ") + headline(report)
    written = render(kind, report.severity, title, (first, *PARTS.get(kind, opened)(report)))
    return replace(written, thread=thread(diagnosis, incident, host))


def case(report: Report) -> tuple[Block, ...]:
    """Return all that is known of a fault that lasts."""
    diagnosis = report.diagnosis
    return (
        blocks.files(report) if diagnosis.certificates else blocks.owner(diagnosis),
        blocks.since(report),
        blocks.breaks(report),
        blocks.fix(report),
    )


def blind(report: Report) -> tuple[Block, ...]:
    """Return all that is known of a source that cannot be read."""
    still = "still watches certificates in files. It retries, and reads on where it stopped."
    return (
        Block("Reason", report.diagnosis.evidence),
        blocks.since(report),
        Block("Effect", (report.diagnosis.effect,)),
        Block("certmedic", (still,)),
        blocks.command(report),
        blocks.more(report),
    )


def opened(report: Report) -> tuple[Block, ...]:
    """Return the parts of a first message, or of a reminder."""
    if report.diagnosis.cause is Cause.BLIND:
        return blind(report)
    # Whom the message is for stands first, since the last fact is left out first where not all have room.
    return (blocks.others(report), *case(report), blocks.doing(report), blocks.command(report), blocks.more(report))


def resolved(report: Report) -> tuple[Block, ...]:
    """Return the parts of the last message. `outcome` says how it is known, which is not always by looking at a file."""
    acted = report.tried and not report.failed
    return (
        Block("Done", (f"{done(report)}.",) if acted else ()),
        Block("Known by", (report.outcome,)),
        blocks.breaker() if report.failed else Block("certmedic", ()),
        blocks.more(report),
    )


def escalated(report: Report) -> tuple[Block, ...]:
    """Return the parts of the message that certmedic did not fix it: an action failed, or none is possible any more."""
    files, *facts = case(report)
    return (
        blocks.tried(report),
        files,
        *facts,
        blocks.breaker() if report.tried else Block("certmedic", ()),
        blocks.command(report),
        blocks.more(report),
    )


PARTS: Mapping[MessageKind, Callable[[Report], tuple[Block, ...]]] = {
    MessageKind.RESOLVED: resolved,
    MessageKind.ESCALATED: escalated,
}


def test_message(host: str, now: datetime) -> Message:
    """Return a message that only shows that messages arrive."""
    first = Block("", (f"{host}: a test message of certmedic. Nothing is wrong.",), Form.LEAD)
    sent = Block("Sent", (f"{stamp(now)}, by a person who typed the command below.",))
    typed = Block("Type", ("certmedic test-notify",), Form.CODE)
    return render(
        MessageKind.OPENED, Severity.INFO, f"[TEST] {host}: test message, nothing is wrong", (first, sent, typed)
    )
