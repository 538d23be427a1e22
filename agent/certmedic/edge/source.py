"""Shared by all sources: the Protocol, how a position is stored, and what a source counts and reports."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias, TypeVar

from certmedic.core import text
from certmedic.core.model import Item, LogEntry, Progress, SourceStatus

TICK = 0.28  # the longest time between two looks for new lines, in seconds: a line is to be recorded within 0.3 s
FIRST_PAUSE = 1.0  # seconds after the first failure
LONGEST_PAUSE = 60.0  # seconds after many

_Position = TypeVar("_Position")


@dataclass(frozen=True, slots=True)
class Pause:
    """A source goes on after so many seconds, or once `look`, called with each tick, returns something true."""

    seconds: float
    look: Callable[[], object] | None = None


AT_ONCE, ONE_TICK = Pause(0.0), Pause(TICK)
Reads: TypeAlias = Generator[Pause, bool | None, None]  # is sent True if `look` returned something true


class UnseenError(Exception):
    """The reader does not answer, so that the files of this machine cannot be read now; the text says why."""


class Source(Protocol):
    """One thing that is read. `required`: while it is blind, the watchdog goes unfed."""

    name: str
    required: bool

    def reads(self, resume: Callable[[str], str | None], put: Callable[[Item], None]) -> Reads:
        """Read step by step, without waiting, and yield a pause after each step. `close()` ends it; an exception is a failure.

        `resume(stream)` gives the position after which a stream is to be read, None for a new stream. As soon as the
        source reads, and every few seconds from then on, it puts a SourceStatus.
        """


def moment(seconds: float) -> str:
    """Return a time (seconds since 1970) as text for a person."""
    return text.stamp(datetime.fromtimestamp(seconds, UTC))


# ---------------------------------------------------------------- checkpoints


def to_checkpoint(**fields: object) -> str:
    """Return a position as text for the store."""
    return json.dumps(fields)


def from_checkpoint(stored: str | None, make: Callable[[Any], _Position]) -> _Position | None:
    """Parse a stored position; None if there is none or it is invalid."""
    try:
        return make(json.loads(stored or "null"))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def move_on(positions: dict[str, str], item: Item) -> None:
    """Update the position of each stream that has not ended by an item that was put."""
    if isinstance(item, LogEntry | Progress):
        if item.position is None:
            positions.pop(item.stream, None)
        else:
            positions[item.stream] = item.position


# ---------------------------------------------------------------- status


class Status:
    """The lines that a source has read since it started, and its latest trouble."""

    def __init__(self, name: str, logger: logging.Logger) -> None:
        self.seen = self.matched = 0  # lines read, and of these passed on
        self.detail = ""
        self._name, self._logger = name, logger

    def say(self, trouble: str, *, log: bool = True) -> None:
        """Note a trouble unless it is the latest one already; `log` also writes it to the agent's own log."""
        if self.detail.endswith(f" UTC: {trouble}"):
            return
        self.detail = f"{moment(datetime.now(UTC).timestamp())}: {trouble}"
        if log:
            self._logger.warning("%s: %s", self._name, trouble)

    def report(self, *, lag: float, position: str) -> SourceStatus:
        """Return the status for the inbox; `lag` in seconds."""
        return SourceStatus(
            source=self._name,
            seen=self.seen,
            matched=self.matched,
            lag_seconds=max(lag, 0.0),
            position=position,
            detail=self.detail,
        )

    @property
    def read(self) -> tuple[int, int, str]:
        """Lines read, lines passed on, and the latest trouble."""
        return self.seen, self.matched, self.detail
