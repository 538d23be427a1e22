"""The conditions for acting: one function each, which looks at one context and answers with a gate.

A gate that does not pass says why, and in `opens` what to do or to wait for. A function returns None if its question makes no
sense for the plane and the remedy at hand. `GATES` is the order in which people read them; code never reads their sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from certmedic.core import holders, planes
from certmedic.core.decision.policy import FRESH_FOR, History, Policy
from certmedic.core.examine import authorities, displaced, rivalled
from certmedic.core.means import Means
from certmedic.core.model import (
    Cause,
    Confidence,
    Container,
    Diagnosis,
    Facts,
    Gate,
    GateName,
    Helps,
    RemedyKind,
    Stored,
    Suspect,
    Trust,
)
from certmedic.core.text import count, stamp
from certmedic.core.verdict import trusted

FIXABLE = (Cause.EXPIRED, Cause.EXPIRES_SOON)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """All that the gates are asked about."""

    diagnosis: Diagnosis
    facts: Facts
    history: History
    policy: Policy
    known: Sequence[Stored]  # leaves of the diagnosis that are on disk
    watched: Sequence[Stored]  # of those, the ones that the action would renew
    means: Means | None  # how their holder is restarted; None: by its container
    containers: Sequence[Container]  # what would be restarted
    in_place: bool  # renew in place, with no restart
    aside: bool  # move the files aside before the restart
    held_by: str = ""  # why the etcd here does not take up a renewed file by itself, for a sentence; "" if it does
    could_renew: bool = False  # some of the files could be renewed in place if the operator allowed it
    renewable_but_held: bool = False  # only that keeps the files from being renewed in place

    @property
    def restarts(self) -> bool:
        """Whether a restart is the question: of a container of etcd-manager, or by a means that is known."""
        if self.in_place:
            return False
        renewers = {stored.place.renewer for stored in self.watched}
        return (
            self.means is not None
            or any(planes.renewer_of(name).is_grouped for name in renewers)
            or (not renewers and bool(self.diagnosis.group))
        )


def opened(name: GateName, why: str) -> Gate:
    """Return a gate that passed."""
    return Gate(name=name, passed=True, why=why)


def closed(name: GateName, why: str, *, opens: str) -> Gate:
    """Return a gate that did not pass; `opens` is what to do or to wait for."""
    return Gate(name=name, passed=False, why=why, opens=opens)


def explain(gate: Gate) -> str:
    """Return a gate's reason for people, with what opens it."""
    return f"{gate.why} (to pass: {gate.opens})" if gate.opens else gate.why


def evidence(context: Context) -> Gate:
    """A certificate of this machine that was read, and is in use, explains what was seen, and still does."""
    name, diagnosis, facts = GateName.EVIDENCE, context.diagnosis, context.facts
    known, watched = context.known, context.watched
    if known and not watched:
        why = displaced(known[0], facts) or rivalled(known[0], facts)
        return closed(name, why, opens="have the program in use serve it")
    if _is_renewed(context):
        late = holders.held([stored.certificate.path for stored in watched], trusted(facts))
        names = dict.fromkeys(program.name for programs in late.values() for program in programs)
        why = f"{watched[0].certificate.path} has been renewed meanwhile"
        return closed(name, why, opens=f"restart {' and '.join(names)}" if names else "nothing is left to do")
    if diagnosis.suspect is Suspect.PEER:
        return closed(name, "the bad certificate is on another machine", opens="fix the certificate on that machine")
    if diagnosis.trust is not Trust.SYSTEM:
        return closed(name, "no trusted program logged it", opens="wait for a line of a system program")
    if not (diagnosis.suspect is Suspect.OWN and diagnosis.confidence is Confidence.PROVEN and diagnosis.certificates):
        why = "no certificate that was read on this machine explains it; a log line alone is no evidence"
        return closed(name, why, opens="name further files in certificates.paths")
    return _authorised(context) or opened(name, f"{diagnosis.certificates[0].path} was read: {diagnosis.cause}")


def _is_renewed(context: Context) -> bool:
    """Whether every file in question got a later certificate since the diagnosis was made."""
    if not context.watched or context.diagnosis.cause not in FIXABLE:
        return False
    if context.diagnosis.cause is Cause.EXPIRED:
        return all(stored.certificate.not_after >= context.facts.at for stored in context.watched)
    before = {leaf.path: leaf.not_after for leaf in context.diagnosis.certificates}
    return all(stored.certificate.not_after > before[stored.certificate.path] for stored in context.watched)


