"""Steps through the journal with private calls of the C reader, or with public ones if those are missing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol


class Steps(Protocol):
    """The calls at one entry."""

    def step(self) -> bool:
        """Go to the next entry; False at the end."""

    def get(self, field: str) -> bytes:
        """Return a field of this entry; KeyError if it has none."""

    def cursor(self) -> str:
        """Return the cursor of this entry."""

    def realtime(self) -> int:
        """Return the time of this entry, in microseconds since 1970."""


class FastSteps:
    """Private calls of the C reader; AttributeError if a later systemd-python lacks them."""

    def __init__(self, reader: Any) -> None:
        self.step: Callable[[], bool] = reader._next  # noqa: SLF001 - five times faster than the public calls; a test pins these
        self.get: Callable[[str], bytes] = reader._get  # noqa: SLF001
        self.cursor: Callable[[], str] = reader._get_cursor  # noqa: SLF001
        self.realtime: Callable[[], int] = reader._get_realtime  # noqa: SLF001


class PublicSteps:
    """Public calls."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._entry: dict[str, Any] = {}

    def step(self) -> bool:
        """Go to the next entry."""
        entry = self._reader.get_next()
        if entry:
            self._entry = entry
        return bool(entry)

    def get(self, field: str) -> bytes:
        """Return a field as it was written."""
        value = self._entry[field]
        if isinstance(value, list):
            value = value[0]
        return value if isinstance(value, bytes) else str(value).encode()

    def cursor(self) -> str:
        """Return the entry's cursor."""
        return str(self._entry["__CURSOR"])

    def realtime(self) -> int:
        """Return the entry's time in microseconds."""
        written: datetime = self._entry["__REALTIME_TIMESTAMP"]
        return round(written.timestamp() * 1_000_000)


def steps_of(reader: Any) -> Steps:
    """Return the fastest way to step through this reader."""
    try:
        return FastSteps(reader)
    except AttributeError:
        return PublicSteps(reader)
