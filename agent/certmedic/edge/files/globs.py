"""The files that match globs, and the folders in which more may appear."""
# Paths are strings here: to make a Path object costs more than to look at the file.
# ruff: noqa: PTH112, PTH208

from __future__ import annotations

import fnmatch
import functools
import glob
import os
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
    # A hundred globs of control planes begin in the same few folders, most of which are not there.
    is_folder, names_in = functools.cache(os.path.isdir), functools.cache(_names)
    for pattern in globs:
        here = [""]
        parts = _parts(pattern)
        for depth, (part, magic) in enumerate(parts, start=1):
            last = depth == len(parts)
            there = []
            for folder in here:
                names = fnmatch.filter(names_in(folder or "/"), part) if magic else [part]
                paths = [f"{folder}/{name}" for name in names]
                matching = [path for path in paths if (_is_file(path) if last else is_folder(path))]
                there += matching
                if magic or last or not matching:
                    folders.add(folder or "/")
            here = there
        files.update(here)
    return files, folders


@functools.lru_cache(maxsize=1024)
def _parts(pattern: str) -> tuple[tuple[str, bool], ...]:
    """Return the parts of an absolute path, each with whether it has wildcards."""
    return tuple((part, glob.has_magic(part)) for part in Path(pattern).parts[1:])


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _is_file(path: str) -> bool:
    return os.path.lexists(path) and not os.path.isdir(path)
