"""Whether to act on a diagnosis, and why or why not.

Every condition is a `Gate` with a name, an answer and a reason; all are asked, so that a person sees the whole list, and one
"no" is enough to leave hands off. Nothing is done on the word of a log line: the evidence gate wants a certificate that was
read. When unsure, the answer is no, with what would open the gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zlib import crc32

from certmedic.core import planes, quorum
from certmedic.core.examine import authorities, displaced, rivalled, stamp
from certmedic.core.lease import held
from certmedic.core.means import Means, done_by, means_for, target, targets, version
from certmedic.core.model import (
    Action,
    Attempt,
    Cause,
    Confidence,
    Decision,
    Diagnosis,
    Facts,
    Gate,
    Helps,
    RemedyKind,
    Stored,
    Suspect,
)
from certmedic.core.window import Window

FRESH_FOR = timedelta(minutes=10)  # an act answers what is happening now, not what a journal remembers
CURABLE = (Cause.EXPIRED, Cause.EXPIRES_SOON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator allows."""

    mode: str  # observe | notify | approve | remedy
    restart: tuple[str, ...]  # renewers that may be restarted
    cooldown: timedelta
    per_day: int
    renew: bool = False  # leaves may be signed anew in place
    reissue: bool = False  # an expired file may be moved aside for a manager that would keep it
    means: tuple[Means, ...] = ()  # of the operator's own
    window: Window | None = None  # of planned cures; None: at any time
    plan_ahead: timedelta = timedelta(0)  # how long before expiry a cure is planned; zero: never


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What came before: acts of this machine, and who else in the group is in trouble."""

    started_at: datetime  # when this agent started
    attempts: tuple[Attempt, ...] = ()  # of the last day at least, any incident
    incident: int = 0
    troubled: tuple[str, ...] = ()  # neighbours whose certificates this group refuses at present
    tripped: str = ""  # the act that failed since the last reset, in a sentence
    waiting_since: datetime | None = None  # when this machine first wanted to act on it
    approved: str = ""  # who approved an act for this incident, where somebody did and it still holds


def decide(diagnosis: Diagnosis, facts: Facts, history: History, policy: Policy) -> Decision:
    """Return what to do about a diagnosis: an act, or nothing, with every gate's answer."""
    if diagnosis.cause is Cause.BLIND:
        return Decision(reason="no act: no certificate is known to be at fault; a log cannot be read")
    known = files_of(diagnosis, facts)
    watched = [stored for stored in known if not (displaced(stored, facts) or rivalled(stored, facts))]
    held_by = holds_what_it_read(diagnosis, facts)
    renewable = [stored for stored in watched if policy.renew and can_be_renewed(stored, facts, held_by)]
    in_place = bool(renewable)
    left = [stored.certificate.path for stored in watched if in_place and stored not in renewable]
    watched = renewable or watched
    means = means_for(watched, policy.means)
    containers = targets(diagnosis, facts, means)
    aside = policy.reissue and not in_place and means is None and wants_it_aside(diagnosis, watched, facts)
    timely = (
        planned(diagnosis, facts.at, policy)
        if diagnosis.cause is Cause.EXPIRES_SOON
        else fresh(diagnosis, facts.at, history)
    )
    gates = [
        evidence(diagnosis, known, watched, facts),
        cure(diagnosis, means, in_place=in_place, aside=aside),
        authority(watched, facts, means, needs_key=aside),
        clock(diagnosis, facts),
        timely,
        breaker(history),
        cooldown(diagnosis, facts.at, history, policy),
        budget(facts.at, history, policy),
        permission(watched, history, policy, in_place=in_place),
    ]
    if not in_place:  # what takes a member down for a moment asks more
        told = version(containers, means, aside=aside)
        in_vain = bool(held_by) and any(policy.renew and can_be_renewed(stored, facts) for stored in watched)
        gates[2:2] = [replace(told, why=f"{told.why}; {held_by}") if in_vain else told]
        gates[-4:-4] = [target(containers, means), *group(diagnosis, facts, history, policy)]
    closed = [gate for gate in gates if not gate.passed]
    if closed:
        return Decision(reason=f"no act: {closed[0].why}", gates=tuple(gates))
    kind = RemedyKind.RENEW if in_place else RemedyKind.REISSUE_AND_RESTART if aside else RemedyKind.RESTART
    action = Action(
        kind=kind,
        container=None if in_place else containers[0],
        watched=tuple((stored.certificate.path, stored.certificate.not_after) for stored in watched),
        ports=tuple(sorted({port for stored in watched for port in stored.place.ports})),
    )
    if in_place:
        reason = f"renew {', '.join(path for path, _ in action.watched)} in place: its CA's key is on this machine"
        if left:
            reason += f"; {', '.join(left)} is held in memory and wants a restart afterwards"
    elif aside:
        paths = ", ".join(path for path, _ in action.watched)
        reason = f"move {paths} aside and {done_by(containers[0])}: it keeps an expired certificate, and issues one that is missing"
    else:
        why = "the operator says that it renews (remedy.means)" if means and means.renews else diagnosis.remedy.why
        reason = f"{done_by(containers[0])}: {why}"
    return Decision(reason=reason, gates=tuple(gates), action=action)


