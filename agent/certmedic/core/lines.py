"""The door: which lines are worth looking at, how they are cut out of blocks, and what a container's name tells.

The gate sees raw bytes, before anything is decoded: almost every line is of no interest, and is to cost next to nothing.
"""

from __future__ import annotations

import ctypes

LIMIT = 64 * 1024  # bytes of one line that are kept


def hit(raw: bytes, needles: tuple[bytes, ...]) -> bool:
    """Whether `raw` holds one of the needles."""
    # A loop, since any() over a generator costs three times as much here, once per line read.
    for needle in needles:  # noqa: SIM110 - see above
        if needle in raw:
            return True
    return False


def places(block: bytes, needles: tuple[bytes, ...]) -> list[int]:
    """Return where the needles lie in `block`, in order."""
    found = []
    size = len(block)
    for needle in needles:
        at = _find(block, needle, 0, size)
        while at >= 0:
            found.append(at)
            at = _find(block, needle, at + len(needle), size)
    return sorted(found)


def spans(block: bytes, needles: tuple[bytes, ...], size: int | None = None) -> list[tuple[int, int]]:
    """Return start and end (without line end) of the lines in `block[:size]` that hold a needle, in order, each once."""
    found = {}
    size = len(block) if size is None else size
    for needle in needles:
        at = _find(block, needle, 0, size)
        while at >= 0:
            begin = block.rfind(b"\n", 0, at) + 1
            end = block.find(b"\n", at, size)
            if end < 0:
                end = size
            found[begin] = end
            at = _find(block, needle, end, size)
    return sorted(found.items())


# The C library's search passes over most of the bytes, which takes half as long as bytes.find(), but for short needles. It is
# over too soon for it to be worth letting other threads in.
_SHORT = 4
_memmem = ctypes.PyDLL(None).memmem
_memmem.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
_memmem.restype = ctypes.c_void_p


def _find(block: bytes, needle: bytes, at: int, end: int) -> int:
    """Do as `block.find(needle, at, end)`."""
    if len(needle) <= _SHORT:
        return block.find(needle, at, end)
    start = ctypes.cast(ctypes.c_char_p(block), ctypes.c_void_p).value or 0
    found: int | None = _memmem(start + at, end - at, needle, len(needle))
    return -1 if found is None else found - start


def text(raw: bytes) -> str:
    """Decode one line: no line end, at most `LIMIT` bytes, undecodable bytes replaced, inner line ends as blanks."""
    return raw[:LIMIT].rstrip(b"\r\n").replace(b"\n", b" ").decode(errors="replace")


def kubelet_name(name: str) -> tuple[str, str, str]:
    """Split a container's name as the kubelet makes it, `k8s_<container>_<pod>_<namespace>_<uid>_<attempt>`.

    Returns container, pod and namespace; empty strings for any other name. None of the three can hold an underscore.
    """
    parts = name.split("_")
    if len(parts) < 6 or parts[0] != "k8s":
        return "", "", ""
    return parts[1], parts[2], parts[3]
