"""Read a regular file safely: no pipe, no device, and no more than a cap of bytes."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

MAX_BYTES = 1024 * 1024  # of a file, unless the caller says otherwise
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class TooLargeError(OSError):
    """The file is larger than the cap."""


def read_bytes(path: str, most: int = MAX_BYTES) -> bytes:
    """Read a regular file of at most `most` bytes. Raises OSError or TooLargeError."""
    return read_state(path, most)[0]


def read_state(path: str, most: int = MAX_BYTES, *, follow: bool = True) -> tuple[bytes, os.stat_result]:
    """Read a regular file, and return its state while it was open. Raises OSError or TooLargeError."""
    with _opened(path, follow=follow) as (handle, state):
        data = b"" if state.st_size > most else b"".join(_blocks(handle, most + 1))
        if (size := max(state.st_size, len(data))) > most:
            raise TooLargeError(0, f"{size} bytes; files of more than {most} bytes are not read", path)
        return data, state


def read_ends(path: str, each: int) -> bytes:
    """Return the first and the last `each` bytes of a regular file of any size. Raises OSError."""
    with _opened(path) as (handle, state):
        data = os.pread(handle, each, 0)
        if state.st_size > each:
            data += b"\n" + os.pread(handle, each, max(each, state.st_size - each))
        return data


@contextlib.contextmanager
def _opened(path: str, *, follow: bool = True) -> Iterator[tuple[int, os.stat_result]]:
    handle = os.open(path, _OPEN | (0 if follow else os.O_NOFOLLOW))
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(0, "it is no regular file", path)
        yield handle, state
    finally:
        os.close(handle)


def _blocks(handle: int, most: int) -> Iterator[bytes]:
    while most > 0 and (block := os.read(handle, min(most, 256 * 1024))):
        most -= len(block)
        yield block