def group(diagnosis: Diagnosis, facts: Facts, history: History, policy: Policy) -> list[Gate]:
    """The etcd group can do without this member for a moment, and it is this member's turn.

    Where the members could be seen, handshakes tell; where not, that no neighbour's certificate is being refused here must do.
    """
    members = quorum.of_group(facts.members, diagnosis.group)
    mine = [member.name for member in members if member.is_self]
    if not members:
        alone = Gate(name=quorum.TURN, passed=True, why="who else there is, is not known")
        return [neighbours(history), *([held(alone, facts.lease)] if facts.lease else [])]
    if len(mine) > 1:
        why = f"{' and '.join(mine)} both run here, and which of them this is about cannot be told; opens when one does"
        return [Gate(name=quorum.SAFE, passed=False, why=why)]
    me = mine[0] if mine else ""
    jitter = timedelta(seconds=crc32(facts.host.encode()) % 5)
    return [
        quorum.safe_to_restart(members, me, facts.at),
        held(
            quorum.turn(
                members,
                me,
                facts.at,
                jitter,
                waiting_since=history.waiting_since or facts.at,
                good_until=facts.at + policy.plan_ahead if diagnosis.cause is Cause.EXPIRES_SOON else None,
            ),
            facts.lease,
        ),
    ]


def files_of(diagnosis: Diagnosis, facts: Facts) -> list[Stored]:
    """Return the leaves of a diagnosis that are on disk."""
    paths = {certificate.path for certificate in diagnosis.certificates}
    return [stored for stored in facts.stored if stored.certificate.path in paths and not stored.certificate.is_ca]


def can_be_renewed(stored: Stored, facts: Facts, held_by: str = "") -> bool:
    """Whether a leaf signed anew would be taken up: its CA's key is here, and its program reads it at every handshake.

    `held_by`: why the etcd here does not, if so.
    """
    use = stored.place.use
    reread = use in planes.REREAD and not (held_by and use in ("peer", "server"))
    return stored.certificate.path in facts.signable and reread


def holds_what_it_read(diagnosis: Diagnosis, facts: Facts) -> str:
    """Return why the etcd here does not take a new file up by itself, in a sentence; "" where it does, or its version is not known."""
    mine = [one.version for one in quorum.of_group(facts.members, diagnosis.group) if one.is_self]
    old = next((version for version in mine if planes.takes_up(version) is False), "")
    return (
        f"etcd {old} goes on showing what it read at its start to who sends no name, so that renewing in place alone does not cure it"
        if old
        else ""
    )


def wants_it_aside(diagnosis: Diagnosis, watched: Sequence[Stored], facts: Facts) -> bool:
    """Whether a manager keeps these files over its restart, and would issue them if they were missing: all of them have expired."""
    return (
        diagnosis.remedy.kind is RemedyKind.REISSUE_AND_RESTART
        and bool(watched)
        and all(s.place.renewer == "etcd-manager" and s.certificate.not_after < facts.at for s in watched)
    )


