"""Stepping through the journal with the C reader's own calls, or with public ones where those are gone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol


class Steps(Protocol):
    """What is needed of a reader at one entry."""

    def step(self) -> bool:
        """Go to the next entry; False at the end."""

    def get(self, field: str) -> bytes:
        """Return a field of this entry; KeyError where it has none."""

    def cursor(self) -> str:
        """Return the cursor of this entry."""

    def realtime(self) -> int:
        """Return when this entry was written, in microseconds since 1970."""


class FastSteps:
    """The C reader's own calls; AttributeError where a later systemd-python has them no more."""

    def __init__(self, reader: Any) -> None:
        self.step: Callable[[], bool] = reader._next  # noqa: SLF001 - five times faster than what is public; a test pins these
        self.get: Callable[[str], bytes] = reader._get  # noqa: SLF001
        self.cursor: Callable[[], str] = reader._get_cursor  # noqa: SLF001
        self.realtime: Callable[[], int] = reader._get_realtime  # noqa: SLF001


class PublicSteps:
    """The same with public calls."""

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
