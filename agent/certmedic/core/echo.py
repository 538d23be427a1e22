"""Deduplication: a line that arrives by several ways counts once.

A line of a container is in the log of the runtime, perhaps in a file (etcd-manager's `tee`), and in the journal. Any of these ways may
be hours behind the others. A line is recognised by its text and by the second that it states. For each way the agent counts how
often the line arrived; an arrival is new if no other way has brought the line that often. If all ways bring all lines, the
result is exact in any order. A way that lost lines does no harm.

All logs of containers are one way, because two containers write two lines. The journal is one way, and so is each plain file. The
unit in the journal does not separate ways: `docker run` in a unit writes to both.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from certmedic.core.sightings import Sighting

_KEY: Final = re.compile(r'"(?:ts|time|timestamp|@timestamp)":"?(\d{9,11}(?=\.)|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)')
# The port of the caller differs from line to line. Without it, the lines of a storm differ only in their second.
_PORT: Final = re.compile(r":\d{5}(?!\d)")
# "Nov 24 15:32:44" without its first letter: `_clock` takes the 14 characters that klog needs.
_MONTHS: Final = {
    name: number
    for number, name in enumerate(["an", "eb", "ar", "pr", "ay", "un", "ul", "ug", "ep", "ct", "ov", "ec"], 1)
}
_NAMED: Final = re.compile(rf"({'|'.join(_MONTHS)}) ([ \d]\d \d\d:\d\d:\d\d)$")
HEAD: Final = 40  # characters that hold the time of a line, if its message is not found in the line
START: Final = 24  # characters of a message by which it is found in its line


def words(sighting: Sighting) -> str:
    """Return the text that all copies of a line share: its second, and its message without ports."""
    message = sighting.message
    second = stated_second(sighting) or second_of(sighting.entry.time)
    port = sighting.fields.get("remote_addr", "").rpartition(":")[2]
    # Most lines have the caller's port and no other, which `fields` states: that saves the search.
    message = message.replace(port, "", 1) if len(port) == 5 else _PORT.sub(":", message)
    return f"{second} {message}"


def stated_second(sighting: Sighting) -> str:
    """Return the second that a line states, as written; "" if it states none."""
    return _second(sighting.entry.text, sighting.message)


def second_of(time: datetime) -> str:
    """Return the second of a time, for a line that states none."""
    return time.isoformat()[:19]


def written_at(sighting: Sighting, now: datetime) -> datetime | None:
    """Return the second that a line states, read as UTC; None if it states none, or no day."""
    second = stated_second(sighting).replace("/", "-")
    with contextlib.suppress(ValueError, OverflowError, OSError):
        if second.isdecimal():
            return datetime.fromtimestamp(int(second), UTC)
        if second[:1] in ("I", "W", "E", "F"):  # klog, which states no year
            moment = datetime.strptime(f"{now.year} {second[1:]} +0000", "%Y %m%d %H:%M:%S %z")
            return moment if moment < now + timedelta(days=1) else moment.replace(year=now.year - 1)
        if (named := _NAMED.match(second)) is not None:  # syslog and journalctl, which state no year either
            moment = datetime.strptime(f"{now.year} {named[2]} +0000", "%Y %d %H:%M:%S %z")
            moment = moment.replace(month=_MONTHS[named[1]])
            return moment if moment < now + timedelta(days=1) else moment.replace(year=now.year - 1)
        return datetime.fromisoformat(second).replace(tzinfo=UTC)
    return None


def _second(text: str, message: str) -> str:
    match = _KEY.search(text) if '":' in text else None
    if match:
        return match[1]
    at = text.find(message[:START])
    return _clock(text, at if at >= 0 else HEAD)


def _clock(text: str, end: int) -> str:
    """Return the last time of day before `end`, with its date if it has one; "" if there is no time.

    The last, because outer envelopes come first. A regular expression would cost five times as much.
    """
    while (colon := text.rfind(":", 5, end)) > 0:
        if (
            text[colon - 3] == ":"
            and text[colon - 5 : colon - 3].isdecimal()
            and text[colon + 1 : colon + 3].isdecimal()
        ):
            # 2026-11-24T15:32:44, 2026/11/24 15:32:44, I1124 15:32:44
            long = colon >= 16 and text[colon - 16 : colon - 12].isdecimal()
            return text[colon - 16 if long else max(colon - 11, 0) : colon + 3]
        end = colon
    return ""


def number(text: str) -> int:
    """Return 63 bits of a hash of `words`, for the store; it is the same in every run."""
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest(), "big") >> 1


@functools.lru_cache
def _way(stream: str) -> str:
    kind = stream.partition(":")[0]
    return "containers" if kind in ("docker", "pod") else "journal" if kind == "journal" else stream


def new_arrivals(brought: dict[str, int], stream: str, times: int = 1) -> int:
    """Return how many of so many arrivals of a line repeat none by another way. Counts them in `brought`: way -> arrivals."""
    way = _way(stream)
    most = max(brought.values(), default=0)
    arrived = brought[way] = brought.get(way, 0) + times
    return max(0, min(times, arrived - most))
