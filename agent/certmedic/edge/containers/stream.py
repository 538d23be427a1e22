"""One container's log as a Docker daemon sends it: blocks of bytes in, lines that hold a needle out."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from certmedic.core import lines
from certmedic.edge import bytesearch
from certmedic.edge.containers.daemon import DockerError
from certmedic.edge.source import from_checkpoint, to_checkpoint

STAMP = 30  # bytes of a timestamp, 2006-01-02T15:04:05.000000000Z
PIECE = 16 * 1024  # bytes after which the daemon splits a line
AGAIN = 4096  # lines with a needle that are remembered, in case the daemon sends them twice
LARGEST_FRAME = 16 * 1024 * 1024  # bytes; a frame holds one such piece, so a larger one is no frame


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """The last line handled: its timestamp as the daemon writes it, and how many lines so far had that timestamp."""

    stamp: str
    count: int

    def __str__(self) -> str:
        return to_checkpoint(stamp=self.stamp, count=self.count)

    @classmethod
    def parse(cls, stored: str | None) -> Position | None:
        """Parse a stored position; None if there is none or it is invalid."""

        def make(kept: Mapping[str, Any]) -> Position:
            position = cls(str(kept["stamp"]), int(kept["count"]))
            datetime.fromisoformat(position.stamp[:19])
            int(position.stamp[20:29])
            return position

        return from_checkpoint(stored, make)

    @property
    def since(self) -> str:
        """The timestamp as the daemon takes it in a request."""
        seconds = datetime.fromisoformat(f"{self.stamp[:19]}+00:00").timestamp()
        return f"{seconds:.0f}.{self.stamp[20:29]}"

    @property
    def time(self) -> datetime:
        """The timestamp to the microsecond; now if it is invalid."""
        try:
            return datetime.fromisoformat(f"{self.stamp[:26]}+00:00")
        except ValueError:
            return datetime.now(UTC)


@dataclass(slots=True)
class Stream:
    """One container's log: blocks of bytes in, lines that hold a needle out.

    When a log is rotated while it is followed, Docker 20.10 sends the beginning of the new file twice. So a second line with the
    same text and the same timestamp, in nanoseconds, is dropped.
    """

    needles: tuple[bytes, ...]
    tty: bool  # then the stream has no frames
    resumed: Position | None  # lines up to here are skipped
    seen: int = 0  # lines
    lost: bool = False  # whether the line of `resumed` was missing
    _stamp: bytes = b""  # of the last piece
    _count: int = 0
    _rest: bytes = b""  # the beginning of what is not complete yet
    _known: dict[int, None] = field(default_factory=dict)  # hashes of lines with their timestamps, oldest first
    _parts: dict[int, bytes] = field(default_factory=dict)  # by stream (1 stdout, 2 stderr): lines not complete yet

    @property
    def position(self) -> Position | None:
        """The position after the last line; None before the first line and in the middle of one."""
        return self._current() if self._stamp and not self._parts else None

    @property
    def stamp(self) -> str:
        """The timestamp of the last piece; empty before the first."""
        return self._stamp.decode(errors="replace")

    def _current(self) -> Position:
        return Position(self.stamp, self._count)

    def feed(self, data: bytes) -> Iterator[tuple[Position, bytes]]:
        """Take a block; yield each line with the position after it. Raises DockerError if it cannot be a log."""
        return self._feed_plain(data) if self.tty else self._feed_frames(data)

    def finish(self) -> Iterator[tuple[Position, bytes]]:
        """Take the end of the log: an unfinished line counts as a line."""
        if self.tty and self._rest:
            yield from self._feed_plain(b"\n")
        for kind in list(self._parts):
            text = self._parts.pop(kind)
            self.seen += 1
            yield from self._line(self._stamp, text)

    def _feed_frames(self, data: bytes) -> Iterator[tuple[Position, bytes]]:
        block = self._rest + data
        every = bool(self._parts or self.resumed)  # whether to look at every frame
        places = iter(bytesearch.places(block, self.needles))
        place = next(places, len(block))  # of the next needle
        at, end = 0, len(block)
        while at + 8 <= end:
            # One frame: a byte that names the stream, three zeros, the size, and "TIMESTAMP TEXT".
            kind, size = struct.unpack_from(">II", block, at)
            if kind & 0xFFFFFF or kind >> 24 > 3 or size > LARGEST_FRAME:
                raise DockerError("the Docker daemon sent a log that is not made of frames")
            stop = at + 8 + size
            if stop > end:
                break
            stamp = block[at + 8 : at + 8 + STAMP]
            self._move(stamp)
            ends = block[stop - 1] == 10
            self.seen += ends
            every |= not ends
            if every or place < stop:
                while place < stop:
                    place = next(places, end)
                text = block[at + 9 + STAMP : stop]
                if kind in self._parts:
                    text = self._parts.pop(kind) + text
                if ends:
                    yield from self._line(stamp, text)
                elif not self._resuming():
                    self._parts[kind] = text[: lines.LIMIT]
            at = stop
        self._rest = block[at:]

    def _feed_plain(self, data: bytes) -> Iterator[tuple[Position, bytes]]:
        *whole, rest = (self._rest + data).split(b"\n")
        # Keep only the beginning of a line that does not end.
        self._rest = rest if len(rest) <= 2 * lines.LIMIT else rest[: lines.LIMIT]
        for raw in whole:
            stamp, text = raw[:STAMP], raw[STAMP + 1 :]
            self._move(stamp)
            self.seen += 1
            # Every further piece of a split line begins with the timestamp of the first.
            yield from self._line(stamp, text if len(text) <= PIECE else text.replace(stamp + b" ", b""))

    def _move(self, stamp: bytes) -> None:
        if stamp == self._stamp:
            self._count += 1
        elif stamp > self._stamp or stamp[:19] != self._stamp[:19]:
            self._stamp, self._count = stamp, 1
        # Otherwise the stamp goes back. Within a second, stdout and stderr overtook each other: keep the later stamp, or its
        # line would be sent again. Beyond a second, the clock was set back: follow it.

    def _line(self, stamp: bytes, text: bytes) -> Iterator[tuple[Position, bytes]]:
        handled = self._resuming()
        if bytesearch.hit(text, self.needles) and self._is_new(stamp, text) and not handled:
            yield self._current(), text

    def _is_new(self, stamp: bytes, text: bytes) -> bool:
        line = hash((stamp, text))
        if line in self._known:
            return False
        self._known[line] = None
        if len(self._known) > AGAIN:
            del self._known[next(iter(self._known))]
        return True

    def _resuming(self) -> bool:
        """Whether the current piece was handled before. At the first new piece, set `lost` if the resumed line was missing."""
        if self.resumed is None:
            return False
        current = self._current()
        if current <= self.resumed:
            return True
        self.lost = self.seen <= 1  # the daemon begins with the line of that timestamp if it still has it
        self.resumed = None
        return False
