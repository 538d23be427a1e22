"""Telling echoes: one line of a program that comes in by several roads is to be counted once.

What a container writes lies in the runtime's log, may lie in a file beside it (etcd-manager's `tee`), and in the journal. Which
road is the fastest differs, and any of them may be behind by hours. So lines are known again by what they say and by the second
that they themselves tell, and are counted by road: a line is new where its road has brought it more often than any other road
has until now. Were all roads to bring all lines, this is exact, in whatever order they come; a road that lost some does no harm.

The logs of containers are one road: what two containers say alike, two programs said. The journal is one road, and so is every
plain file. A journal's unit tells nothing here: `docker run` in a unit writes to both.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from certmedic.core.model import Sighting

_KEY: Final = re.compile(r'"(?:ts|time|timestamp|@timestamp)":"?(\d{9,11}(?=\.)|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)')
# A caller's port differs from line to line: without it, a storm of equal lines is a few words a second to remember.
_PORT: Final = re.compile(r":\d{5}(?!\d)")
HEAD: Final = 40  # characters within which a line tells its time, where what it says stands not in it word by word
START: Final = 24  # characters of what was said by which it is found in its line


def words(sighting: Sighting) -> str:
    """Return what is equal in all copies of a line: its second, and what it says without ports."""
    said = sighting.said
    second = _second(sighting.entry.text, said) or sighting.entry.time.isoformat()[:19]
    port = sighting.fields.get("remote_addr", "").rpartition(":")[2]
    # Most have the caller's port and no other; that is found out already.
    said = said.replace(port, "", 1) if len(port) == 5 else _PORT.sub(":", said)
    return f"{second} {said}"


def written_at(sighting: Sighting, now: datetime) -> datetime | None:
    """Return the second that a line itself tells, taken for UTC; None where it tells none, or not the day."""
    second = _second(sighting.entry.text, sighting.said).replace("/", "-")
    with contextlib.suppress(ValueError, OverflowError, OSError):
        if second.isdecimal():
            return datetime.fromtimestamp(int(second), UTC)
        if second[:1] in ("I", "W", "E", "F"):  # klog, which tells no year
            told = datetime.strptime(f"{now.year} {second[1:]} +0000", "%Y %m%d %H:%M:%S %z")
            return told if told < now + timedelta(days=1) else told.replace(year=now.year - 1)
        return datetime.fromisoformat(second).replace(tzinfo=UTC)
    return None


def _second(text: str, said: str) -> str:
    """Return the second that a line tells, as it is written there; "" where it tells none."""
    found = _KEY.search(text) if '":' in text else None
    if found:
        return found[1]
    at = text.find(said[:START])
    return _clock(text, at if at >= 0 else HEAD)


def _clock(text: str, end: int) -> str:
    """Return the last time of day before `end`, with a date where there is one; "" for none.

    The last, since outer dresses come first. Written without a pattern, which would cost five times as much.
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


def number(told: str) -> int:
    """Return a number for `words` that is the same in every run, for the store: 63 bits of a hash."""
    return int.from_bytes(hashlib.blake2b(told.encode(errors="replace"), digest_size=8).digest(), "big") >> 1


@functools.lru_cache
def road(stream: str) -> str:
    """Return the road that a stream is part of."""
    kind = stream.partition(":")[0]
    return "containers" if kind in ("docker", "pod") else "journal" if kind == "journal" else stream


def is_echo(brought: dict[str, int], stream: str) -> bool:
    """Whether one more of this line, by this stream, is an echo; counts it in `brought`, road -> how often."""
    by = road(stream)
    times = brought.get(by, 0) + 1
    known = any([often >= times for often in brought.values()])  # noqa: C419 - a list costs half of what a generator does
    brought[by] = times
    return known
