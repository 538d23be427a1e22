"""The two formats of log files: plain lines, and lines as container runtimes write them for the kubelet (CRI).

Both take blocks of whole lines, and yield the lines that hold a needle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from certmedic.core import lines
from certmedic.edge import bytesearch

PARTS = (b" P ", b" P:")  # in a line that is a part; rare elsewhere, and found faster than " stderr P"


@dataclass(frozen=True, slots=True)
class Found:
    """A line that holds a needle."""

    end: int  # offset behind the line, in the block
    text: bytes
    time: datetime | None  # None: the file holds no times


class Shape(Protocol):
    """A format of lines; one object for each file."""

    @property
    def pending(self) -> bool:
        """Whether a line has begun and not ended."""

    def find(self, block: bytes, size: int | None = None) -> Iterator[Found]:
        """Take the next block, or `size` bytes of it."""


@dataclass(slots=True)
class Plain:
    """Plain lines."""

    needles: tuple[bytes, ...]
    pending: bool = False

    def find(self, block: bytes, size: int | None = None) -> Iterator[Found]:
        """Take the next block, or `size` bytes of it."""
        for start, end in bytesearch.spans(block, self.needles, size):
            # A program that does not append leaves zeros in the place of the truncated content.
            yield Found(end + 1, block[start:end].lstrip(b"\0"), None)


@dataclass(slots=True)
class Cri:
    """Lines `<RFC 3339 time> stdout|stderr F|P <text>`; P is a part, and F the last part or a whole line."""

    needles: tuple[bytes, ...]
    _parts: dict[bytes, bytes] = field(default_factory=dict)  # by stream

    @property
    def pending(self) -> bool:
        """Whether the last part of a line is missing."""
        return bool(self._parts)

    def find(self, block: bytes, size: int | None = None) -> Iterator[Found]:
        """Take the next block, or `size` bytes of it."""
        # Parts are rare: split every line only if the block holds some.
        if not self._parts and not self._has_parts(block, size):
            for start, end in bytesearch.spans(block, self.needles, size):
                stamp, _, _, text = _split(block[start:end])
                yield Found(end + 1, text, _time(stamp))
            return
        at = 0
        for raw in block[:size].split(b"\n")[:-1]:
            at += len(raw) + 1
            stamp, stream, tag, text = _split(raw)
            text = self._parts.pop(stream, b"") + text
            if tag == b"P":
                self._parts[stream] = text[: lines.LIMIT]
            elif bytesearch.hit(text, self.needles):
                yield Found(at, text, _time(stamp))

    @staticmethod
    def _has_parts(block: bytes, size: int | None) -> bool:
        return any(_split(block[start:end])[2] == b"P" for start, end in bytesearch.spans(block, PARTS, size))


def _split(raw: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Split a line into time, stream, tag and text; a line in another format is all text."""
    parts = raw.lstrip(b"\0").split(b" ", 3)
    if len(parts) == 4 and parts[1] in {b"stdout", b"stderr"}:
        # Further tags may follow the first, after colons.
        return parts[0], parts[1], parts[2].split(b":", 1)[0], parts[3]
    return b"", b"", b"F", raw


def _time(stamp: bytes) -> datetime | None:
    try:
        time = datetime.fromisoformat(stamp.decode("ascii"))
    except ValueError:
        return None
    return time.astimezone(UTC) if time.tzinfo else None
