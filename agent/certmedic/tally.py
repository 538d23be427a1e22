"""Counts lines: each once, by however many sources it comes, and equal lines together as one fold.

Counts are in memory during a turn, and are written in the transaction that moves the positions: a kill neither loses nor doubles
one. Every method that writes runs within a transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from certmedic.core import echo
from certmedic.core.model import Sighting
from certmedic.edge.store import Store

REMEMBERED_FOLDS = 2048  # in memory
FOLDS_FOR = timedelta(hours=1)  # since their last diagnosis: those of noise would stay for ever
# In memory, to deduplicate lines that come at about the same time; the store keeps more.
REMEMBERED_LINES = 1024
REMEMBERED_FOR = timedelta(minutes=1)
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Line:
    """A line: its number in the store, and how often each kind of source has delivered it."""

    number: int
    brought: dict[str, int]
    unwritten: bool = False


@dataclass(slots=True)
class Seen:
    """Equal lines, counted, and their latest diagnosis."""

    sighting: Sighting  # the first
    first: datetime
    last: datetime
    incident: int | None = None  # None: known noise
    diagnosed_at: datetime = NEVER
    total: int = 0
    unwritten: int = 0

    def count(self, times: int, first: datetime, last: datetime) -> None:
        """Count so many more lines, the times of the first and the last of which are given."""
        self.total += times
        self.unwritten += times
        self.first = min(self.first, first)
        self.last = max(self.last, last)


class Tally:
    """The count of each fold, and the sources of each line."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folds: dict[str, Seen] = {}
        self._lines: dict[str, Line] = {}
        self._unwritten: list[Line] = []
        self._emptied = NEVER

    def new_arrivals(self, words: str, stream: str, times: int = 1) -> int:
        """Return how many of so many arrivals of a line, by its `echo.words`, no other source has delivered; remembers that this one has."""
        line = self._lines.get(words)
        if line is None:
            number = echo.number(words)
            line = self._lines[words] = Line(number, self._store.brought(number))
        if not line.unwritten:
            line.unwritten = True
            self._unwritten.append(line)
        return echo.new_arrivals(line.brought, stream, times)

    def is_due(self, fold: str, before: datetime) -> bool:
        """Whether a fold is new, or was diagnosed last before a time."""
        seen = self._folds.get(fold)
        return seen is None or seen.diagnosed_at <= before

    def is_new(self, fold: str) -> bool:
        """Whether a fold is not known."""
        return fold not in self._folds

    def lines_of(self, fold: str) -> Seen | None:
        """Return the lines of a fold so far; None if it is not known."""
        return self._folds.get(fold)

    def begin(self, fold: str, first: Sighting) -> Seen:
        """Begin a fold with its first line, which is not counted yet."""
        time = first.entry.time
        seen = self._folds[fold] = Seen(sighting=first, first=time, last=time)
        return seen

    def forget(self, incident: int | None = None) -> None:
        """Forget the folds of an incident, or all, so that their next lines are diagnosed again. Writes the counts first."""
        self.write_counts()
        for fold in [fold for fold, seen in self._folds.items() if incident in (None, seen.incident)]:
            del self._folds[fold]

    def write_counts(self) -> None:
        """Write the counts of folds that belong to an incident."""
        for seen in self._folds.values():
            if seen.unwritten and seen.incident is not None:
                self._store.count(seen.incident, seen.sighting, times=seen.unwritten, first=seen.first, last=seen.last)
            seen.unwritten = 0
        if len(self._folds) > REMEMBERED_FOLDS:
            self._folds.clear()  # bounds the memory; the counts are written

    def write_lines(self, now: datetime) -> None:
        """Write which sources have delivered the lines of this turn."""
        self._store.remember({line.number: line.brought for line in self._unwritten}, now=now)
        for line in self._unwritten:
            line.unwritten = False
        self._unwritten.clear()
        if len(self._lines) > REMEMBERED_LINES or not timedelta() <= now - self._emptied < REMEMBERED_FOR:
            self._emptied = now
            self._lines.clear()  # bounds the memory; the store has them
            old = now - FOLDS_FOR
            for fold in [fold for fold, seen in self._folds.items() if not seen.unwritten and seen.diagnosed_at < old]:
                del self._folds[fold]
