"""The items of a turn, sorted: equal lines together, so that a storm costs what its kinds of lines do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from certmedic.core import symptoms
from certmedic.core.model import Item, LogEntry, Progress, Sighting, Trust
from certmedic.tally import Tally

DIAGNOSE_EVERY = timedelta(seconds=30)  # equal lines are diagnosed again no more often
# Kinds of lines diagnosed in one turn. The rest waits: a flood of new kinds must not hold up the watchdog.
JUDGED_AT_ONCE = 64

Key = tuple[str, str, str]  # fold, `echo.words` and source


@dataclass(slots=True)
class Lines:
    """Equal lines of one turn: of one fold, with the same words and second, by one source."""

    report: symptoms.Report
    parts: symptoms.Parts  # of the first
    entry: LogEntry  # the first
    first: datetime
    last: datetime
    times: int = 0


@dataclass(slots=True)
class Taken:
    """The items of one turn."""

    lines: dict[Key, Lines] = field(default_factory=dict)  # of trusted origins, that show a symptom
    new: dict[str, Sighting] = field(default_factory=dict)  # fold -> its first line, of folds that are to be diagnosed
    strangers: list[LogEntry] = field(default_factory=list)
    words: list[Item] = field(default_factory=list)  # statements of sources about themselves
    positions: dict[str, str | None] = field(default_factory=dict)  # stream -> of its last item
    has_lines: bool = False
    left: Sequence[Item] = ()  # for the next turn


class Intake:
    """Takes the waiting items."""

    def __init__(
        self, tally: Tally, is_own_probe: Callable[[str], bool], complain: Callable[[Exception, str], None]
    ) -> None:
        self._tally = tally
        self._is_own_probe = is_own_probe  # whether an address was our end of a handshake, which caused the line
        self._complain = complain
        self._cache = symptoms.ParseCache()

    def take(self, waiting: Sequence[Item], now: datetime) -> Taken:
        """Sort items until enough new kinds of lines have come for a turn."""
        taken, count = Taken(), 0
        new, positions = taken.new, taken.positions
        self._cache.empty(now)
        for item in waiting:
            if len(new) >= JUDGED_AT_ONCE:
                break
            count += 1
            if isinstance(item, LogEntry):
                positions[item.stream] = item.position
                if item.origin.trust is Trust.STRANGER:
                    taken.strangers.append(item)
                    continue
                try:
                    reported = self._cache.find(item)
                    if reported is not None:
                        self._add(taken, item, *reported, now)
                except Exception as error:  # noqa: BLE001 - one bad line never ends a turn
                    self._complain(error, "a line")
                continue
            taken.words.append(item)
            if isinstance(item, Progress):
                positions[item.stream] = item.position
        taken.has_lines = count > len(taken.words)
        taken.left = waiting[count:]
        return taken

    def _add(
        self, taken: Taken, entry: LogEntry, report: symptoms.Report, parts: symptoms.Parts, now: datetime
    ) -> None:
        if self._is_own_probe(report.remote(parts)):
            return
        fold, time = report.fold(parts), entry.time
        key = fold, report.words(entry, parts), entry.stream
        lines = taken.lines.get(key)
        if lines is None:
            lines = taken.lines[key] = Lines(report, parts, entry, time, time)
            if self._tally.is_due(fold, now - DIAGNOSE_EVERY):
                taken.new[fold] = report.sighting(entry, parts)
        lines.times += 1
        # For each line of a storm: min() and max() would cost more.
        if time > lines.last:
            lines.last = time
        elif time < lines.first:
            lines.first = time
