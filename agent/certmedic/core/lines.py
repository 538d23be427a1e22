"""One line of a log: whether it is worth a look, and its text.

Almost every line is of no interest. So needles are searched for in raw bytes, before anything is decoded. Blocks of many
lines are searched by `edge/bytesearch.py`, which finds the same and is faster.
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


def text(raw: bytes) -> str:
    """Decode one line: no line end, at most `LIMIT` bytes, undecodable bytes replaced, inner line ends as blanks."""
    return raw[:LIMIT].rstrip(b"\r\n").replace(b"\n", b" ").decode(errors="replace")
