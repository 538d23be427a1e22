"""The blocks of a message, each of which answers one question."""

from __future__ import annotations

from datetime import datetime, tzinfo

from certmedic.core.decision.gates import FIXABLE, explain
from certmedic.core.message.render import Block, Form
from certmedic.core.message.report import Report
from certmedic.core.message.words import program, role
from certmedic.core.model import (
    Cause,
    Certificate,
    Confidence,
    Diagnosis,
    GateName,
    Helps,
    MessageKind,
    RemedyKind,
    Suspect,
)
from certmedic.core.text import ago, count, cut, minute

COMMAND = 500  # characters; a longer command is left to `certmedic show`, because a cut command is another command
DATED = (Cause.EXPIRED, Cause.CA_EXPIRED, Cause.EXPIRES_SOON)  # the first line has the date
SURE = {
    Confidence.PROVEN: "",
    Confidence.LIKELY: " (likely)",
    Confidence.POSSIBLE: " (possible, not proven)",
}


def owner(diagnosis: Diagnosis) -> Block:
    """Say whose certificate it is, where that is not this machine's beyond doubt."""
    text = {
        Suspect.OWN: f"this machine's own{SURE[diagnosis.confidence]}" if SURE[diagnosis.confidence] else "",
        Suspect.PEER: f"{', '.join(filter(None, (diagnosis.whom, *diagnosis.neighbours[bool(diagnosis.whom) :]))) or 'a neighbour'}{SURE[diagnosis.confidence]}",
        Suspect.OUTSIDE: f"{', '.join(diagnosis.neighbours) or 'a client or server outside of this cluster'}{SURE[diagnosis.confidence]}",
        Suspect.UNKNOWN: "not known",
    }[diagnosis.suspect]
    return Block("Whose", (text,))


def files(report: Report) -> Block:
    """Say which files."""
    certificates = report.diagnosis.certificates
    dates = {leaf.not_after for leaf in certificates}
    lines = tuple(dict.fromkeys(named(leaf, report.now, report.zone, dated=len(dates) > 1) for leaf in certificates))
    return Block("File" if len(lines) == 1 else "Files", lines)


def named(certificate: Certificate, now: datetime, zone: tzinfo | None = None, *, dated: bool) -> str:
    """Return a certificate in one line: file, whose, and the date if it is not that of the others or not an expiry."""
    path, dates = cut(certificate.path, 200) or "(in no file)", ""
    if certificate.not_before > now:
        dates = f", valid only from {minute(certificate.not_before, zone)}"
    elif dated:
        dates = f", {'expired' if certificate.not_after < now else 'valid until'} {minute(certificate.not_after, zone)}"
    return f"{path} ({cut(role(certificate), 64)}{dates})"


def since(report: Report) -> Block:
    """Say since when, as a date and as a person counts, if the first line does not."""
    diagnosis = report.diagnosis
    if diagnosis.cause in DATED and diagnosis.since is not None:
        return Block("Since", ())
    moment = diagnosis.since or diagnosis.first_seen
    if moment is None:
        return Block("Since", ())
    head = "Expires" if moment > report.now else "Since" if diagnosis.since else "First seen"
    return Block(head, (f"{minute(moment, report.zone)} ({ago(report.now - moment)})",))


def breaks(report: Report) -> Block:
    """Say what stops working, now or when it expires."""
    return Block("Will break" if report.diagnosis.cause is Cause.EXPIRES_SOON else "Breaks", (report.diagnosis.effect,))


def fix(report: Report) -> Block:
    """Say what fixes it and why; whether a restart does is said once, here and in the first line alike."""
    remedy = report.diagnosis.remedy
    if remedy.helps is Helps.YES:
        if report.kind is MessageKind.ESCALATED and report.tried and not report.in_place:
            verdict = "A restart should have fixed it."
        else:
            renews = "renews" if report.diagnosis.cause is Cause.EXPIRES_SOON else "fixes"
            verdict = f"A restart {renews} it, but not now." if report.not_now else f"A restart {renews} it."
    elif remedy.helps is Helps.UNKNOWN:
        verdict = "A restart may not fix it."
    elif remedy.kind is RemedyKind.NONE:
        verdict = ""
    else:
        alone = " alone" if remedy.kind in (RemedyKind.RENEW, RemedyKind.REISSUE_AND_RESTART) else ""
        verdict = f"A restart{alone} does not fix it."
    return Block("Fix" if verdict else "Do", (f"{verdict} {remedy.why}".strip(),))


def others(report: Report) -> Block:
    """Say which members have the same fault: the message is for them, too."""
    if report.kind is not MessageKind.OPENED or not report.outcome:
        return Block("Also", ())
    if report.diagnosis.cause is Cause.EXPIRES_SOON:
        return Block(
            "Also",
            (f"{report.outcome}, at about the same time. This message is for all of them: one after the other.",),
        )
    in_turn = report.diagnosis.cause is Cause.EXPIRED and not (report.acts or report.waits)
    order = ": fix one after the other" if in_turn else ""
    return Block("Also", (f"the same fault on {report.outcome}. This message is for all of them{order}.",))


def command(report: Report) -> Block:
    """Show what a person would type, and when."""
    typed = report.diagnosis.remedy.command
    if len(typed) > COMMAND:
        typed = f"sudo certmedic show {report.incident}  # the command is too long for a message"
    if allow := report.approval:
        return Block("Type one of", (allow, typed), Form.CODE)
    if report.acts or report.waits:
        head = "Type, if it fails"  # a person who did the same at the same time would restart it twice
    elif report.not_now:
        head = "Type later, not now"
    else:
        head = "Type"
    return Block(head, (typed,), Form.CODE)


def doing(report: Report) -> Block:
    """Say why certmedic does nothing about it, where it could; the first line says what it does."""
    decision = report.decision
    if (
        decision is None
        or report.diagnosis.suspect is not Suspect.OWN
        or report.acts
        or report.waits
        or report.approval
    ):
        return Block("certmedic", ())
    if report.diagnosis.cause not in FIXABLE:
        by_hand = "restarts programs only for a certificate that expires. Restart this one by hand."
        return Block(
            "certmedic", (by_hand if report.diagnosis.remedy.helps is Helps.YES else "cannot fix this by itself.",)
        )
    closed = [gate for gate in report.closed if gate.name != GateName.CURE]
    if len(closed) < len(report.closed):  # the reason itself stands above
        (gate,) = [gate for gate in report.closed if gate.name == GateName.CURE]
        return Block("certmedic", (f"does not act. To change that: {gate.opens}.",))
    if not closed:
        return Block("certmedic", ("does not act.",))
    rest = f" And {count(len(closed) - 1, 'more reason')}." if len(closed) > 1 else ""
    return Block("certmedic", (f"does not act: {explain(closed[0])}.{rest}",))


def tried(report: Report) -> Block:
    """Say what certmedic tried and what came of it, or why it cannot act any more."""
    if not report.tried:
        return Block("Why", (report.outcome,))
    what = "to renew it in place" if report.in_place else f"to restart {program(report.diagnosis)}"
    return Block("Tried", (f"{what}: {report.outcome}",))


def breaker() -> Block:
    """Say that certmedic acts no more, after an action has failed."""
    return Block("certmedic", ("does nothing more until a person types: sudo certmedic reset",))


def more(report: Report) -> Block:
    """Show how to see more."""
    return Block("More", (f"sudo certmedic show {report.incident}",), Form.CODE)
