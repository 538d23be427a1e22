"""Less memory for processes that mostly wait."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGE: Final = 128 * 1024  # bytes
_COLLECT_EVERY: Final = 300.0  # seconds


def share_one_arena() -> None:
    """Have all threads share one arena of malloc, which is to be called before they start. Each would get an arena that is never full."""
    with contextlib.suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def return_large_blocks() -> None:
    """Have malloc return large blocks to the kernel. Otherwise it puts them on the heap after the first, which then has holes."""
    with contextlib.suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def freeze() -> None:
    """Keep the collector away from all that was made so far, which stays.

    A process that is forked now shares it, since the collector would write to it. And the collector looks through everything only
    once a quarter more has come: without 100,000 objects that stay, it does so soon, and little garbage gathers.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # counts what is left, which the next full collection depends on


class Collector:
    """Collects garbage now and then, which also empties the interpreter's lists of free objects.

    With little garbage the interpreter does so only by accident. Its lists then hold thousands of tuples, scattered over memory
    that is needed again at the next peak: 1 MiB more in three days.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def turn(self, tick: float) -> None:
        """Collect garbage if it is time. `tick`: seconds on a clock that only goes forward."""
        if tick >= self._next:
            self._next = tick + _COLLECT_EVERY
            gc.collect()
