"""The agent's end of the reader: it starts it, takes its items, and reports its failures as those of its sources.

The positions that the reader gets are those of the last items that were put into the inbox, so that after a failure of the
reader nothing comes twice, and after a failure of the agent whatever was not stored comes again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from certmedic.core.model import Item, LogEntry, Progress, SourceDown, SourceStatus, SourceUp
from certmedic.edge.inbox import Inbox
from certmedic.edge.os import spawn
from certmedic.edge.source import FIRST_PAUSE, LONGEST_PAUSE, UnseenError, move_on
from certmedic.edge.wire import BEAT, Connection, Hello, Watching, WireError, dump, items_of, welcome_of

NAME = "reader"  # under which its own state is shown
GREETING = 20.0  # seconds for the reader's answer to the greeting
SILENCE = 2.5 * BEAT  # seconds without a frame, after which the reader counts as hung
ANSWER = 25.0  # seconds for one answer
PATIENCE = 30.0  # seconds that a question waits for a reader
TICK = 0.5  # seconds between two looks whether a reader has ended or is back
ENDING = 5.0  # seconds for the thread to end
REPORT_EVERY = 8.0  # seconds: with every frame of a reader that has nothing else to send

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Ends:
    """The agent's ends of the connections to one reader process."""

    entries: Connection
    questions: Connection
    process: subprocess.Popen[bytes] | None = None  # None: systemd started it

    def close(self) -> str:
        """Close the connections, end a child, and return how the child had ended; "" if it had not."""
        self.entries.close()
        self.questions.close()
        if self.process is None:
            return ""
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(TICK)
        self.process.kill()
        self.process.wait()
        if code is None or code == 0:
            return ""
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


def child() -> Ends:
    """Start a reader as a child with the agent's own powers. Raises OSError."""
    return _ends(spawn.child())


def starter(begun: spawn.Begun | None = None) -> Callable[[], Ends]:
    """Return what starts a reader, systemd's or a child, and raises OSError. It returns the reader that has `begun` first."""
    waiting = [begun] if begun else []
    return lambda: _ends(waiting.pop() if waiting else spawn.reader())


def _ends(begun: spawn.Begun) -> Ends:
    return Ends(entries=Connection(begun.entries), questions=Connection(begun.questions), process=begun.process)


@dataclass(slots=True)
class _State:
    """The state of the sources, as the thread knows it."""

    there: frozenset[str]
    down: set[str] = field(default_factory=set)  # reported as down
    cut: set[str] = field(default_factory=set)  # of these, because the reader was gone
    seen: dict[str, int] = field(default_factory=dict)  # source -> lines that it has read, by its last report
    matched: int = 0  # lines that they passed on


def _answer(questions: Connection, method: str, arguments: Sequence[Any]) -> Any:
    questions.send([method, *arguments], timeout=ANSWER)
    match questions.receive(ANSWER):
        case ["answer", answer]:
            return answer
        case ["fault", str(reason)]:
            raise UnseenError(f"the reader process could not look: {reason}")
        case None:
            raise WireError(f"has not answered a question for {ANSWER:g} s")
        case _:
            raise WireError("sent an answer that makes no sense")


