"""The hands perform actions that were recorded, and undo them, on their own thread. No other module touches runtimes and files.

The loop records what an action replaces before the hands replace it. So the agent can be killed at any moment and resume.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from certmedic.core.incident import Act, ActState, Outcome, RecheckKind, Result
from certmedic.core.model import RemedyKind
from certmedic.edge.renew import RenewError
from certmedic.edge.restart import RestartError
from certmedic.edge.store import Store
from certmedic.edge.worker import Worker, WorkerError
from certmedic.ports import Aside, Renewed, World

# Longer than a runtime takes to restart a container.
RESUME_AFTER = timedelta(seconds=15)

log = logging.getLogger(__name__)


class Performer:
    """Gives the hands recorded actions, one job at a time."""

    def __init__(self, store: Store, world: World, hands: Worker) -> None:
        self._store = store
        self._world = world
        self._hands = hands
        self.over: set[str] = set()  # etcd groups whose lease is to be released: no action on them is under way
        self.resuming: set[int] = set()  # actions of an earlier run that may have begun

    def take_up(self, now: datetime) -> None:
        """Schedule a look at the actions of an earlier run, late enough for a runtime to have finished them."""
        for act in self._store.acts(state=ActState.INTENT):
            self.resuming.add(act.id)
            # Keep the earlier deadline. A crash loop must not postpone it.
            self._store.recheck_by(RecheckKind.RESUME, act.incident, now + RESUME_AFTER)

    @property
    def busy(self) -> bool:
        """Whether an action is under way."""
        return self._hands.busy

    def begin(self, now: datetime) -> None:
        """Start the recorded actions, undo those that failed, and release leases. Does nothing while the hands are busy."""
        if self._hands.busy:
            return
        acts = [act for act in self._store.acts(state=ActState.INTENT) if act.id not in self.resuming]
        undoing = self._store.acts(state=ActState.UNDOING)
        groups, self.over = sorted(self.over), set()
        if acts or undoing or groups:
            self._hands.begin(lambda: self._work(acts, undoing, groups, now))

    def outcomes(self) -> Iterator[Outcome]:
        """Return the outcomes since the last call."""
        while (result := self._hands.result(0)) is not None:
            if isinstance(result, Outcome):
                yield result
            else:
                log.error("the hands failed: %s", type(result).__name__)

    def last_outcomes(self, *, seconds: float) -> Iterator[Outcome]:
        """Wait for the outcome of the action that is under way, at most `seconds`."""
        until = time.monotonic() + seconds
        while self._hands.busy and time.monotonic() < until:
            result = self._hands.result(0.2)
            if isinstance(result, Outcome):
                yield result

    # ------------------------------------------------------------ on the hands' thread

    def _work(
        self, acts: Sequence[Act], undoing: Sequence[Act], groups: Sequence[str], now: datetime
    ) -> Iterator[Outcome]:
        for act in acts:
            result, detail = self._try(act, now)
            yield Outcome(act.id, act.incident, result, detail)
        for act in undoing:
            yield Outcome(act.id, act.incident, Result.UNDONE, f"{act.detail}{self._undo(act)}")
        for group in groups:
            if self._world.lock is not None:
                self._world.lock.release(group)

    def _try(self, act: Act, now: datetime) -> tuple[Result, str]:
        try:
            return Result.DONE, self._do(act, now)
        except RestartError as error:
            if act.action.kind is RemedyKind.REISSUE_AND_RESTART:
                # The restart may still happen. Putting the expired file back then would cause the outage: leave that to verify().
                return Result.LATE, f"moved aside, but {error}"
            return Result.FAILED, str(error)
        except (RenewError, WorkerError) as error:
            return Result.WRONG, str(error)
        except Exception as error:
            log.exception("the action on %s failed by a fault of certmedic", act.target)
            return Result.WRONG, f"certmedic failed ({type(error).__name__}); its log has the details"

    def _do(self, act: Act, now: datetime) -> str:
        if act.action.container is None:
            return self._renew(act, now)
        if act.action.kind is RemedyKind.REISSUE_AND_RESTART:
            return f"{self._move_aside(act, now)}; {self._world.hands.restart(act.action.container)}"
        return self._world.hands.restart(act.action.container)

    def _record(self, act: Act, replaced: list[Mapping[str, str]]) -> None:
        """Have the loop record what can be undone, and wait until it has."""

        def write() -> None:
            with self._store.transaction():
                self._store.can_undo(act.id, replaced)

        self._hands.on_owner(write)

    def _move_aside(self, act: Act, now: datetime) -> str:
        """Move each file aside, after the loop has recorded where each will lie."""
        if act.undo:  # recorded by an earlier run
            files = [_aside(record) for record in act.undo]
        else:
            stored = {file.certificate.path: file for file in self._world.senses.gather(now=now).stored}
            missing = [path for path, _ in act.action.watched if path not in stored]
            if missing:
                raise RenewError(f"{missing[0]}: cannot be read any more")
            files = [self._world.pen.plan_aside(stored[path]) for path, _ in act.action.watched]
            self._record(act, [asdict(file) for file in files])
        for file in files:
            self._world.pen.move_aside(file)
        return f"moved {', '.join(file.path for file in files)} aside"

    def _renew(self, act: Act, now: datetime) -> str:
        """Renew each file in place, after the loop has recorded what its new certificate will be."""
        facts = self._world.senses.gather(now=now)
        replaced = {record["path"]: record for record in act.undo}

        def about_to(renewed: Renewed) -> None:
            replaced[renewed.path] = {key: str(value) for key, value in asdict(renewed).items()}
            self._record(act, list(replaced.values()))

        for path, before in act.action.watched:
            stored = next((file for file in facts.stored if file.certificate.path == path), None)
            if stored is None:
                raise RenewError(f"{path}: cannot be read any more")
            if stored.certificate.not_after <= before:  # else it was renewed already, by an earlier run or a person
                self._world.pen.renew(stored, now=now, about_to=about_to)
        return f"renewed {', '.join(path for path, _ in act.action.watched)} in place; nothing was restarted"

    def _undo(self, act: Act) -> str:
        """Put back what an action replaced or moved. Returns the result of each file, to be appended to a sentence."""
        results = []
        for record in act.undo:
            try:
                if "not_after" not in record:
                    back = self._world.pen.put_back(_aside(record))
                    path = record["path"]
                    results.append(f"{path} was put back" if back else f"{path} exists again and was left as it is")
                    continue
                self._world.pen.undo(Renewed(**{**record, "not_after": datetime.fromisoformat(record["not_after"])}))  # type: ignore[arg-type]  # as asdict() wrote it
                results.append(f"{record['path']} was put back")
            except RenewError as error:
                results.append(str(error))
        return "".join(f"; {result}" for result in results)


def _aside(record: Mapping[str, str]) -> Aside:
    return Aside(path=record["path"], backup=record["backup"], fingerprint=record["fingerprint"])
