"""From a diagnosis to what people read.

A tired person reads the first line: the host, the verdict, the one thing to do. The rest answers in this order: whose
certificate, which file, since when, what it breaks, does a restart fix it, what to type, what certmedic does about it, how
to see more, and last the evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from certmedic.core.decision.gates import explain
from certmedic.core.message.render import Block, Form, render
from certmedic.core.message.words import brief, clause, whose
from certmedic.core.model import (
    Cause,
    Certificate,
    Confidence,
    Decision,
    Diagnosis,
    Gate,
    GateName,
    Helps,
    Message,
    MessageKind,
    RemedyKind,
    Severity,
    Suspect,
    WaitsFor,
)
from certmedic.core.text import ago, cut, span, stamp

COMMAND = 700  # characters; a longer command is never cut, which could make it another, but left to `certmedic show`
GROUP = (GateName.MEMBERS, GateName.SAFE, GateName.TURN)  # a restart against these could cost the quorum
GATES = 3  # reasons in a message; `certmedic show` has them all


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that one message is made of."""

    kind: MessageKind
    diagnosis: Diagnosis
    incident: int
    host: str
    now: datetime
    decision: Decision | None
    outcome: str
    opened_at: datetime | None


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
    scene = Scene(
        kind=kind,
        diagnosis=diagnosis,
        incident=incident,
        host=host,
        now=now,
        decision=decision,
        outcome=outcome,
        opened_at=opened_at,
    )
    first = Block("", (mark + lead(scene),), Form.LEAD)
    severity = Severity.INFO if kind is MessageKind.RESOLVED else diagnosis.severity
    return render(kind, severity, mark + headline(scene), (first, *PARTS[kind](scene)))


def headline(scene: Scene) -> str:
    """Return host, verdict and the one thing to do, in a few words."""
    what = f"{cut(scene.host, 40)}: {cut(whose(scene.diagnosis), 30)}: {brief(scene.diagnosis, scene.now)}"
    return {
        MessageKind.OPENED: f"{what}: {in_short(scene)}",
        MessageKind.ACTED: f"{what}: {'renewed' if in_place(scene) else 'restarted'}, verifying",
        MessageKind.RESOLVED: f"{what}: RESOLVED",
        MessageKind.ESCALATED: f"{what}: NOT FIXED, a person is needed",
        MessageKind.REMINDER: f"{what}: still open, {in_short(scene)}",
    }[scene.kind]


def acts(scene: Scene) -> bool:
    """Whether certmedic is about to act; a reminder is no time for that."""
    return scene.kind is MessageKind.OPENED and scene.decision is not None and scene.decision.action is not None


def in_place(scene: Scene) -> bool:
    """Whether what certmedic does or did is to sign anew in place, and no restart."""
    action = scene.decision.action if scene.decision else None
    return action is not None and action.kind is RemedyKind.RENEW


def closed(scene: Scene) -> list[Gate]:
    """Return the gates that keep certmedic from acting."""
    return list(scene.decision.blocked_by) if scene.decision else []


def not_now(scene: Scene) -> str:
    """Return why a restart would harm the group now; "" if it would not."""
    remedy = scene.diagnosis.remedy
    restarts = remedy.helps is Helps.YES or remedy.kind is RemedyKind.REISSUE_AND_RESTART
    if not restarts or scene.diagnosis.cause is Cause.EXPIRES_SOON:
        return ""
    return next((explain(gate) for gate in closed(scene) if gate.name in GROUP), "")


def waits(scene: Scene) -> bool:
    """Whether certmedic will act by itself as soon as other members have had their turn."""
    return scene.decision is not None and scene.decision.waits_for is WaitsFor.TURN


def approval(scene: Scene) -> str:
    """Return the command by which a person allows the proposed action; "" if none is proposed."""
    waits = scene.decision is not None and scene.decision.waits_for is WaitsFor.APPROVAL
    return f"sudo certmedic approve {scene.incident}" if waits else ""


def in_short(scene: Scene) -> str:
    """Return the one thing to do, for a title."""
    diagnosis = scene.diagnosis
    if diagnosis.cause is Cause.BLIND:
        return "look why"
    if diagnosis.suspect in (Suspect.PEER, Suspect.OUTSIDE):
        return "look there, not here"
    if acts(scene):
        return "certmedic renews it" if in_place(scene) else "certmedic restarts it"
    if waits(scene):
        return "certmedic waits its turn"
    if not_now(scene):
        return "do NOT restart it now"
    if typed := approval(scene):
        return f"allow the fix: {typed}"
    if diagnosis.cause is Cause.EXPIRES_SOON and diagnosis.remedy.helps is Helps.YES:
        return "plan a restart"
    return {
        Helps.YES: "a restart fixes it",
        Helps.NO: "a restart does NOT fix it",
        Helps.UNKNOWN: "a restart may not help",
    }[diagnosis.remedy.helps]


