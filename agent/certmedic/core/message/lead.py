"""The title and the first line of a message: host, verdict, and the one thing to do."""

from __future__ import annotations

from certmedic.core.message.report import Report
from certmedic.core.message.words import brief, clause, machine, number, program, whose
from certmedic.core.model import Cause, Diagnosis, Helps, MessageKind, RemedyKind, Suspect
from certmedic.core.text import cut, span

# Remedy -> the one thing to do: for a title, and as a sentence. {below} is the reference to the commands, if there are any.
BEFORE = {  # it expires
    RemedyKind.RESTART: ("plan a restart", "Plan a restart before then: that renews {them}{below}."),
    RemedyKind.RENEW: ("renew {them} in time", "Renew {them} before then{below}."),
    RemedyKind.REISSUE_AND_RESTART: ("plan the renewal", "Plan the renewal: a restart alone does not renew {them}."),
}
BY_HAND = {  # a restart does not fix it, and the commands may only show what to look at
    Cause.EXPIRED: ("renew {them} (a restart does NOT fix it)", "Renew {them} as Fix says: a restart does NOT fix it."),
    Cause.CRL_EXPIRED: (
        "install a new list (a restart does NOT fix it)",
        "Install a new list: a restart does NOT fix it.",
    ),
    Cause.CA_EXPIRED: (
        "renew the CA (a restart does NOT fix it)",
        "Renew the CA as Fix says: a restart does NOT fix it.",
    ),
}
AFTER = {  # it failed
    RemedyKind.RENEW: ("renew {them}", "Renew {them}{below}: a restart alone does not fix it."),
    RemedyKind.REISSUE_AND_RESTART: ("move the old file, then restart", "Move the old file away, then restart{below}."),
}


def headline(report: Report) -> str:
    """Return host, verdict and the one thing to do, in a few words."""
    joint = " " if report.diagnosis.cause is Cause.BLIND else ": "  # "the journal cannot be read"
    fault = brief(report.diagnosis, report.now, is_over=report.kind is MessageKind.RESOLVED)
    what = f"{machine(report.cluster, report.host)}: {cut(whose(report.diagnosis), 60)}{joint}{fault}"
    return {
        MessageKind.RESOLVED: f"{what}: resolved{_elsewhere_still(report)}",
        MessageKind.ESCALATED: f"{what}: NOT FIXED, a person is needed",
        MessageKind.REMINDER: f"{what}: {'' if is_forecast(report) else 'still open, '}{advice(report)[0]}",
    }.get(report.kind, f"{what}: {advice(report)[0]}")


def advice(report: Report) -> tuple[str, str]:
    """Return the one thing to do: in a few words, for a title, and as a sentence."""
    diagnosis, remedy = report.diagnosis, report.diagnosis.remedy
    below = " (command below)" if remedy.command else ""
    them = "it" if number(diagnosis) < 2 else "them"
    if diagnosis.cause is Cause.BLIND:
        return "find out why", f"Find out why{below}. Until then certmedic misses failures there."
    if (elsewhere := _elsewhere(diagnosis, below)) is not None:
        return elsewhere
    if report.acts:
        acts = f"certmedic renews {them}" if report.in_place else f"certmedic restarts {program(diagnosis)}"
        return acts, f"{acts} now. Nothing for you to do yet: the result follows."
    if report.waits:
        turn = f"certmedic restarts {program(diagnosis)} when its turn comes, after other members. Nothing for you to do yet."
        return "certmedic waits its turn", turn
    if gate := report.not_now:
        why, first = cut(gate.why.partition(": ")[0], 120), cut(gate.opens[:1].upper() + gate.opens[1:], 120)
        return "do NOT restart it now", f"Do NOT restart it now: {why}. {first}."
    if typed := report.approval:
        return f"allow the fix: {typed}", f"Allow certmedic to fix it: {typed}"
    if diagnosis.cause is Cause.EXPIRES_SOON:
        few, sentence = BEFORE.get(remedy.kind, ("plan the renewal", "Plan the renewal{below}."))
        return few.format(them=them), sentence.format(them=them, below=below)
    if remedy.helps is Helps.YES:
        what = program(diagnosis)
        return f"restart {what}", f"Restart {what}{below}: that fixes it."
    if remedy.helps is Helps.UNKNOWN:
        return "a restart may not help", "A restart may not fix it: read on before you restart anything."
    only = "a restart does NOT fix it", "A restart does NOT fix it: see Fix below."
    few, sentence = AFTER.get(remedy.kind) or BY_HAND.get(diagnosis.cause, only)
    return few.format(them=them), sentence.format(them=them, below=below)


def _elsewhere(diagnosis: Diagnosis, below: str) -> tuple[str, str] | None:
    """Return the one thing to do if no certificate of this machine is to be renewed: the clocks are wrong, or the fault is elsewhere."""
    if diagnosis.cause in (Cause.CLOCK, Cause.NOT_YET_VALID):
        return "check the clocks, renew nothing", f"Check the clocks{below}. Renew nothing."
    if diagnosis.suspect is Suspect.OUTSIDE:
        return "fix it there, not here", "Fix it there, or stop that client. Nothing to do on this machine."
    if diagnosis.suspect is Suspect.PEER:
        return "fix it there, not here", "Fix it there. A restart on this machine does not help."
    return None


def _elsewhere_still(report: Report) -> str:
    return f" here, not yet on {cut(report.sick, 60)}" if report.sick else ""


def lead(report: Report) -> str:
    """Return the first line: host, verdict, the one thing to do."""
    host, is_over = machine(report.cluster, report.host, 60), report.kind is MessageKind.RESOLVED
    wrong = clause(report.diagnosis, report.now, report.zone, is_over=is_over)
    lasted = f" after {span(report.now - report.opened_at)}" if report.opened_at else ""
    stops = "certmedic tried once and stops here" if report.tried else "certmedic cannot fix it"
    return {
        MessageKind.RESOLVED: f"{host}: resolved{lasted}{_elsewhere_still(report)}. It was: {wrong}.",
        MessageKind.ESCALATED: f"{host}: NOT FIXED, a person is needed now: {wrong}. {stops}.",
        MessageKind.REMINDER: f"{host}: {'' if is_forecast(report) else f'still open{lasted}: '}{wrong}. {advice(report)[1]}",
    }.get(report.kind, f"{host}: {wrong}. {advice(report)[1]}")


def is_forecast(report: Report) -> bool:
    """Whether the message is about a certificate that is still good: its reminders read like the first warning."""
    return report.diagnosis.cause is Cause.EXPIRES_SOON


def done(report: Report) -> str:
    """Return what certmedic did, in a few words."""
    diagnosis = report.diagnosis
    if report.in_place:
        return f"certmedic renewed the certificate of {whose(diagnosis)} in place"
    return f"certmedic restarted {program(diagnosis)}"
