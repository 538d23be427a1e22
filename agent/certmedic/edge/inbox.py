"""The inbox: one bounded queue, many readers that put, one owner that gets.

A reader is a `Source`: it reads until told to stop, and raises where it cannot. `read_forever` runs it again and again and
turns its failures into items, so that "I am blind here" takes the same road as a line that was read. When the inbox is full,
readers wait: the journal, the files and the daemon's logs are the buffer, and nothing is shed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from certmedic.core.model import Item, LogEntry, Progress, SourceDown, SourceUp
from certmedic.ports import Source

FIRST_PAUSE = 1.0  # seconds
LONGEST_PAUSE = 60.0
LOOK_EVERY = 2.0  # seconds between two looks for a path that is not there
BATCH = 2000  # items of one turn, and of one transaction: many in a storm, few enough that a stop is answered at once

log = logging.getLogger(__name__)


class WhenThere:
    """A source that is read from when a path is there, however long after the start: a master's agent is up before its runtime.

    Once it was read it is missed when the path goes away.
    """

    def __init__(self, source: Source, path: str) -> None:
        self.name, self.required = source.name, source.required
        self.source = source
        self._path = path
        self._began = False

    @property
    def there(self) -> bool:
        """Whether there is something to be read."""
        return self._began or os.path.exists(self._path)  # noqa: PTH110 - of Debian 12's Path, a refusal would be an error

    def follow(self, resume: Callable[[str], str | None], put: Callable[[Item], None], stop: threading.Event) -> None:
        """Wait, then read until `stop` is set; raise on failure."""
        while not self.there:
            if stop.wait(LOOK_EVERY):
                return
        self._began = True
        self.source.follow(resume, put, stop)


class Inbox:
    """Bounded queue between the reader threads and the one owner."""

    def __init__(self, size: int = 1000) -> None:
        self._queue: queue.Queue[Item] = queue.Queue(size)

    def put(self, item: Item, stop: threading.Event | None = None) -> None:
        """Add an item; while there is no room, wait. Once `stop` is set nothing is added any more."""
        while stop is None or not stop.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.5)
                return

    def get(self, timeout: float) -> Item | None:
        """Take the oldest item; None when none came within `timeout` seconds."""
        try:
            return self._queue.get(timeout=timeout)
        except queue.Empty:
            return None

    def drain(self, timeout: float) -> list[Item]:
        """Wait for an item at most `timeout` seconds, and take it with all that are there behind it, up to `BATCH`."""
        item, items = self.get(timeout), []
        while item is not None:
            items.append(item)
            item = self.get_now() if len(items) < BATCH else None
        return items

    def get_now(self) -> Item | None:
        """Take the oldest item; None where there is none."""
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return None


def read_forever(source: Source, positions: dict[str, str], inbox: Inbox, stop: threading.Event) -> None:
    """Run `source.follow` until `stop` is set, with growing pauses between its failures.

    `positions` holds how far each stream was read, and is kept so: of what is over, nothing.

    An outage is reported once, with the reason of its first failure, and its end once: when the source has read for as
    long as the pause before it, so that one which fails again and again at the same spot does not report a recovery each
    time. A source that comes back goes on after the last item that it put.
    """
    pause, down, began = FIRST_PAUSE, False, 0.0

    def put(item: Item) -> None:
        nonlocal pause, down
        if down and time.monotonic() - began >= pause:
            pause, down = FIRST_PAUSE, False
            log.info("%s: reads again", source.name)
            inbox.put(SourceUp(source=source.name), stop)
        inbox.put(item, stop)
        if isinstance(item, LogEntry | Progress):
            if item.position is None:
                positions.pop(item.stream, None)
            else:
                positions[item.stream] = item.position

    while not stop.is_set():
        began = time.monotonic()
        try:
            source.follow(positions.get, put, stop)
            reason = "the reader ended by itself"
        except Exception as error:  # whatever it is, it is reported and the source is tried again
            reason = str(error) or type(error).__name__
            log.debug("%s failed", source.name, exc_info=True)
        if stop.is_set():
            return
        if not down:
            down = True
            log.warning("%s: %s", source.name, reason)
            inbox.put(SourceDown(source=source.name, reason=reason), stop)
        else:
            pause = min(2 * pause, LONGEST_PAUSE)
        # Readers that failed together should not all come back in the same instant.
        stop.wait(pause * random.uniform(0.8, 1.2))  # noqa: S311 - no secret hangs on it


def start(
    sources: Iterable[Source], positions: Mapping[str, str], inbox: Inbox, stop: threading.Event
) -> list[threading.Thread]:
    """Start one daemon thread per source; `positions` are the settled ones of earlier runs."""
    # One for all: no two sources know the same stream.
    reached = dict(positions)
    threads = [
        threading.Thread(target=read_forever, args=(source, reached, inbox, stop), name=source.name, daemon=True)
        for source in sources
    ]
    for thread in threads:
        thread.start()
    return threads