class Link:
    """The connection to the reader, kept up by a thread until `stop` is set."""

    def __init__(
        self,
        connect: Callable[[], Ends],
        watching: Watching,
        positions: Mapping[str, str],
        box: Inbox,
        stop: threading.Event,
    ) -> None:
        self.watching = watching
        self._connect, self._box, self._stop = connect, box, stop
        self._positions = dict(positions)
        self._greeted = threading.Event()
        self._questions: Connection | None = None  # of a reader that has greeted
        self._entries: Connection | None = None  # of the reader that is followed
        self._failed: Connection | None = None  # where a question was not answered: that reader is to be replaced
        waits = {"docker", "pods"} if watching.docker is None else {"pods"}
        self._state = _State(there=frozenset(watching.names) - waits)
        self._thread = threading.Thread(target=self._keep_up, name=NAME, daemon=True)

    def start(self) -> None:
        """Start the reader."""
        self._thread.start()

    def there(self) -> tuple[str, ...]:
        """Return the sources that exist, in order, as soon as the reader says so; without its word, those that must exist."""
        self._greeted.wait(GREETING)
        return tuple(name for name in self.watching.names if name in self._state.there)

    @property
    def has_greeted(self) -> bool:
        """Whether a reader serves this process now."""
        return self._questions is not None

    def ask(self, method: str, arguments: Sequence[Any]) -> Any:
        """Ask the reader, by a method of `Sight`; wait for a reader that is being replaced. Raises UnseenError."""
        until, reason = time.monotonic() + PATIENCE, "is not there"
        while time.monotonic() < until and not self._stop.is_set():
            questions = self._questions
            if questions is not None:
                try:
                    return _answer(questions, method, arguments)
                except WireError as error:
                    reason = str(error)
                    self._failed = questions
                    if self._questions is questions:  # otherwise the reader was replaced meanwhile
                        self._questions = None
                        self._hang_up()  # so that the thread replaces it
            self._stop.wait(TICK / 5)
        raise UnseenError(f"the reader process {reason}")

    def join(self) -> None:
        """Wait, after `stop` was set, until the reader has ended."""
        self._hang_up()
        self._thread.join(ENDING)

    def _hang_up(self) -> None:
        if (entries := self._entries) is not None:
            entries.hang_up()

    # ------------------------------------------------------------ the thread

    def _keep_up(self) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            began = time.monotonic()
            reason = self._follow(pause)
            self._greeted.set()
            if self._stop.is_set():
                return
            self._report_down(f"the reader process {reason}")
            pause = FIRST_PAUSE if time.monotonic() - began > LONGEST_PAUSE else pause
            self._stop.wait(pause * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
            pause = min(2 * pause, LONGEST_PAUSE)

    def _follow(self, settled: float) -> str:
        """Take the items of one reader process until it fails, and return why. `settled`: seconds until a source counts as back."""
        try:
            ends = self._connect()
        except OSError as error:
            return f"cannot be started: {error.strerror or error}"
        self._entries = ends.entries
        try:
            self._take_all(ends, settled)
            reason = "is stopped"
        except WireError as error:
            reason = str(error)
        finally:
            self._questions = self._entries = None
            ended = ends.close()
        return ended or reason

    def _take_all(self, ends: Ends, settled: float) -> None:
        connection, hello = ends.entries, Hello(watching=self.watching, positions=self._positions, pid=os.getpid())
        connection.send(dump(hello), timeout=GREETING)
        ends.questions.send(dump(replace(hello, positions={})), timeout=GREETING)
        frame = self._frame(ends, GREETING)
        if frame is None:
            return
        welcome = welcome_of(frame)
        self._state.there = frozenset(welcome.there)
        self._questions = ends.questions
        self._greeted.set()
        began = reported = time.monotonic()
        reported -= REPORT_EVERY
        while (frame := self._frame(ends, SILENCE)) is not None:
            now = time.monotonic()
            for item in items_of(frame):
                self._put(item, is_settled=now - began >= settled)
            if now - reported >= REPORT_EVERY:
                reported = now
                self._box.put(self._status(welcome.pid), self._stop)

    def _frame(self, ends: Ends, patience: float) -> Any | None:
        """Return the next frame; None once the agent stops. Raises WireError."""
        if self._stop.is_set():
            return None
        try:
            frame = ends.entries.receive(patience)
        except WireError as error:
            if self._failed is ends.questions:
                raise WireError("does not answer questions") from error
            raise
        if frame is None:
            raise WireError(f"has been silent for {patience:g} s")
        return frame

    # ------------------------------------------------------------ items

    def _put(self, item: Item, *, is_settled: bool) -> None:
        state = self._state
        if isinstance(item, SourceStatus):
            state.seen[item.source] = item.seen
        match item:
            case LogEntry() | Progress():
                state.matched += isinstance(item, LogEntry)
                self._box.put(item, self._stop)
                move_on(self._positions, item)
                return
            case SourceDown():
                state.cut.discard(item.source)
                if item.source in state.down:
                    return
                state.down.add(item.source)
            case SourceUp():
                state.cut.discard(item.source)
                state.down.discard(item.source)
            case SourceStatus() if item.source in state.cut and is_settled:
                state.cut.discard(item.source)
                state.down.discard(item.source)
                self._box.put(SourceUp(source=item.source), self._stop)
            case _:
                pass
        self._box.put(item, self._stop)

    def _status(self, pid: int) -> SourceStatus:
        counts = self._state
        return SourceStatus(
            source=NAME,
            seen=sum(counts.seen.values()),
            matched=counts.matched,
            lag_seconds=0.0,
            position=f"process {pid}",
        )

    def _report_down(self, reason: str) -> None:
        state = self._state
        for name in self.watching.names:
            if name in state.there and name not in state.down:
                state.down.add(name)
                state.cut.add(name)
                self._box.put(SourceDown(source=name, reason=reason), self._stop)
        log.warning("%s", reason)
