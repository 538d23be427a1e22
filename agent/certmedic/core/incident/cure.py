"""An action after the attempt: verified, undone, failed, or taken over from an earlier run.

Each incident gets one action and one verdict. If success is not seen in time, a person is called; nothing is tried again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from certmedic.core import examine, holders, planes, stale
from certmedic.core.incident.circumstances import MOST_REFUSALS, Circumstances, refused_for
from certmedic.core.incident.effects import (
    Effect,
    Escalate,
    Journal,
    JudgeAgain,
    LookAgain,
    MoveAct,
    Note,
    ReleaseLease,
    Take,
    Tell,
)
from certmedic.core.incident.over import resolved
from certmedic.core.incident.state import Act, ActState, Incident, IncidentState, RecheckKind
from certmedic.core.model import Confidence, Container, Decision, Facts, MessageKind, RemedyKind, Suspect, Trust
from certmedic.core.verdict import trusted
from certmedic.core.verify import (
    BACK_OFF,
    cure_took,
    files_of,
    is_another,
    is_stopped,
    may_start_late,
    moved,
    shows_restarts,
    started_since,
    successors,
    why_not_running,
)

VERIFY_EVERY = timedelta(seconds=2)
RELOADS_WITHIN = timedelta(seconds=65)  # kube-apiserver reads its files again each minute (FIELD 8.1)
SILENT_FOR = timedelta(seconds=7)  # etcd's probers dial every 4 s
ACCUSED_FOR = timedelta(seconds=90)  # after its last line; programs try again at least once a minute
GRACE = timedelta(seconds=2)  # for lines that are still on their way
LOOK_AFTER = timedelta(seconds=15)  # at an incident whose action failed: a person may have cured it


class Result(Enum):
    """The results of an attempt."""

    DONE = "done"
    LATE = "late"  # files were moved aside; the restart was not seen to succeed
    FAILED = "failed"
    WRONG = "wrong"  # the files that it replaced are to be put back
    UNDONE = "undone"
    REFUSED = "refused"  # by the actor, which changed nothing


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an action, or of undoing one."""

    act: int
    incident: int
    result: Result
    detail: str


def tried(outcome: Outcome, act: Act, incident: Incident, now: datetime, *, refusals: int = 0) -> list[Effect]:
    """Return the effects of an outcome. `act` and `incident` are as they are stored now; `refusals` is how many there were before."""
    match outcome.result:
        case Result.DONE:
            return _done(act, outcome.detail, now)
        case Result.LATE:
            return _to_be_verified(act, outcome.detail, now)
        case Result.REFUSED if refusals < MOST_REFUSALS:
            return _withdrawn(act, outcome.detail, now + refused_for(refusals))
        case Result.FAILED | Result.UNDONE | Result.REFUSED:
            return failed(act, incident, outcome.detail, now)
        case _:
            return _went_wrong(act, incident, outcome.detail, now)


def verify(incident: Incident, facts: Facts, around: Circumstances, now: datetime) -> list[Effect]:
    """Success is a later NotAfter, on disk and in a handshake, and silence of the programs that refused this machine."""
    acts = [act for act in around.acts_of(incident) if act.state is ActState.DONE]
    if not acts:
        return []
    act = acts[-1]
    # kube-apiserver may be down since its own or etcd's certificates expired. Until it starts, the files show the renewal.
    awaited = stale.silent_ports(trusted(facts)) if act.action.kind is RemedyKind.RENEW else frozenset()
    good, detail = cure_took(act.action.watched, facts, awaited=awaited)
    if good and act.action.container is not None and (down := why_not_running(act.action.container, facts)):
        good, detail = False, f"{detail}; but {down}"
    effects: list[Effect] = [JudgeAgain()] if good else []
    held = _held(act, facts) if good else ""
    left = _left(incident, act, facts)
    # Derived from file mtimes, so that it survives a crash.
    watched = dict(act.action.watched)
    files = [s for s in facts.stored if s.certificate.path in watched]
    written = [s.modified for s in files if s.modified <= now]
    since = max([act.ended_at or act.at, *written])
    if act.action.kind is RemedyKind.RENEW and any(planes.use_of(s.place.use).reloads_since for s in files):
        since += RELOADS_WITHIN  # until then it uses the certificate that it read before
    accused = _accused(incident, act, around, max(since + GRACE, now - ACCUSED_FOR)) if good and not left else ""
    out_of_time = now > _deadline(act, facts, around.terms.verify_for, held=bool(held))
    if good and not accused and not held and (left or now - since > SILENT_FOR):
        if act.action.kind is RemedyKind.RENEW:
            left += holders.in_manager(watched, trusted(facts))
        effects += [ReleaseLease(), MoveAct(act.id, ActState.VERIFIED, detail), *resolved(incident, detail + left, now)]
        if left:  # the inventory opens another incident for the rest
            effects.append(LookAgain(RecheckKind.INVENTORY, now))
        return effects
    if out_of_time and (held or accused):
        return effects + failed(act, incident, f"{detail}; but {held or accused}", now)  # good files are not undone
    if out_of_time and not good:
        return effects + _went_wrong(act, incident, detail, now)
    return [*effects, LookAgain(RecheckKind.VERIFY, now + VERIFY_EVERY)]


def _deadline(act: Act, facts: Facts, verify_for: timedelta, *, held: bool) -> datetime:
    """Return until when success must be seen. The kubelet may wait before it starts a static pod again; no cure counts as failed meanwhile."""
    ended = act.ended_at or act.at
    if held:
        return ended + max(verify_for, BACK_OFF)
    if may_start_late(act.action, act.at, facts):
        return ended + BACK_OFF
    began = started_since(act.action.container, ended, facts)
    return min(began, ended + BACK_OFF) + verify_for


