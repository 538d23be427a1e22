"""Run a source as the reader does, and collect its items through an inbox."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Self

from certmedic.core.model import Item, LogEntry, SourceDown, SourceStatus, SourceUp
from certmedic.edge.inbox import Inbox
from certmedic.edge.roundrobin import RoundRobin
from certmedic.edge.source import Source, move_on


def settle(positions: dict[str, str], items: Iterable[Item]) -> None:
    """Update positions as the store does for handled items."""
    for item in items:
        move_on(positions, item)


def read_on_thread(
    sources: Iterable[Source], positions: Mapping[str, str], put: Callable[[Item], None], stop: threading.Event
) -> threading.Thread:
    """Read sources by turns on a thread until `stop` is set."""

    def run() -> None:
        with contextlib.closing(RoundRobin(sources, positions, put)) as rounds:
            while not stop.wait(rounds.go_round()):
                pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


class Reading:
    """The items of a source so far; a context manager that stops it at the end."""

    def __init__(self, source: Source, positions: Mapping[str, str] | None = None) -> None:
        self.items: list[Item] = []
        self.earlier = dict(positions or {})  # positions in the store at the start of the source
        self.positions = dict(self.earlier)  # positions after handling all items so far
        self._inbox, self._stop = Inbox(), threading.Event()
        self._thread = read_on_thread(
            [source], self.earlier, lambda item: self._inbox.put(item, self._stop), self._stop
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the source and take its last items; fail if it takes more than a few seconds."""
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive(), "the reader did not stop"
        self._take(0.0)

    def _take(self, timeout: float) -> bool:
        took = False
        while (item := self._inbox.get(timeout if not took else 0.0)) is not None:
            took = True
            self.items.append(item)
            settle(self.positions, [item])
        return took

    def until(self, done: Callable[[], object], *, within: float = 30.0) -> None:
        """Take items until `done()` is true."""
        deadline = time.monotonic() + within
        while not done():
            if time.monotonic() > deadline:
                raise AssertionError(f"not seen within {within} s; the last items: {self.items[-8:]}")
            self._take(0.1)

    def until_idle(self) -> None:
        """Take items until the source has reported twice from now on that it has caught up."""
        self._take(0.0)  # earlier reports do not count
        before = len(self.statuses)
        self.until(lambda: sum(status.lag_seconds == 0 for status in self.statuses[before:]) >= 2)

    @property
    def entries(self) -> list[LogEntry]:
        return [item for item in self.items if isinstance(item, LogEntry)]

    @property
    def texts(self) -> list[str]:
        return [entry.text for entry in self.entries]

    @property
    def outages(self) -> list[SourceDown | SourceUp]:
        return [item for item in self.items if isinstance(item, SourceDown | SourceUp)]

    @property
    def statuses(self) -> list[SourceStatus]:
        return [item for item in self.items if isinstance(item, SourceStatus)]

    @property
    def status(self) -> SourceStatus:
        return self.statuses[-1]