def _authorised(context: Context) -> Gate | None:
    """Return the closed gate if one of the files may not be acted on."""
    for stored in context.watched:
        path = stored.certificate.path
        if stored.trust is not Trust.SYSTEM:
            why = f"{path} is not of a trusted place{f': {stored.doubt}' if stored.doubt else ''}"
            return closed(GateName.EVIDENCE, why, opens="have root own the file and every folder above it")
        if (context.in_place or context.aside) and not stored.authorised:
            why = f"certmedic may not replace {path}: {stored.doubt or 'no known place names it'}"
            return closed(GateName.EVIDENCE, why, opens="mend that, or name the file in certificates.paths")
    return None


def cure(context: Context) -> Gate:
    """The action is known to fix this cause."""
    name, diagnosis, means = GateName.CURE, context.diagnosis, context.means
    remedy, is_fixable = diagnosis.remedy, diagnosis.cause in FIXABLE
    if context.in_place and is_fixable:
        return opened(name, "its CA's key is on this machine, so it can be renewed in place")
    if context.aside and diagnosis.cause is Cause.EXPIRED:
        return opened(name, "etcd-manager issues a missing certificate, so the expired file is moved aside first")
    if is_fixable and means is not None and means.renews:
        return opened(name, "the operator says that it renews (remedy.means)")
    if is_fixable and remedy.kind is RemedyKind.RESTART and remedy.helps is Helps.YES:
        return opened(name, remedy.why)
    why = f"{RESTART_HELPS[remedy.helps]} {remedy.why}"
    if not is_fixable and remedy.helps is Helps.YES:
        why = f"A restart fixes it, but certmedic restarts a program only if its certificate expires. {remedy.why}"
        return closed(name, why, opens="restart it by hand")
    if not is_fixable:
        return closed(name, why, opens="certmedic cannot fix this")
    if remedy.kind is RemedyKind.REISSUE_AND_RESTART and planes.plane_of(diagnosis.plane).issues_missing:
        opens = (
            "set remedy.reissue, which acts once it has expired; or remedy.renew, if its CA's key is on this machine"
        )
        return closed(name, why, opens=opens)
    if not context.policy.renew and context.could_renew:
        return closed(name, why, opens="set remedy.renew: its CA's key is on this machine; or remedy.means")
    return closed(name, why, opens="set remedy.means, if a program of yours renews it")


RESTART_HELPS = {
    Helps.YES: "Another step than a restart is needed.",
    Helps.NO: "A restart does not fix it.",
    Helps.UNKNOWN: "It is not known whether a restart fixes it.",
}


def authority(context: Context) -> Gate | None:
    """The CA that would sign is valid, and its key is here if a file is moved away before it signs."""
    name, facts = GateName.AUTHORITY, context.facts
    if context.diagnosis.cause is Cause.STALE_IN_MEMORY:
        return None  # a restart would fix it, and no CA would sign anything
    if not context.watched:
        return closed(name, "no file that could be renewed is known", opens="wait until such a file is read")
    for stored in context.watched:
        path = stored.certificate.path
        if not stored.place.ca_path and context.means is not None and context.means.renews:
            continue  # only the operator knows its CA
        if not any(ca.not_before <= facts.at <= ca.not_after for ca in authorities(stored, facts)):
            where = stored.place.ca_path or f"beside {path}"
            return closed(name, f"no valid CA was read from {where}", opens="put a valid CA file there")
        if context.aside and path not in facts.signable:
            why = f"the private key of the CA of {path} is not on this machine, so nothing would reissue it"
            return closed(name, why, opens="bring the CA's key, or renew it by hand")
    return opened(name, "the CA beside it is valid")


def clock(context: Context) -> Gate:
    """The clock is not known to be wrong, or another member's clock agrees."""
    name, diagnosis = GateName.CLOCK, context.diagnosis
    if context.facts.clock_synchronised is not False:
        return opened(name, "synchronised" if context.facts.clock_synchronised else "not known to be wrong")
    if diagnosis.suspect is Suspect.OWN and diagnosis.neighbours:
        member = context.facts.names.get(diagnosis.neighbours[0], diagnosis.neighbours[0])
        return opened(name, f"not synchronised, but {member} refuses the certificate by its own clock")
    why = "this machine's clock is not synchronised, and no other member refused the certificate"
    return closed(name, why, opens="synchronise the clock (timedatectl)")


def fresh(context: Context) -> Gate | None:
    """It fails now, and was seen since this agent started: history may be reported, never acted on.

    A renewal in place that restarts nothing waits for no failure. An expired file of a running program is enough: a program keeps
    its old connections and logs nothing, and nobody serves a client certificate.
    """
    name, seen, now = GateName.FRESH, context.diagnosis.last_seen, context.facts.at
    if context.diagnosis.cause is Cause.EXPIRES_SOON:
        return None
    if program := _uses_expired(context):
        return opened(name, f"{program} runs, and its file has expired")
    if seen is None:
        return closed(name, "no failure logged yet", opens="wait for the first failure")
    if seen < context.history.started_at:
        return closed(name, f"last seen {stamp(seen)}, before this agent started", opens="wait for a new failure")
    if now - seen > FRESH_FOR:
        return closed(name, f"last seen {stamp(seen)}, more than 10 minutes ago", opens="wait for a new failure")
    return opened(name, f"last seen {stamp(seen)}")