def _held(act: Act, facts: Facts) -> str:
    """Return which program does not use the renewed files of an action yet, in a sentence; "" if all do."""
    if act.action.kind is not RemedyKind.RENEW:
        return ""
    return stale.still_held([path for path, _ in act.action.watched], trusted(facts))


def was_not_begun(act: Act, facts: Facts) -> bool:
    """Whether the facts show that an earlier run did not perform its restart."""
    container = act.action.container
    if container is None or moved(act.action.watched, facts):
        return False
    running = successors(container, facts)
    return bool(running) and not is_another(container, running[0]) and shows_restarts(container)


def resume(act: Act, incident: Incident, facts: Facts, around: Circumstances, now: datetime) -> list[Effect]:
    """Return the effects of a look at an action that an earlier run may have begun."""
    container = act.action.container
    if container is None or was_not_begun(act, facts):
        return [Take(act.id)]  # the hands skip files that were renewed already
    running = successors(container, facts)
    if moved(act.action.watched, facts) or (running and is_another(container, running[0])):
        detail = f"{container.name} was restarted; the agent was stopped before it could report that"
        return [Take(act.id), *_done(act, detail, now)]
    if now - act.at > around.terms.verify_for:
        return [Take(act.id), *_went_wrong(act, incident, _left_open(container), now)]
    if any(is_stopped(container, other) for other in facts.containers):
        return [Take(act.id)]  # stopped and not started: the hands start it now
    # The runtime may be in the middle of it. Look again until the time is up.
    return [LookAgain(RecheckKind.RESUME, now + VERIFY_EVERY)]


def begin_or_withdraw(act: Act, decision: Decision, now: datetime) -> list[Effect]:
    """Return the effects of the present decision on an action that an earlier run recorded and did not begin.

    Lease, member health and expiry may have changed since it was recorded.
    """
    if decision.action is not None and decision.action.container == act.action.container:
        return [Take(act.id)]
    why = decision.reason if decision.action is None else "something else is to be done by now"
    return [
        Take(act.id),
        MoveAct(act.id, ActState.WITHDRAWN, why),
        Note("withdrawn", why),
        LookAgain(RecheckKind.INCIDENT, now),
    ]


def _withdrawn(act: Act, why: str, again: datetime) -> list[Effect]:
    """Return the effects of an action that nobody began; the incident is looked at `again`, when the decision allows an action again."""
    return [
        MoveAct(act.id, ActState.WITHDRAWN, why),
        Note("withdrawn", why),
        ReleaseLease(),
        LookAgain(RecheckKind.INCIDENT, again),
    ]


def failed(act: Act, incident: Incident, why: str, now: datetime) -> list[Effect]:
    """Return the effects of a failed action: a person is called, and the incident gets no other action."""
    escalate: list[Effect] = [Escalate()] if incident.state is IncidentState.OPEN else []
    return [
        MoveAct(act.id, ActState.FAILED, why),
        Note("failed", why),
        ReleaseLease(),
        *escalate,
        Journal(MessageKind.ESCALATED, why),
        Tell(MessageKind.ESCALATED, why),
        LookAgain(RecheckKind.INCIDENT, now + LOOK_AFTER),
    ]


def _went_wrong(act: Act, incident: Incident, why: str, now: datetime) -> list[Effect]:
    """Undo an action if it replaced files, after recording that; otherwise it has failed."""
    if act.undo and (act.state is ActState.DONE or act.action.kind is RemedyKind.REISSUE_AND_RESTART):
        return [MoveAct(act.id, ActState.UNDOING, why)]
    return failed(act, incident, why, now)


def _done(act: Act, detail: str, now: datetime) -> list[Effect]:
    return [
        *_to_be_verified(act, detail, now),
        Journal(MessageKind.ACTED, detail),
    ]


def _to_be_verified(act: Act, detail: str, now: datetime) -> list[Effect]:
    return [
        MoveAct(act.id, ActState.DONE, detail),
        Note("acted", detail),
        LookAgain(RecheckKind.VERIFY, now + VERIFY_EVERY),
    ]


def _left(incident: Incident, act: Act, facts: Facts) -> str:
    """Return the files of the incident that the action did not cover, to be appended to a sentence; "" if all are healthy."""
    cured = {path for path, _ in act.action.watched}
    others = [path for path in files_of(incident.diagnosis) if path not in cured]
    healthy, why = examine.healthy(others, facts)
    return "" if healthy else f"; left for another action: {why}"


def _accused(incident: Incident, act: Act, around: Circumstances, since: datetime) -> str:
    """Return a sentence about a program that still refuses this machine for the same fault; "" if none does."""
    for other in around.others:
        # After a renewal in place, a process may still hold the old certificate: that is another incident.
        same = other.id == incident.id or (
            act.action.kind is not RemedyKind.RENEW
            and other.opened_at >= act.at
            and (other.diagnosis.plane, other.diagnosis.group) == (incident.diagnosis.plane, incident.diagnosis.group)
        )
        # Any caller of a port can provoke lines that nothing proves.
        proven = other.diagnosis.confidence is Confidence.PROVEN and other.diagnosis.trust is Trust.SYSTEM
        seen = other.system_seen
        if same and proven and other.diagnosis.suspect is Suspect.OWN and seen is not None and seen > since:
            return f"this machine was still accused {examine.stamp(seen)}: {other.diagnosis.evidence[0]}"
    return ""


def _left_open(container: Container) -> str:
    if shows_restarts(container):
        return f"the agent was stopped while it restarted {container.name}, which does not run"
    return (
        f"the agent was stopped while it was to run {container.id}; whether it ran is unknown, so it is not run again"
    )
