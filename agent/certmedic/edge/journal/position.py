"""A position in the journal."""

from __future__ import annotations

from dataclasses import dataclass

from certmedic.edge import source
from certmedic.edge.source import from_checkpoint, to_checkpoint


@dataclass(frozen=True, slots=True)
class Position:
    """The last entry handled."""

    cursor: str
    usec: int

    def __str__(self) -> str:
        return to_checkpoint(cursor=self.cursor, usec=self.usec)

    @classmethod
    def parse(cls, stored: str | None) -> Position | None:
        """Parse a stored position; None if there is none or it is invalid."""
        return from_checkpoint(stored, lambda kept: cls(str(kept["cursor"]), int(kept["usec"])))

    def same_entry(self, cursor: str) -> bool:
        """Whether another cursor names the same entry, perhaps in another file: boot, both times and hash are equal."""
        return _identity(self.cursor) == _identity(cursor)


def _identity(cursor: str) -> list[str]:
    # systemd.journal-fields(7) calls a cursor opaque. If its parts change, compare whole cursors.
    parts = cursor.split(";")
    return [part for part in parts if part[:2] in {"b=", "m=", "t=", "x="}] or parts


def moment(usec: int) -> str:
    """Return a time (microseconds since 1970) as text for a person."""
    return source.moment(usec / 1e6)