def evidence(diagnosis: Diagnosis, known: Sequence[Stored], watched: Sequence[Stored], facts: Facts) -> Gate:
    """A certificate of this machine that was read, and is in use, explains what was seen, and still does."""
    if known and not watched:
        said = displaced(known[0], facts) or rivalled(known[0], facts)
        why = f"{said}; opens when it is shown where it belongs"
        return Gate(name="evidence", passed=False, why=why)
    if diagnosis.cause is Cause.EXPIRED and watched and all(s.certificate.not_after >= facts.at for s in watched):
        why = f"{watched[0].certificate.path} has been renewed meanwhile, so that there is nothing to do; opens when one that has expired is read"
        return Gate(name="evidence", passed=False, why=why)
    proven = diagnosis.suspect is Suspect.OWN and diagnosis.confidence is Confidence.PROVEN
    if proven and diagnosis.certificates:
        return Gate(name="evidence", passed=True, why=f"{diagnosis.certificates[0].path} was read: {diagnosis.cause}")
    if diagnosis.suspect is Suspect.PEER:
        return Gate(
            name="evidence",
            passed=False,
            why="the certificate at fault is not this machine's; it is cured where it lies, and opens only for one that is",
        )
    return Gate(
        name="evidence",
        passed=False,
        why="no certificate on this machine was read that explains it; a log line alone is no evidence. Opens when one is read that does"
        " (certificates.paths names further places)",
    )


def cure(diagnosis: Diagnosis, means: Means | None, *, in_place: bool, aside: bool) -> Gate:
    """What would be done is known to cure this cause."""
    if in_place and diagnosis.cause in CURABLE:
        return Gate(
            name="cure known", passed=True, why="its CA's key is on this machine, so it can be signed anew in place"
        )
    if aside and diagnosis.cause is Cause.EXPIRED:
        why = "etcd-manager issues anew what is missing, so the expired file is moved aside first (remedy.reissue)"
        return Gate(name="cure known", passed=True, why=why)
    if diagnosis.cause in CURABLE and means is not None and means.renews:
        return Gate(name="cure known", passed=True, why="the operator says that it renews (remedy.means)")
    if (
        diagnosis.cause in CURABLE
        and diagnosis.remedy.kind is RemedyKind.RESTART
        and diagnosis.remedy.helps is Helps.YES
    ):
        return Gate(name="cure known", passed=True, why=diagnosis.remedy.why)
    said = f"a restart does not cure it: {diagnosis.remedy.why}"
    if diagnosis.cause not in CURABLE:
        return Gate(name="cure known", passed=False, why=f"{said} Nothing opens this: a person has to cure it")
    opens = "remedy.means, for a program of the operator's that renews it"
    if diagnosis.remedy.kind is RemedyKind.REISSUE_AND_RESTART and diagnosis.plane == "kops":
        opens = "remedy.reissue, once it has expired, or with remedy.renew, where its CA's key is on this machine"
    return Gate(name="cure known", passed=False, why=f"{said} Opens with {opens}")


def authority(watched: Sequence[Stored], facts: Facts, means: Means | None, *, needs_key: bool) -> Gate:
    """The CA that would sign anew is good, and where nothing may be lost before it signs, its key is seen to be there."""
    for stored in watched:
        if not stored.place.ca_path and means is not None and means.renews:
            continue  # which one it is, only the operator knows
        cas = authorities(stored, facts)
        if not any(ca.not_before <= facts.at <= ca.not_after for ca in cas):
            return Gate(
                name="CA valid",
                passed=False,
                why=f"no valid CA was read from {stored.place.ca_path or 'beside ' + stored.certificate.path}; opens when one is",
            )
        if needs_key and stored.certificate.path not in facts.signable:
            why = f"the private key of the CA of {stored.certificate.path} is not on this machine, so nobody would issue it anew; opens when it is"
            return Gate(name="CA valid", passed=False, why=why)
    return Gate(
        name="CA valid",
        passed=bool(watched),
        why="the CA beside it is valid" if watched else "no file to be renewed is known; opens when one is read",
    )


def clock(diagnosis: Diagnosis, facts: Facts) -> Gate:
    """The clock is not known to be wrong, or another machine's clock says the same."""
    if facts.clock_synchronised is not False:
        return Gate(
            name="clock", passed=True, why="synchronised" if facts.clock_synchronised else "not known to be wrong"
        )
    if diagnosis.suspect is Suspect.OWN and diagnosis.neighbours:
        why = f"not synchronised, but {diagnosis.neighbours[0]} refuses the certificate by a clock of its own"
        return Gate(name="clock", passed=True, why=why)
    why = "this machine's clock is not synchronised (timedatectl), and no other machine refused the certificate: dates cannot be judged. Opens when it is"
    return Gate(name="clock", passed=False, why=why)


