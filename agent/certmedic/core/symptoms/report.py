"""The reports of lines. Most lines of a storm are only counted, without their sighting: that would cost more than all else."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from certmedic.core import echo
from certmedic.core.entries import LogEntry
from certmedic.core.sightings import Sighting
from certmedic.core.symptoms.parse import parse

_DIGIT: Final = re.compile(r"[0-9]")

Parts = tuple[str, ...]  # the parts of a line that differ between equal lines, in order: times, ports, pids
Text = Callable[[Parts], str]


class NoReport(enum.Enum):
    """Why nothing is known of equal lines."""

    NOTHING = "no rule matches"
    UNSTEADY = "the parts do not appear at the same places each time"


class Report(Protocol):
    """The report of equal lines. Each method answers for the line with these `parts`."""

    def fold(self, parts: Parts, /) -> str:
        """Return the fold of the sighting."""

    def remote(self, parts: Parts, /) -> str:
        """Return the remote address of the sighting; "" if the line names none."""

    def words(self, entry: LogEntry, parts: Parts, /) -> str:
        """Return `echo.words` of the sighting."""

    def sighting(self, entry: LogEntry, parts: Parts, /) -> Sighting:
        """Return the sighting."""


Reported = tuple[Report, Parts]


@dataclass(frozen=True, slots=True)
class Once:
    """The report of one line."""

    of: Sighting

    def fold(self, _parts: Parts, /) -> str:
        """See `Report`."""
        return self.of.fold

    def remote(self, _parts: Parts, /) -> str:
        """See `Report`."""
        return self.of.fields.get("remote_addr", "")

    def words(self, _entry: LogEntry, _parts: Parts, /) -> str:
        """See `Report`."""
        return echo.words(self.of)

    def sighting(self, _entry: LogEntry, _parts: Parts, /) -> Sighting:
        """See `Report`."""
        return self.of


@dataclass(frozen=True, slots=True)
class Woven:
    """The report of equal lines, with places for their parts."""

    model: Sighting
    fold: Text
    remote: Text
    message: Text
    meaning: Text
    fields: tuple[tuple[str, Text], ...]
    second: Text | None  # that the line states; None if it states none
    rest: Text  # the text after the second in `echo.words`

    def words(self, entry: LogEntry, parts: Parts, /) -> str:
        """See `Report`."""
        second = echo.second_of(entry.time) if self.second is None else self.second(parts)
        return second + self.rest(parts)

    def sighting(self, entry: LogEntry, parts: Parts, /) -> Sighting:
        """See `Report`."""
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
            message=self.message(parts),
            meaning=self.meaning(parts),
            fields={name: text(parts) for name, text in self.fields},
            not_after=model.not_after,
            not_before=model.not_before,
        )


def learnt(sighting: Sighting | None, entry: LogEntry, around: Sequence[str], parts: Parts) -> Woven | NoReport:
    """Find where the variable parts of a line appear in its report."""
    tries = []
    for odd in (0, 1):
        other = tuple(_other(part, 2 * parts.index(part) + odd) for part in parts)
        woven = "".join(piece for pair in zip(around, [*other, ""], strict=True) for piece in pair)
        tries.append((other, replace(entry, text=woven)))
    (first, first_entry), (second, second_entry) = tries
    model = parse(first_entry)
    known = None if model is None else _woven(model, first)
    for there, its_parts, its_sighting in ((entry, parts, sighting), (second_entry, second, parse(second_entry))):
        if not _holds(known, there, its_parts, its_sighting):
            return NoReport.UNSTEADY
    return NoReport.NOTHING if known is None else known


def _holds(known: Woven | None, entry: LogEntry, parts: Parts, sighting: Sighting | None) -> bool:
    """Whether a report is that of a line with another sighting."""
    if known is None or sighting is None:
        return known is None and sighting is None
    once = Once(sighting)
    return (
        known.sighting(entry, parts) == sighting
        and known.fold(parts) == sighting.fold
        and known.remote(parts) == once.remote(parts)
        and known.words(entry, parts) == echo.words(sighting)
    )


def _woven(model: Sighting, parts: Parts) -> Woven:
    """Return a report with places for these parts."""
    search = re.compile("|".join(map(re.escape, parts)) or r"(?!)")

    def text(model_text: str) -> Text:
        literals = search.split(model_text)
        places = [parts.index(match) for match in search.findall(model_text)]
        if not places:
            return lambda _: model_text
        if len(places) == 1:
            (head, tail), (place,) = literals, places
            return lambda parts: head + parts[place] + tail
        escaped = [piece.replace("{", "{{").replace("}", "}}") for piece in literals]
        marks = [*(f"{{{place}}}" for place in places), ""]
        template = "".join(piece for pair in zip(escaped, marks, strict=True) for piece in pair)
        return lambda parts: template.format(*parts)

    stated = echo.stated_second(model)
    return Woven(
        model=model,
        fold=text(model.fold),
        remote=text(model.fields.get("remote_addr", "")),
        message=text(model.message),
        meaning=text(model.meaning),
        fields=tuple((name, text(value)) for name, value in model.fields.items()),
        second=_second(stated, parts) if stated else None,
        rest=text(echo.words(model)[len(stated or echo.second_of(model.entry.time)) :]),
    )


def _second(stated: str, parts: Parts) -> Text:
    """Return where the second is that a line states: it begins a part that may go on with a fraction, or is the same in all lines."""
    holding = [place for place, part in enumerate(parts) if stated in part]
    if not holding:
        return lambda _: stated
    place = holding[0]
    at = parts[place].index(stated)
    second = slice(at, at + len(stated))
    return lambda parts: parts[place][second]


def _other(part: str, number: int) -> str:
    """Return a part of the same form with digits that are unique to `number` (below 100); a date stays a date."""
    digits = iter(f"{2100 + number}1012131415161718192021222324")
    return _DIGIT.sub(lambda _: next(digits), part)
