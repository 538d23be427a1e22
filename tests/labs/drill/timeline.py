"""The output of the drill: one event a line, with the seconds since the start and the time of day."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

HOST = "[DRILL] drill-master-a"  # the host begins with this mark, so titles and first lines of messages hold it
INDENT = " " * 34
SHORTEST = 40  # columns of text, on however narrow a terminal
MORE = "More: sudo certmedic show 1"
NOT_HERE = f"{MORE}  (of the drill's agent, not of this machine's)"
NOT_RIGHT = "this is not how it should end"

Say = Callable[..., None]


def folded(text: str, width: int) -> list[str]:
    """Return the lines of a text, each folded at `width` columns; 0: as they are. No command and no path is broken."""
    lines = text.split("\n")
    if not width:
        return lines
    return [
        part
        for line in lines
        for part in textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
    ]


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
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        first, *rest = folded(text.replace(MORE, NOT_HERE), max(width - len(INDENT), SHORTEST) if width else 0)
        self.say(f"{seconds:6.1f} s  {at:%H:%M:%S}  {what:<13} {first}", colour=colour)
        for line in rest:
            self.say(f"{INDENT}{line}")

    def end(self, text: str) -> int:
        """Print the end of the story (`text` is "" for a failure); return the exit code."""
        self("the end", text or NOT_RIGHT, "green" if text else "red")
        return 0 if text else 1
