"""The life of an incident: each look at it reports it, decides on an action, or ends it.

`advance` is the only entry. It is pure: the same arguments lead to the same effects.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from certmedic.core import blind, clocks, holders, issuers, message, remedies, stale, verdict
from certmedic.core.decision import decide, urgency
from certmedic.core.incident import cure, group
from certmedic.core.incident.accusation import leaves_it_to
from certmedic.core.incident.circumstances import Circumstances
from certmedic.core.incident.effects import Decide, Effect, Intend, Journal, LookAgain, Note, Rejudge, TakeLease, Tell
from certmedic.core.incident.over import resolved
from certmedic.core.incident.state import UNDER_WAY, Act, Incident, IncidentState, RecheckKind
from certmedic.core.model import Cause, Decision, Diagnosis, Facts, MessageKind, Severity, Suspect

LOOK_EVERY = timedelta(seconds=15)  # at an incident that can be verified by looking at files
QUIET_LOOK_EVERY = timedelta(minutes=1)
QUIET_FOR = timedelta(minutes=15)  # an incident that cannot be verified here ends after so long without a line
HISTORY = timedelta(minutes=1)  # before the start; younger lines may have come during a restart of the agent
MOST_OPEN = 8  # incidents of one cause that are reported at a time
MOST_AT_ONCE = 2  # of these, incidents that opened together: the third message is the digest of the rest
AT_ONCE = timedelta(minutes=10)  # incidents that open within so long opened together
MOST_AN_HOUR = 12  # incidents of one severity that are reported
DIGEST_AFTER = timedelta(minutes=1)
TAKES_UP = timedelta(minutes=2)  # for programs to take up renewed files, before a fault of these files is reported
HELD_BACK = "held back"  # the event of an incident that is not reported for now


def advance(due: RecheckKind, incident: Incident, facts: Facts, around: Circumstances, now: datetime) -> list[Effect]:
    """Return the effects of the look at an incident for which a recheck of kind `due` is due. Only that of a group is resolved."""
    match due:
        case RecheckKind.ANNOUNCE:
            return _announce(incident, facts, around, now)
        case RecheckKind.INCIDENT:
            return _reconsider(incident, facts, around, now)
        case RecheckKind.VERIFY:
            return cure.verify(incident, facts, around, now)
        case RecheckKind.RESUME:
            return _resume(incident, facts, around, now)
        case RecheckKind.REMIND:
            return _remind(incident, around, now)
        case RecheckKind.GROUP:
            return group.awaits(incident, facts, around, now)
        case _:
            raise ValueError(f"{due} is of the whole machine")


def look_every(incident: Incident) -> timedelta:
    """Return the time until the next look. Each look shakes hands, so one that is not urgent waits longer."""
    return LOOK_EVERY if incident.diagnosis.severity is Severity.CRITICAL else QUIET_LOOK_EVERY


def _announce(incident: Incident, facts: Facts, around: Circumstances, now: datetime) -> list[Effect]:
    """Report a new incident, with the decision on it."""
    if (end := _end(incident, facts, around, now)) is not None:
        return _ended(incident, end, facts, around, now)
    effects: list[Effect] = []
    for fault in verdict.survey(facts, warn_within=timedelta()):
        if fault.key == incident.key:  # other files of the same renewer that broke with it
            joined = verdict.joined_diagnosis(incident.diagnosis, fault)
            incident = replace(incident, diagnosis=joined)
            effects.append(Rejudge(joined))
    if seen := _witnessed(incident.diagnosis, facts):
        remedy = incident.diagnosis.remedy
        judged = replace(incident.diagnosis, remedy=replace(remedy, why=f"{remedy.why} Seen: {seen}."))
        incident = replace(incident, diagnosis=judged)
        effects += [Rejudge(judged), Note("seen", seen, once=True)]
    if (held := _renewed_but_held(incident.diagnosis, facts)) is not None:
        incident = replace(incident, diagnosis=held)
        effects.append(Rejudge(held))
    decision, waits = _decided(incident, facts, around, now)
    if waits:
        return [*effects, TakeLease(), LookAgain(RecheckKind.ANNOUNCE, now)]
    effects += decision
    effects.append(LookAgain(RecheckKind.REMIND, remind_at(incident, around, now)))
    return [*effects, LookAgain(RecheckKind.INCIDENT, now + look_every(incident), often=True)]


def _witnessed(diagnosis: Diagnosis, facts: Facts) -> str:
    """Return what this machine and the members show of a wrong CA or clock, for a sentence; "" if nothing, or for other causes."""
    if diagnosis.cause is Cause.UNKNOWN_AUTHORITY:
        return issuers.odd_one_out(facts, diagnosis.group)
    return "; ".join(clocks.witnesses(facts)) if diagnosis.cause in (Cause.CLOCK, Cause.NOT_YET_VALID) else ""


def _reconsider(incident: Incident, facts: Facts, around: Circumstances, now: datetime) -> list[Effect]:
    """Look at an incident again: is it over, or may an action be taken by now?"""
    acts = around.acts_of(incident)
    if any(act.state in UNDER_WAY for act in acts):
        return [LookAgain(RecheckKind.INCIDENT, now + LOOK_EVERY, often=True)]
    if (end := _end(incident, facts, around, now)) is not None:
        return _ended(incident, end, facts, around, now)
    effects: list[Effect] = []
    if (held := _renewed_but_held(incident.diagnosis, facts)) is not None and held != incident.diagnosis:
        incident = replace(incident, diagnosis=held)
        effects = [Rejudge(held), Note("renewed", held.remedy.why, once=True)]
    if incident.state is IncidentState.OPEN:
        decision, waits = _decided(incident, facts, around, now)
        if waits:
            return [*effects, TakeLease(), LookAgain(RecheckKind.INCIDENT, now)]
        effects += decision
    elif incident.announced_at is None and acts:  # the silence under which its action failed has ended
        effects = [Tell(MessageKind.ESCALATED, acts[-1].detail)]
    return [*effects, LookAgain(RecheckKind.INCIDENT, now + look_every(incident), often=True)]


def _remind(incident: Incident, around: Circumstances, now: datetime) -> list[Effect]:
    again = LookAgain(RecheckKind.REMIND, remind_at(incident, around, now))
    if incident.announced_at is None:
        return [again]
    if (due := remind_at(incident, around, incident.announced_at)) > now:  # it was first left to another master
        return [LookAgain(RecheckKind.REMIND, due)]
    return [Journal(MessageKind.REMINDER), Tell(MessageKind.REMINDER), again]


def remind_at(incident: Incident, around: Circumstances, now: datetime) -> datetime:
    """Return when people are reminded of an incident next: of a forecast at its next threshold."""
    later = now + around.terms.remind_every
    diagnosis = incident.diagnosis
    if diagnosis.cause is not Cause.EXPIRES_SOON:
        return later
    ends = [leaf.not_after for leaf in diagnosis.certificates]
    coming = around.terms.thresholds(diagnosis.plane, ends, now)
    return min(coming, default=max([*ends, now]) + around.terms.remind_every)  # by then another incident replaces it


def _resume(incident: Incident, facts: Facts, around: Circumstances, now: datetime) -> list[Effect]:
    """Find out whether an earlier run, which was killed, performed its action. Perform it only if not."""
    effects: list[Effect] = []
    for act in around.acts_of(incident):
        if act.id not in around.resuming:
            continue
        if not cure.was_not_begun(act, facts) or act.undo:  # files that were moved aside need the restart in any case
            effects += cure.resume(act, incident, facts, around, now)
            continue
        decision = _ask(incident, facts, around, now, act)
        if decision is None:
            return [*effects, TakeLease(), LookAgain(RecheckKind.RESUME, now)]
        effects += cure.begin_or_withdraw(act, decision, now)
    return effects


def _decided(incident: Incident, facts: Facts, around: Circumstances, now: datetime) -> tuple[list[Effect], bool]:
    """Return the effects of the decision on an incident, and whether it needs the lease first."""
    diagnosis = counted(incident).diagnosis
    decision = _ask(incident, facts, around, now)
    if decision is None:
        return [], True
    effects: list[Effect] = []
    changed = incident.decision is None or incident.decision.reason != decision.reason
    if changed:
        effects.append(Note("decided", decision.reason))
    effects.append(Decide(decision, diagnosis))
    if changed and decision.action is None and diagnosis.suspect is Suspect.OWN and diagnosis.cause is not Cause.BLIND:
        effects.append(Journal("decided"))
    if incident.announced_at is None:
        effects += _report(incident, decision, facts, around, now)
    elif incident.severity is Severity.WARNING and urgency(diagnosis, decision, failed=False) is Severity.CRITICAL:
        effects.append(Tell(MessageKind.ESCALATED, decision.reason))  # it was to be fixed without a person
    if decision.action is not None:
        effects += [
            Intend(decision.action, diagnosis.remedy.target),
            Note("intent", decision.reason),
            Journal("intent"),
        ]
    return effects, False


def counted(incident: Incident) -> Incident:
    """Return an incident whose diagnosis states how many lines were counted, and when the last trusted one was logged."""
    last = incident.system_seen if incident.count else None
    return replace(incident, diagnosis=replace(incident.diagnosis, count=incident.count, last_seen=last))


def _ask(
    incident: Incident, facts: Facts, around: Circumstances, now: datetime, act: Act | None = None
) -> Decision | None:
    """Return the decision on an incident, as if an `act` of an earlier run had not begun.

    None: the decision needs the lease of the etcd group, which was not requested yet.
    """
    diagnosis = counted(incident).diagnosis
    history = around.history(incident, now, act=act)
    decision = decide(diagnosis, facts, history, around.terms.policy)
    if decision.action is None or decision.action.container is None or not around.with_lease:
        return decision
    if around.lease is None:
        return None
    return decide(diagnosis, replace(facts, lease=around.lease), history, around.terms.policy)


def _report(incident: Incident, decision: Decision, facts: Facts, around: Circumstances, now: datetime) -> list[Effect]:
    """Report an incident, or leave it to the next digest, or record it alone."""
    if is_history(incident, facts, around):
        return [Note("not reported", "it was last seen before this agent started, and no file shows it", once=True)]
    is_own = incident.diagnosis.suspect is Suspect.OWN and incident.diagnosis.cause is Cause.EXPIRED
    if is_own and now < incident.opened_at + TAKES_UP:
        good, _ = message.renewed(incident.diagnosis, facts)  # by a person or a timer, a moment ago
        if good:
            return [Note("not reported", "every file was renewed, and its programs are taking it up", once=True)]
    if (left := leaves_it_to(incident, facts, around, now)) is not None:
        return [left]
    if (left := group.left_to(incident, decision, facts, around, now)) is not None:
        return [left]
    reason = held_back(incident, around)
    if reason is None:
        names = group.fellows(incident, facts)
        leads = [Note(group.LEADS, names, once=True)] if names else []
        return [*leads, Tell(MessageKind.OPENED, names)]
    return [Note(HELD_BACK, reason, once=True), LookAgain(RecheckKind.DIGEST, now + DIGEST_AFTER, at_latest=True)]


def is_history(incident: Incident, facts: Facts, around: Circumstances) -> bool:
    """Whether a fault was last seen well before this agent started and no file shows it, so that it may be over."""
    diagnosis = incident.diagnosis
    by_files = diagnosis.cause in (Cause.BLIND, Cause.EXPIRES_SOON) or verdict.is_over(diagnosis, facts) is not None
    return not by_files and incident.last_seen < around.started_at - HISTORY


def held_back(incident: Incident, around: Circumstances) -> str | None:
    """Return why an incident is not reported now; None if it is."""
    if incident.diagnosis.severity is Severity.INFO:
        return None
    reported = [
        other
        for other in around.others
        if other.announced_at is not None and other.diagnosis.cause is incident.diagnosis.cause
    ]
    if len(reported) >= MOST_OPEN:
        return f"{MOST_OPEN} incidents of this cause are open and were reported"
    if sum(abs(incident.opened_at - other.opened_at) <= AT_ONCE for other in reported) >= MOST_AT_ONCE:
        return f"{MOST_AT_ONCE} incidents of this cause opened at the same time and were reported"
    if around.told_of >= MOST_AN_HOUR:
        return f"{MOST_AN_HOUR} incidents of this severity were reported within the last hour"
    return None


def _renewed_but_held(diagnosis: Diagnosis, facts: Facts) -> Diagnosis | None:
    """Return the diagnosis of files that are renewed by now, with the restart that is still due; None if no program holds the old ones."""
    of_files = diagnosis.suspect is Suspect.OWN and diagnosis.cause in (Cause.EXPIRES_SOON, Cause.EXPIRED)
    if not of_files or diagnosis.is_unused or not message.renewed(diagnosis, facts)[0]:
        return None
    late = holders.held(_paths(diagnosis), verdict.trusted(facts))
    programs = {program.name: program for those in late.values() for program in those}
    if not programs:
        return None
    pids = [program.pid for program in programs.values()]
    return replace(diagnosis, remedy=remedies.for_holders(list(programs), diagnosis.plane, pids=pids))


def _paths(diagnosis: Diagnosis) -> tuple[str, ...]:
    return tuple(dict.fromkeys(leaf.path for leaf in diagnosis.certificates if leaf.path))


def _ended(incident: Incident, end: str, facts: Facts, around: Circumstances, now: datetime) -> list[Effect]:
    """Return the effects of an incident's end. Forecasts of its files end with it, unless another master reports the group."""
    warned = () if group.LEFT in around.happened else around.warned
    return resolved(incident, end, now, warned=warned, sick=group.still_sick(incident, facts))


def _end(incident: Incident, facts: Facts, around: Circumstances, now: datetime) -> str | None:
    """Return a sentence that says what ended an incident; None while it lasts."""
    diagnosis = incident.diagnosis
    if diagnosis.cause is Cause.BLIND:
        announced = incident.announced_at is not None
        return blind.end(diagnosis.source, around.reads_since, now, announced=announced)
    if diagnosis.cause is Cause.EXPIRES_SOON:
        good, reason = message.renewed(diagnosis, facts)
        if not good or stale.still_held(_paths(diagnosis), verdict.trusted(facts)):
            return None
        if group.LEADS not in around.happened:
            return reason
        return f"{reason}; each other master reports itself if nothing is renewed there"
    judged = verdict.is_over(diagnosis, facts)
    if judged is not None:
        return judged[1] if judged[0] else None
    if now - max(incident.last_seen, incident.opened_at) > QUIET_FOR:
        minutes = int(QUIET_FOR.total_seconds() // 60)
        return f"no failure was logged for {minutes} minutes; whether it was fixed cannot be verified on this machine"
    return None
