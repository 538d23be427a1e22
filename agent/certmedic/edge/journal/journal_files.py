"""The journal's files, and whether libsystemd has opened them all.

While journald archives a file, the file cannot be opened for a moment, and libsystemd skips it silently. A reader that goes on
without the file never returns to its entries, since it has read later ones. The same happens if the process may not have so
many files open, so the limit is raised first.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from certmedic.edge.os.readfile import may_access

STORES = (Path("/run/log/journal"), Path("/var/log/journal"))
SPARE = 128  # other files that this process may open
SETTLE = 0.1  # seconds between two openings
PATIENCE = 5.0  # seconds to wait until all files can be opened
RECENT = 60.0  # seconds after its last change in which a file may be in the middle of archiving


class Files:
    """The files of one journal: a directory, a list of files, or this machine's own."""

    def __init__(self, path: str | os.PathLike[str] | Sequence[str] | None) -> None:
        self._path = path
        self._patience = PATIENCE  # seconds left to wait for files that cannot be opened
        self._given_up: set[int] = set()  # inodes of files that could not be opened
        self.numbers: set[int] = set()  # inodes of the files at the last look

    def look(self) -> None:
        """Note the existing files, before they are opened."""
        self.numbers = self._numbers()

    def changed(self) -> bool:
        """Whether files have come or gone since the last look."""
        return self._numbers() != self.numbers

    def complete(self) -> tuple[bool, list[Path]]:
        """Return whether every file is open or given up, and the files given up now. Wait some seconds for recent files."""
        missing = unopened(self._there())
        # The inode of a file that is gone may be used again.
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
    """Return the folders whose journal files libsystemd reads: of this machine, or below `path`."""
    if path is None:
        with contextlib.suppress(OSError):
            machine = Path("/etc/machine-id").read_text("ascii").strip()
            return [store / machine for store in STORES]
        return []
    paths = [path]
    with contextlib.suppress(OSError):
        paths += [entry for entry in path.iterdir() if len(entry.name) == 32 and entry.is_dir()]
    return paths


def files(where: Iterable[Path]) -> dict[Path, os.stat_result]:
    """Return the journal files in these folders that this process may read."""
    states = {}
    for folder in where:
        for path in [*folder.glob("*.journal"), *folder.glob("*.journal~")]:
            # Do not wait for a file that is gone or that this user may not read.
            with contextlib.suppress(OSError):
                if may_access(path, os.R_OK):
                    states[path] = path.stat()
    return states


def room_for(count: int) -> int | None:
    """Raise the limit of open files for `count` more, as journalctl does; return the limit if it stays too low."""
    wanted = len(os.listdir("/proc/self/fd")) + count + SPARE  # noqa: PTH208 - only their number
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return None
    with contextlib.suppress(OSError, ValueError):  # beyond the hard limit, or forbidden
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return None
    return soft


def unopened(states: dict[Path, os.stat_result]) -> dict[Path, os.stat_result]:
    """Return the files that this process does not have open."""
    opened = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            status = link.stat()
            opened.add((status.st_dev, status.st_ino))
    return {path: status for path, status in states.items() if (status.st_dev, status.st_ino) not in opened}
