"""The journal as a source: it is opened, read from the last position on, and opened again when files come or go.

Only MESSAGE is read of each entry, with private calls of the C reader: five times faster than the public calls, which build a
dictionary of all fields. The other fields are read only of an entry whose message holds a needle. During a catch-up, many
messages are searched at once.

A position is the last entry handled: its cursor and its time. If the cursor is dead, reading goes on at the time, or else at the
end of the journal; the status says what may have been missed. When files come or go, the journal is opened again at the last
position: in many programs, readers went deaf that were kept over a rotation. libsystemd sees files by inotify and does not
report a lack of inotify watches, so the files are also listed now and then.

journald writes by mmap, which raises no event, and announces an entry 0.25 to 0.5 s later, so that new entries are looked for
without waiting for that.

libsystemd visits every file at each step: like journalctl, this source reads a journal of 300 files at a fifth of the speed of
a journal of two.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import resource
import select
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from certmedic.core import lines, origin
from certmedic.core.model import Item, LogEntry, Progress
from certmedic.edge.journal.batch import Batches
from certmedic.edge.journal.fast_reader import Steps, steps_of
from certmedic.edge.journal.journal_files import SETTLE, Files, room_for
from certmedic.edge.journal.position import Position, moment
from certmedic.edge.journal.seek import seek
from certmedic.edge.journal.wait import Wait
from certmedic.edge.journal.writer import field_of, fields_of, origin_of
from certmedic.edge.source import AT_ONCE, TICK, Pause, Reads, Status
from certmedic.edge.static_pods import StaticPods

STREAM = "journal"
QUIET = 2.0  # seconds between two looks for new files while nothing comes
LOOK_EVERY = 10.0  # seconds between two listings of the files
BLIND_EVERY = 1.0  # the same without inotify
REPORT_EVERY = 10.0  # seconds
MOST_MAPPED = 12 * 1024 * 1024  # bytes of journal files mapped, after which the journal is opened again
FAILURES = 5  # in a row without an entry, after which `reads` raises
BATCH = 1024  # entries between two looks at the clock

log = logging.getLogger(__name__)


class JournalError(Exception):
    """The journal cannot be read; the text says why and what to do."""


class JournalSource:
    """Follow the journal: entries of `units` or `identifiers`, or all entries without either.

    `path` is a folder of journal files, or a list of files, instead of the machine's own journal. A journal that was never read
    is read from `lookback` seconds ago on. Entries of certmedic's own units and of `own_pids` (this process) are skipped, since
    they quote lines that would match again. Lines of `units` are trusted like those of the control plane's units.
    """

    name = "journal"

    def __init__(  # noqa: PLR0913 - options, each named at every call
        self,
        needles: tuple[bytes, ...],
        *,
        units: Sequence[str] = (),
        identifiers: Sequence[str] = (),
        path: str | os.PathLike[str] | Sequence[str] | None = None,
        static_pods: StaticPods | None = None,
        lookback: float = 600.0,
        required: bool = True,
        own_pids: Collection[int] | None = None,
    ) -> None:
        self.required = required
        self._own_pids = frozenset({os.getpid()} if own_pids is None else own_pids)
        self._units, self._identifiers = tuple(units), tuple(identifiers)
        self._static_pods = static_pods or StaticPods()
        self._path = path
        self._where = "/run/log/journal or /var/log/journal" if path is None else str(path)
        self._lookback = lookback
        self._started = time.time()
        self._status = Status(self.name, log)
        self._batches = Batches(needles, self._status)
        self._position: Position | None = None  # of the last item that was put
        self._moved = False  # whether the reader is past that
        self._files = Files(path)

    def reads(self, resume: Callable[[str], str | None], put: Callable[[Item], None]) -> Reads:
        """Read step by step. Raises JournalError or OSError if the journal cannot be read."""
        self._position = Position.parse(resume(STREAM))
        failures = 0
        while True:
            before = self._position
            try:
                with self._opened() as reader:
                    complete, damaged = self._files.complete()
                    for file in damaged:
                        self._status.say(f"{file} cannot be opened, it is damaged or not a journal; it is not read")
                    if complete:
                        yield from self._read(reader, put)
            except (OSError, JournalError) as error:
                # A damaged file, which libsystemd often skips when the journal is opened again; or the moment of a rotation in
                # which no file exists.
                failures = failures + 1 if self._position == before else 1
                self._status.say(f"the journal had to be opened again: {error}", log=False)
                if failures >= FAILURES:
                    raise
            # Files come and go several at a time; and a repeated failure must not become a busy loop.
            yield Pause(SETTLE)

    def past(self, since: datetime) -> Iterator[tuple[float, list[LogEntry]]]:
        """Read the journal from `since` on, once; yield the share that was read (0 to 1) with the entries found meanwhile.

        Raises JournalError or OSError if the journal cannot be read.
        """
        start, entries = since.timestamp(), list[LogEntry]()

        def put(item: Item) -> None:
            if isinstance(item, LogEntry):
                entries.append(item)

        pass_on = functools.partial(self._pass_on, put=put)
        with self._opened() as reader:
            steps = steps_of(reader)
            reader.seek_realtime(start)
            at_end = self._batches.one_by_one(steps, BATCH, pass_on)
            while not at_end:
                share = (steps.realtime() / 1e6 - start) / max(time.time() - start, 1.0)
                yield min(max(share, 0.0), 1.0), entries
                entries.clear()
                at_end = self._batches.read(reader, steps, BATCH, pass_on, at_end=False)
        yield 1.0, entries

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        # Imported here, so that a missing library is a JournalError.
        try:
            from systemd.journal import Reader  # noqa: PLC0415 - see above
        except ImportError as error:
            raise JournalError(f"systemd-python cannot be loaded ({error}): install python3-systemd") from error
        self._files.look()
        if limit := room_for(len(self._files.numbers)):
            raise JournalError(
                f"the journal in {self._where} has {len(self._files.numbers)} files, and this process may open only {limit} in all: raise "
                "LimitNOFILE= of its unit, or ulimit -n"
            )
        try:
            if self._path is None:
                reader = Reader()
            elif isinstance(self._path, str | os.PathLike):
                reader = Reader(path=os.fspath(self._path))
            else:
                reader = Reader(files=list(self._path))
        except OSError as error:
            raise JournalError(f"the journal in {self._where} cannot be opened: {error.strerror}") from error
        with contextlib.closing(reader):
            if not reader.get_usage():
                raise JournalError(
                    f"no journal file can be read in {self._where}: is systemd-journald running, and is this user root or "
                    "in the group systemd-journal?"
                )
            for unit in self._units:
                reader.add_match(f"_SYSTEMD_UNIT={unit}")
            if self._units and self._identifiers:
                reader.add_disjunction()
            for identifier in self._identifiers:
                reader.add_match(f"SYSLOG_IDENTIFIER={identifier}")
            yield reader

    def _read(self, reader: Any, put: Callable[[Item], None]) -> Reads:
        """Read until journal files have come or gone."""
        # Create the descriptor before seeking, so that every later change raises an event.
        changes = None
        try:
            fd = reader.fileno()
            changes = select.poll()
            changes.register(fd, reader.get_events())
        except OSError as error:
            if error.errno != errno.EMEDIUMTYPE:  # a list of files
                self._status.say(
                    f"the kernel gives no inotify ({error.strerror}); the journal's files are listed every second instead"
                )
        steps = steps_of(reader)
        if trouble := seek(reader, steps, self._position, self._lookback):
            self._status.say(trouble)
        self._moved = False
        try:
            yield from self._go_on(reader, steps, put, changes)
        except OSError:
            # Do not read the entries so far again.
            self._moved = True
            self._report(steps, put, at_end=False)
            raise

    def _go_on(self, reader: Any, steps: Steps, put: Callable[[Item], None], changes: select.poll | None) -> Reads:
        wait, pass_on = Wait(), functools.partial(self._pass_on, put=put)
        reported, read = 0.0, time.monotonic()
        looked, at_first = read, mapped()
        at_end, seen = True, self._status.seen
        while True:
            at_end = self._batches.read(reader, steps, BATCH, pass_on, at_end=at_end)
            now = time.monotonic()
            wait.learn(now - read, self._status.seen - seen)
            self._moved |= self._status.seen > seen
            read, seen = now, self._status.seen
            if now - reported >= REPORT_EVERY or not reported:
                self._report(steps, put, at_end=at_end)
                reported = now
                if mapped() > at_first + MOST_MAPPED:
                    break  # libsystemd keeps mapped what it has read, until the reader is closed
            if not at_end:
                yield AT_ONCE
                continue
            most = min(QUIET if changes else BLIND_EVERY, reported + REPORT_EVERY - now)
            if (yield Pause(wait.seconds) if wait.seconds < TICK else Pause(most, steps.step)):
                self._moved = True
                self._batches.one_by_one(steps, 1, pass_on, from_here=True)
            if changes and self._invalid(reader, changes):
                break
            if now - looked >= (LOOK_EVERY if changes else BLIND_EVERY):
                looked = now
                if self._files.changed():
                    break
        # Stop using this reader: it may skip older entries of a file that it discovers late. A new one sees all files.
        self._report(steps, put, at_end=False)

    @staticmethod
    def _invalid(reader: Any, changes: select.poll) -> bool:
        """Whether journal files have come or gone."""
        from systemd.journal import INVALIDATE  # noqa: PLC0415 - as in _opened

        return bool(changes.poll(0)) and reader.process() == INVALIDATE

    def _pass_on(self, steps: Steps, message: bytes, put: Callable[[Item], None]) -> None:
        field = field_of(steps)
        position = Position(steps.cursor(), steps.realtime())
        writer = fields_of(field)
        # Before our start, another process may have had that pid.
        own_pid = writer.pid in self._own_pids and position.usec / 1e6 >= self._started
        if own_pid or origin.OWN_UNIT.fullmatch(writer.unit):
            return
        time_logged = datetime.fromtimestamp(position.usec / 1e6, UTC)
        self._status.matched += 1
        text, by = lines.text(message), origin_of(writer, field, self._units, self._static_pods)
        put(LogEntry(stream=STREAM, position=str(position), time=time_logged, text=text, origin=by))
        self._position, self._moved = position, False

    @property
    def read(self) -> tuple[int, int, str]:
        """Entries read, entries passed on, and the latest trouble."""
        return self._status.read

    def _report(self, steps: Steps, put: Callable[[Item], None], *, at_end: bool) -> None:
        if self._moved:
            # A rotation may have removed the file of the current entry; the next entry has a position again.
            with contextlib.suppress(OSError, KeyError):
                position = Position(steps.cursor(), steps.realtime())
                if position != self._position:
                    put(Progress(stream=STREAM, position=str(position)))
                    self._position = position
                self._moved = False
        last = self._position
        lag = 0.0 if at_end or last is None else time.time() - last.usec / 1e6
        put(self._status.report(lag=lag, position=moment(last.usec) if last else ""))


def mapped() -> int:
    """Return the resident bytes of mapped files of this process (proc(5), statm); 0 if unknown."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[2]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0
