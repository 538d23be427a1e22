"""One log through all its rotations: first the rest of older files, then the current file."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from certmedic.core import lines
from certmedic.core.model import LogEntry, Origin, Progress, Trust
from certmedic.edge.files.formats import Found, Shape
from certmedic.edge.files.part import Part
from certmedic.edge.files.rotation import BadContent, Content, Position, Rest, mark_of, what_follows

BLOCK = 1024 * 1024  # bytes read at a time: searched for each needle, so it should stay in the CPU cache
# The same of a log that was read to its end: room for a whole block would cost as much as the rest of the step.
FEW = 64 * 1024
LONGEST = 256 * 1024  # bytes of an unfinished line that are kept; of a longer one only the beginning is
# Lines of a whole block are counted in so many places of so many bytes: bytes.count() is slower than the search.
SAMPLES, SAMPLE = 16, 1024
QUIET = 1.0  # seconds after which an unfinished last line is taken as it is
LINGER = 60.0  # seconds for which a rotated file is still read: its writer may go on writing to it


class Tail:
    """The past, present and future files at one path.

    `say` takes sentences about content that cannot be read or is gone; `judge` returns the trust in the lines of a file.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - options
        self,
        path: str,
        stream: str,
        origin: Origin,
        shape: Shape,
        say: Callable[[str], None],
        judge: Callable[[Content], Trust] = lambda _: Trust.STRANGER,
    ) -> None:
        self.path, self.stream = path, stream
        self.seen = 0  # lines; an estimate for a backlog
        self.behind = True  # whether more can be read at once
        self.gone = False  # whether the path has no file any more
        self._shape, self._say, self._judge = shape, say, judge
        self._origins = {trust: replace(origin, trust=trust) for trust in Trust}
        self._parts: deque[Part] = deque()  # oldest first; the last is the one at `path`
        self._late: list[tuple[Part, float]] = []  # rotated files, and until when (monotonic) each is still read
        self._damaged: set[tuple[int, int]] = set()  # keys of rotated files that are given up
        self._last: Position | None = None  # of the last line handled, in any file
        self._told: Position | None = None  # that was put last

    def open(self, position: Position | None, *, since: float | None) -> None:
        """Open the files with the content after `position`. Raises OSError if there are none.

        Without a position, open all files that were written to from `since` on (seconds since 1970), rotated ones too; without
        `since`, open the current file at its end.
        """
        known = position is not None
        if position is None and since is not None:
            position = Position(offset=0, mark=mark_of(b"", b""), time=since)
        if position is not None:
            following, is_there = what_follows(self.path, position)
            if not following:
                following = [Rest(Content(self.path))]  # raises the reason
            if not is_there and position.offset:
                moment = datetime.fromtimestamp(position.time, UTC)
                self._say(
                    f"{self.path}: what followed byte {position.offset}, read at {moment:%Y-%m-%d %H:%M:%S} UTC, is in no "
                    "file any more"
                )
            self._parts.extend(self._opened(following))
            self._last = position
            self._told = position if known else None
        else:
            content = Content(self.path)
            size = content.size
            self._parts.append(Part.of(Rest(content, size, content.head(size), content.tail(size))))

    def close(self) -> None:
        """Close every file."""
        for part in [*self._parts, *(part for part, _ in self._late)]:
            part.content.close()

    @property
    def contents(self) -> list[Content]:
        """The files that are open."""
        return [part.content for part in (*self._parts, *(part for part, _ in self._late))]

    @property
    def untouched(self) -> bool:
        """Whether nothing was read of the newest file."""
        return not self._parts[-1].offset

    @property
    def unfinished_since(self) -> float | None:
        """When (monotonic) the unfinished last line came; None without such a line."""
        part = self._parts[0]
        return part.touched if part.carry and not part.skipping else None

    def position(self) -> Position:
        """Return the position.

        An unread file could not be recognised later, so the position stays at the end of the file before it.
        """
        part = self._parts[0]
        if part.offset or self._last is None:
            self._last = part.position()
        return self._last

    def progress(self) -> Progress | None:
        """Return the position if it has moved since it was last put."""
        if self._shape.pending:
            return None
        position, put = self.position(), self._told
        if put and (put.offset, put.mark) == (position.offset, position.mark):
            return None
        self._told = position
        return Progress(stream=self.stream, position=str(position))

    # ------------------------------------------------------------ reading

    def read(self) -> Iterator[LogEntry]:
        """Read the next block; `behind` is then whether there is more."""
        size = BLOCK if self.behind else min(FEW, BLOCK)
        self.behind = False
        for part, _ in self._late:
            yield from self._read_late(part)
        part = self._parts[0]
        try:
            data = part.content.read(part.offset + len(part.carry), size)
            # Check after reading: the data may be from after a truncation.
            if part.replaced():
                yield from self._go_on_after_truncation(part)
                return
        except BadContent as error:
            self._say(f"{part.content.path} cannot be read on from byte {part.offset}: {error}")
            data = b""
            if len(self._parts) > 1:
                self._damaged.add(part.content.key)
                self._parts.popleft().content.close()
                self.behind = True
                return
        if data and not part.offset and not part.carry:
            # First data of this file. It may have been rotated and recreated under the same name meanwhile, so check the
            # order again.
            self._line_up(kept=True)
            if self._parts[0] is not part:
                return
        if data:
            is_full = len(data) == size
            self.behind = is_full or len(self._parts) > 1
            yield from self._take(part, data, is_full=is_full)
        elif self._left(part):
            yield from self.finish_line()
            self.position()
            self._parts.popleft()
            # The writer may still have the file open. (Instead of a copy that is still growing, its original is read.)
            if part.content.path == self.path:
                self._late.append((part, time.monotonic() + LINGER))
            else:
                part.content.close()
            self.behind = True

    def _left(self, part: Part) -> bool:
        """Whether the writer has changed to the next file; an unfinished last line gets `QUIET` to end."""
        if len(self._parts) == 1:
            return False
        if not part.content.compressed and not any(later.content.size for later in list(self._parts)[1:]):
            return False
        return not part.carry or time.monotonic() - part.touched >= QUIET

    def _read_late(self, part: Part) -> Iterator[LogEntry]:
        data = b""
        with contextlib.suppress(*BadContent):
            data = part.content.read(part.offset, BLOCK)
        if end := data.rfind(b"\n") + 1:
            # The position stays in the newer file.
            position = str(self.position())
            self.seen += data.count(b"\n")
            for line in self._shape.find(data, end):
                yield self._entry(line, position, part)
            part.handled(data, end)

    def _take(self, part: Part, data: bytes, *, is_full: bool) -> Iterator[LogEntry]:
        part.touched = time.monotonic()
        block = part.carry + data
        part.carry = b""
        if part.skipping:
            end = block.find(b"\n") + 1
            part.handled(block, end or len(block))
            block = block[end:] if end else b""
            part.skipping = not end
        end = block.rfind(b"\n") + 1
        if end:
            yield from self._lines(part, block, end)
        if len(block) - end > LONGEST:
            # The line is too long: keep its beginning.
            yield from self._lines(part, block[end : end + lines.LIMIT])
            rest = block[end + lines.LIMIT :]
            part.handled(rest, len(rest))
            part.skipping = True
        elif not end or not is_full or part.content.compressed:
            part.carry = block[end:]
        # Otherwise drop the partial line: re-reading it with the next block is cheaper than prepending.

    def finish_line(self) -> Iterator[LogEntry]:
        """Take the unfinished last line as it is."""
        part = self._parts[0]
        raw, part.carry = part.carry, b""
        if raw:
            yield from self._lines(part, raw)

    def _lines(self, part: Part, raw: bytes, end: int | None = None) -> Iterator[LogEntry]:
        """Take the lines in `raw[:end]`; the last one may be unfinished."""
        whole, size = (raw, end) if end else (raw + b"\n", len(raw) + 1)
        if len(whole) < max(BLOCK, SAMPLES * SAMPLE):
            self.seen += whole.count(b"\n", 0, size)
        else:
            places = range(0, size, max(size // SAMPLES, 1))
            counted = sum(whole.count(b"\n", at, min(at + SAMPLE, size)) for at in places)
            self.seen += counted * size // sum(min(SAMPLE, size - at) for at in places)
        for line in self._shape.find(whole, size):
            self._last = self._told = part.position(raw, min(line.end, len(raw)))
            yield self._entry(line, str(self._told), part)
        part.handled(raw, end or len(raw))

    def _entry(self, line: Found, position: str, part: Part) -> LogEntry:
        if part.trust is None:
            part.trust = self._judge(part.content)
        return LogEntry(
            stream=self.stream,
            position=position,
            time=line.time or datetime.now(UTC),
            text=lines.text(line.text),
            origin=self._origins[part.trust],
        )

    # ------------------------------------------------------------ rotation

    def look(self) -> None:
        """Check for rotations."""
        now = time.monotonic()
        for late in [late for late in self._late if late[1] <= now or late[0].content.unlinked]:
            self._late.remove(late)
            late[0].content.close()
        try:
            status = Path(self.path).stat()
        except OSError:
            self._line_up(kept=True)  # another file may have come and been rotated meanwhile
            newest = self._parts[-1].content
            self.gone = newest.unlinked or newest.path != self.path
            self.behind |= self.gone  # read the rest of it before it is closed
            return
        self.gone = False
        # The rotation of an unread file does not show in the file itself.
        emptied = self.untouched and not status.st_size
        if (status.st_dev, status.st_ino) != self._parts[-1].content.key or not self._parts[0].offset or emptied:
            self._line_up(kept=True)

    def _line_up(self, *, kept: bool) -> bool:
        """Find the files to read, in order; `kept`: the current file still holds the content that was read.

        Return whether the rest of the current content was found.
        """
        front = self._parts[0]
        following, is_there = what_follows(self.path, self.position())
        # The rest is at the path itself: in the same file, or in one that copytruncate is copying.
        in_place = is_there and following[0].content.path == self.path
        parts = []
        if kept and front.offset and not (in_place and following[0].content.key != front.content.key):
            parts.append(front)
        if is_there and (parts or (not front.offset and not in_place)):
            # Its rest is open already, or was read to its end.
            following.pop(0).content.close()
        parts += self._opened(following)
        if parts:
            keys = {part.content.key for part in parts}
            for part in self._parts:
                if part in parts:
                    continue
                if (
                    part.content.path == self.path
                    and not part.offset
                    and part.content.key not in keys
                    and part.content.empty
                ):
                    # Rotated while empty: its writer may still write to it.
                    self._late.append((part, time.monotonic() + LINGER))
                else:
                    part.content.close()
            self._parts = deque(parts)
            self.behind = True
        return is_there

    def _opened(self, following: list[Rest]) -> list[Part]:
        parts = []
        others = {part.content.key for part, _ in self._late} | self._damaged
        for rest in following:
            key = rest.content.key
            if key in others and rest.content.path != self.path:
                rest.content.close()
                continue
            already = next((part for part in self._parts if part.content.key == key), None)
            if already and already.offset == rest.offset and not already.replaced():
                rest.content.close()
                parts.append(already)
            else:
                parts.append(Part.of(rest))
        return parts

    def _go_on_after_truncation(self, part: Part) -> Iterator[LogEntry]:
        """Read the copy that was made before the truncation, if there is one, and then the file from its beginning."""
        if not self._line_up(kept=False):
            self._say(f"{self.path} was truncated, and no copy holds what followed byte {part.offset}, if anything did")
            if part.carry:
                yield from self._lines(part, part.carry)
