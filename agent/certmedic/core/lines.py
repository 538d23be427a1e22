"""The door: which lines are worth looking at, how they are cut out of blocks, and what a container's name tells.

The gate sees raw bytes, before anything is decoded: almost every line is of no interest, and is to cost next to nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

LIMIT = 64 * 1024  # bytes of one line that are kept


def hit(raw: bytes, needles: tuple[bytes, ...]) -> bool:
    """Whether `raw` holds one of the needles."""
    if len(raw) > _SHORT:
        find = _finder(raw)
        return any(find(needle, 0, len(raw)) >= 0 for needle in needles)
    # A loop, since any() over a generator costs three times as much here, once per line read.
    for needle in needles:  # noqa: SIM110 - see above
        if needle in raw:
            return True
    return False


def places(block: bytes, needles: tuple[bytes, ...]) -> list[int]:
    """Return where the needles lie in `block`, in order."""
    found = []
    size, find = len(block), _finder(block)
    for needle in needles:
        at = find(needle, 0, size)
        while at >= 0:
            found.append(at)
            at = find(needle, at + len(needle), size)
    return sorted(found)


def spans(block: bytes, needles: tuple[bytes, ...], size: int | None = None) -> list[tuple[int, int]]:
    """Return start and end (without line end) of the lines in `block[:size]` that hold a needle, in order, each once."""
    found = {}
    size = len(block) if size is None else size
    find = _finder(block)
    for needle in needles:
        at = find(needle, 0, size)
        while at >= 0:
            begin = block.rfind(b"\n", 0, at) + 1
            end = block.find(b"\n", at, size)
            if end < 0:
                end = size
            found[begin] = end
            at = find(needle, end, size)
    return sorted(found.items())


# The C library's strstr() takes many bytes at a time, which makes it four times as fast as bytes.find() or more. It stops at a
# zero, though: one lies behind all bytes that Python holds, and a block with another is searched by bytes.find(). It is over too
# soon for it to be worth letting other threads in.
_SHORT = 2048  # bytes that are searched sooner than that is called
_strstr = ctypes.PyDLL(None).strstr
_strstr.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
_strstr.restype = ctypes.c_void_p


def _finder(block: bytes) -> Callable[[bytes, int, int], int]:
    """Return what does as `block.find` does."""
    if b"\0" in block:
        return block.find
    start = ctypes.cast(ctypes.c_char_p(block), ctypes.c_void_p).value or 0

    def find(needle: bytes, at: int, end: int) -> int:
        found: int | None = _strstr(start + at, needle)
        return found - start if found is not None and found - start <= end - len(needle) else -1

    return find


def text(raw: bytes) -> str:
    """Decode one line: no line end, at most `LIMIT` bytes, undecodable bytes replaced, inner line ends as blanks."""
    return raw[:LIMIT].rstrip(b"\r\n").replace(b"\n", b" ").decode(errors="replace")
