"""Performs one action that is recorded, undoes it, and takes up what a killed run left behind.

Each file that is about to be replaced is recorded first. So the actor may be killed between any two lines: the next start finishes
the action or puts the files back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from certmedic.actor.ports import Aside, CertificateFiles, Renewed, Restarts
from certmedic.actor.record import Record
from certmedic.actor.renew import RenewError
from certmedic.actor.restart import RestartError
from certmedic.core import verify
from certmedic.core.decision import still_to_restart
from certmedic.core.incident import Act, ActState
from certmedic.core.model import Facts, RemedyKind, Stored

FINISHED_WITHIN = timedelta(seconds=15)  # by then a runtime has carried out the requests of a killed actor
GOES_ON_WITHIN = timedelta(minutes=3)  # what a killed run began is finished so soon after, later only undone
_LOOK_EVERY = 1.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Surgery:
    """The means of one machine. `look` returns its facts; `now` is the clock."""

    record: Record
    hands: Restarts
    pen: CertificateFiles
    look: Callable[[], Facts]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep

    def perform(self, act: Act, facts: Facts) -> tuple[Act, str]:
        """Perform a recorded action. Return it as it is recorded then, and the result: done, late or failed."""
        stored = verify.leaves(facts)
        try:
            if act.action.kind is RemedyKind.RENEW:
                act, detail = self._renew(act, stored)
                restarted, result = self._restart_holders(act)
                return self.record.move(act, ActState.DONE, f"{detail}; {restarted}", self.now()), result
            moved = ""
            if act.action.kind is RemedyKind.REISSUE_AND_RESTART:
                act, moved = self._move_aside(act, stored)
        except RenewError as error:
            return self._failed(self.record.latest(act.incident) or act, str(error)), "failed"
        try:
            assert act.action.container is not None  # noqa: S101 - only a renewal has none; for mypy
            detail = f"{moved}{self.hands.restart(act.action.container)}"
        except RestartError as error:
            if moved:  # the restart may still happen; with the expired file back, it would be an outage
                return self.record.move(act, ActState.DONE, f"{moved}but {error}", self.now()), "late"
            return self.record.move(act, ActState.FAILED, str(error), self.now()), "failed"
        return self.record.move(act, ActState.DONE, detail, self.now()), "done"

    def undo(self, act: Act, why: str) -> Act:
        """Put back what an action replaced, and record that it failed."""
        return self._failed(act, why)

    def take_up(self) -> list[Act]:
        """Finish or undo the actions that a killed run left; return them as they are recorded then."""
        return [self._take_up(act) for act in self.record.acts if act.state in (ActState.INTENT, ActState.UNDOING)]

    # ------------------------------------------------------------ files

    def _renew(self, act: Act, stored: Mapping[str, Stored]) -> tuple[Act, str]:
        replaced = {entry["path"]: entry for entry in act.undo}

        def about_to(renewed: Renewed) -> None:
            replaced[renewed.path] = {key: str(value) for key, value in asdict(renewed).items()}
            self.record.can_undo(act, list(replaced.values()))

        for path, before in act.action.watched:
            if path not in stored:
                raise RenewError(f"{path}: cannot be read any more")
            if stored[path].certificate.not_after <= before:  # else an earlier run renewed it
                self.pen.renew(stored[path], now=self.now(), about_to=about_to)
        paths = ", ".join(path for path, _ in act.action.watched)
        return self.record.latest(act.incident) or act, f"renewed {paths} in place"

    def _restart_holders(self, act: Act) -> tuple[str, str]:
        """Restart the static pods that read the renewed files only when they start; return what was done, and the result."""
        facts = self.look()
        files = verify.leaves(facts)
        done = []
        for container in still_to_restart([files[path] for path, _ in act.action.watched if path in files], facts):
            try:
                done.append(self.hands.restart(container))
            except RestartError as error:  # the file is good in any case, so it stays
                return "; ".join([*done, f"but {error}"]), "late"
        return "; ".join(done) or "nothing was restarted", "done"

    def _move_aside(self, act: Act, stored: Mapping[str, Stored]) -> tuple[Act, str]:
        files = [self.pen.plan_aside(stored[path]) for path, _ in act.action.watched]
        act = self.record.can_undo(act, [asdict(file) for file in files])
        for file in files:
            self.pen.move_aside(file)
        return act, f"moved {', '.join(file.path for file in files)} aside; "

    def _failed(self, act: Act, why: str) -> Act:
        """Undo an action if it replaced files, after recording that; then it has failed."""
        if not act.undo:
            return self.record.move(act, ActState.FAILED, why, self.now())
        if act.state is not ActState.UNDOING:
            act = self.record.move(act, ActState.UNDOING, why, self.now())
        return self.record.move(act, ActState.FAILED, f"{act.detail}{self._put_back(act)}", self.now())

    def _put_back(self, act: Act) -> str:
        """Put back what an action replaced or moved. Return the result of each file, to be appended to a sentence."""
        results = []
        for entry in act.undo:
            path = entry["path"]
            try:
                if "not_after" in entry:
                    ends = datetime.fromisoformat(entry["not_after"])
                    self.pen.undo(Renewed(**{**entry, "not_after": ends}))  # type: ignore[arg-type]  # as asdict() wrote it
                    results.append(f"{path} was put back")
                elif self.pen.put_back(Aside(**entry)):
                    results.append(f"{path} was put back")
                else:
                    results.append(f"{path} exists again and was left as it is")
            except RenewError as error:
                results.append(str(error))
        return "".join(f"; {result}" for result in results)

    # ------------------------------------------------------------ after a kill

    def _take_up(self, act: Act) -> Act:
        if act.state is ActState.UNDOING:
            return self._failed(act, act.detail)
        container = act.action.container
        if container is None:  # each file is whole: the old or the new one
            return self._renew_the_rest(act, self.look())
        if container.runtime == "command":
            why = f"the actor was killed while it was to run {container.name}; it is not known whether that ran"
            return self._failed(act, why)
        while True:
            facts = self.look()
            running = verify.successors(container, facts)
            if running and verify.is_another(container, running[0]):
                return self.record.move(act, ActState.DONE, f"{container.name} was restarted", self.now())
            if any(verify.is_stopped(container, other) for other in facts.containers):
                return self._restart(act)
            if self.now() - act.at > FINISHED_WITHIN:
                return self._never_restarted(act)
            self.sleep(_LOOK_EVERY)

    def _renew_the_rest(self, act: Act, facts: Facts) -> Act:
        """Renew the files that a killed run left, if it renewed any."""
        begun = any(verify.moved([item], facts) for item in act.action.watched)
        if not begun or not self._is_recent(act):
            what = self._put_back(act) if begun else ""
            return self.record.move(
                act, ActState.WITHDRAWN, f"the actor was killed before it had ended{what}", self.now()
            )
        return self.perform(act, facts)[0]

    def _never_restarted(self, act: Act) -> Act:
        """Finish what was begun with a file moved aside; otherwise nothing has happened, and the agent may ask again."""
        if act.undo and self._is_recent(act):
            try:
                for entry in act.undo:
                    self.pen.move_aside(Aside(**entry))
            except RenewError as error:
                return self._failed(act, str(error))
            return self._restart(act)
        back = self._put_back(act)
        return self.record.move(act, ActState.WITHDRAWN, f"the actor was killed before the restart{back}", self.now())

    def _restart(self, act: Act) -> Act:
        """Restart for a killed run, unless that was long ago: then a person may have stopped the program."""
        assert act.action.container is not None  # noqa: S101 - seen by the caller; for mypy
        if not self._is_recent(act):
            return self._failed(
                act, f"the actor was killed while it restarted {act.action.container.name}, which does not run"
            )
        try:
            detail = self.hands.restart(act.action.container)
        except RestartError as error:
            return self._failed(act, str(error))
        return self.record.move(act, ActState.DONE, detail, self.now())

    def _is_recent(self, act: Act) -> bool:
        return self.now() - act.at <= GOES_ON_WITHIN
