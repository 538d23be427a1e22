"""Answers one request, and writes its journal entries.

Whatever changes something is decided again here, on the actor's own facts, with its own budget, cool-down and breaker. The request only
chooses among the actions that the actor would take by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from certmedic.actor import checks
from certmedic.actor.ports import CertificateFiles, Eyes, Lock, Restarts
from certmedic.actor.record import Record
from certmedic.actor.surgery import Surgery
from certmedic.core import verify
from certmedic.core.decision import Policy, away
from certmedic.core.incident import Act, ActState
from certmedic.core.lease import access
from certmedic.core.message.requests import request_fields
from certmedic.core.model import Facts, Lease
from certmedic.core.request import Cure, Members, Release, Reply, Request, Take, Undo
from certmedic.ports import Entries

SEEN = (ActState.DONE, ActState.VERIFIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The process at the other end of the socket, as the kernel names it."""

    uid: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The means of one machine."""

    eyes: Eyes
    restarts: Restarts
    files: CertificateFiles
    lock: Lock
    boot_id: str


class Actor:
    """Answers requests on one machine, one at a time. Raises RecordError if its record cannot be read or written."""

    def __init__(  # noqa: PLR0913 - each is one part of it
        self,
        body: Body,
        record: Record,
        policy: Policy,
        *,
        verify_for: timedelta,
        entries: Entries,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._body = body
        self._record = record
        self._policy = policy
        self._verify_for = verify_for
        self._entries = entries
        self._now = now
        self._surgery = Surgery(
            record=record,
            hands=body.restarts,
            pen=body.files,
            look=lambda: body.eyes.gather(now=now()),
            now=now,
            sleep=sleep,
        )

    def take_up(self) -> None:
        """Finish or undo what a killed run left behind."""
        self._record.clock_went_back(self._now())
        for act in self._surgery.take_up():
            self._entries.emit(request_fields("taken-up", None, None, act=act, why=act.detail))

    def answer(self, request: Request, caller: Caller) -> Reply:
        """Return the reply to a request, and write its journal entry."""
        self.take_up()
        match request:
            case Members():
                reply = self._members()
            case Take():
                reply = self._take(request.group)
            case Release():
                reply = self._release(request.group)
            case Undo():
                return self._undo(request, caller)
            case _:
                return self._cure(request, caller)
        event = "answered" if reply.result == "answered" else "refused"
        self._entries.emit(request_fields(event, request, caller.uid, caller.pid, why=reply.why))
        return reply

    # ------------------------------------------------------------ questions

    def _members(self) -> Reply:
        members = self._body.eyes.meet(self._record.members)
        self._record.keep_members(members)
        return Reply(result="answered", why=f"{len(members)} etcds here are known", members=members)

    def _facts(self) -> Facts:
        """Return the facts of this moment, with the other members."""
        known = self._body.eyes.meet(self._record.members)
        self._record.keep_members(known)
        facts = self._body.eyes.gather(now=self._now(), with_members=True)
        silent = away(facts.members, self._record.away, facts.at)
        self._record.keep_away(silent)  # an actor ends when it is idle, and must not wait for a member for ever
        return replace(facts, away=silent)

    def _past(self, facts: Facts) -> checks.Past:
        return checks.Past(
            attempts=self._record.attempts(self._now()),
            tripped=self._record.tripped(),
            under_way=self._under_way(facts),
        )

    def _under_way(self, facts: Facts) -> tuple[str, ...]:
        """Return the targets of restarts that have not replaced a file yet and still have time to: main and events, one after the other."""
        restarts = (act for act in self._record.acts if act.state is ActState.DONE and act.action.container is not None)
        return tuple(act.target for act in restarts if not _is_replaced(act, facts) and not self._is_late(act, facts))

    def _take(self, group: str) -> Reply:
        """Take the lease of a group only if the actor would act on that group now."""
        facts = self._facts()
        known = checks.proposals(facts, self._policy, self._past(facts), group=group)
        if not any(checks.wants_lease(proposal.decision) for proposal in known):
            why = known[0].decision.reason if known else checks.NOTHING
            return Reply(result="refused", why=why, lease=Lease(state="none", why=f"the actor took no lease: {why}"))
        lease = self._body.lock.take(group, access(facts, group))
        return Reply(result="answered", why=lease.why, lease=lease)

    def _release(self, group: str) -> Reply:
        self._body.lock.release(group, access(self._body.eyes.gather(now=self._now(), with_members=True), group))
        return Reply(result="answered", why="released")

    # ------------------------------------------------------------ cures

    def _cure(self, request: Cure, caller: Caller) -> Reply:
        known = self._record.latest(request.ref)
        if known is not None and known.state is not ActState.WITHDRAWN:  # asked again, after a reply was lost
            result = "done" if known.state in SEEN else "failed"
            self._entries.emit(request_fields("answered", request, caller.uid, caller.pid, act=known, why=known.detail))
            return Reply(result=result, why=known.detail)
        facts = self._facts()
        self._settle(facts)
        chosen = checks.asked(request, checks.proposals(facts, self._policy, self._past(facts)))
        if isinstance(chosen, str):
            return self._refuse(request, caller, chosen)
        group = chosen.diagnosis.group
        way = access(facts, group)
        if checks.wants_lease(chosen.decision):
            lease = self._body.lock.take(group, way)
            chosen = checks.with_lease(chosen, facts, lease, self._policy, self._past(facts))
        action = chosen.decision.action
        if action is None:
            return self._refuse(request, caller, chosen.decision.reason)
        action = checks.narrowed(action, request)
        act = self._record.intend(
            request.ref, chosen.diagnosis.remedy.target, action, boot_id=self._body.boot_id, now=self._now()
        )
        self._entries.emit(
            request_fields("began", request, caller.uid, caller.pid, act=act, why=chosen.decision.reason)
        )
        act, result = self._surgery.perform(act, facts)
        event = "failed" if result == "failed" else "performed"
        self._entries.emit(request_fields(event, request, caller.uid, caller.pid, act=act, why=act.detail))
        return Reply(result=result, why=act.detail)

    def _refuse(self, request: Cure | Undo, caller: Caller, why: str) -> Reply:
        self._entries.emit(request_fields("refused", request, caller.uid, caller.pid, why=why))
        return Reply(result="refused", why=why)

    def _settle(self, facts: Facts) -> None:
        """Judge earlier actions: if nothing came of one in time, undo it, which closes the breaker."""
        for act in self._record.acts:
            if act.state is ActState.DONE and self._is_late(act, facts) and not _is_replaced(act, facts):
                act = self._surgery.undo(act, "no later certificate came of it")  # noqa: PLW2901 - its next state
                self._entries.emit(request_fields("failed", None, None, act=act, why=act.detail))

    def _undo(self, request: Undo, caller: Caller) -> Reply:
        act = self._record.latest(request.ref)
        if act is None or act.state is ActState.WITHDRAWN:
            return self._refuse(request, caller, "there is no such action, so there is nothing to undo")
        if act.state is ActState.FAILED:
            return Reply(result="done", why=self._said(request, caller, act))
        facts = self._body.eyes.gather(now=self._now(), nameless=True)
        good, detail = verify.cure_took(act.action.watched, facts)
        if good:
            return self._refuse(request, caller, f"it took, so it is not undone: {detail}")
        if not self._is_late(act, facts):
            return self._refuse(request, caller, f"it has {self._verify_for} to take; ask again after that")
        act = self._surgery.undo(act, f"it did not take: {detail}")
        return Reply(result="done", why=self._said(request, caller, act))

    def _said(self, request: Undo, caller: Caller, act: Act) -> str:
        self._entries.emit(request_fields("undone", request, caller.uid, caller.pid, act=act, why=act.detail))
        return act.detail

    def _is_late(self, act: Act, facts: Facts) -> bool:
        """Whether an action had its time to take: from its end on, or from the start of the container that it restarted."""
        ended, container = act.ended_at or act.at, act.action.container
        if verify.may_start_late(act.action, act.at, facts):
            return self._now() - ended > verify.BACK_OFF
        began = min(verify.started_since(container, ended, facts), ended + verify.BACK_OFF)
        return self._now() - began > self._verify_for


def _is_replaced(act: Act, facts: Facts) -> bool:
    """Whether no file holds the certificate of before. The one that came may have expired since.

    A file that is gone proves nothing, as on a volume that went to another master. One that was moved aside must come again.
    """
    ends = {path: stored.certificate.not_after for path, stored in verify.leaves(facts).items()}
    return all(ends.get(path, before if act.undo else None) != before for path, before in act.action.watched)


def policy_for(policy: Policy) -> Policy:
    """Return the policy of the actor: a person's approval is between that person and the agent."""
    return replace(policy, mode="remedy") if policy.mode == "approve" else policy
