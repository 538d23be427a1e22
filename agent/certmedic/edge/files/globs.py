"""The files that match globs, and the folders in which more may appear."""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from certmedic.edge.source import from_checkpoint, to_checkpoint

SLACK = 5.0  # seconds by which clocks of files and of this process may differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The time until which files that match some globs were watched for."""

    time: float  # seconds since 1970
    globs: tuple[str, ...]

    def __str__(self) -> str:
        return to_checkpoint(time=round(self.time, 3), globs=self.globs)

    @classmethod
    def parse(cls, stored: str | None) -> Watch | None:
        """Parse a stored watch; None if there is none or it is invalid."""
        return from_checkpoint(stored, lambda kept: cls(time=float(kept["time"]), globs=tuple(map(str, kept["globs"]))))

    def watched(self, path: str) -> bool:
        """Whether a file at this path would have been seen."""
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self.globs)


def expand(globs: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return the files that match, and the folders to watch for further files and folders."""
    files: set[str] = set()
    folders: set[str] = set()
    for pattern in globs:
        here = [Path("/")]
        parts = Path(pattern).parts[1:]
        for depth, part in enumerate(parts, start=1):
            last = depth == len(parts)
            there = []
            for folder in here:
                magic = glob.has_magic(part)
                names = fnmatch.filter(_names(folder), part) if magic else [part]
                matching = [path for path in map(folder.joinpath, names) if _is(path, folder=not last)]
                there += matching
                if magic or last or not matching:
                    folders.add(str(folder))
            here = there
        files.update(map(str, here))
    return files, folders


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _is(path: Path, *, folder: bool) -> bool:
    try:
        return path.is_dir() if folder else not path.is_dir() and (path.is_symlink() or path.exists())
    except OSError:
        return False
