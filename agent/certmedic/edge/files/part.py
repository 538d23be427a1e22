"""One file of a log, and its position."""

from __future__ import annotations

import time
from dataclasses import dataclass

from certmedic.core.model import Trust
from certmedic.edge.files.rotation import HEAD, TAIL, Content, Position, Rest, mark_of

REALTIME_COARSE = 5  # CLOCK_REALTIME_COARSE, the clock of file times; Python has no name for it


@dataclass(slots=True, eq=False)
class Part:
    """One file of a log, and its position."""

    content: Content
    offset: int  # up to which lines were handled
    head: bytes  # the first HEAD bytes handled
    tail: bytes  # the last TAIL bytes handled
    time: float  # when they were handled, by the clock of file times
    carry: bytes = b""  # bytes read behind `offset`: a line without its end
    skipping: bool = False  # in the middle of a line that is too long
    touched: float = 0.0  # when bytes last came (monotonic)
    trust: Trust | None = None  # of its lines; None until the first is passed on

    @classmethod
    def of(cls, rest: Rest) -> Part:
        """Start a part at the offset of a rest."""
        return cls(rest.content, rest.offset, rest.head, rest.tail, now())

    def handled(self, raw: bytes, end: int) -> None:
        """Move on behind `raw[:end]`, which was read at `offset`."""
        self.head, self.tail = self._ends(raw, end)
        self.offset += end
        self.time = now()

    def position(self, raw: bytes = b"", end: int = 0) -> Position:
        """Return the position behind `raw[:end]`, which was read at `offset`."""
        return Position(offset=self.offset + end, mark=mark_of(*self._ends(raw, end)), time=self.time)

    def _ends(self, raw: bytes, end: int) -> tuple[bytes, bytes]:
        head = self.head
        if len(head) < HEAD:
            head += raw[: min(end, HEAD - len(head))]
        tail = raw[end - TAIL : end] if end >= TAIL else (self.tail + raw[:end])[-TAIL:]
        return head, tail

    def replaced(self) -> bool:
        """Whether the file was truncated, even if it has grown again: it is shorter, or its content differs."""
        if self.content.compressed:
            return False
        if self.content.size < self.offset + len(self.carry) or self.content.head(self.offset) != self.head:
            return True
        return bool(self.carry) and self.content.read(self.offset, min(len(self.carry), HEAD)) != self.carry[:HEAD]


def now() -> float:
    """Return the time in seconds since 1970, by the clock of file times."""
    return time.clock_gettime(REALTIME_COARSE)
