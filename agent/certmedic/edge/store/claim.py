"""Marks the folder of the state as in use, so that two services never act on one state."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 1.0  # seconds that a starting service waits: `is_claimed` holds the mark for an instant


@contextlib.contextmanager
def claimed(folder: Path, *, patience: float = PATIENCE) -> Iterator[bool]:
    """Hold the mark of a folder, and yield whether this process got it. The kernel drops the mark when the process ends.

    Raises OSError if the folder cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + patience
        while not (mine := _mark(descriptor)) and time.monotonic() < deadline:
            time.sleep(0.05)
        yield mine
    finally:
        os.close(descriptor)


def is_claimed(folder: Path) -> bool:
    """Whether a running service holds the mark. Raises OSError if the folder cannot be opened."""
    with claimed(folder, patience=0.0) as mine:
        return not mine


def _mark(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
