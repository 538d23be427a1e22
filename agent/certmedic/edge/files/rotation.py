"""Where in a rotated log reading goes on: what a position means, and which files hold what comes after it.

A position names content, not a file: an offset, and a hash of the file's beginning and of the bytes just before the offset.
So unread content is found again in the renamed file, in the copy that copytruncate made, and in either of them compressed.
Another file that happens to have the same name or inode is not mistaken for it.
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
HEAD = 1024  # bytes of the beginning that are known again, or as many as had been read
TAIL = 128  # bytes before the offset, likewise

# Numbers and dates, of logrotate (20261124), of the kubelet (20261124-101112) and of Go's lumberjack (2026-11-24T10-11-12.345).
_AGE = r"\d[\dT.-]*"
_ROTATED = re.compile(rf"(?:(?P<a>.+\.[a-z]+)[.-]{_AGE}|(?P<b>.+?)-{_AGE}(?P<ending>\.[a-z]+))(?:\.gz)?")
BadContent = (OSError, EOFError, zlib.error)  # what reading a file raises, compressed or not


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Up to where a log was read."""

    offset: int
    mark: str  # of what was read, see `mark_of`
    time: float  # when, in seconds since 1970

    def __str__(self) -> str:
        return to_checkpoint(offset=self.offset, mark=self.mark, time=round(self.time, 3))

    @classmethod
    def parse(cls, stored: str | None) -> Position | None:
        """Read a stored position; None if there is none, and for one that makes no sense."""
        position = from_checkpoint(
            stored,
            lambda kept: cls(offset=int(kept["offset"]), mark=str(kept["mark"]), time=float(kept["time"])),
        )
        return position if position and position.offset >= 0 else None

    def found_in(self, content: Content) -> Rest | None:
        """Return the rest of `content` if it is the file that was read, or a complete copy of it."""
        try:
            # A file of which nothing was read cannot be recognised. The beginning first: it is cheap in a compressed file.
            if self.offset > 0 and self.mark.startswith(_hash(head := content.head(self.offset))):
                tail = content.tail(self.offset)
                return Rest(content, self.offset, head, tail) if self.mark == mark_of(head, tail) else None
        except BadContent:
            pass
        return None


def mark_of(head: bytes, tail: bytes) -> str:
    """Return what a position keeps of the first HEAD and the last TAIL bytes that were read."""
    return _hash(head) + _hash(tail)


def _hash(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=8).hexdigest()


class Content:
    """A regular file that is open, plain or compressed. OSError where it cannot be opened or is no regular file."""

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
        """A path to this very file, even if another file is at `path` by now."""
        return f"/proc/self/fd/{self._file.fileno()}"

    @property
    def size(self) -> int:
        """Bytes in it; of a compressed file, more than it can have."""
        return 1 << 62 if self._unpacked else os.fstat(self._file.fileno()).st_size

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it that can be read."""
        try:
            return not self.read(0, 1)
        except BadContent:
            return False  # reading it on will tell why

    @property
    def compressed(self) -> bool:
        """Whether the file is compressed; nothing is added to such a file."""
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
            # Keep what could be unpacked before the damage.
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
        """Close it."""
        self._file.close()


def rotated_names(path: str) -> list[str]:
    """Return the rotated files of a log, oldest first: a.log.2.gz, a.log.1; a.log-20200101; a-20200101.log; ..."""
    folder, base, stem, ending = Path(path).parent, Path(path).name, Path(path).stem, Path(path).suffix
    shape = re.compile(
        rf"(?:{re.escape(base)}[.-](?P<a>{_AGE}?)|{re.escape(stem)}-(?P<b>{_AGE}?){re.escape(ending)})(?:\.gz)?"
    )
    found: dict[str, tuple[tuple[int, int, str], str]] = {}
    with contextlib.suppress(OSError):
        for name in [entry.name for entry in folder.iterdir()]:
            if match := shape.fullmatch(name):
                number = match["a"] or match["b"]
                # A short number counts up with age, a date counts down.
                age = (0, -int(number), "") if number.isdecimal() and len(number) < 6 else (1, 0, number)
                # While it is being compressed both are there, and the plain one is the complete one.
                if number not in found or not name.endswith(".gz"):
                    found[number] = (age, name)
    return [str(folder / name) for _, name in sorted(found.values())]


def rotated_files(path: str) -> frozenset[tuple[str, int]]:
    """Return the names of the rotated files of a log, each with the number of its inode: what changes when one comes or goes."""
    found = set()
    for name in rotated_names(path):
        with contextlib.suppress(OSError):
            found.add((name, Path(name).stat().st_ino))
    return frozenset(found)


def bases(folders: Iterable[str]) -> set[str]:
    """Return the paths of the logs whose rotated files lie in these folders, whether or not anything is at them."""
    found = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            for entry in Path(folder).iterdir():
                if match := _ROTATED.fullmatch(entry.name):
                    found.add(str(entry.with_name(match["a"] or match["b"] + match["ending"])))
    return found


@dataclass(frozen=True, slots=True)
class Rest:
    """A file to be read from an offset on, with the beginning and the end of what lies before, as they were then.

    The file may be truncated and hold something else by the time that it is read.
    """

    content: Content
    offset: int = 0
    head: bytes = b""
    tail: bytes = b""


def what_follows(path: str, position: Position) -> tuple[list[Rest], bool]:
    """Open what is to be read after `position`: the rest of its file under whatever name it has now, then all that is newer.

    Returns the files, oldest first, and whether the rest was found. If it was not, returns the files that were written to
    since and still exist.
    """
    opened: list[Content] = []
    following: list[Rest] = []
    found = False
    # During a rotation names change hands, and content moves to a copy that did not exist yet: look until names stay.
    for _ in range(20):
        for content in opened:
            content.close()
        opened = []
        names = [*rotated_names(path), path]
        for name in names:
            with contextlib.suppress(OSError):
                opened.append(Content(name))
        following, found = _following(path, position, opened)
        with contextlib.suppress(OSError):
            there = {content.path: content.key for content in opened}
            if names == [*rotated_names(path), path] and there == {name: _key(name) for name in there}:
                break
    wanted = {rest.content for rest in following}
    for content in opened:
        if content not in wanted:
            content.close()
    return following, found


def _following(path: str, position: Position, opened: list[Content]) -> tuple[list[Rest], bool]:
    # The newest first: during copytruncate two files match, and the older is the copy.
    for index in reversed(range(len(opened))):
        if rest := position.found_in(opened[index]):
            newer = [content for content in opened[index + 1 :] if content.path == path or not content.empty]
            return [rest, *map(Rest, _without_copy(newer))], True
    # An empty log cannot be recognised, but then everything written since is new.
    since = position.time if position.offset else position.time - SLACK
    newer = [content for content in opened if content.path == path or (content.modified > since and not content.empty)]
    return [*map(Rest, _without_copy(newer))], False


def _without_copy(newer: list[Content]) -> list[Content]:
    """Leave out the copy that is just being made of the last file, or has been, if that is not truncated yet."""
    if len(newer) < 2 or newer[-2].compressed or newer[-1].compressed:
        return newer
    *_, copy, original = newer
    with contextlib.suppress(OSError):
        size = copy.size  # before anything is compared: it grows
        if size and (copy.head(size), copy.tail(size)) == (original.head(size), original.tail(size)):
            return [*newer[:-2], original]
    return newer


def _key(name: str) -> tuple[int, int]:
    status = Path(name).stat()
    return status.st_dev, status.st_ino
