"""The actor's own decision: from its own facts and history to the actions that it would take.

It believes no diagnosis of the agent. It surveys the certificates itself and asks the gates of `core/decision` about each fault.
No log line counts here: a certificate that was read at its place and has expired is the evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certmedic.core import verdict
from certmedic.core.decision import History, Policy, decide
from certmedic.core.model import Action, Attempt, Cause, Decision, Diagnosis, Facts, Lease, RemedyKind
from certmedic.core.request import Cure, Restart, asks_for

NOTHING = "no certificate at its place on this machine has expired, as far as the actor can see"


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The earlier actions of the actor."""

    attempts: tuple[Attempt, ...] = ()
    tripped: str = ""
    under_way: tuple[str, ...] = ()  # targets of restarts that are not verified yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One fault, and the decision on it."""

    diagnosis: Diagnosis
    decision: Decision


def proposals(facts: Facts, policy: Policy, past: Past, *, group: str | None = None) -> list[Proposal]:
    """Return the decision on each fault of this machine's certificates; with `group`, only on those of an etcd group."""
    faults = verdict.survey(facts, warn_within=policy.plan_ahead)
    return [
        Proposal(
            diagnosis=diagnosis, decision=decide(diagnosis, facts, _history(diagnosis, facts, policy, past), policy)
        )
        for diagnosis in (replace(fault, last_seen=facts.at) for fault in faults)
        if group is None or diagnosis.group == group
    ]


def with_lease(proposal: Proposal, facts: Facts, lease: Lease, policy: Policy, past: Past) -> Proposal:
    """Return a proposal, decided again with the answer about the lease."""
    diagnosis = proposal.diagnosis
    history = _history(diagnosis, facts, policy, past)
    return replace(proposal, decision=decide(diagnosis, replace(facts, lease=lease), history, policy))


def asked(request: Cure, known: Sequence[Proposal]) -> Proposal | str:
    """Return the proposal that a request asks for, or why there is none."""
    for proposal in known:
        if proposal.decision.action is not None and asks_for(request, proposal.decision.action):
            return proposal
    if not known:
        return NOTHING
    shut = [proposal.decision.reason for proposal in known if proposal.decision.action is None]
    return shut[0] if shut else f"the actor would do something else: {known[0].decision.reason}"


def narrowed(action: Action, request: Cure) -> Action:
    """Return an action with no more files than the request has. A restart has all: it reissues what it reissues."""
    if isinstance(request, Restart):
        return action
    return replace(action, watched=tuple(item for item in action.watched if item[0] in request.paths))


def wants_lease(decision: Decision) -> bool:
    """Whether a decision restarts something."""
    return decision.action is not None and decision.action.kind is not RemedyKind.RENEW


def _history(diagnosis: Diagnosis, facts: Facts, policy: Policy, past: Past) -> History:
    return History(
        started_at=facts.at,  # the fault is seen now, which the gate `fresh` asks
        attempts=past.attempts,
        tripped=past.tripped,
        under_way=next((target for target in past.under_way if target != diagnosis.remedy.target), ""),
        waiting_since=_since(diagnosis, facts.at, policy.plan_ahead),
    )


def _since(diagnosis: Diagnosis, now: datetime, ahead: timedelta) -> datetime:
    """Return since when this member has had to wait for its turn: the certificate says it, so that no memory is needed."""
    if diagnosis.since is None:
        return now
    begun = diagnosis.since - ahead if diagnosis.cause is Cause.EXPIRES_SOON else diagnosis.since
    return min(begun, now)