def fresh(diagnosis: Diagnosis, now: datetime, history: History) -> Gate:
    """It happens now, and was seen since this agent started: history may notify, never act."""
    seen = diagnosis.last_seen
    if seen is None:
        return Gate(name="fresh", passed=False, why="nothing has failed yet; opens with the first failing line")
    if seen < history.started_at:
        return Gate(
            name="fresh", passed=False, why=f"last seen {stamp(seen)}, before this agent started; opens with a new one"
        )
    if now - seen > FRESH_FOR:
        return Gate(
            name="fresh", passed=False, why=f"last seen {stamp(seen)}, more than 10 minutes ago; opens with a new one"
        )
    return Gate(name="fresh", passed=True, why=f"last seen {stamp(seen)}")


def neighbours(history: History) -> Gate:
    """No other member is known to be in trouble, so that the group keeps its quorum while this one restarts."""
    if history.troubled:
        whom = ", ".join(history.troubled)
        return Gate(
            name="members",
            passed=False,
            why=f"other members are refused too ({whom}): restarting this one could cost the quorum. Opens when they are not, or a person sets the order",
        )
    return Gate(name="members", passed=True, why="no other member's certificate is being refused here")


def cooldown(diagnosis: Diagnosis, now: datetime, history: History, policy: Policy) -> Gate:
    """The same target was not acted on a moment ago, nor for this incident at all."""
    for attempt in history.attempts:
        if attempt.incident == history.incident:
            return Gate(
                name="cool-down",
                passed=False,
                why=f"this incident was acted on already, {stamp(attempt.at)}, and is not a second time; a person must look. Opens for a new incident",
            )
        if attempt.target == diagnosis.remedy.target and now - attempt.at < policy.cooldown:
            return Gate(
                name="cool-down",
                passed=False,
                why=f"{attempt.target} was acted on {stamp(attempt.at)}; opens {stamp(attempt.at + policy.cooldown)}",
            )
    return Gate(name="cool-down", passed=True, why="not acted on lately")


def budget(now: datetime, history: History, policy: Policy) -> Gate:
    """The acts of a day are not used up."""
    begun = sorted(attempt.at for attempt in history.attempts if now - attempt.at < timedelta(days=1))
    used = len(begun)
    if used >= policy.per_day:
        opens = (
            f"opens {stamp(begun[-policy.per_day] + timedelta(days=1))}"
            if policy.per_day
            else "opens with more than none"
        )
        return Gate(
            name="budget",
            passed=False,
            why=f"{used} of {policy.per_day} acts of the last 24 hours are used (remedy.per_day); {opens}",
        )
    return Gate(name="budget", passed=True, why=f"{used} of {policy.per_day} acts of the last 24 hours are used")


def planned(diagnosis: Diagnosis, now: datetime, policy: Policy) -> Gate:
    """A cure before expiry is allowed so early, and now."""
    if not policy.plan_ahead or diagnosis.since is None:
        return Gate(
            name="window",
            passed=False,
            why="it has not expired yet, and nothing is planned; opens when it has, or so many days ahead (remedy.plan_ahead_days)",
        )
    opens = diagnosis.since - policy.plan_ahead
    if now < opens:
        return Gate(
            name="window",
            passed=False,
            why=f"planned cures begin {policy.plan_ahead.days} days ahead; opens {stamp(opens)}",
        )
    if policy.window is not None and not policy.window.is_open(now):
        return Gate(name="window", passed=False, why=f"opens with the maintenance window {policy.window.text}")
    return Gate(name="window", passed=True, why=f"planned: expires {stamp(diagnosis.since)}")


def breaker(history: History) -> Gate:
    """No act has failed since a person last looked."""
    if history.tripped:
        return Gate(
            name="breaker", passed=False, why=f"an act failed ({history.tripped}); opens with `certmedic reset`"
        )
    return Gate(name="breaker", passed=True, why="no act has failed")


def permission(watched: Sequence[Stored], history: History, policy: Policy, *, in_place: bool) -> Gate:
    """The operator allows it."""
    strange = set() if in_place else {stored.place.renewer for stored in watched} - set(policy.restart)
    if strange:
        names = ", ".join(sorted(strange))
        return Gate(name="mode", passed=False, why=f"remedy.restart does not list {names}; opens when it does")
    if policy.mode == "remedy":
        return Gate(name="mode", passed=True, why='mode is "remedy"')
    if policy.mode == "approve":
        if history.approved:
            return Gate(name="mode", passed=True, why=f"approved by {history.approved}")
        return Gate(
            name="mode", passed=False, why=f"waits for a person; opens with: certmedic approve {history.incident}"
        )
    return Gate(name="mode", passed=False, why=f'mode is "{policy.mode}"; opens with "remedy"')
