"""A storm of equal lines: what was understood once is not worked out again.

Lines that a program writes by the thousand differ in the time, the caller's port, a pid. `Memo` looks a line up without
these parts, puts them where they belong in the result, and so comes to what `parse` would say, at a tenth of its cost.
Where they belong is not assumed but found out: before a line is remembered it is parsed twice more, with other digits in
those parts, and only a result that follows the digits faithfully all three times is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final, Protocol

from certmedic.core.model import LogEntry, Origin, Sighting
from certmedic.core.symptoms.sighting import SAID, parse

MOST: Final = 512  # kinds of lines that are remembered
LONGEST: Final = SAID  # characters of such a line: nothing of it is cut off
MOST_PARTS: Final = 16

_ZEROS: Final = bytes.maketrans(b"123456789", b"0" * 9)
_ZERO_DIGITS: Final = str.maketrans("123456789", "0" * 9)
_DATE: Final = r"0{4}[-/]00[-/]00[T ]00:00:00"
# What differs between equal lines, in a line whose digits are all 0: a date with a fraction of a second, which no
# certificate has; a date that says when the line was written or what the clock showed; the times of klog, of syslog and of
# the kernel; a pid; a port of five digits, which is no service's of a master.
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
_LONG: Final = re.compile(r":0{6}")  # in such a number lies what would be taken for a port
_DIGIT: Final = re.compile(r"[0-9]")

_Cut = Callable[[str], tuple[str, ...]]
_Text = Callable[..., str]  # takes the variable parts of a line
_Key = tuple[Origin, tuple[str, ...], tuple[int, ...]]


class Memo:
    """`parse`, with a memory of bounded size."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, tuple[_Cut, _Cut]] = {}  # how to cut out what varies, and what stays
        self._known: dict[_Key, _Known | None] = {}  # None: cannot be remembered
        self._met: set[_Key] = set()  # once: what does not come again is not worth the work

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
        # A part that occurs twice may be told once only.
        equal = () if len({*parts}) == len(parts) else tuple(map(parts.index, parts))
        key = (entry.origin, stay(text), equal)
        try:
            known = self._known[key]
        except KeyError:
            return self._learn(key, entry, parts)
        return parse(entry) if known is None else known.sighting(entry, parts)

    def _learn(self, key: _Key, entry: LogEntry, parts: tuple[str, ...]) -> Sighting | None:
        """Parse a line that is not known; when one like it comes for the second time, remember it."""
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
    """What equal lines say."""

    def sighting(self, entry: LogEntry, parts: Sequence[str], /) -> Sighting | None:
        """Return what the line says whose variable parts these are."""


@dataclass(frozen=True, slots=True)
class _Something:
    """A sighting, with places for the variable parts."""

    model: Sighting
    said: _Text
    meaning: _Text
    fields: tuple[tuple[str, _Text], ...]

    def sighting(self, entry: LogEntry, parts: Sequence[str]) -> Sighting | None:
        model = self.model
        # Written out: dataclasses.replace() costs twice as much.
        return Sighting(
            entry=entry,
            rule=model.rule,
            symptom=model.symptom,
            rejected_by=model.rejected_by,
            suspect=model.suspect,
            role=model.role,
            program=model.program,
            said=self.said(*parts),
            meaning=self.meaning(*parts),
            fields={name: text(*parts) for name, text in self.fields},
            not_after=model.not_after,
            not_before=model.not_before,
        )


class _Nothing:
    """No rule knows such a line."""

    def sighting(self, _entry: LogEntry, _parts: Sequence[str], /) -> Sighting | None:
        return None


def _make_room(kept: _Clearable) -> None:
    """Forget all where there is too much: strangers can make as many kinds of lines as they like."""
    if len(kept) >= MOST:
        kept.clear()


class _Clearable(Sized, Protocol):
    def clear(self) -> None: ...


def _cuts(shape: str) -> tuple[_Cut, _Cut]:
    """Return how to cut the variable parts out of a line of this shape, and how what is around them."""
    spans = [] if _LONG.search(shape) else [found.span() for found in _VARIABLE.finditer(shape)][:MOST_PARTS]
    edges = [0, *(edge for span in spans for edge in span), len(shape)]
    around = [slice(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    return _cut([slice(start, end) for start, end in spans]), _cut(around)


def _cut(places: Sequence[slice]) -> _Cut:
    """Return what cuts these places out of a text."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda text: tuple(text[place] for place in places)


def _known(sighting: Sighting | None, entry: LogEntry, around: Sequence[str], parts: Sequence[str]) -> _Known | None:
    """Find out what becomes of the variable parts of a line; None where it is not always the same."""
    tries = []
    for odd in (0, 1):
        other = [_other(part, 2 * parts.index(part) + odd) for part in parts]
        woven = "".join(piece for pair in zip(around, [*other, ""], strict=True) for piece in pair)
        tries.append((other, replace(entry, text=woven)))
    (first, first_entry), (second, second_entry) = tries
    told = parse(first_entry)
    known = _Nothing() if told is None else _something(told, first)
    for there, its_parts, its_sighting in (
        (entry, parts, sighting),
        (second_entry, second, parse(second_entry)),
    ):
        if known.sighting(there, its_parts) != its_sighting:
            return None
    return known


def _something(told: Sighting, parts: Sequence[str]) -> _Something:
    """Return what a sighting told, with places where these parts stand in it."""
    search = re.compile("|".join(map(re.escape, parts)) or r"(?!)")

    def text(said: str) -> _Text:
        literals = [piece.replace("{", "{{").replace("}", "}}") for piece in search.split(said)]
        places = [f"{{{parts.index(found)}}}" for found in search.findall(said)]
        return "".join(piece for pair in zip(literals, [*places, ""], strict=True) for piece in pair).format

    return _Something(
        model=told,
        said=text(told.said),
        meaning=text(told.meaning),
        fields=tuple((name, text(value)) for name, value in told.fields.items()),
    )


def _other(part: str, number: int) -> str:
    """Return a part of the same form with other digits, which no other number (below 100) gives; a date becomes a date."""
    digits = iter(f"{2100 + number}1012131415161718192021222324")
    return _DIGIT.sub(lambda _: next(digits), part)
