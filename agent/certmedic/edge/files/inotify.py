"""The part of inotify(7) that following files needs.

The maintained Python library for it delays every event by half a second.
"""

from __future__ import annotations

import ctypes
import functools
import os
import select
import struct
from collections.abc import Callable, Iterator

MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
Q_OVERFLOW = 0x4000
IGNORED = 0x8000
ONLYDIR = 0x1000000

# Of a folder: its entries and its own name. Of a file: content, name and links.
FOLDER = CREATE | MOVED_TO | MOVED_FROM | DELETE | DELETE_SELF | MOVE_SELF | ONLYDIR
FILE = MODIFY | ATTRIB | MOVE_SELF

_HEADER = struct.Struct("iIII")


class Inotify:
    """A set of watches. Raises OSError if the kernel refuses one (ENOSPC, EMFILE: a limit)."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise _error("fs.inotify.max_user_instances")
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        # Whether there are events; cheaper than to read none.
        self.look: Callable[[], object] = functools.partial(poll.poll, 0)

    def close(self) -> None:
        """End all watches."""
        os.close(self._fd)

    def watch(self, path: str, mask: int) -> int:
        """Watch a path, following links; return the number of the watch."""
        number: int = self._libc.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(mask))
        if number < 0:
            raise _error(path)
        return number

    def forget(self, number: int) -> None:
        """End a watch; do nothing if the kernel has ended it."""
        self._libc.inotify_rm_watch(self._fd, number)

    def events(self) -> Iterator[tuple[int, int]]:
        """Yield watch and mask of each event so far."""
        try:
            data = os.read(self._fd, 64 * 1024)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            number, mask, _, length = _HEADER.unpack_from(data, at)
            yield number, mask
            at += _HEADER.size + length


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
