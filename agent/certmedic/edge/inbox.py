"""The inbox: one bounded queue into which threads put items, for one owner.

When it is full, they wait: the journal, the files and the daemon's logs are the buffer, and nothing is dropped.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import TypeAlias

from certmedic.core.model import Item
from certmedic.edge.source import AT_ONCE, ONE_TICK, Reads, move_on

BATCH = 2000  # items of one turn and one transaction: many for a storm, few enough to stop at once

Resume: TypeAlias = Callable[[str], str | None]
Follow: TypeAlias = Callable[[Resume, Callable[[Item], None], threading.Event], None]


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


def on_thread(follow: Follow, resume: Resume, put: Callable[[Item], None], name: str) -> Reads:
    """Read what must be waited for: `follow(resume, put, stop)` runs on a thread until `stop` is set, and this passes its items on."""
    inbox, stop, reached, failure = Inbox(), threading.Event(), dict[str, str](), list[Exception]()

    def put_here(item: Item) -> None:
        move_on(reached, item)
        inbox.put(item, stop)

    def run() -> None:
        try:
            # Its own positions are ahead of those that were passed on.
            follow(lambda stream: reached.get(stream) or resume(stream), put_here, stop)
        except Exception as error:  # noqa: BLE001 - raised below, behind the last item
            failure.append(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        over = False
        while not over:
            over = not thread.is_alive()
            while items := inbox.drain(0.0):
                for item in items:
                    put(item)
                yield AT_ONCE
            if not over:
                yield ONE_TICK
        if failure:
            raise failure[0]
    finally:
        stop.set()
