"""Acts: done as they were written down, verified, undone where they can be, and taken up again after a kill.

One act for an incident, and one verdict on it: what cannot be verified in time calls a person, and nothing is tried again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import Enum

from certmedic.core import examine
from certmedic.core.model import (
    Cause,
    Confidence,
    Container,
    Diagnosis,
    Facts,
    MessageKind,
    RemedyKind,
    Suspect,
    Trust,
)
from certmedic.core.verify import (
    cure_took,
    files_of,
    is_another,
    is_stopped,
    moved,
    runs_anew,
    successors,
    tells_its_starts,
)
from certmedic.edge.renew import Aside, Renewed, RenewError
from certmedic.edge.restart import RestartError
from certmedic.edge.store import Act, Incident, Store
from certmedic.edge.worker import Worker, WorkerError
from certmedic.teller import Teller, World

UNDER_WAY = ("intent", "done", "undoing")  # states of an act
VERIFY_EVERY = timedelta(seconds=2)
SILENT_FOR = timedelta(seconds=7)  # etcd's probers dial every 4 s
GRACE = timedelta(seconds=2)  # in which lines are still on their way
RESUME_AFTER = timedelta(
    seconds=15
)  # longer than a runtime takes to stop and start a container that it was told to restart
LOOK_AFTER = timedelta(seconds=15)  # at an incident whose cure failed: a person may cure it

Resolve = Callable[[Incident, str, datetime], None]
ClosedByNow = Callable[[Incident, Act, datetime], str | None]
Transaction = Callable[[], AbstractContextManager[None]]

log = logging.getLogger(__name__)


class _Came(Enum):
    """What became of an act that was tried."""

    DONE = "done"
    LATE = "late"  # moved aside; the restart was not seen to succeed
    FAILED = "failed"
    WRONG = "wrong"  # what was replaced is to be undone
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class _Outcome:
    act: Act
    came: _Came
    said: str


class Cures:
    """The hands' head: what is done with intents.

    `resolve` ends an incident; `judge_anew` has its lines judged by what is so now; `closed_by_now` says why an act of an earlier run is not to
    be done any more, "" where it is; `verify_for` is how long a cure may take.
    """

    def __init__(  # noqa: PLR0913 - the whole of what a cure touches
        self,
        store: Store,
        world: World,
        teller: Teller,
        hands: Worker,
        *,
        verify_for: timedelta,
        resolve: Resolve,
        judge_anew: Callable[[Incident], None],
        closed_by_now: ClosedByNow,
    ) -> None:
        self.store = store
        self.world = world
        self.teller = teller
        self.hands = hands
        self.verify_for = verify_for
        self._resolve = resolve
        self._judge_anew = judge_anew
        self._closed_by_now = closed_by_now
        self.over: set[str] = set()  # etcd groups in which an act has ended, so that others may act
        self.resuming: set[int] = set()  # intents of an earlier run, not yet known to be done or not

    def begin(self, now: datetime) -> None:
        """Have the intents of an earlier run looked at again, when the runtime is sure to be through with them."""
        for act in self.store.acts(state="intent"):
            self.resuming.add(act.id)
            # Not later than an earlier start said: who is killed again and again would never come to it.
            self.store.recheck_by("resume", act.incident, now + RESUME_AFTER)

    def accounts_for(self, diagnosis: Diagnosis) -> bool:
        """Whether what was found comes of an act that is under way on that group: if it lasts, it is found again afterwards.

        A file that was moved aside is missed until it is issued anew; one that was read before it was, and is shown since, is
        taken for one that is not in use.
        """
        missed = diagnosis.suspect is Suspect.OWN and diagnosis.cause is Cause.UNEXPLAINED
        if not (missed or diagnosis.is_unused):
            return False
        acting = (self.store.incident(act.incident) for act in self.store.acts() if act.state in UNDER_WAY)
        return any(
            incident.diagnosis.group == diagnosis.group
            and (missed or set(files_of(diagnosis)) <= set(files_of(incident.diagnosis)))
            for incident in acting
            if incident is not None
        )

    @property
    def busy(self) -> bool:
        """Whether something is being done."""
        return self.hands.busy

    def act(self, now: datetime) -> None:
        """Have the hands do what was written down. Runtimes and files are touched outside any transaction."""
        if self.hands.busy:
            return
        acts = [act for act in self.store.acts(state="intent") if act.id not in self.resuming]
        undoing = self.store.acts(state="undoing")
        groups, self.over = sorted(self.over), set()
        if acts or undoing or groups:
            self.hands.begin(lambda: self._work(acts, undoing, groups, now))

    def hear(self, now: datetime, transaction: Transaction) -> None:
        """Write down what became of acts, and have the hands do what follows from it."""
        heard = True
        while heard:
            heard = False
            while (result := self.hands.result(0)) is not None:
                heard = True
                if isinstance(result, _Outcome):
                    with transaction():
                        self._record(result, now)
                else:
                    log.error("the hands failed: %s", type(result).__name__)
            if heard:
                self.act(now)

    def end(self, now: Callable[[], datetime], transaction: Transaction, *, seconds: float) -> None:
        """Wait until an act that has begun is done, and write it down."""
        until = time.monotonic() + seconds
        while self.hands.busy and time.monotonic() < until:
            result = self.hands.result(0.2)
            if isinstance(result, _Outcome):
                with transaction():
                    self._record(result, now())

    def _work(
        self, acts: Sequence[Act], undoing: Sequence[Act], groups: Sequence[str], now: datetime
    ) -> Iterator[_Outcome]:
        """Do acts and undo others, on the hands' thread."""
        for act in acts:
            yield self._tried(act, now)
        for act in undoing:
            yield _Outcome(act, _Came.UNDONE, f"{act.detail}{self._undo(act)}")
        for group in groups:
            if self.world.lock is not None:
                self.world.lock.release(group)

    def _tried(self, act: Act, now: datetime) -> _Outcome:
        try:
            return _Outcome(act, _Came.DONE, self._do(act, now))
        except RestartError as error:
            if act.action.kind is RemedyKind.REISSUE_AND_RESTART:
                # It may come late. To find the expired file back then would be the outage, so that waits for the verdict.
                return _Outcome(act, _Came.LATE, f"moved aside, but {error}")
            return _Outcome(act, _Came.FAILED, str(error))
        except (RenewError, WorkerError) as error:
            return _Outcome(act, _Came.WRONG, str(error))
        except Exception as error:
            log.exception("the action on %s failed by a fault of certmedic", act.target)
            return _Outcome(act, _Came.WRONG, f"certmedic failed ({type(error).__name__}); its log has the details")

    def _record(self, outcome: _Outcome, now: datetime) -> None:
        """Write down what became of an act. Within a transaction."""
        match outcome.came:
            case _Came.DONE:
                self._done(outcome.act, outcome.said, now)
            case _Came.LATE:
                self._verify_soon(outcome.act, outcome.said, now)
            case _Came.FAILED | _Came.UNDONE:
                self.failed(outcome.act, outcome.said, now)
            case _Came.WRONG:
                self._went_wrong(outcome.act.id, outcome.said, now)

    def _write_down(self, act: Act, replaced: list[Mapping[str, str]]) -> None:
        """Have the owner of the state write down what can be undone, before it is done."""

        def write() -> None:
            with self.store.transaction():
                self.store.can_undo(act.id, replaced)

        self.hands.on_owner(write)

    def _do(self, act: Act, now: datetime) -> str:
        if act.action.container is None:
            return self._renew(act, now)
        if act.action.kind is RemedyKind.REISSUE_AND_RESTART:
            return f"{self._move_aside(act, now)}; {self.world.hands.restart(act.action.container)}"
        return self.world.hands.restart(act.action.container)

    def _move_aside(self, act: Act, now: datetime) -> str:
        """Move each file aside; what is to be put back if it does not help is written down before the first one is."""
        if act.undo:  # written down before a kill
            aside = [_aside(one) for one in act.undo]
        else:
            stored = {one.certificate.path: one for one in self.world.senses.gather(now=now).stored}
            missing = [path for path, _ in act.action.watched if path not in stored]
            if missing:
                raise RenewError(f"{missing[0]}: cannot be read any more")
            aside = [self.world.pen.plan_aside(stored[path]) for path, _ in act.action.watched]
            self._write_down(act, [asdict(one) for one in aside])
        for one in aside:
            self.world.pen.move_aside(one)
        return f"moved {', '.join(one.path for one in aside)} aside"

    def _renew(self, act: Act, now: datetime) -> str:
        """Sign each file anew; what each will be is written down before, so that a kill at any moment can be taken up again, and undone."""
        facts = self.world.senses.gather(now=now)
        replaced = {one["path"]: one for one in act.undo}

        def about_to(renewed: Renewed) -> None:
            replaced[renewed.path] = {key: str(value) for key, value in asdict(renewed).items()}
            self._write_down(act, list(replaced.values()))

        for path, before in act.action.watched:
            stored = next((one for one in facts.stored if one.certificate.path == path), None)
            if stored is None:
                raise RenewError(f"{path}: cannot be read any more")
            if stored.certificate.not_after <= before:  # else renewed before a kill, or by somebody else
                self.world.pen.renew(stored, now=now, about_to=about_to)
        return f"signed {', '.join(path for path, _ in act.action.watched)} anew in place; nothing was restarted"

    def _undo(self, act: Act) -> str:
        """Put back what an act replaced or moved, and return what came of it, for a sentence."""
        told = []
        for one in act.undo:
            try:
                if "not_after" not in one:
                    back = self.world.pen.put_back(_aside(one))
                    told.append(f"{one['path']} was put back" if back else f"{one['path']} is there, and was left so")
                    continue
                self.world.pen.undo(Renewed(**{**one, "not_after": datetime.fromisoformat(one["not_after"])}))  # type: ignore[arg-type]  # as asdict() wrote it
                told.append(f"{one['path']} was put back")
            except RenewError as error:
                told.append(str(error))
        return "".join(f"; {sentence}" for sentence in told)

    def _went_wrong(self, number: int, why: str, now: datetime) -> None:
        """Have an act undone where it can be, which is written down first, and given up."""
        act = next(act for act in self.store.acts() if act.id == number)
        if act.undo and (act.state == "done" or act.action.kind is RemedyKind.REISSUE_AND_RESTART):
            self.store.end_act(number, "undoing", why, now=now)
        else:
            self.failed(act, why, now)

    def _done(self, act: Act, said: str, now: datetime) -> None:
        self._verify_soon(act, said, now)
        incident = self.store.incident(act.incident)
        if incident is not None:
            self.teller.tell(MessageKind.ACTED, incident, now, outcome=said)

    def _verify_soon(self, act: Act, said: str, now: datetime) -> None:
        self.store.end_act(act.id, "done", said, now=now)
        self.store.event(act.incident, "acted", said, now=now)
        self.store.recheck("verify", act.incident, now + VERIFY_EVERY)

    def failed(self, act: Act, why: str, now: datetime) -> None:
        """One attempt, one verdict: a person is needed now, and this incident is not acted on again."""
        self.store.end_act(act.id, "failed", why, now=now)
        self.store.event(act.incident, "failed", why, now=now)
        incident = self.store.incident(act.incident)
        if incident is not None:
            self.over.add(incident.diagnosis.group)
            self.store.escalate(act.incident)
            self.teller.tell(MessageKind.ESCALATED, incident, now, outcome=why)
            self.store.recheck("incident", act.incident, now + LOOK_AFTER)

    def _withdraw(self, act: Act, why: str, now: datetime) -> None:
        """Take back what was not done: who has the lease, who is well and what has expired may be other than when it was written down."""
        self.store.end_act(act.id, "withdrawn", why, now=now)
        self.store.event(act.incident, "withdrawn", why, now=now)
        self.store.recheck("incident", act.incident, now)

    def verify(self, incident: Incident, facts: Facts, now: datetime) -> None:
        """Success is a NotAfter that moved, on disk and in a handshake, and silence of those who accused this machine."""
        acts = [act for act in self.store.acts(incident=incident.id) if act.state == "done"]
        if not acts:
            return
        act = acts[-1]
        good, said = cure_took(act.action.watched, facts)
        if good and act.action.container is not None and (down := runs_anew(act.action.container, facts)):
            good, said = False, f"{said}; but {down}"
        if good:
            self._judge_anew(incident)
        left = self._left(incident, act, facts)
        # Of the files and not of a moment that was remembered, which a kill would forget.
        watched = dict(act.action.watched)
        written = [s.modified for s in facts.stored if s.certificate.path in watched and s.modified <= now]
        since = max([act.ended_at or act.at, *written])
        accused = self._accused(incident, act, since + GRACE) if good and not left else ""
        out_of_time = now - (act.ended_at or act.at) > self.verify_for
        if good and not accused and (left or now - since > SILENT_FOR):
            self.over.add(incident.diagnosis.group)
            self.store.end_act(act.id, "verified", said, now=now)
            self._resolve(incident, said + left, now)
            if left:
                self.store.recheck("inventory", None, now)  # which makes it an incident of its own
        elif out_of_time and accused:
            self.failed(act, f"{said}; but {accused}", now)  # what is good is not undone
        elif out_of_time and not good:
            self._went_wrong(act.id, f"afterwards: {said}", now)
        else:
            self.store.recheck("verify", incident.id, now + VERIFY_EVERY)

    def _left(self, incident: Incident, act: Act, facts: Facts) -> str:
        """Return what an act on some of an incident's files has left to be done, for a sentence."""
        cured = {path for path, _ in act.action.watched}
        others = [path for path in files_of(incident.diagnosis) if path not in cured]
        healthy, why = examine.healthy(others, facts)
        return "" if healthy else f"; left for an act of its own: {why}"

    def _accused(self, incident: Incident, act: Act, since: datetime) -> str:
        """Return who still accuses this machine of the same, judged with the files as they are now; errors about others are not meant."""
        for other in self.store.incidents(unresolved=True):
            # Where only files were renewed, what a process holds in memory may be refused still, and is an incident of its own.
            same = other.id == incident.id or (
                act.action.kind is not RemedyKind.RENEW
                and other.opened_at >= act.at
                and (other.diagnosis.plane, other.diagnosis.group)
                == (incident.diagnosis.plane, incident.diagnosis.group)
            )
            # Anybody who reaches a port can provoke what is not proven.
            proven = other.diagnosis.confidence is Confidence.PROVEN and other.diagnosis.trust is Trust.SYSTEM
            seen = other.system_seen
            if same and proven and other.diagnosis.suspect is Suspect.OWN and seen is not None and seen > since:
                return f"this machine was still accused {examine.stamp(seen)}: {other.diagnosis.evidence[0]}"
        return ""

    def resume(self, incident: Incident, facts: Facts, now: datetime) -> None:
        """An earlier run wrote an act down and was killed: find out whether it did it, and only if not, do it."""
        for act in self.store.acts(state="intent", incident=incident.id):
            if act.id not in self.resuming:
                continue
            if act.action.container is None:
                self.resuming.discard(act.id)  # what was renewed already is passed over, the rest is done now
                continue
            container = act.action.container
            found = successors(container, facts)
            if moved(act.action.watched, facts) or (found and is_another(container, found[0])):
                self.resuming.discard(act.id)
                self._done(act, f"{container.name} was restarted; the agent was stopped before it could say so", now)
            elif found and tells_its_starts(container):
                # It was not restarted, and is now, if that is still right. What was moved aside wants its restart in any case.
                why = "" if act.undo else self._closed_by_now(incident, act, now)
                if why is None:
                    self.store.recheck("resume", incident.id, now)
                    continue
                self.resuming.discard(act.id)
                if why:
                    self._withdraw(act, why, now)
            elif now - act.at > self.verify_for:
                self.resuming.discard(act.id)
                self._went_wrong(act.id, _left_open(container), now)
            elif any(is_stopped(container, one) for one in facts.containers):
                self.resuming.discard(act.id)  # stopped, and not started: what is missing is done now
            else:
                # It may be in the middle of it. Look again until the time is up.
                self.store.recheck("resume", incident.id, now + VERIFY_EVERY)


def _aside(one: Mapping[str, str]) -> Aside:
    return Aside(path=one["path"], backup=one["backup"], fingerprint=one["fingerprint"])


def _left_open(container: Container) -> str:
    if tells_its_starts(container):
        return f"the agent was stopped while it restarted {container.name}, which does not run"
    return f"the agent was stopped while it was to run {container.id}; whether that ran cannot be told, so it is not run again"
