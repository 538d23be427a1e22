"""Lines of strangers: counted within one budget for all of them, shown on request, and evidence for nothing.

A stranger's line opens no incident, starts no probe and is no echo of another line. Beyond the budget lines are only
counted, which the journal reports once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from certmedic.core import symptoms
from certmedic.core.model import LogEntry, Origin
from certmedic.core.symptoms import printable
from certmedic.edge.store import Store

LINES_A_SECOND: Final = 50  # that are parsed
BYTES_A_SECOND: Final = 64 * 1024
MOST_KINDS: Final = 64  # between two writes; further ones are counted together
NAME: Final = 128
LINE: Final = 240
OTHERS: Final = ("others", "other")


@dataclass(slots=True)
class _Kind:
    line: str
    first: datetime
    last: datetime
    count: int = 0


class Strangers:
    """All strangers together. For the loop's thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache = symptoms.ParseCache()  # a cache apart: strangers must not evict what trusted origins log
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._second = 0
        self._lines = self._bytes = 0  # of that second
        self.over_budget = 0  # lines that were only counted, since the start

    def take(self, entry: LogEntry, now: datetime) -> bool:
        """Count one line. Returns True the first time that the budget is reached."""
        if not self._affords(entry, now):
            self.over_budget += 1
            return self.over_budget == 1
        sighting = self._cache.parse(entry)
        if sighting is not None:
            key = who(entry.origin), str(sighting.symptom)
            if key not in self._kinds and len(self._kinds) >= MOST_KINDS:
                key = OTHERS
            kind = self._kinds.setdefault(key, _Kind(sighting.message[:LINE], entry.time, entry.time))
            kind.count += 1
            kind.first, kind.last = min(kind.first, entry.time), max(kind.last, entry.time)
        return False

    def write(self, now: datetime) -> None:
        """Write the counts. Within a transaction."""
        self._cache.empty(now)
        for (name, symptom), kind in self._kinds.items():
            self._store.stranger(name, symptom, kind.line, times=kind.count, first=kind.first, last=kind.last)
        if self._kinds:
            self._store.prune_strangers()
        self._kinds.clear()

    def _affords(self, entry: LogEntry, now: datetime) -> bool:
        second = int(now.timestamp())
        if second != self._second:
            self._second, self._lines, self._bytes = second, 0, 0
        self._lines += 1
        self._bytes += len(entry.text)
        return self._lines <= LINES_A_SECOND and self._bytes <= BYTES_A_SECOND


def who(origin: Origin) -> str:
    """Return a stranger's name by what it cannot choose: its pod, its unit, its user, or the file that was read."""
    if origin.pod:
        name = f"pod {origin.namespace}/{origin.pod}"
    elif origin.container:
        name = f"container {origin.container}"
    elif origin.path:
        name = f"file {origin.path}"
    elif origin.unit:
        name = f"unit {origin.unit}" if origin.uid is None else f"unit {origin.unit} (uid {origin.uid})"
    else:
        name = "unknown" if origin.uid is None else f"uid {origin.uid}"
    return printable(name)[:NAME]
