"""The blocks of a message, each of which answers one question."""

from __future__ import annotations

from datetime import datetime

from certmedic.core.decision.gates import explain
from certmedic.core.message.render import Block, Form
from certmedic.core.message.report import Report
from certmedic.core.model import Certificate, Confidence, Diagnosis, GateName, Helps, MessageKind, Suspect
from certmedic.core.text import ago, cut, stamp

COMMAND = 700  # characters; a longer command is left to `certmedic show`, because a cut command is another command
GATES = 3  # reasons in a message; `certmedic show` has them all


def owner(diagnosis: Diagnosis) -> Block:
    """Say whose certificate it is, and how sure that is."""
    sure = {
        Confidence.PROVEN: "certain: the certificate was read",
        Confidence.LIKELY: "likely",
        Confidence.POSSIBLE: "possible, not proven",
    }[diagnosis.confidence]
    plane = f", {diagnosis.plane} {diagnosis.group}".rstrip() if diagnosis.plane else ""
    text = {
        Suspect.OWN: f"this machine's own{plane}",
        Suspect.PEER: f"not this machine's, but that of {', '.join(diagnosis.neighbours) or 'a neighbour'}",
        Suspect.UNKNOWN: "not known: nothing on this machine explains it",
    }[diagnosis.suspect]
    return Block("Whose", (text if diagnosis.suspect is Suspect.UNKNOWN else f"{text} ({sure})",))


def dated(certificate: Certificate, now: datetime) -> str:
    """Return a certificate in one line: file, name, and the date that matters."""
    if certificate.not_before > now:
        date = f"valid only from {stamp(certificate.not_before)}"
    else:
        date = f"{'expired' if certificate.not_after < now else 'valid until'} {stamp(certificate.not_after)}"
    path = cut(certificate.path, 200) or "(in no file)"
    return f"{path} (CN {cut(certificate.subject_cn, 64) or 'none'}), {date}"


def files(report: Report) -> Block:
    """Say which files."""
    lines = tuple(dated(certificate, report.now) for certificate in report.diagnosis.certificates)
    return Block("File" if len(lines) == 1 else "Files", lines)


def since(report: Report) -> Block:
    """Say since when, as a date and as a person counts."""
    diagnosis = report.diagnosis
    moment = diagnosis.since or diagnosis.first_seen
    if moment is None:
        return Block("Since", ())
    head = "Expires" if moment > report.now else "Since" if diagnosis.since else "First seen"
    return Block(head, (f"{stamp(moment)} ({ago(report.now - moment)})",))


def restart(report: Report) -> Block:
    """Say whether a restart fixes it, and why."""
    remedy = report.diagnosis.remedy
    verdict = {
        Helps.YES: "should have fixed it."
        if report.kind is MessageKind.ESCALATED and not report.in_place
        else "fixes it, but not now."
        if report.not_now
        else "fixes it.",
        Helps.NO: "does NOT fix it.",
        Helps.UNKNOWN: "may not fix it.",
    }[remedy.helps]
    return Block("Restart", (f"{verdict} {remedy.why}",))


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
    """Say what certmedic does about it, or why it does nothing, where it could."""
    decision = report.decision
    if decision is None or report.diagnosis.suspect is not Suspect.OWN:
        return Block("certmedic", ())
    if report.acts:
        now = "renews it in place" if report.in_place else "restarts it now"
        return Block("certmedic", (f"{now}, then checks that the date moved, and reports the result.",))
    if report.approval:
        return Block("certmedic", ("waits for a person's approval, which then holds for four hours.",))
    if decision.is_blocked_by(GateName.CURE):
        reasons = ["no restart is known to fix this"]  # the reason itself stands above
    else:
        reasons = [explain(gate) for gate in report.closed[:GATES]] or ["see the reason above"]
    return Block("certmedic", ("does nothing itself: " + "; ".join(reasons) + ".",))


def more(report: Report) -> Block:
    """Show how to see more."""
    return Block(
        "More",
        (
            f"sudo certmedic show {report.incident}",
            f"sudo journalctl -u certmedic -x CERTMEDIC_INCIDENT={report.incident}",
        ),
        Form.CODE,
    )


def evidence(diagnosis: Diagnosis) -> Block:
    """Show why it is believed."""
    seen: tuple[str, ...] = ()
    if diagnosis.count > 1 and diagnosis.first_seen and diagnosis.last_seen:
        seen = (f"{diagnosis.count} lines, {stamp(diagnosis.first_seen)} to {stamp(diagnosis.last_seen)}",)
    return Block("Evidence", (*diagnosis.evidence, *seen), Form.QUOTE)
