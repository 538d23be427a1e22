"""The journal: every boot, volatile and persistent, read with libsystemd in one thread.

Entries are stepped through with the C reader's own calls, which the public `Reader` inherits: one field per entry, five
times faster than the public calls, which build a dictionary of all fields. The other fields are read only for an entry that
passes the gate; and while there is much to catch up with, the gate takes many messages at once.

A position is the last entry handled: its cursor, its time and its boot. Where the cursor is dead (vacuumed, or moved from
/run to /var by a flush, which gives new numbers to old entries), its time is tried, and then the end of the journal; what
was skipped thereby is said. When files come or go, the journal is opened anew at the last position: readers that were kept
over a rotation have been found deaf in many programs. libsystemd is told of it by inotify, of which a master may have run out,
and says so of instances only, not of watches: so the files are also looked at now and then.

At each step libsystemd looks at every file: a journal of 300 files is read at a fifth of the speed of one of two, as by journalctl.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from certmedic.core import lines, origin
from certmedic.core.model import Item, LogEntry, Origin, Progress, SourceStatus, Trust
from certmedic.core.origin import JournalFields
from certmedic.edge import bytesearch
from certmedic.edge.journal.position import Position, moment
from certmedic.edge.journal.present import SETTLE, Files, room_for
from certmedic.edge.journal.steps import Steps, steps_of
from certmedic.edge.static_pods import StaticPods

STREAM = "journal"
TICK = 1.0  # seconds that one wait lasts at most
BUSY_TICK = 0.02  # seconds that it lasts at least, while entries keep coming
# What a wake-up costs is shared by more entries where there are fewer, and nobody minds who waits for one there: the wait in
# seconds is so many times the square of the seconds from one entry to the next, 25 ms at 200 entries a second, 100 ms at 100.
WAIT = 1000
ANNOUNCED = 0.25  # seconds after which journald announces what it wrote
LOOK_EVERY = 10.0  # seconds between two looks at which files there are
REPORT_EVERY = 5.0  # seconds
QUIET_REPORT_EVERY = 10.0  # the same, while there is nothing new to report
FAILURES = 5  # in a row, without an entry between them, until the reader gives up and is started anew after a pause
BATCH = 1024  # entries between two looks at the clock
TOGETHER = 256  # entries whose messages are searched as one block

log = logging.getLogger(__name__)


class JournalError(Exception):
    """The journal cannot be read; says why and what to do."""


class JournalSource:
    """Follow the journal: entries of `units` or `identifiers`, or all where neither is given.

    `path` is a directory of journal files, or a list of files, instead of the machine's own journal. A journal that was
    never read is read from `lookback` seconds ago on. Entries of certmedic's own units and of this process are passed over:
    they quote lines, and would be found again. Lines of `units` are believed, as those of the control plane's units are.
    """

    name = "journal"

    def __init__(  # noqa: PLR0913 - each is a choice of its own, with a name at every call
        self,
        needles: tuple[bytes, ...],
        *,
        units: Sequence[str] = (),
        identifiers: Sequence[str] = (),
        path: str | os.PathLike[str] | Sequence[str] | None = None,
        static_pods: StaticPods | None = None,
        lookback: float = 600.0,
        required: bool = True,
    ) -> None:
        self.required = required
        self._needles = needles
        self._units, self._identifiers = tuple(units), tuple(identifiers)
        self._static_pods = static_pods or StaticPods()
        self._path = path
        self._where = "/run/log/journal or /var/log/journal" if path is None else str(path)
        self._lookback = lookback
        self._started = time.time()
        self._seen = self._matched = self._unreadable = 0
        self._detail = ""
        self._position: Position | None = None  # of the last item that was put
        self._moved = False  # whether the reader has come further than that
        self._files = Files(path)
        self._careful = False  # whether to go back to an entry has failed

    def follow(self, resume: Callable[[str], str | None], put: Callable[[Item], None], stop: threading.Event) -> None:
        """Read until `stop` is set; JournalError or OSError where the journal cannot be read."""
        self._position = Position.parse(resume(STREAM))
        failures = 0
        while not stop.is_set():
            before = self._position
            try:
                with self._opened() as reader:
                    complete, damaged = self._files.complete()
                    for file in damaged:
                        self._say(f"{file} cannot be opened, it is damaged or not a journal; what it holds is not read")
                        log.warning("journal: %s", self._detail)
                    if complete:
                        self._read(reader, put, stop)
            except (OSError, JournalError) as error:
                # A damaged file: opened anew, libsystemd often leaves it out and goes on behind it. Or the moment of a
                # rotation in which there is no file at all.
                failures = failures + 1 if self._position == before else 1
                self._say(f"the journal had to be opened anew: {error}")
                if failures >= FAILURES:
                    raise
            # Files come and go several at a time; and whatever goes wrong, this loop does not run hot.
            stop.wait(SETTLE)

    def past(self, since: datetime) -> Iterator[tuple[float, list[LogEntry]]]:
        """Read what is there from `since` on, once; yields what share of it was read, with the entries found meanwhile.

        JournalError or OSError where the journal cannot be read.
        """
        start, found = since.timestamp(), list[LogEntry]()

        def put(item: Item) -> None:
            if isinstance(item, LogEntry):
                found.append(item)

        with self._opened() as reader:
            steps = steps_of(reader)
            reader.seek_realtime(start)
            at_end = self._batch(steps, put, BATCH)
            while not at_end:
                share = (steps.realtime() / 1e6 - start) / max(time.time() - start, 1.0)
                yield min(max(share, 0.0), 1.0), found
                found.clear()
                at_end = self._batch(steps, put, BATCH) if self._careful else self._many(reader, steps, put)
        yield 1.0, found

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        # Imported here: this module can be loaded, and its error be told, where the library is missing.
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

    def _read(self, reader: Any, put: Callable[[Item], None], stop: threading.Event) -> None:
        """Read until `stop` is set or until journal files have come or gone."""
        # The descriptor must exist before seeking: what changes from here on is then told.
        changes = None
        try:
            fd = reader.fileno()
            changes = select.poll()
            changes.register(fd, reader.get_events())
        except OSError as error:
            if error.errno != errno.EMEDIUMTYPE:  # what a list of files answers
                self._say(
                    f"the kernel gives no inotify ({error.strerror}); the journal is looked at every second instead"
                )
                log.warning("journal: %s", self._detail)
        steps = steps_of(reader)
        self._seek(reader, steps)
        self._moved = False
        try:
            self._go_on(reader, steps, put, stop, changes)
        except OSError:
            # What was read until then is not to be read again.
            self._moved = True
            self._report(steps, put, at_end=False)
            raise

    def _go_on(
        self,
        reader: Any,
        steps: Steps,
        put: Callable[[Item], None],
        stop: threading.Event,
        changes: select.poll | None,
    ) -> None:
        from systemd.journal import INVALIDATE  # noqa: PLC0415 - as in _opened

        reported, read = 0.0, time.monotonic()
        looked = read
        apart = TICK  # seconds from one entry to the next, about
        at_end = True
        while not stop.is_set():
            seen, before = self._seen, read
            # Many at a time only where there are many; and never again where a cursor was not found again.
            many = not at_end and not self._careful
            at_end = self._many(reader, steps, put) if many else self._batch(steps, put, BATCH)
            now = read = time.monotonic()
            new = self._seen - seen
            self._moved |= new > 0
            # Sooner at once where they come faster, later only by and by where they do not.
            found = (now - before) / max(new, 1)
            apart = found if found < apart else apart + (found - apart) / 8
            busy = self._moved or apart < TICK / 2
            if now - reported >= (REPORT_EVERY if busy else QUIET_REPORT_EVERY) or not reported:
                self._report(steps, put, at_end=at_end)
                reported = now
            if not at_end:
                continue
            tick = min(max(BUSY_TICK, WAIT * apart**2), TICK)
            if changes is None:
                stop.wait(tick)
            else:
                if tick < ANNOUNCED:
                    time.sleep(tick)  # what is announced meanwhile would only wake it up sooner
                    tick = 0
                if changes.poll(1000 * tick) and reader.process() == INVALIDATE:  # wait() would cost twice as much
                    break
            if now - looked >= (LOOK_EVERY if changes else TICK):
                looked = now
                if self._files.changed():
                    break
        # Not one entry more from this reader: a file that it found late, with entries from before those that it has read by
        # then, would be passed over. To the next reader all files are there from the beginning.
        if not stop.is_set():
            self._report(steps, put, at_end=False)

    def _seek(self, reader: Any, steps: Steps) -> None:
        """Go where the next step yields the first entry to be handled."""
        last = self._position
        if last is None:
            since = time.time() - self._lookback
            reader.seek_realtime(since)
            if steps.step():
                reader.seek_realtime(since)
            else:
                self._seek_end(reader)
            return
        with contextlib.suppress(OSError, ValueError):  # a cursor that libsystemd cannot make sense of
            reader.seek_cursor(last.cursor)
            if steps.step() and reader.test_cursor(last.cursor):
                return
        reader.seek_realtime(last.usec / 1e6)
        first = 0
        while steps.step() and first <= last.usec:
            if last.same_entry(steps.cursor()):
                return
            first = steps.realtime()
        if first:
            self._say(
                f"the entry read last, of {moment(last.usec)}, is gone from the journal; what was written in the "
                f"{max(first - last.usec, 0) / 1e6:.0f} s after it may have been missed"
            )
            reader.seek_realtime(last.usec / 1e6)
        else:
            self._say(
                f"the journal holds nothing from {moment(last.usec)} on, where it was read last (was it wiped, or the "
                "clock set back?); it is read from its end on"
            )
            self._seek_end(reader)
        log.warning("journal: %s", self._detail)

    @staticmethod
    def _seek_end(reader: Any) -> None:
        """Go to the last entry. A seek to a time that no entry has reached would wait for that time, deaf until then."""
        reader.seek_tail()
        if not reader.get_previous():
            reader.seek_head()

    def _many(self, reader: Any, steps: Steps, put: Callable[[Item], None]) -> bool:
        """Handle up to TOGETHER entries, the messages of which are searched as one block; True at the end of the journal.

        Only where the block holds a needle, the entries are gone through again, one by one.
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
            self._seen += count
            return at_end
        reader.seek_cursor(start)
        if not step() or not reader.test_cursor(start):
            self._careful = True
            raise OSError(errno.ESTALE, "an entry that was just read was not found again")
        self._batch(steps, put, count)
        return at_end

    def _batch(self, steps: Steps, put: Callable[[Item], None], size: int) -> bool:
        """Handle up to `size` entries; True at the end of the journal."""
        step, get, needles = steps.step, steps.get, self._needles
        for count in range(size):
            if not step():
                self._seen += count
                return True
            try:
                message = get("MESSAGE")
            except KeyError:
                continue
            except OSError as error:
                self._unreadable += 1
                self._say(f"damaged entries were passed over, {self._unreadable} so far; the last: {error}")
                continue
            # lines.hit(), written out: the call would cost as much as the search.
            for needle in needles:
                if needle in message:
                    self._pass_on(steps, message, put)
                    break
        self._seen += size
        return False

    def _pass_on(self, steps: Steps, message: bytes, put: Callable[[Item], None]) -> None:
        def field(name: str) -> str:
            try:
                return lines.text(steps.get(name))
            except (KeyError, OSError):
                return ""

        position = Position(steps.cursor(), steps.realtime())
        writer = JournalFields(
            uid=_number(field("_UID")),
            pid=_number(field("_PID")),
            unit=field("_SYSTEMD_UNIT"),
            cgroup=field("_SYSTEMD_CGROUP"),
            transport=field("_TRANSPORT"),
            comm=field("_COMM"),
            exe=field("_EXE"),
        )
        # Another process had our pid before us.
        own_pid = writer.pid == os.getpid() and position.usec / 1e6 >= self._started
        if own_pid or origin.OWN_UNIT.fullmatch(writer.unit):
            return
        time_logged = datetime.fromtimestamp(position.usec / 1e6, UTC)
        self._matched += 1
        text, by = lines.text(message), self._origin(writer, field)
        put(LogEntry(stream=STREAM, position=str(position), time=time_logged, text=text, origin=by))
        self._position, self._moved = position, False

    def _origin(self, writer: JournalFields, field: Callable[[str], str]) -> Origin:
        """Say who wrote an entry. SYSLOG_IDENTIFIER and _COMM, which any process chooses, are for display only.

        A pid is kept only of a believed program: others could start a process for each line, each of which would then be
        parsed as a new kind of line.
        """
        identifier = field("SYSLOG_IDENTIFIER")
        container = field("CONTAINER_NAME")
        if origin.is_of_container(writer, container or field("CONTAINER_ID_FULL")):
            pod = origin.pod_of_container(container)
            return Origin(
                program=identifier,
                unit=writer.unit,
                uid=writer.uid,
                container=container,
                container_id=field("CONTAINER_ID_FULL"),
                image=field("IMAGE_NAME"),
                pod=pod.pod,
                namespace=pod.namespace,
                trust=origin.of_container(container, self._static_pods.names),
            )
        trust = origin.of_journal(writer, self._units)
        if trust is not Trust.SYSTEM:
            return Origin(program=identifier or writer.comm, unit=writer.unit, uid=writer.uid, trust=trust)
        program = writer.exe.rpartition("/")[2] or identifier or writer.comm
        return Origin(program=program, unit=writer.unit, pid=writer.pid, uid=writer.uid, trust=trust)

    @property
    def read(self) -> tuple[int, int, str]:
        """How many entries were read, how many of them passed on, and what could not be read."""
        return self._seen, self._matched, self._detail

    def _say(self, trouble: str) -> None:
        self._detail = f"{moment(int(time.time() * 1e6))}: {trouble}"

    def _report(self, steps: Steps, put: Callable[[Item], None], *, at_end: bool) -> None:
        if self._moved:
            # There is no current entry where a rotation took its file away: the next one has a position again.
            with contextlib.suppress(OSError, KeyError):
                position = Position(steps.cursor(), steps.realtime())
                if position != self._position:
                    put(Progress(stream=STREAM, position=str(position)))
                    self._position = position
                self._moved = False
        last = self._position
        put(
            SourceStatus(
                source=self.name,
                seen=self._seen,
                matched=self._matched,
                lag_seconds=0.0 if at_end or last is None else max(time.time() - last.usec / 1e6, 0.0),
                position=moment(last.usec) if last else "",
                detail=self._detail,
            )
        )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None