def _uses_expired(context: Context) -> str:
    """Return a running program of the control plane whose expired file would be renewed; "" if there is none, or if that restarts one."""
    files = context.watched
    if not context.in_place or any(planes.reads_at_start(stored.place) for stored in files):
        return ""
    names = [holders.holder_of(s) for s in files if s.certificate.not_after < context.facts.at]
    return next((name for name in names if holders.named(name, context.facts)), "")


def window(context: Context) -> Gate | None:
    """An action before expiry is allowed so early, and at this hour."""
    name, policy, now, ends = GateName.WINDOW, context.policy, context.facts.at, context.diagnosis.since
    if context.diagnosis.cause is not Cause.EXPIRES_SOON:
        return None
    if not policy.plan_ahead or ends is None:
        return closed(name, "it has not expired yet, and no action is planned", opens="set remedy.plan_ahead_days")
    starts = ends - policy.plan_ahead
    if now < starts:
        why = f"planned actions begin {count(policy.plan_ahead.days, 'day')} before expiry"
        return closed(name, why, opens=f"wait until {stamp(starts)}")
    if policy.window is not None and not policy.window.is_open(now):
        return closed(name, "outside the maintenance window", opens=f"wait for {policy.window.text}")
    return opened(name, f"planned: expires {stamp(ends)}")


def breaker(context: Context) -> Gate:
    """No action has failed since a person last looked."""
    tripped = context.history.tripped
    if tripped:
        return closed(GateName.BREAKER, f"an action failed ({tripped})", opens="run `certmedic reset`")
    return opened(GateName.BREAKER, "no action has failed")


def cooldown(context: Context) -> Gate:
    """No action on the same target a moment ago, and none for this incident at all."""
    name, now, pause = GateName.COOLDOWN, context.facts.at, context.policy.cooldown
    for attempt in context.history.attempts:
        if attempt.incident == context.history.incident:
            why = f"certmedic acted on this incident already, {stamp(attempt.at)}, and does so only once"
            return closed(name, why, opens="fix it by hand, or wait for a new incident")
        # A renewal in place restarts no manager, and what it leaves in a manager's memory needs the restart at once.
        if attempt.in_place and attempt.state in ("done", "verified") and not context.in_place:
            continue
        if attempt.target == context.diagnosis.remedy.target and now - attempt.at < pause:
            why = f"certmedic acted on {attempt.target} {stamp(attempt.at)}"
            return closed(name, why, opens=f"wait until {stamp(attempt.at + pause)}")
    return opened(name, "no recent action")


def budget(context: Context) -> Gate:
    """The actions of a day are not used up."""
    name, limit, now = GateName.BUDGET, context.policy.per_day, context.facts.at
    recent = sorted(attempt.at for attempt in context.history.attempts if now - attempt.at < DAY)
    why = f"{len(recent)} of {count(limit, 'action')} of the last 24 hours are used (remedy.per_day)"
    if len(recent) < limit:
        return opened(name, why)
    return closed(name, why, opens=f"wait until {stamp(recent[-limit] + DAY)}" if limit else "set remedy.per_day")


def actor(context: Context) -> Gate:
    """An actor is there, and has not refused this a moment ago."""
    name, unable, refused = GateName.ACTOR, context.policy.unable, context.history.refused
    if unable:
        return closed(name, unable, opens="install the package certmedic-actor")
    if refused is not None and context.facts.at < refused.until:
        return closed(name, f"the actor refused: {refused.why}", opens=f"wait until {stamp(refused.until)}")
    return opened(name, "it checks this again by itself")


def permission(context: Context) -> Gate:
    """The operator allows it."""
    name, policy = GateName.MODE, context.policy
    foreign = set() if context.in_place else {s.place.renewer for s in context.watched} - set(policy.restart)
    if policy.mode not in ("remedy", "approve"):
        return closed(name, f'mode is "{policy.mode}"', opens='set mode = "remedy"')
    if foreign:
        names = ", ".join(sorted(foreign))
        if not foreign <= set(planes.RESTARTABLE):
            return closed(name, f"certmedic does not restart {names}", opens="fix it by hand")
        return closed(name, f"remedy.restart does not list {names}", opens="add it there")
    if policy.mode == "remedy":
        return opened(name, 'mode is "remedy"')
    if context.history.approved:
        return opened(name, f"approved by {context.history.approved}")
    opens = f"run `certmedic approve {context.history.incident}`"
    return closed(name, "it waits for a person's approval", opens=opens)