def to_do(scene: Scene) -> str:
    """Return the one thing to do, as a sentence."""
    diagnosis, remedy = scene.diagnosis, scene.diagnosis.remedy
    if diagnosis.cause is Cause.BLIND:
        return "Find out why (command below). Until then, certmedic misses certificates that fail there."
    if diagnosis.suspect in (Suspect.PEER, Suspect.OUTSIDE):
        return "Fix it there. Do not restart anything on this machine."
    if acts(scene):
        return f"certmedic {'renews' if in_place(scene) else 'restarts'} it now; nothing for you to do yet."
    if waits(scene):
        return "certmedic restarts it when its turn comes, after other members; nothing for you to do yet."
    if why := not_now(scene):
        how = "A restart" if remedy.helps is Helps.YES else "Its restart without the old file"
        return f"{how} fixes it, but do NOT restart it now: {cut(why, 200)}."
    if typed := approval(scene):
        return f"Allow certmedic to fix it, with {typed}, or do it yourself (commands below)."
    if diagnosis.cause is Cause.EXPIRES_SOON and remedy.helps is Helps.YES:
        return "A restart renews it: plan one before it expires."
    if remedy.helps is Helps.YES:
        return "Restart it (command below): that fixes it." if remedy.command else "Restart it: that fixes it."
    if remedy.helps is Helps.UNKNOWN:
        return "A restart may not help: read on before you restart anything."
    below = " (commands below)" if remedy.command else ""
    return {
        RemedyKind.REISSUE_AND_RESTART: f"A restart alone does NOT fix it: move the old file away first{below}.",
        RemedyKind.RENEW: f"A restart does NOT fix it: renew the certificate{below}.",
    }.get(remedy.kind, "A restart does NOT fix it: read on for what does.")


def lead(scene: Scene) -> str:
    """Return the first line: host, verdict, the one thing to do."""
    host, wrong = cut(scene.host, 60), clause(scene.diagnosis, scene.now)
    lasted = f" after {span(scene.now - scene.opened_at)}" if scene.opened_at else ""
    return {
        MessageKind.OPENED: f"{host}: {wrong}. {to_do(scene)}",
        MessageKind.ACTED: f"{host}: certmedic {done(scene)}, because {wrong}."
        " Nothing for you to do yet: the result follows.",
        MessageKind.RESOLVED: f"{host}: resolved{lasted}. It was: {wrong}.",
        MessageKind.ESCALATED: f"{host}: NOT FIXED, a person is needed now: {wrong}. certmedic tried once and stops here.",
        MessageKind.REMINDER: f"{host}: still open{lasted}: {wrong}. {to_do(scene)}",
    }[scene.kind]


def done(scene: Scene) -> str:
    """Return what certmedic did, in a few words."""
    name = whose(scene.diagnosis)
    return f"renewed the certificate of {name}" if in_place(scene) else f"restarted {name}"


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
        Suspect.OUTSIDE: f"not the control plane's, but that of {', '.join(diagnosis.neighbours) or 'a client'}",
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


def files(scene: Scene) -> Block:
    """Say which files."""
    lines = tuple(dated(one, scene.now) for one in scene.diagnosis.certificates)
    return Block("File" if len(lines) == 1 else "Files", lines)


def since(scene: Scene) -> Block:
    """Say since when, as a date and as a person counts."""
    diagnosis = scene.diagnosis
    moment = diagnosis.since or diagnosis.first_seen
    if moment is None:
        return Block("Since", ())
    head = "Expires" if moment > scene.now else "Since" if diagnosis.since else "First seen"
    return Block(head, (f"{stamp(moment)} ({ago(scene.now - moment)})",))


def restart(scene: Scene) -> Block:
    """Say whether a restart fixes it, and why."""
    remedy = scene.diagnosis.remedy
    verdict = {
        Helps.YES: "should have fixed it."
        if scene.kind is MessageKind.ESCALATED and not in_place(scene)
        else "fixes it, but not now."
        if not_now(scene)
        else "fixes it.",
        Helps.NO: "does NOT fix it.",
        Helps.UNKNOWN: "may not fix it.",
    }[remedy.helps]
    return Block("Restart", (f"{verdict} {remedy.why}",))


