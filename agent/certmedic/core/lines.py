"""The door: which lines are worth looking at, how they are cut out of blocks, and what a container's name tells.

The gate sees raw bytes, before anything is decoded: almost every line is of no interest, and is to cost next to nothing.
"""

from __future__ import annotations

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
    for needle in needles:
        at = block.find(needle)
        while at >= 0:
            found.append(at)
            at = block.find(needle, at + len(needle))
    return sorted(found)


def spans(block: bytes, needles: tuple[bytes, ...]) -> list[tuple[int, int]]:
    """Return start and end (without line end) of the lines in `block` that hold a needle, in order, each once."""
    found = {}
    for needle in needles:
        at = block.find(needle)
        while at >= 0:
            start = block.rfind(b"\n", 0, at) + 1
            end = block.find(b"\n", at)
            if end < 0:
                end = len(block)
            found[start] = end
            at = block.find(needle, end)
    return sorted(found.items())


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
