"""The inbox: one bounded queue into which many readers put items, for one owner.

A reader is a `Source`: it reads until it is stopped, and raises on failure. `read_forever` runs it again and again, and turns its
failures into items, so that blindness arrives like a line. When the inbox is full, the readers wait: the journal, the files
and the daemon's logs are the buffer, and nothing is dropped.
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
from certmedic.edge.source import Source

FIRST_PAUSE = 1.0  # seconds
LONGEST_PAUSE = 60.0
LOOK_EVERY = 2.0  # seconds between two looks for a path that is not there
BATCH = 2000  # items of one turn and one transaction: many for a storm, few enough to stop at once

log = logging.getLogger(__name__)


class WhenThere:
    """A source that is read as soon as a path exists: on a master, the agent starts before the container runtime.

    Once the source was read, it is blind if the path goes away.
    """

    def __init__(self, source: Source, path: str) -> None:
        self.name, self.required = source.name, source.required
        self.source = source
        self._path = path
        self._began = False

    @property
    def there(self) -> bool:
        """Whether there is something to read."""
        return self._began or os.path.exists(self._path)  # noqa: PTH110 - in Debian 12, Path.exists raises PermissionError

    def follow(self, resume: Callable[[str], str | None], put: Callable[[Item], None], stop: threading.Event) -> None:
        """Wait, then read until `stop` is set; raise on failure."""
        while not self.there:
            if stop.wait(LOOK_EVERY):
                return
        self._began = True
        self.source.follow(resume, put, stop)


class Inbox:
    """A bounded queue between the reader threads and their owner."""

    def __init__(self, size: int = 1000) -> None:
        self._queue: queue.Queue[Item] = queue.Queue(size)

    def put(self, item: Item, stop: threading.Event | None = None) -> None:
        """Add an item; wait while the queue is full. Add nothing once `stop` is set."""
        while stop is None or not stop.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.5)
                return

    def get(self, timeout: float) -> Item | None:
        """Take the oldest item; None if none comes within `timeout` seconds."""
        try:
            return self._queue.get(timeout=timeout)
        except queue.Empty:
            return None

    def drain(self, timeout: float) -> list[Item]:
        """Wait at most `timeout` seconds for an item, and take it with those behind it, up to `BATCH`."""
        item, items = self.get(timeout), []
        while item is not None:
            items.append(item)
            item = self.get(0) if len(items) < BATCH else None
        return items


def read_forever(source: Source, positions: dict[str, str], inbox: Inbox, stop: threading.Event) -> None:
    """Run `source.follow` until `stop` is set, with growing pauses between its failures.

    `positions` holds the position of each stream that has not ended, and is updated, so that the source goes on after the last
    item that it put.

    An outage is reported once, with the reason of its first failure. Its end is reported once the source has read for as long as
    the pause before, so that a source that fails again at the same place does not report a recovery each time.
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
        except Exception as error:  # any error: report it and try again
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
        # Sources that failed together should not all come back at the same moment.
        stop.wait(pause * random.uniform(0.8, 1.2))  # noqa: S311 - no secret


def start(
    sources: Iterable[Source], positions: Mapping[str, str], inbox: Inbox, stop: threading.Event
) -> list[threading.Thread]:
    """Start one daemon thread per source; `positions` are the stored ones of earlier runs."""
    # Shared: no stream belongs to two sources.
    reached = dict(positions)
    threads = [
        threading.Thread(target=read_forever, args=(source, reached, inbox, stop), name=source.name, daemon=True)
        for source in sources
    ]
    for thread in threads:
        thread.start()
    return threads