def command(scene: Scene) -> Block:
    """Show what a person would type, and when."""
    typed = scene.diagnosis.remedy.command
    if len(typed) > COMMAND:
        typed = f"sudo certmedic show {scene.incident}  # the command is too long for a message"
    if allow := approval(scene):
        return Block("Type one of", (allow, typed), Form.CODE)
    if acts(scene) or waits(scene):
        head = "Type, if it fails"  # a person who did the same at the same time would restart it twice
    elif not_now(scene):
        head = "Type later, not now"
    else:
        head = "Type"
    return Block(head, (typed,), Form.CODE)


def doing(scene: Scene) -> Block:
    """Say what certmedic does about it, or why it does nothing, where it could."""
    decision = scene.decision
    if decision is None or scene.diagnosis.suspect is not Suspect.OWN:
        return Block("certmedic", ())
    if acts(scene):
        now = "renews it in place" if in_place(scene) else "restarts it now"
        return Block("certmedic", (f"{now}, then checks that the date moved, and reports the result.",))
    if approval(scene):
        return Block("certmedic", ("waits for a person's approval, which then holds for four hours.",))
    if decision.is_blocked_by(GateName.CURE):
        reasons = ["no restart is known to fix this"]  # the reason itself stands above
    else:
        reasons = [explain(gate) for gate in closed(scene)[:GATES]] or ["see the reason above"]
    return Block("certmedic", ("does nothing itself: " + "; ".join(reasons) + ".",))


def more(scene: Scene) -> Block:
    """Show how to see more."""
    return Block(
        "More",
        (
            f"sudo certmedic show {scene.incident}",
            f"sudo journalctl -u certmedic -x CERTMEDIC_INCIDENT={scene.incident}",
        ),
        Form.CODE,
    )


def evidence(diagnosis: Diagnosis) -> Block:
    """Show why it is believed."""
    seen: tuple[str, ...] = ()
    if diagnosis.count > 1 and diagnosis.first_seen and diagnosis.last_seen:
        seen = (f"{diagnosis.count} lines, {stamp(diagnosis.first_seen)} to {stamp(diagnosis.last_seen)}",)
    return Block("Evidence", (*diagnosis.evidence, *seen), Form.QUOTE)


def case(scene: Scene) -> tuple[Block, ...]:
    """Return all that is known of a fault that lasts."""
    diagnosis = scene.diagnosis
    return (
        owner(diagnosis),
        files(scene),
        since(scene),
        Block("Breaks", (diagnosis.effect,)),
        restart(scene),
        command(scene),
    )


def blind(scene: Scene) -> tuple[Block, ...]:
    """Return all that is known of a source that cannot be read."""
    still = "Certificates in files are still watched. certmedic retries, and reads on where it stopped."
    return (
        Block("Reason", scene.diagnosis.evidence),
        since(scene),
        Block("Effect", (scene.diagnosis.effect,)),
        command(scene),
        Block("certmedic", (still,)),
        more(scene),
    )


def opened(scene: Scene) -> tuple[Block, ...]:
    """Return the parts of a first message, or of a reminder."""
    if scene.diagnosis.cause is Cause.BLIND:
        return blind(scene)
    return (*case(scene), doing(scene), more(scene), evidence(scene.diagnosis))


def acted(scene: Scene) -> tuple[Block, ...]:
    """Return the parts of the message that something was done."""
    return (
        Block("Done", (scene.outcome,)),
        files(scene),
        Block("Why", (scene.decision.reason if in_place(scene) and scene.decision else scene.diagnosis.remedy.why,)),
        Block("Next", ("certmedic checks that each file's date moved and that the new certificate is served.",)),
        more(scene),
    )


def resolved(scene: Scene) -> tuple[Block, ...]:
    """Return the parts of the last message. `outcome` says how it is known, which is not always by looking at a file."""
    whom = Block("Whose", ()) if scene.diagnosis.cause is Cause.BLIND else owner(scene.diagnosis)
    return (Block("How it is known", (scene.outcome,)), whom, more(scene))


def escalated(scene: Scene) -> tuple[Block, ...]:
    """Return the parts of the message that the action failed."""
    step = "Find out why it failed: is the container up, and what does its log say? Then fix it by hand. certmedic does not act on this incident again."
    return (
        Block("Tried", (scene.outcome,)),
        Block("Next", (step,)),
        *case(scene),
        more(scene),
        evidence(scene.diagnosis),
    )


PARTS: Mapping[MessageKind, Callable[[Scene], tuple[Block, ...]]] = {
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
