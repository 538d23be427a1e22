"""Find the entries that hold a needle, one by one or many at once."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from certmedic.edge import bytesearch
from certmedic.edge.journal.fast_reader import Steps
from certmedic.edge.source import Status

TOGETHER = 256  # entries whose messages are searched as one block

PassOn = Callable[[Steps, bytes], None]


class Batches:
    """Steps through entries and passes on those whose message holds one of `needles`; one object for the life of a source."""

    def __init__(self, needles: tuple[bytes, ...], status: Status) -> None:
        self._needles, self._status = needles, status
        self._damaged = 0
        self._careful = False  # whether a seek back to an entry has failed

    def read(self, reader: Any, steps: Steps, size: int, pass_on: PassOn, *, at_end: bool) -> bool:
        """Handle about `size` entries; return whether that was the end of the journal.

        `at_end`: the last call reached the end, so that few new entries are expected.
        """
        # After a failed seek, never read many at once again.
        if at_end or self._careful:
            return self.one_by_one(steps, size, pass_on)
        return self._together(reader, steps, pass_on)

    def _together(self, reader: Any, steps: Steps, pass_on: PassOn) -> bool:
        """Handle up to TOGETHER entries: search their messages as one block.

        If the block holds a needle, seek back and read the entries again one by one.
        """
        start = steps.cursor()
        step, get = steps.step, steps.get
        messages: list[bytes] = []
        count, damaged = 0, False
        while count < TOGETHER and step():
            count += 1
            try:
                messages.append(get("MESSAGE"))
            except KeyError:
                continue
            except OSError:
                damaged = True
        at_end = count < TOGETHER
        if not damaged and not bytesearch.hit(b"\n".join(messages), self._needles):
            self._status.seen += count
            return at_end
        reader.seek_cursor(start)
        if not step() or not reader.test_cursor(start):
            self._careful = True
            raise OSError(errno.ESTALE, "an entry that was just read was not found again")
        self.one_by_one(steps, count, pass_on)
        return at_end

    def one_by_one(self, steps: Steps, size: int, pass_on: PassOn, *, from_here: bool = False) -> bool:
        """Handle up to `size` entries, the current one as well if `from_here`; return whether that was the end of the journal."""
        step, get, needles = steps.step, steps.get, self._needles
        for count in range(size):
            if not ((from_here and not count) or step()):
                self._status.seen += count
                return True
            try:
                message = get("MESSAGE")
            except KeyError:
                continue
            except OSError as error:
                self._damaged += 1
                self._status.say(
                    f"damaged entries were passed over, {self._damaged} so far; the last: {error}", log=False
                )
                continue
            # lines.hit() inlined: the call would cost as much as the search.
            for needle in needles:
                if needle in message:
                    pass_on(steps, message)
                    break
        self._status.seen += size
        return False
