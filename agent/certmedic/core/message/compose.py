"""From a diagnosis to what people read.

A tired person reads the first line: the host, the verdict, the one thing to do. The rest answers in this order: whose
certificate, which file, since when, what it breaks, does a restart fix it, what to type, what certmedic does about it, how
to see more, and last the evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from certmedic.core.message import blocks
from certmedic.core.message.lead import headline, lead
from certmedic.core.message.render import Block, Form, render
from certmedic.core.message.report import Report
from certmedic.core.model import Cause, Decision, Diagnosis, Message, MessageKind, Severity
from certmedic.core.text import stamp


def compose(  # noqa: PLR0913 - each is a part of the message
    kind: MessageKind,
    diagnosis: Diagnosis,
    *,
    incident: int,
    host: str,
    now: datetime,
    decision: Decision | None = None,
    outcome: str = "",
    opened_at: datetime | None = None,
    mark: str = "",
) -> Message:
    """Return one message about an incident. `outcome` is the result of an action or a check, in a sentence.

    `mark` stands before the title and the first line, for messages that are no alarm.
    The title has at most 120 characters; title and text together at most 1,900 in plain and in Markdown. HTML holds all.
    """
    report = Report(
        kind=kind,
        diagnosis=diagnosis,
        incident=incident,
        host=host,
        now=now,
        decision=decision,
        outcome=outcome,
        opened_at=opened_at,
    )
    first = Block("", (mark + lead(report),), Form.LEAD)
    severity = Severity.INFO if kind is MessageKind.RESOLVED else diagnosis.severity
    return render(kind, severity, mark + headline(report), (first, *PARTS[kind](report)))


def case(report: Report) -> tuple[Block, ...]:
    """Return all that is known of a fault that lasts."""
    diagnosis = report.diagnosis
    return (
        blocks.owner(diagnosis),
        blocks.files(report),
        blocks.since(report),
        Block("Breaks", (diagnosis.effect,)),
        blocks.restart(report),
        blocks.command(report),
    )


def blind(report: Report) -> tuple[Block, ...]:
    """Return all that is known of a source that cannot be read."""
    still = "Certificates in files are still watched. certmedic retries, and reads on where it stopped."
    return (
        Block("Reason", report.diagnosis.evidence),
        blocks.since(report),
        Block("Effect", (report.diagnosis.effect,)),
        blocks.command(report),
        Block("certmedic", (still,)),
        blocks.more(report),
    )


def opened(report: Report) -> tuple[Block, ...]:
    """Return the parts of a first message, or of a reminder."""
    if report.diagnosis.cause is Cause.BLIND:
        return blind(report)
    return (*case(report), blocks.doing(report), blocks.more(report), blocks.evidence(report.diagnosis))


def acted(report: Report) -> tuple[Block, ...]:
    """Return the parts of the message that something was done."""
    return (
        Block("Done", (report.outcome,)),
        blocks.files(report),
        Block("Why", (report.decision.reason if report.in_place and report.decision else report.diagnosis.remedy.why,)),
        Block("Next", ("certmedic checks that each file's date moved and that the new certificate is served.",)),
        blocks.more(report),
    )


def resolved(report: Report) -> tuple[Block, ...]:
    """Return the parts of the last message. `outcome` says how it is known, which is not always by looking at a file."""
    whom = Block("Whose", ()) if report.diagnosis.cause is Cause.BLIND else blocks.owner(report.diagnosis)
    return (Block("How it is known", (report.outcome,)), whom, blocks.more(report))


def escalated(report: Report) -> tuple[Block, ...]:
    """Return the parts of the message that the action failed."""
    step = "Find out why it failed: is the container up, and what does its log say? Then fix it by hand. certmedic does not act on this incident again."
    return (
        Block("Tried", (report.outcome,)),
        Block("Next", (step,)),
        *case(report),
        blocks.more(report),
        blocks.evidence(report.diagnosis),
    )


PARTS: Mapping[MessageKind, Callable[[Report], tuple[Block, ...]]] = {
    MessageKind.OPENED: opened,
    MessageKind.ACTED: acted,
    MessageKind.RESOLVED: resolved,
    MessageKind.ESCALATED: escalated,
    MessageKind.REMINDER: opened,
}


def test_message(host: str, now: datetime) -> Message:
    """Return a message that only shows that messages arrive."""
    first = Block("", (f"{host}: a test message of certmedic. Nothing is wrong.",), Form.LEAD)
    sent = Block("Sent", (f"{stamp(now)}, by a person who typed the command below.",))
    typed = Block("Type", ("certmedic test-notify",), Form.CODE)
    return render(MessageKind.OPENED, Severity.INFO, f"{host}: test message, nothing is wrong", (first, sent, typed))
