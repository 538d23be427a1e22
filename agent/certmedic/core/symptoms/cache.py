"""The parse cache: equal lines of a storm are parsed once.

Lines that a program writes by the thousand differ in time, the caller's port and the pid. `ParseCache` looks a line up
without these parts and inserts them into the cached result, at a tenth of the cost of `parse`. It does not assume where
they belong: before it caches a line, it parses the line twice more with other digits in those parts, and keeps only a
result that follows the digits all three times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Final, Protocol

from certmedic.core.entries import LogEntry, Origin
from certmedic.core.sightings import Sighting
from certmedic.core.symptoms.parse import LONGEST_MESSAGE, parse

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
_DIGIT: Final = re.compile(r"[0-9]")

_Cut = Callable[[str], tuple[str, ...]]
_Text = Callable[..., str]  # takes the variable parts of a line
_Key = tuple[Origin, tuple[str, ...], tuple[int, ...]]


class ParseCache:
    """`parse` with a cache of bounded size."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, tuple[_Cut, _Cut]] = {}  # extractors of the variable and the constant parts
        self._known: dict[_Key, _Known | None] = {}  # None: cannot be cached
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
        text = entry.text
        if len(text) > LONGEST:
            return parse(entry)
        shape = text.encode(errors="replace").translate(_ZEROS)
        cuts = self._shapes.get(shape)
        if cuts is None:
            _make_room(self._shapes)
            cuts = self._shapes[shape] = _cuts(text.translate(_ZERO_DIGITS))
        vary, stay = cuts
        parts = vary(text)
        # A part that occurs twice in the line may occur once in the result.
        equal = () if len({*parts}) == len(parts) else tuple(map(parts.index, parts))
        key = (entry.origin, stay(text), equal)
        try:
            known = self._known[key]
        except KeyError:
            return self._learn(key, entry, parts)
        return parse(entry) if known is None else known.sighting(entry, parts)

    def _learn(self, key: _Key, entry: LogEntry, parts: tuple[str, ...]) -> Sighting | None:
        """Parse a line that is not cached, and cache it at its second occurrence."""
        sighting = parse(entry)
        if key in self._met:
            self._met.discard(key)
            _make_room(self._known)
            self._known[key] = _known(sighting, entry, key[1], parts)
        else:
            _make_room(self._met)
            self._met.add(key)
        return sighting


class _Known(Protocol):
    """The cached result of equal lines."""

    def sighting(self, entry: LogEntry, parts: Sequence[str], /) -> Sighting | None:
        """Return the result for the line with these variable parts."""


@dataclass(frozen=True, slots=True)
class _Something:
    """A sighting, with places for the variable parts."""

    model: Sighting
    message: _Text
    meaning: _Text
    fields: tuple[tuple[str, _Text], ...]

    def sighting(self, entry: LogEntry, parts: Sequence[str]) -> Sighting | None:
        model = self.model
        # dataclasses.replace() costs twice as much.
        return Sighting(
            entry=entry,
            rule=model.rule,
            symptom=model.symptom,
            rejected_by=model.rejected_by,
            suspect=model.suspect,
            role=model.role,
            program=model.program,
            message=self.message(*parts),
            meaning=self.meaning(*parts),
            fields={name: text(*parts) for name, text in self.fields},
            not_after=model.not_after,
            not_before=model.not_before,
        )


class _Nothing:
    """No rule matches the line."""

    def sighting(self, _entry: LogEntry, _parts: Sequence[str], /) -> Sighting | None:
        return None


def _make_room(kept: _Clearable) -> None:
    """Empty a full collection: strangers can write any number of kinds of lines."""
    if len(kept) >= MOST:
        kept.clear()


class _Clearable(Sized, Protocol):
    def clear(self) -> None: ...


def _cuts(shape: str) -> tuple[_Cut, _Cut]:
    """Return two extractors for this line shape: its variable parts and its constant parts."""
    spans = [] if _LONG.search(shape) else [match.span() for match in _VARIABLE.finditer(shape)][:MOST_PARTS]
    edges = [0, *(edge for span in spans for edge in span), len(shape)]
    around = [slice(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    return _cut([slice(start, end) for start, end in spans]), _cut(around)


def _cut(places: Sequence[slice]) -> _Cut:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda text: tuple(text[place] for place in places)


def _known(sighting: Sighting | None, entry: LogEntry, around: Sequence[str], parts: Sequence[str]) -> _Known | None:
    """Find where the variable parts of a line appear in its result; None if that is not always the same."""
    tries = []
    for odd in (0, 1):
        other = [_other(part, 2 * parts.index(part) + odd) for part in parts]
        woven = "".join(piece for pair in zip(around, [*other, ""], strict=True) for piece in pair)
        tries.append((other, replace(entry, text=woven)))
    (first, first_entry), (second, second_entry) = tries
    model = parse(first_entry)
    known = _Nothing() if model is None else _something(model, first)
    for there, its_parts, its_sighting in (
        (entry, parts, sighting),
        (second_entry, second, parse(second_entry)),
    ):
        if known.sighting(there, its_parts) != its_sighting:
            return None
    return known


def _something(model: Sighting, parts: Sequence[str]) -> _Something:
    """Return a sighting with placeholders for these parts."""
    search = re.compile("|".join(map(re.escape, parts)) or r"(?!)")

    def text(model_text: str) -> _Text:
        literals = [piece.replace("{", "{{").replace("}", "}}") for piece in search.split(model_text)]
        places = [f"{{{parts.index(match)}}}" for match in search.findall(model_text)]
        return "".join(piece for pair in zip(literals, [*places, ""], strict=True) for piece in pair).format

    return _Something(
        model=model,
        message=text(model.message),
        meaning=text(model.meaning),
        fields=tuple((name, text(value)) for name, value in model.fields.items()),
    )


def _other(part: str, number: int) -> str:
    """Return a part of the same form with digits that are unique to `number` (below 100); a date stays a date."""
    digits = iter(f"{2100 + number}1012131415161718192021222324")
    return _DIGIT.sub(lambda _: next(digits), part)
