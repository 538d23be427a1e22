"""What a position in the journal is."""

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
        """Read a stored position; None if there is none, and for one that makes no sense."""
        return from_checkpoint(stored, lambda kept: cls(str(kept["cursor"]), int(kept["usec"])))

    def same_entry(self, cursor: str) -> bool:
        """Whether another cursor names the same entry, whatever file it lies in: boot, both clocks and hash are equal."""
        return _identity(self.cursor) == _identity(cursor)


def _identity(cursor: str) -> list[str]:
    # systemd.journal-fields(7) calls a cursor opaque. Should its parts change, entries are told apart by the whole of it.
    parts = cursor.split(";")
    return [part for part in parts if part[:2] in {"b=", "m=", "t=", "x="}] or parts


def moment(usec: int) -> str:
    """Write a time (microseconds since 1970) for a person."""
    return source.moment(usec / 1e6)
