"""Maintenance windows: "Sun 02:00-04:00 UTC", "Mon-Fri 22:00-05:00 Europe/Berlin", "01:00-03:00".

The days are those on which a window opens. A window that ends before it begins ends on the next day. The default zone is UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
SHAPE = re.compile(r"(?:(?P<days>[A-Za-z,-]+)\s+)?(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d)(?:\s+(?P<zone>[\w/+-]+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Hours of the week in one time zone."""

    text: str
    days: frozenset[int]  # 0 is Monday
    start: time
    end: time
    zone: ZoneInfo

    def is_open(self, now: datetime) -> bool:
        """Whether the window is open."""
        here = now.astimezone(self.zone)
        clock = here.time().replace(tzinfo=None)
        if self.start < self.end:
            return here.weekday() in self.days and self.start <= clock < self.end
        yesterday = (here - timedelta(days=1)).weekday()
        return (here.weekday() in self.days and clock >= self.start) or (yesterday in self.days and clock < self.end)

    def closes(self, now: datetime) -> datetime:
        """Return when the window closes, which is open now."""
        here = now.astimezone(self.zone)
        day = here.date() if here.time() < self.end else here.date() + timedelta(days=1)
        return datetime.combine(day, self.end, self.zone).replace(fold=here.fold).astimezone(UTC)


def parse(text: str) -> Window:
    """Return the window that a text describes. Raises ValueError that says what is allowed."""
    match = SHAPE.fullmatch(text.strip())
    if match is None:
        raise ValueError('allowed: days, hours and a time zone, e.g. "Sun 02:00-04:00 UTC" or "Mon-Fri 22:00-05:00"')
    try:
        start, end = time.fromisoformat(match["start"]), time.fromisoformat(match["end"])
    except ValueError:
        raise ValueError("allowed: hours from 00:00 to 23:59") from None
    if start == end:
        raise ValueError("allowed: a window that begins and ends at different times")
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - few ask for a window, and the service stays in memory

    try:
        zone = ZoneInfo(match["zone"] or "UTC")
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"allowed: a time zone that this machine knows, e.g. UTC or Europe/Berlin; {match['zone']} is none"
        ) from None
    return Window(text=text.strip(), days=_days(match["days"]), start=start, end=end, zone=zone)


def _days(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    chosen: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        names = [first.title(), (last or first).title()]
        if any(name not in DAYS for name in names):
            raise ValueError(f"allowed: {', '.join(DAYS)}, alone, in a list or as a range; {part} is none")
        begin, end = (DAYS.index(name) for name in names)
        chosen |= {day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)}
    return frozenset(chosen)
