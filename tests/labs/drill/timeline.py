"""The output of the drill: one event a line, with the seconds since the start and the time of day."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

HOST = "[DRILL] drill-master-a"  # the host begins with this mark, so titles and first lines of messages hold it
INDENT = " " * 34
NOT_RIGHT = "this is not how it should end"

Say = Callable[..., None]


@dataclass
class Timeline:
    """Prints events by `say`, which takes a text and a `colour`."""

    say: Say
    started: float = field(default_factory=time.monotonic)

    def __call__(self, what: str, text: str, colour: str | None = None) -> None:
        """Print an event with the present time."""
        self.print(time.monotonic() - self.started, datetime.now(UTC), what, text, colour)

    def print(self, seconds: float, at: datetime, what: str, text: str, colour: str | None = None) -> None:
        """Print an event; further lines of its text are indented below the first."""
        first, *rest = text.split("\n")
        self.say(f"{seconds:6.1f} s  {at:%H:%M:%S}  {what:<13} {first}", colour=colour)
        for line in rest:
            self.say(f"{INDENT}{line}")

    def end(self, text: str) -> int:
        """Print the end of the story (`text` is "" for a failure); return the exit code."""
        self("the end", text or NOT_RIGHT, "green" if text else "red")
        return 0 if text else 1
