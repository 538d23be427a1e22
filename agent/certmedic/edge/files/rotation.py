"""Positions in a rotated log, and the files that hold the content after a position.

A position names content, not a file: an offset, and a hash of the file's beginning and of the bytes just before the offset.
So unread content is found again in the renamed file, in the copy that copytruncate made, and in either of them compressed; and
another file with the same name or inode is not taken for it.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from certmedic.edge.os import owners
from certmedic.edge.source import from_checkpoint, to_checkpoint

SLACK = 1.0  # seconds
HEAD = 1024  # bytes of the beginning by which content is recognised, or as many as were read
TAIL = 128  # bytes before the offset, likewise

# Numbers and dates: of logrotate (20261124), of the kubelet (20261124-101112) and of Go's lumberjack (2026-11-24T10-11-12.345).
_AGE = r"\d[\dT.-]*"
_ROTATED = re.compile(rf"(?:(?P<a>.+\.[a-z]+)[.-]{_AGE}|(?P<b>.+?)-{_AGE}(?P<ending>\.[a-z]+))(?:\.gz)?")
BadContent = (OSError, EOFError, zlib.error)  # raised when a file is read, compressed or not


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The end of the content that was read of a log."""

    offset: int
    mark: str  # see `mark_of`
    time: float  # when it was read, in seconds since 1970

    def __str__(self) -> str:
        return to_checkpoint(offset=self.offset, mark=self.mark, time=round(self.time, 3))

    @classmethod
    def parse(cls, stored: str | None) -> Position | None:
        """Parse a stored position; None if there is none or it is invalid."""
        position = from_checkpoint(
            stored,
            lambda kept: cls(offset=int(kept["offset"]), mark=str(kept["mark"]), time=float(kept["time"])),
        )
        return position if position and position.offset >= 0 else None

    def found_in(self, content: Content) -> Rest | None:
        """Return the rest of `content` if it is the file that was read, or a complete copy of it."""
        try:
            # An unread file cannot be recognised. Compare the beginning first: it is cheap to unpack.
            if self.offset > 0 and self.mark.startswith(_hash(head := content.head(self.offset))):
                tail = content.tail(self.offset)
                return Rest(content, self.offset, head, tail) if self.mark == mark_of(head, tail) else None
        except BadContent:
            pass
        return None


def mark_of(head: bytes, tail: bytes) -> str:
    """Return the hash of the first HEAD and the last TAIL bytes that were read."""
    return _hash(head) + _hash(tail)


def _hash(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=8).hexdigest()


