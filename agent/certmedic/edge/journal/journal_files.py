"""Which journal files there are, which of them libsystemd has opened, and whether it can open them all.

While journald archives a file, the file cannot be opened for a moment, and libsystemd skips it silently. A reader that went
on without it would never come back to its entries, since by then it would have read later ones. The same happens if a process
may not have so many files open; so room for all of them is made beforehand.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

STORES = (Path("/run/log/journal"), Path("/var/log/journal"))
SPARE = 128  # files that this process may want to open beside the journal's
SETTLE = 0.1  # seconds between two openings
PATIENCE = 5.0  # seconds to wait until all files can be opened
RECENT = 60.0  # seconds since a file was last changed, within which it may be one that is just being archived


class Files:
    """The files of one journal: a directory, a list of files, or this machine's own."""

    def __init__(self, path: str | os.PathLike[str] | Sequence[str] | None) -> None:
        self._path = path
        self._patience = PATIENCE  # seconds left for those that cannot be opened
        self._given_up: set[int] = set()  # numbers of those that never could
        self.numbers: set[int] = set()  # of those that were there when it was last opened

    def look(self) -> None:
        """Note which files there are, before they are opened."""
        self.numbers = self._numbers()

    def changed(self) -> bool:
        """Whether files have come or gone since the last look."""
        return self._numbers() != self.numbers

    def complete(self) -> tuple[bool, list[Path]]:
        """Whether every file is open that can be, and the files that are given up; a file that just changed gets some seconds."""
        missing = unopened(self._there())
        # The number of a file that is gone can be given again.
        self._given_up &= {status.st_ino for status in missing.values()}
        late = {path: status for path, status in missing.items() if status.st_ino not in self._given_up}
        if late and self._patience > 0 and any(time.time() - status.st_ctime < RECENT for status in late.values()):
            self._patience -= SETTLE
            return False, []
        self._patience = PATIENCE
        self._given_up.update(status.st_ino for status in late.values())
        return True, list(late)

    def _there(self) -> dict[Path, os.stat_result]:
        if isinstance(self._path, str | os.PathLike | None):
            return files(folders(None if self._path is None else Path(self._path)))
        return {path: path.stat() for path in map(Path, self._path)}

    def _numbers(self) -> set[int]:
        return {status.st_ino for status in self._there().values()}


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


def files(where: Iterable[Path]) -> dict[Path, os.stat_result]:
    """Return the journal files in these folders that this process may read."""
    found = {}
    for folder in where:
        for path in [*folder.glob("*.journal"), *folder.glob("*.journal~")]:
            # A file that is gone by now, or that this user may not read, is not waited for.
            with contextlib.suppress(OSError):
                if os.access(path, os.R_OK):
                    found[path] = path.stat()
    return found


def room_for(count: int) -> int | None:
    """Raise this process's limit to so many more open files, as journalctl does; returns the limit if it stays too low."""
    wanted = len(os.listdir("/proc/self/fd")) + count + SPARE  # noqa: PTH208 - only how many
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return None
    with contextlib.suppress(OSError, ValueError):  # above what it may, or not allowed to at all
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return None
    return soft


def unopened(found: dict[Path, os.stat_result]) -> dict[Path, os.stat_result]:
    """Return those of these files that this process does not have open."""
    opened = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            status = link.stat()
            opened.add((status.st_dev, status.st_ino))
    return {path: status for path, status in found.items() if (status.st_dev, status.st_ino) not in opened}
