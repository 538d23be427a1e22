"""Whether this machine is about to go down, from the files that systemd writes for everyone to read."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certmedic.edge.os.readfile import read_bytes

SCHEDULED = "run/systemd/shutdown/scheduled"  # `shutdown +10`; gone when it is cancelled
NOLOGIN = "run/nologin"  # from 5 minutes before a scheduled shutdown, and as soon as any shutdown begins
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def shutdown_at(root: str = "/") -> datetime | None:
    """Return when this machine is to go down, in the past if it has begun; None if nothing says so. Never raises."""
    moments = []
    with contextlib.suppress(OSError, ValueError, OverflowError):
        moments.append(datetime.fromtimestamp((Path(root) / NOLOGIN).lstat().st_mtime, UTC))
    with contextlib.suppress(OSError, OverflowError):
        match = re.search(rb"(?m)^USEC=(\d{1,18})$", read_bytes(str(Path(root) / SCHEDULED)))
        if match is not None:
            moments.append(_EPOCH + timedelta(microseconds=int(match[1])))
    return min(moments, default=None)