class Content:
    """An open regular file, plain or compressed. Raises OSError if it cannot be opened or is not regular."""

    def __init__(self, path: str) -> None:
        handle, self.resolved = owners.open_file(path)
        self._file = open(handle, "rb", buffering=0)  # noqa: PTH123, SIM115 - a descriptor; close() closes it
        status = os.fstat(handle)
        self._unpacked = gzip.GzipFile(fileobj=self._file) if path.endswith(".gz") else None
        self.path = path
        self.key = (status.st_dev, status.st_ino)
        self.modified = status.st_mtime

    @property
    def watch_path(self) -> str:
        """A path to this very file, even if `path` leads to another file now."""
        return f"/proc/self/fd/{self._file.fileno()}"

    @property
    def size(self) -> int:
        """Size in bytes; for a compressed file, an upper bound."""
        return 1 << 62 if self._unpacked else os.fstat(self._file.fileno()).st_size

    @property
    def empty(self) -> bool:
        """Whether the file holds nothing readable."""
        try:
            return not self.read(0, 1)
        except BadContent:
            return False  # reading it will raise the reason

    @property
    def compressed(self) -> bool:
        """Whether the file is compressed, so that nothing is added to it."""
        return self._unpacked is not None

    @property
    def unlinked(self) -> bool:
        """Whether the file has no name any more."""
        return os.fstat(self._file.fileno()).st_nlink == 0

    def read(self, offset: int, size: int) -> bytes:
        """Read from `offset` on; b"" at the end. Raises one of BadContent if the file is damaged."""
        if self._unpacked is None:
            return os.pread(self._file.fileno(), size, offset)
        self._unpacked.seek(offset)
        parts: list[bytes] = []
        try:
            while size and (data := self._unpacked.read1(size)):
                parts.append(data)
                size -= len(data)
        except BadContent:
            # Return the content before the damage.
            if not parts:
                raise
        return b"".join(parts)

    def head(self, offset: int) -> bytes:
        """Return the first HEAD bytes, or as many as there are before `offset`."""
        return self.read(0, min(offset, HEAD))

    def tail(self, offset: int) -> bytes:
        """Return the last TAIL bytes before `offset`."""
        size = min(offset, TAIL)
        return self.read(offset - size, size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def rotated_names(path: str) -> list[str]:
    """Return the rotated files of a log, oldest first: a.log.2.gz, a.log.1; a.log-20200101; a-20200101.log; ..."""
    folder, base, stem, ending = Path(path).parent, Path(path).name, Path(path).stem, Path(path).suffix
    shape = re.compile(
        rf"(?:{re.escape(base)}[.-](?P<a>{_AGE}?)|{re.escape(stem)}-(?P<b>{_AGE}?){re.escape(ending)})(?:\.gz)?"
    )
    kept: dict[str, tuple[tuple[int, int, str], str]] = {}
    with contextlib.suppress(OSError):
        for name in [entry.name for entry in folder.iterdir()]:
            if match := shape.fullmatch(name):
                number = match["a"] or match["b"]
                # With age, a number grows and a date shrinks.
                age = (0, -int(number), "") if number.isdecimal() and len(number) < 6 else (1, 0, number)
                # During compression both files exist, and the plain one is complete.
                if number not in kept or not name.endswith(".gz"):
                    kept[number] = (age, name)
    return [str(folder / name) for _, name in sorted(kept.values())]


def rotated_files(path: str) -> frozenset[tuple[str, int]]:
    """Return the rotated files of a log, name and inode: they change when a file comes or goes."""
    entries = set()
    for name in rotated_names(path):
        with contextlib.suppress(OSError):
            entries.add((name, Path(name).stat().st_ino))
    return frozenset(entries)


def bases(folders: Iterable[str]) -> set[str]:
    """Return the paths of the logs whose rotated files are in these folders, whether or not the paths exist."""
    names = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            for entry in Path(folder).iterdir():
                if match := _ROTATED.fullmatch(entry.name):
                    names.add(str(entry.with_name(match["a"] or match["b"] + match["ending"])))
    return names


@dataclass(frozen=True, slots=True)
class Rest:
    """A file to read from an offset on, with the first and the last bytes before the offset at that time.

    The file may be truncated before it is read.
    """

    content: Content
    offset: int = 0
    head: bytes = b""
    tail: bytes = b""


def what_follows(path: str, position: Position) -> tuple[list[Rest], bool]:
    """Open the content after `position`: the rest of its file, under its present name, then all newer files.

    Return the files, oldest first, and whether that rest was found. If not, return the files that were written to since then.
    """
    opened: list[Content] = []
    following: list[Rest] = []
    is_there = False
    # During a rotation, names move between files and new copies appear: look again until the names stay the same.
    for _ in range(20):
        for content in opened:
            content.close()
        opened = []
        names = [*rotated_names(path), path]
        for name in names:
            with contextlib.suppress(OSError):
                opened.append(Content(name))
        following, is_there = _following(path, position, opened)
        with contextlib.suppress(OSError):
            there = {content.path: content.key for content in opened}
            if names == [*rotated_names(path), path] and there == {name: _key(name) for name in there}:
                break
    wanted = {rest.content for rest in following}
    for content in opened:
        if content not in wanted:
            content.close()
    return following, is_there


def _following(path: str, position: Position, opened: list[Content]) -> tuple[list[Rest], bool]:
    # Newest first: during copytruncate two files match, and the older is the copy.
    for index in reversed(range(len(opened))):
        if rest := position.found_in(opened[index]):
            newer = [content for content in opened[index + 1 :] if content.path == path or not content.empty]
            return [rest, *map(Rest, _without_copy(newer))], True
    # The position in an empty log has no mark, but everything written since is new.
    since = position.time if position.offset else position.time - SLACK
    newer = [content for content in opened if content.path == path or (content.modified > since and not content.empty)]
    return [*map(Rest, _without_copy(newer))], False


def _without_copy(newer: list[Content]) -> list[Content]:
    """Leave out a copy that copytruncate makes or has made of the last file, until that is truncated."""
    if len(newer) < 2 or newer[-2].compressed or newer[-1].compressed:
        return newer
    *_, copy, original = newer
    with contextlib.suppress(OSError):
        size = copy.size  # first: it grows during the comparison
        if size and (copy.head(size), copy.tail(size)) == (original.head(size), original.tail(size)):
            return [*newer[:-2], original]
    return newer


def _key(name: str) -> tuple[int, int]:
    status = Path(name).stat()
    return status.st_dev, status.st_ino
