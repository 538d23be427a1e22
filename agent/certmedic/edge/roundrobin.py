"""All sources are read by turns, on one thread: one tick wakes it, and the others do not wait for a source that has much to read.

A source that fails is started again and again, with growing pauses. Its failures become items, so that blindness arrives like
a line. A file system that does not answer stops the whole round: the agent then hears nothing, and starts another reader.
"""

from __future__ import annotations

import logging
import math
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from certmedic.core.model import Item, SourceDown, SourceUp
from certmedic.edge.source import FIRST_PAUSE, LONGEST_PAUSE, TICK, Pause, Reads, Source, move_on

LOOK_EVERY = 2.0  # seconds between two looks for a path that is not there

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

    def reads(self, resume: Callable[[str], str | None], put: Callable[[Item], None]) -> Reads:
        """Wait, then read."""
        while not self.there:
            yield Pause(LOOK_EVERY)
        self._began = True
        yield from self.source.reads(resume, put)


@dataclass(slots=True)
class _Turn:
    reads: Reads
    due: float = 0.0  # on the monotonic clock
    look: Callable[[], object] | None = None
    is_short: bool = True  # whether the pause ends before the next tick

    def take(self, now: float) -> float:
        """Take a step if there is something new or one is due; return when to be back, if that is before the next tick."""
        pause = None
        try:
            is_new = self.look is not None and bool(self.look())
        except Exception as error:  # noqa: BLE001 - the source meets it where it waits
            pause = self.reads.throw(error)
        else:
            if is_new or self.due <= now:
                pause = self.reads.send(is_new or None)
        if pause is not None:
            self.due, self.look = time.monotonic() + pause.seconds, pause.look
            self.is_short = pause.seconds < TICK and pause.look is None
        return self.due if self.is_short else math.inf


class RoundRobin:
    """Reads sources by turns and puts their items; `positions` are the stored ones of earlier runs."""

    def __init__(self, sources: Iterable[Source], positions: Mapping[str, str], put: Callable[[Item], None]) -> None:
        # Shared: no stream belongs to two sources.
        reached = dict(positions)
        self._turns = [_Turn(read_forever(source, reached, put)) for source in sources]

    def go_round(self) -> float:
        """Take a step of each source that has something new or is due; return the seconds until the next round, `TICK` at most.

        Usually it looks and does nothing. Memory that was not used for a tick is slow, so that every line of it costs.
        """
        now = time.monotonic()
        due = min([now + TICK, *[turn.take(now) for turn in self._turns]])
        return max(0.0, due - time.monotonic())

    def close(self) -> None:
        """End the reading of every source."""
        for turn in self._turns:
            turn.reads.close()


def read_forever(source: Source, positions: dict[str, str], put: Callable[[Item], None]) -> Reads:
    """Read a source, with growing pauses between its failures.

    `positions` holds the position of each stream that has not ended, and is updated, so that the source goes on after the last
    item that it put.

    An outage is reported once, with the reason of its first failure. Its end is reported once the source has read for as long as
    the pause before, so that a source that fails again at the same place does not report a recovery each time.
    """
    wait, down, began = FIRST_PAUSE, False, 0.0

    def put_on(item: Item) -> None:
        nonlocal wait, down
        if down and time.monotonic() - began >= wait:
            wait, down = FIRST_PAUSE, False
            log.info("%s: reads again", source.name)
            put(SourceUp(source=source.name))
        put(item)
        move_on(positions, item)

    while True:
        began = time.monotonic()
        try:
            yield from source.reads(positions.get, put_on)
            reason = "the reader ended by itself"
        except Exception as error:  # any error: report it and try again
            reason = str(error) or type(error).__name__
            log.debug("%s failed", source.name, exc_info=True)
        if not down:
            down = True
            log.warning("%s: %s", source.name, reason)
            put(SourceDown(source=source.name, reason=reason))
        else:
            wait = min(2 * wait, LONGEST_PAUSE)
        # Sources that failed together should not all come back at the same moment.
        yield Pause(wait * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
