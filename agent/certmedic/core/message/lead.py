"""The title and the first line of a message: host, verdict, and the one thing to do."""

from __future__ import annotations

from certmedic.core.message.report import Report
from certmedic.core.message.words import brief, clause, whose
from certmedic.core.model import Cause, Helps, MessageKind, RemedyKind, Suspect
from certmedic.core.text import cut, span


def headline(report: Report) -> str:
    """Return host, verdict and the one thing to do, in a few words."""
    what = f"{cut(report.host, 40)}: {cut(whose(report.diagnosis), 30)}: {brief(report.diagnosis, report.now)}"
    return {
        MessageKind.OPENED: f"{what}: {advice(report)[0]}",
        MessageKind.ACTED: f"{what}: {'renewed' if report.in_place else 'restarted'}, verifying",
        MessageKind.RESOLVED: f"{what}: RESOLVED",
        MessageKind.ESCALATED: f"{what}: NOT FIXED, a person is needed",
        MessageKind.REMINDER: f"{what}: still open, {advice(report)[0]}",
    }[report.kind]


def advice(report: Report) -> tuple[str, str]:
    """Return the one thing to do: in a few words, for a title, and as a sentence."""
    diagnosis, remedy = report.diagnosis, report.diagnosis.remedy
    if diagnosis.cause is Cause.BLIND:
        why = "Find out why (command below). Until then, certmedic misses certificates that fail there."
        return "find out why", why
    if diagnosis.suspect is Suspect.PEER:
        return "look there, not here", "Fix it there. Do not restart anything on this machine."
    if report.acts:
        acts = "certmedic renews it" if report.in_place else "certmedic restarts it"
        return acts, f"{acts} now; nothing for you to do yet."
    if report.waits:
        turn = "certmedic restarts it when its turn comes, after other members; nothing for you to do yet."
        return "certmedic waits its turn", turn
    if reason := report.not_now:
        how = "A restart" if remedy.helps is Helps.YES else "Its restart without the old file"
        return "do NOT restart it now", f"{how} fixes it, but do NOT restart it now: {cut(reason, 200)}."
    if typed := report.approval:
        allow = f"Allow certmedic to fix it, with {typed}, or do it yourself (commands below)."
        return f"allow the fix: {typed}", allow
    if diagnosis.cause is Cause.EXPIRES_SOON and remedy.helps is Helps.YES:
        return "plan a restart", "A restart renews it: plan one before it expires."
    if remedy.helps is Helps.YES:
        return "a restart fixes it", f"Restart it{' (command below)' if remedy.command else ''}: that fixes it."
    if remedy.helps is Helps.UNKNOWN:
        return "a restart may not help", "A restart may not help: read on before you restart anything."
    below = " (commands below)" if remedy.command else ""
    sentence = {
        RemedyKind.REISSUE_AND_RESTART: f"A restart alone does NOT fix it: move the old file away first{below}.",
        RemedyKind.RENEW: f"A restart does NOT fix it: renew the certificate{below}.",
    }.get(remedy.kind, "A restart does NOT fix it: read on for what does.")
    return "a restart does NOT fix it", sentence


def lead(report: Report) -> str:
    """Return the first line: host, verdict, the one thing to do."""
    host, wrong = cut(report.host, 60), clause(report.diagnosis, report.now)
    lasted = f" after {span(report.now - report.opened_at)}" if report.opened_at else ""
    return {
        MessageKind.OPENED: f"{host}: {wrong}. {advice(report)[1]}",
        MessageKind.ACTED: f"{host}: certmedic {done(report)}, because {wrong}."
        " Nothing for you to do yet: the result follows.",
        MessageKind.RESOLVED: f"{host}: resolved{lasted}. It was: {wrong}.",
        MessageKind.ESCALATED: f"{host}: NOT FIXED, a person is needed now: {wrong}. certmedic tried once and stops here.",
        MessageKind.REMINDER: f"{host}: still open{lasted}: {wrong}. {advice(report)[1]}",
    }[report.kind]


def done(report: Report) -> str:
    """Return what certmedic did, in a few words."""
    name = whose(report.diagnosis)
    return f"renewed the certificate of {name}" if report.in_place else f"restarted {name}"
