"""A storm of equal lines: what was understood once is not worked out again.

Lines that a program writes by the thousand differ in the time, the caller's port, a pid. `Memo` looks a line up without
these parts, puts them where they belong in the result, and so comes to what `parse` would say, at a tenth of its cost.
Where they belong is not assumed but found out: before a line is remembered it is parsed twice more, with other digits in
those parts, and only a result that follows the digits faithfully all three times is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from certmedic.core.model import LogEntry, Origin, Sighting
from certmedic.core.symptoms.sighting import SAID, parse

MOST: Final = 512  # kinds of lines that are remembered
LONGEST: Final = SAID  # characters of such a line: nothing of it is cut off

_ZEROS: Final = bytes.maketrans(b"123456789", b"0" * 9)
_DATE: Final = r"0{4}[-/]00[-/]00[T ]00:00:00"
# What differs between equal lines, in a line whose digits are all 0: a date with a fraction of a second, which no
# certificate has; a date that says when the line was written or what the clock showed; the times of klog, of syslog and of
# the kernel; a pid; a port of five digits, which is no service's of a master.
_VARIABLE: Final = re.compile(
    rf"{_DATE}[.,]0{{1,9}}"
    rf"|(?:^|(?<=current time )|(?<=time=\")|(?<=\"ts\":\")|(?<=\"time\":\")){_DATE}"
    r"|(?<![^\n])(?<=^)[IWEF]0{4} 00:00:00\.0{1,9}"
    r"|^[A-Z][a-z]{2} [ 0]0 00:00:00"
    r"|(?<=\"ts\":)0{9,11}\.0{1,9}"
    r"|^\[[ 0]{1,11}\.0{6}(?=\] )"
    r"|(?<=\[)0{4,7}(?=\]:)"
    r"|(?<=:)0{5}(?!0)"
)
_LONG: Final = re.compile(r":0{6}")  # in such a number lies what would be taken for a port


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where the variable parts of a line are: ways to cut them out, and to cut out what is around them."""

    parts: tuple[slice, ...]
    vary: Callable[[str], tuple[str, ...]]
    stay: Callable[[str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Known:
    """What equal lines say, with places for their variable parts."""

    model: Sighting
    said: _Text
    meaning: _Text
    fields: tuple[tuple[str, _Text], ...]

    def sighting(self, entry: LogEntry, parts: Sequence[str]) -> Sighting:
        """Return what the line says whose variable parts these are."""
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


_Text = Callable[..., str]  # takes the variable parts
_Key = tuple[Origin, tuple[str, ...], tuple[int, ...]]


class Memo:
    """`parse`, for one thread, with a memory of what it met before."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, _Shape | None] = {}
        self._known: dict[_Key, _Known | None] = {}  # None: such a line says nothing of interest
        self._met: set[_Key] = set()  # once: what never comes again is not worth the work
        self._parsed: set[_Key] = set()  # what cannot be remembered

    def parse(self, entry: LogEntry) -> Sighting | None:
        """Return what `parse` returns. Never raises."""
