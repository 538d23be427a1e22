"""Where reading begins: after the last entry handled, or at its time."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from certmedic.edge.journal.fast_reader import Steps
from certmedic.edge.journal.position import Position, moment


def seek(reader: Any, steps: Steps, last: Position | None, lookback: float) -> str:
    """Go to where the next step yields the first entry to handle; return a sentence on what may have been missed, or "".

    A journal that was never read is read from `lookback` seconds ago on.
    """
    if last is None:
        since = time.time() - lookback
        reader.seek_realtime(since)
        if steps.step():
            reader.seek_realtime(since)
        else:
            _seek_end(reader)
        return ""
    with contextlib.suppress(OSError, ValueError):  # libsystemd cannot parse the cursor
        reader.seek_cursor(last.cursor)
        if steps.step() and reader.test_cursor(last.cursor):
            return ""
    # The cursor is dead: the entry was vacuumed, or moved from /run to /var, where it has another number.
    reader.seek_realtime(last.usec / 1e6)
    first = 0
    while steps.step() and first <= last.usec:
        if last.same_entry(steps.cursor()):
            return ""
        first = steps.realtime()
    if first:
        reader.seek_realtime(last.usec / 1e6)
        return (
            f"the entry read last, of {moment(last.usec)}, is gone from the journal; what was written in the "
            f"{max(first - last.usec, 0) / 1e6:.0f} s after it may have been missed"
        )
    _seek_end(reader)
    return (
        f"the journal holds nothing from {moment(last.usec)} on, where it was read last (was it wiped, or the "
        "clock set back?); it is read from its end on"
    )


def _seek_end(reader: Any) -> None:
    """Go to the last entry. After a seek to a later time, no entry would be read until that time has come."""
    reader.seek_tail()
    if not reader.get_previous():
        reader.seek_head()
