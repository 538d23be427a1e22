"""Counting what is seen: a line once, whichever roads bring it, and equal lines together as one fold.

Counts are kept in memory within a turn and written in the transaction at whose end the positions move, so that a kill neither
loses nor doubles one. Everything here is asked within such a transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from certmedic.core import echo
from certmedic.core.model import Sighting
from certmedic.edge.store import Store

REMEMBERED_FOLDS = 2048
REMEMBERED_LINES = 4096  # in memory, to count a line once that comes in by two sources; the store keeps more
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Line:
    """A line that came in: its number in the store, and how often each road has brought it."""

    number: int
    brought: dict[str, int]
    unwritten: bool = False


@dataclass(slots=True)
class Seen:
    """Equal lines, counted, with what was last made of them."""

    sighting: Sighting  # the first
    first: datetime
    last: datetime
    incident: int | None = None  # None: known noise
    diagnosed_at: datetime = NEVER
    total: int = 0
    unwritten: int = 0


class Tally:
    """How often each fold was seen, and which roads have brought each line."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folds: dict[str, Seen] = {}
        self._lines: dict[str, Line] = {}
        self._unwritten: list[Line] = []

    def is_echo(self, sighting: Sighting) -> bool:
        """Whether a line came in already by another road; remembers that this one has brought it."""
        words = echo.words(sighting)
        line = self._lines.get(words)
        if line is None:
            number = echo.number(words)
            line = self._lines[words] = Line(number, self._store.brought(number))
        if not line.unwritten:
            line.unwritten = True
            self._unwritten.append(line)
        return echo.is_echo(line.brought, sighting.entry.stream)

    def is_due(self, fold: str, before: datetime) -> bool:
        """Whether a fold is new, or was diagnosed last before a time."""
        seen = self._folds.get(fold)
        return seen is None or seen.diagnosed_at <= before

    def is_new(self, fold: str) -> bool:
        """Whether a fold is not known."""
        return fold not in self._folds

    def count(self, fold: str, sighting: Sighting) -> Seen:
        """Count one more line of a fold, and return all of that fold."""
        time = sighting.entry.time
        seen = self._folds.get(fold)
        if seen is None:
            seen = self._folds[fold] = Seen(sighting=sighting, first=time, last=time)
        seen.total += 1
        seen.unwritten += 1
        seen.first = min(seen.first, time)
        seen.last = max(seen.last, time)
        return seen

    def forget(self, incident: int | None = None) -> None:
        """Have the next line of an incident, or of any, taken for the first of its kind; what was counted is written down."""
        self.write_counts()
        for fold in [fold for fold, seen in self._folds.items() if incident in (None, seen.incident)]:
            del self._folds[fold]

    def write_counts(self) -> None:
        """Write down how often the folds that belong to an incident were seen."""
        for seen in self._folds.values():
            if seen.unwritten and seen.incident is not None:
                self._store.count(seen.incident, seen.sighting, times=seen.unwritten, first=seen.first, last=seen.last)
            seen.unwritten = 0
        if len(self._folds) > REMEMBERED_FOLDS:
            self._folds.clear()  # strangers can make as many as they like; the counts are written down

    def write_lines(self, now: datetime) -> None:
        """Write down which roads have brought the lines of this turn."""
        self._store.remember({line.number: line.brought for line in self._unwritten}, now=now)
        for line in self._unwritten:
            line.unwritten = False
        self._unwritten.clear()
        if len(self._lines) > REMEMBERED_LINES:
            self._lines.clear()  # those that are still of use are read again
