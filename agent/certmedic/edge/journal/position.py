"""What a position in the journal is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Position:
    """The last entry handled."""

    cursor: str
    usec: int

    def __str__(self) -> str:
        return json.dumps({"cursor": self.cursor, "usec": self.usec})

    @classmethod
    def parse(cls, stored: str | None) -> Position | None:
        """Read a stored position; None for none, and for one that makes no sense."""
        try:
            told = json.loads(stored or "null")
            return cls(str(told["cursor"]), int(told["usec"]))
        except (ValueError, TypeError, KeyError):
            return None

    def same_entry(self, cursor: str) -> bool:
        """Whether another cursor names the same entry, whatever file it lies in: boot, both clocks and hash are equal."""
        return _identity(self.cursor) == _identity(cursor)


def _identity(cursor: str) -> list[str]:
    # systemd.journal-fields(7) calls a cursor opaque. Should its parts change, entries are told apart by the whole of it.
    parts = cursor.split(";")
    return [part for part in parts if part[:2] in {"b=", "m=", "t=", "x="}] or parts


def moment(usec: int) -> str:
    """Write a time for a person."""
    return f"{datetime.fromtimestamp(usec / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
