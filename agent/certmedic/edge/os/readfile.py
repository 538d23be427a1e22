"""Read a regular file safely: no pipe, no device, and no more than a cap of bytes."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

MAX_BYTES = 1024 * 1024  # of a file, unless the caller says otherwise
_BLOCK = 256 * 1024
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class TooLargeError(OSError):
    """The file is larger than the cap."""


def may_access(path: str | os.PathLike[str], mode: int) -> bool:
    """Whether this process may access a path: `mode` as for os.access, which ignores the capabilities that a user's unit gives."""
    if os.access(path, mode, effective_ids=os.access in os.supports_effective_ids):
        return True
    # glibc before 2.33 (Debian 11) leaves the capabilities out all the same: open the file or folder.
    with contextlib.suppress(OSError):
        if not mode & os.W_OK and stat.S_IFMT(Path(path).stat().st_mode) in (stat.S_IFREG, stat.S_IFDIR):
            os.close(os.open(path, _OPEN))
            return True
    return False


def read_bytes(path: str, most: int = MAX_BYTES) -> bytes:
    """Read a regular file of at most `most` bytes. Raises OSError or TooLargeError."""
    return read_state(path, most)[0]


def read_state(path: str, most: int = MAX_BYTES, *, follow: bool = True) -> tuple[bytes, os.stat_result]:
    """Read a regular file, and return its state while it was open. Raises OSError or TooLargeError."""
    handle, state = _open(path, follow=follow)
    try:
        data = b"" if state.st_size > most else _whole(handle, state.st_size, most + 1)
    finally:
        os.close(handle)
    if (size := max(state.st_size, len(data))) > most:
        raise TooLargeError(0, f"{size} bytes; files of more than {most} bytes are not read", path)
    return data, state


def read_ends(path: str, each: int) -> bytes:
    """Return the first and the last `each` bytes of a regular file of any size. Raises OSError."""
    handle, state = _open(path)
    try:
        data = os.pread(handle, each, 0)
        if state.st_size > each:
            data += b"\n" + os.pread(handle, each, max(each, state.st_size - each))
        return data
    finally:
        os.close(handle)


def _open(path: str, *, follow: bool = True) -> tuple[int, os.stat_result]:
    handle = os.open(path, _OPEN if follow else _OPEN | os.O_NOFOLLOW)
    state = os.fstat(handle)
    if stat.S_ISREG(state.st_mode):
        return handle, state
    os.close(handle)
    raise OSError(0, "it is no regular file", path)


def _whole(handle: int, size: int, most: int) -> bytes:
    """Return at most `most` bytes of a file whose state says `size`."""
    data = os.read(handle, size + 1)
    if size and len(data) == size:
        return data  # one read suffices; a file of /proc has the size 0
    blocks = [data]
    left = most - len(data)
    while left > 0 and (block := os.read(handle, min(left, _BLOCK))):
        left -= len(block)
        blocks.append(block)
    return b"".join(blocks)
