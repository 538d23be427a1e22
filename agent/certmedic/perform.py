"""The hands ask the actor to perform actions that were recorded, and to undo them, on their own thread.

The loop records an action before the actor hears of it. The actor knows each action by its number and performs it once. So the agent
can be killed at any moment and resume.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final

from certmedic.core import codec
from certmedic.core.incident import Act, ActState, Outcome, RecheckKind, Result
from certmedic.core.model import RemedyKind
from certmedic.edge.store import Store
from certmedic.edge.worker import Worker, WorkerError
from certmedic.ports import World

# Longer than a runtime takes to restart a container.
RESUME_AFTER = timedelta(seconds=15)
RESULTS: Final[Mapping[str, Result]] = {
    "done": Result.DONE,
    "late": Result.LATE,
    "failed": Result.FAILED,
    "refused": Result.REFUSED,
}

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

    def begin(self) -> None:
        """Start the recorded actions, undo those that failed, and release leases. Does nothing while the hands are busy."""
        if self._hands.busy:
            return
        acts = [act for act in self._store.acts(state=ActState.INTENT) if act.id not in self.resuming]
        undoing = self._store.acts(state=ActState.UNDOING)
        groups, self.over = sorted(self.over), set()
        if acts or undoing or groups:
            self._hands.begin(lambda: self._work(acts, undoing, groups))

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

    def _work(self, acts: Sequence[Act], undoing: Sequence[Act], groups: Sequence[str]) -> Iterator[Outcome]:
        for act in acts:
            result, detail = self._try(act)
            yield Outcome(act.id, act.incident, result, detail)
        for act in undoing:
            yield Outcome(act.id, act.incident, Result.UNDONE, f"{act.detail}{self._undo(act)}")
        for group in groups:
            if self._world.lock is not None:
                self._world.lock.release(group)

    def _try(self, act: Act) -> tuple[Result, str]:
        try:
            if act.action.kind is not RemedyKind.RESTART and not act.undo:
                self._record(act)
            reply = self._world.hands.cure(ref_of(act), act.action)
        except WorkerError as error:
            return Result.REFUSED, str(error)
        except Exception as error:
            log.exception("the action on %s failed by a fault of certmedic", act.target)
            return Result.WRONG, f"certmedic failed ({type(error).__name__}); its log has the details"
        return RESULTS[reply.result], reply.why

    def _record(self, act: Act) -> None:
        """Have the loop record what can be undone, and wait until it has."""
        replaced = [{"path": path, "ref": str(ref_of(act))} for path, _ in act.action.watched]

        def write() -> None:
            with self._store.transaction():
                self._store.can_undo(act.id, replaced)

        self._hands.on_owner(write)

    def _undo(self, act: Act) -> str:
        """Have put back what an action replaced. Return the result, to be appended to a sentence."""
        if any("ref" not in record for record in act.undo):  # of a version that moved the files itself
            copies = ", ".join(record["backup"] for record in act.undo if "backup" in record)
            return f"; put the files back by hand: their copies are {copies}"
        return f"; {self._world.hands.undo(ref_of(act)).why}"


def ref_of(act: Act) -> int:
    """Return the number by which the actor knows an action: the same after a restart, another for every other action."""
    text = f"{act.boot_id}/{act.id}/{act.incident}/{codec.dump(act.action)}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 1 or 1
