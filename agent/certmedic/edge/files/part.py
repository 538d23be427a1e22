"""One file of a log, and how far it was read."""

from __future__ import annotations

import time
from dataclasses import dataclass

from certmedic.core.model import Trust
from certmedic.edge.files.rotation import HEAD, TAIL, Content, Position, Rest, mark_of

REALTIME_COARSE = 5  # the clock that the kernel stamps files with; Python has no name for it


@dataclass(slots=True, eq=False)
class Part:
    """One file of a log, and how far it was read."""

    content: Content
    offset: int  # up to here lines were handled
    head: bytes  # the beginning, as far as it was handled
    tail: bytes  # what was handled last
    time: float  # when that was, by the clock that the kernel stamps files with
    carry: bytes = b""  # what was read behind `offset`: a line whose end has not come
    skipping: bool = False  # in the middle of a line that is too long
    touched: float = 0.0  # when something last came (monotonic)
    trust: Trust | None = None  # how far its lines are believed; None until the first that is passed on

    @classmethod
    def of(cls, rest: Rest) -> Part:
        """Begin where something is left."""
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
        """Whether the file was truncated, even if it has grown since: it is shorter, or holds something else."""
        if self.content.compressed:
            return False
        if self.content.size < self.offset + len(self.carry) or self.content.head(self.offset) != self.head:
            return True
        return self.content.read(self.offset, min(len(self.carry), HEAD)) != self.carry[:HEAD]


def now() -> float:
    """Return the time in seconds since 1970, by the clock that the kernel stamps files with."""
    return time.clock_gettime(REALTIME_COARSE)
