"""Less memory for processes that mostly wait."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from typing import Final

_M_ARENA_MAX: Final = -8


def share_one_arena() -> None:
    """Have all threads share one arena of malloc, which is to be called before they start. Each would get an arena that is never full."""
    with contextlib.suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def share_with_children() -> None:
    """Keep the collector away from what was made so far, so that a process that is forked now shares it: the collector writes to it."""
    gc.collect()
    gc.freeze()
