"""The parse cache: equal lines of a storm are parsed once.

Lines that a program writes by the thousand differ in time, the caller's port and the pid. `ParseCache` looks a line up
without these parts, at a tenth of the cost of `parse`, and finds a report into which they are inserted. It does not assume
where they belong: before it caches a line, it parses the line twice more with other digits in those parts, and keeps only
a report that follows the digits all three times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Final, Protocol

from certmedic.core.entries import LogEntry, Origin
from certmedic.core.sightings import Sighting
from certmedic.core.symptoms.parse import LONGEST_MESSAGE, parse
from certmedic.core.symptoms.report import NoReport, Once, Parts, Reported, Woven, learnt

MOST: Final = 256  # kinds of lines in the cache
KEPT_FOR: Final = timedelta(hours=1)
LONGEST: Final = LONGEST_MESSAGE  # characters of a cached line: nothing of it is cut off
MOST_PARTS: Final = 16

_ZEROS: Final = bytes.maketrans(b"123456789", b"0" * 9)
_ZERO_DIGITS: Final = str.maketrans("123456789", "0" * 9)
_DATE: Final = r"0{4}[-/]00[-/]00[T ]00:00:00"
# The variable parts of equal lines, in a line whose digits are all 0: a date with a fraction of a second, which no
# certificate has; the date of the line or of the clock; the times of klog, syslog and the kernel; a pid; a port of five
# digits, on which no service of a master listens.
_VARIABLE: Final = re.compile(
    rf"{_DATE}[.,]0{{1,9}}"
    rf"|(?:^|(?<=current time )|(?<=time=\")|(?<=\"ts\":\")|(?<=\"time\":\")){_DATE}"
    r"|^[IWEF]0{4} 00:00:00\.0{1,9}"
    r"|^[A-Z][a-z]{2} [ 0]0 00:00:00"
    r"|(?<=\"ts\":)0{9,11}\.0{1,9}"
    r"|^\[[ 0]{1,11}\.0{6}(?=\] )"
    r"|(?<=\[)0{4,7}(?=\]:)"
    r"|(?<=:)0{5}(?!0)"
)
_LONG: Final = re.compile(r":0{6}")  # a part of such a number would pass for a port

_Cut = Callable[[str], Parts]
_Key = tuple[Origin, Parts, tuple[int, ...]]


@dataclass(slots=True)
class _Shape:
    """Lines that differ in their digits alone."""

    vary: _Cut  # takes the variable parts out of a line
    stay: _Cut  # takes the constant parts out of a line
    may_be_equal: bool  # whether two variable parts of a line may be the same
    # Of the last line that the cache had: to compare costs less than to look it up.
    origin: Origin | None = None
    around: Parts = ()
    known: Woven | None = None


class ParseCache:
    """`parse` with a cache of bounded size."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, _Shape] = {}
        self._known: dict[_Key, Woven | NoReport] = {}
        self._met: set[_Key] = set()  # seen once: caching pays off at the second time
        self._emptied = datetime.min.replace(tzinfo=UTC)

    def empty(self, now: datetime) -> None:
        """Empty the cache once in `KEPT_FOR`. Lines that come once would fill it over weeks."""
        if not timedelta() <= now - self._emptied < KEPT_FOR:
            self._emptied = now
            for kept in (self._shapes, self._known, self._met):
                kept.clear()

    def parse(self, entry: LogEntry) -> Sighting | None:
        """Return what `parse` returns. Never raises."""
        reported = self.find(entry)
        return None if reported is None else reported[0].sighting(entry, reported[1])

    def find(self, entry: LogEntry) -> Reported | None:
        """Return what a line reports, with its variable parts; None if it reports nothing. Never raises."""
        text = entry.text
        if len(text) > LONGEST:
            return _once(parse(entry))
        zeroed = text.encode(errors="replace").translate(_ZEROS)
        shape = self._shapes.get(zeroed)
        if shape is None:
            _make_room(self._shapes)
            shape = self._shapes[zeroed] = _shape(text.translate(_ZERO_DIGITS))
        parts, around = shape.vary(text), shape.stay(text)
        if shape.known is not None and entry.origin is shape.origin and around == shape.around:
            return shape.known, parts
        # A part that occurs twice in the line may occur once in the result.
        equal = tuple(map(parts.index, parts)) if shape.may_be_equal and len({*parts}) < len(parts) else ()
        key = (entry.origin, around, equal)
        known = self._known.get(key)
        if known is None:
            return self._learn(key, entry, parts)
        if known is NoReport.NOTHING:
            return None
        if known is NoReport.UNSTEADY:
            return _once(parse(entry))
        if not shape.may_be_equal:
            shape.origin, shape.around, shape.known = entry.origin, around, known
        return known, parts

    def _learn(self, key: _Key, entry: LogEntry, parts: Parts) -> Reported | None:
        """Parse a line that is not cached, and cache it at its second occurrence."""
        sighting = parse(entry)
        if key in self._met:
            self._met.discard(key)
            _make_room(self._known)
            self._known[key] = learnt(sighting, entry, key[1], parts)
        else:
            _make_room(self._met)
            self._met.add(key)
        return _once(sighting)


def _once(sighting: Sighting | None) -> Reported | None:
    return None if sighting is None else (Once(sighting), ())


def _make_room(kept: _Clearable) -> None:
    """Empty a full collection: strangers can write any number of kinds of lines."""
    if len(kept) >= MOST:
        kept.clear()


class _Clearable(Sized, Protocol):
    def clear(self) -> None: ...


def _shape(zeroed: str) -> _Shape:
    spans = [] if _LONG.search(zeroed) else [match.span() for match in _VARIABLE.finditer(zeroed)][:MOST_PARTS]
    edges = [0, *(edge for span in spans for edge in span), len(zeroed)]
    around = [slice(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    lengths = [end - start for start, end in spans]
    return _Shape(_cut([slice(*span) for span in spans]), _cut(around), len(set(lengths)) < len(lengths))


def _cut(places: Sequence[slice]) -> _Cut:
    if len(places) > 1:
        return itemgetter(*places)
    if not places:
        return lambda _: ()
    place = places[0]
    return lambda text: (text[place],)
