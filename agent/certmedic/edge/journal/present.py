"""Which journal files there are, and which of them libsystemd has opened.

While journald archives a file it cannot be opened for a moment, and libsystemd passes it over without a word. A reader that
went on without it would never come back to its entries, since by then it would have read later ones.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

STORES = (Path("/run/log/journal"), Path("/var/log/journal"))
RECENT = 60.0  # seconds since a file was last changed, within which it may be one that is just being archived


def folders(path: Path | None) -> list[Path]:
    """Return the folders of which libsystemd reads every journal file: of this machine, or under `path`."""
    if path is None:
        with contextlib.suppress(OSError):
            machine = Path("/etc/machine-id").read_text("ascii").strip()
            return [store / machine for store in STORES]
        return []
    found = [path]
    with contextlib.suppress(OSError):
        found += [entry for entry in path.iterdir() if len(entry.name) == 32 and entry.is_dir()]
    return found


def unopened(where: Iterable[Path]) -> dict[Path, os.stat_result]:
    """Return the journal files in these folders that this process may read and does not have open."""
    found = {}
    for folder in where:
        for path in [*folder.glob("*.journal"), *folder.glob("*.journal~")]:
            # One that is gone by now, or is not for this user, is not waited for.
            with contextlib.suppress(OSError):
                if os.access(path, os.R_OK):
                    found[path] = path.stat()
    opened = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            status = link.stat()
            opened.add((status.st_dev, status.st_ino))
    return {path: status for path, status in found.items() if (status.st_dev, status.st_ino) not in opened}
