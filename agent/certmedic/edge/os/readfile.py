"""Read a regular file safely: no pipe, no device, and no more than a cap of bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

MAX_BYTES = 1024 * 1024  # of a file, unless the caller says otherwise
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class TooLargeError(OSError):
    """The file is larger than the cap."""


def read_bytes(path: str, most: int = MAX_BYTES, *, follow: bool = True) -> bytes:
    """Read a regular file of at most `most` bytes. Raises OSError or TooLargeError."""
    return read_state(path, most, follow=follow)[0]


def read_state(path: str, most: int = MAX_BYTES, *, follow: bool = True) -> tuple[bytes, os.stat_result]:
    """Read a regular file, and return its state while it was open. Raises OSError or TooLargeError."""
    handle = os.open(path, _OPEN | (0 if follow else os.O_NOFOLLOW))
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(0, "it is no regular file", path)
        if state.st_size > most:
            raise TooLargeError(0, f"{state.st_size} bytes; files of more than {most} bytes are not read", path)
        data = b"".join(_blocks(handle, most + 1))
        if len(data) > most:
            raise TooLargeError(0, f"more than {most} bytes are not read", path)
        return data, state
    finally:
        os.close(handle)


def _blocks(handle: int, most: int) -> Iterator[bytes]:
    while most > 0 and (block := os.read(handle, min(most, 256 * 1024))):
        most -= len(block)
        yield block


def read_ends(path: str, each: int) -> bytes:
    """Return the first and the last `each` bytes of a regular file of any size. Raises OSError."""
    handle = os.open(path, _OPEN)
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(0, "it is no regular file", path)
        data = os.pread(handle, each, 0)
        if state.st_size > each:
            data += b"\n" + os.pread(handle, each, max(each, state.st_size - each))
        return data
    finally:
        os.close(handle)
