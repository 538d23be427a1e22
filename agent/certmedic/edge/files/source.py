"""Follow many logs, with inotify: it tells which of them to read."""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from certmedic.core import origin
from certmedic.core.model import Item, LogEntry, Progress, Trust
from certmedic.edge.files import inotify
from certmedic.edge.files.globs import SLACK, Watch, expand
from certmedic.edge.files.inotify import Inotify
from certmedic.edge.files.rotation import Content, Position, bases, rotated_files, rotated_names
from certmedic.edge.files.tail import QUIET, Tail
from certmedic.edge.os import owners
from certmedic.edge.source import AT_ONCE, Pause, Reads, Status

BLIND_TICK = 1.0  # seconds between two looks at every file, without inotify
BEHIND = 5.0  # seconds from which a lag is reported
REPORT_EVERY = 10.0  # seconds

logger = logging.getLogger(__name__)


class Files(ABC):
    """Follow the files that match `globs`: absolute paths, in which `*` stays within one folder."""

    name: str

    def __init__(self, needles: tuple[bytes, ...], globs: Sequence[str], *, required: bool) -> None:
        self.required = required
        self._needles = needles
        self._globs = tuple(globs)
        self._status = Status(self.name, logger)
        self._logs: dict[str, Tail] = {}  # by path
        self._moved: set[Tail] = set()  # logs that were read since their positions were put
        self._failed: dict[str, str] = {}  # path -> why it cannot be read; each reported once
        self._began = 0.0  # time of the first scan, in seconds since 1970
        self._earlier: Watch | None = None  # of an earlier run
        # Paths without a file, each with its rotated files if those were scanned.
        self._ended: dict[str, frozenset[tuple[str, int]]] = {}
        self._groups = owners.log_groups()
        self._inotify: Inotify | None = None
        self._folders: dict[int, str] = {}  # by watch
        self._files: dict[int, tuple[Tail, tuple[int, int]]] = {}  # by watch: the log, and device and inode of its file

    @abstractmethod
    def _log(self, path: str) -> Tail | None:
        """Return a new log for a path that matches; None if it belongs to another source."""

    def reads(self, resume: Callable[[str], str | None], put: Callable[[Item], None]) -> Reads:
        """Read step by step."""
        try:
            try:
                self._inotify = Inotify()
            except OSError as error:
                self._poll_instead(error)
            yield from self._reads(resume, put)
        finally:
            for log in self._logs.values():
                log.close()
            if self._inotify is not None:
                self._inotify.close()
            self._inotify = None
            for kept in (self._logs, self._moved, self._failed, self._folders, self._files, self._ended):
                kept.clear()

    def past(self, since: datetime) -> Iterator[tuple[float, list[LogEntry]]]:
        """Read every file that was written to after `since`, with its rotated files, once; yield as `JournalSource.past` does.

        A line may be older than `since` if its file holds no times.
        """
        paths, _ = expand(self._globs)
        rotated = {name for path in paths for name in rotated_names(path)}
        wanted = sorted(path for path in paths - rotated if not path.endswith(".gz"))
        for number, path in enumerate(wanted):
            try:
                log = self._log(path)
                if log is None or any(Path(path).samefile(other) for other in wanted[:number]):
                    continue
                log.open(None, since=since.timestamp())
            except OSError as error:
                self._status.say(f"{path} cannot be read: {error.strerror}")
                continue
            with contextlib.closing(log):
                while True:
                    seen, entries = log.seen, list(log.read())
                    if not log.behind:
                        entries += log.finish_line()
                    self._status.seen += log.seen - seen
                    self._status.matched += len(entries)
                    yield number / len(wanted), entries
                    if not (log.behind or log.seen != seen):
                        break
        yield 1.0, []

    @property
    def read(self) -> tuple[int, int, str]:
        """Lines read, lines passed on, and the latest trouble."""
        return self._status.read

    def _reads(self, resume: Callable[[str], str | None], put: Callable[[Item], None]) -> Reads:
        dirty = yield from self._scan(resume, first=True)
        caught_up, reported = time.time(), 0.0
        while True:
            for log in list(dirty):
                self._pass_on(log, log.read(), put)
                if log.behind:
                    yield AT_ONCE
                else:
                    dirty.discard(log)
                    self._forget_if_gone(log, put)
            now = time.monotonic()
            dirty |= self._finish_lines(put, now)
            if not dirty:
                caught_up = time.time()
            if now - reported >= REPORT_EVERY or not reported:
                reported = now
                self._report(put, lag=time.time() - caught_up)
                put(Progress(stream=self.name, position=str(Watch(time=time.time(), globs=self._globs))))
            if not dirty:  # otherwise each log with more to read has had its turn
                yield self._pause(reported + REPORT_EVERY - now)
                caught_up = time.time()
            if self._look(dirty) or (self._failed and reported == now):
                dirty |= yield from self._scan(resume, first=False)
                self._drop_ended(put)

    def _pause(self, seconds: float) -> Pause:
        """Return how long to wait for news, `seconds` at most."""
        if self._inotify is None:
            return Pause(BLIND_TICK)
        unfinished = any(log.unfinished_since is not None for log in self._logs.values())
        return Pause(QUIET if unfinished else seconds, self._inotify.look)

    def _finish_lines(self, put: Callable[[Item], None], now: float) -> set[Tail]:
        """Take last lines that stayed unfinished for `QUIET`; return their logs, which may continue in another file now."""
        due = {
            log
            for log in self._logs.values()
            if log.unfinished_since is not None and now - log.unfinished_since >= QUIET
        }
        for log in due:
            self._pass_on(log, log.finish_line(), put)
        return due

    # ------------------------------------------------------------ files

    def _scan(self, resume: Callable[[str], str | None], *, first: bool) -> Generator[Pause, bool | None, set[Tail]]:
        """Check the open files, and open new ones that match; return the logs with more to read.

        Others have their turns meanwhile: to find a position in compressed files takes time for each log.
        """
        if first:
            self._began, self._earlier = time.time(), Watch.parse(resume(self.name))
        paths, folders = expand(self._globs)
        while new := folders - set(self._folders.values()) if self._inotify else set():
            # Expand again afterwards: files created before the watch existed raised no event.
            for folder in new:
                self._watch(folder, inotify.FOLDER, self._folders, folder)
            paths, folders = expand(self._globs)
        rotated = {name for path in paths for name in rotated_names(path)}
        for path in set(self._failed) - paths:
            del self._failed[path]
        # A log may be rotated away before it was seen, as that of a pod when its container restarts.
        ended = {path: rotated_files(path) for path in bases(folders) - paths if self._matches(path)}
        left = {path for path, now in ended.items() if self._ended.get(path) != now}
        self._ended = {path: now for path, now in (self._ended | ended).items() if path not in paths}
        for log in list(self._logs.values()):
            log.look()
            self._watch_files(log)
            yield AT_ONCE
        for path in sorted((paths | left) - rotated - set(self._logs)):
            try:
                self._open(path, resume, first=first, there=path not in left)
                self._failed.pop(path, None)
            except OSError as error:
                self._ended.pop(path, None)
                if self._failed.get(path) != str(error):
                    self._failed[path] = str(error)
                    if isinstance(error, FileNotFoundError) and not Path(path).is_symlink():
                        continue  # rotated just now; the next scan finds its rotated file
                    self._status.say(f"{path} cannot be read: {error.strerror}")
            yield AT_ONCE
        return {log for log in self._logs.values() if log.behind}

    def _matches(self, path: str) -> bool:
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self._globs)

    def _open(self, path: str, resume: Callable[[str], str | None], *, first: bool, there: bool) -> None:
        """Open a log that is new to this run; `there`: its path has a file, and not only rotated ones."""
        modified = time.time()
        if there:
            status = Path(path).stat()
            key, modified = (status.st_dev, status.st_ino), status.st_mtime
            if path.endswith(".gz") or any(key == c.key for log in self._logs.values() for c in log.contents):
                return  # another name of an open file
        log = self._log(path)
        if log is None:
            return
        position = Position.parse(resume(log.stream))
        since = self._since(path, modified, first=first)
        if not there and position is None and since is None:
            return
        try:
            log.open(position, since=since)
        except FileNotFoundError:
            if there:
                raise
            return  # its rotated files were all read
        self._logs[path] = log
        self._moved.add(log)
        self._watch_files(log)

    def _since(self, path: str, modified: float, *, first: bool) -> float | None:
        """Return when a log may have begun that is new: it is read from its beginning. None for one that existed before the first watch."""
        if self._earlier and self._earlier.watched(path) and not (first and modified < self._earlier.time - SLACK):
            return self._earlier.time - SLACK
        return None if first else self._began

    def _forget_if_gone(self, log: Tail, put: Callable[[Item], None]) -> None:
        if log.gone and log.unfinished_since is None:
            self._progress(log, put)
            del self._logs[log.path]
            self._moved.discard(log)
            log.close()
            self._watch_files(log, closed=True)
            self._ended.setdefault(log.path, frozenset())
            self._drop_ended(put)

    def _drop_ended(self, put: Callable[[Item], None]) -> None:
        """Forget logs that have no file left under any name: pods come and go as long as the agent runs."""
        for path in self._ended.keys() - set(self._logs):
            # Look twice: while a file is being renamed, a folder may show neither name.
            if any(os.path.lexists(path) or rotated_names(path) for _ in range(2)):
                continue
            del self._ended[path]
            if log := self._log(path):
                put(Progress(stream=log.stream, position=None))

    # ------------------------------------------------------------ watches

    def _watch(self, path: str, mask: int, watches: dict[int, Any], what: object) -> None:
        if self._inotify is None:
            return
        try:
            watches[self._inotify.watch(path, mask)] = what
        except FileNotFoundError:
            pass  # it is gone again; the next scan finds that
        except OSError as error:
            self._poll_instead(error)

    def _poll_instead(self, error: OSError) -> None:
        """Go on without inotify if the kernel refuses it at a limit: polling is better than blindness."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        self._folders.clear()
        self._files.clear()
        self._status.say(f"the kernel gives no inotify watch ({error}); files are looked at every second instead")

    def _owned(self, content: Content) -> tuple[Trust, str]:
        """Judge a file by its owners; return also the reason if it is not trusted."""
        standing = content.resolved
        return origin.of_log(
            standing.path, standing.chain, links=standing.links, groups=self._groups, owners=owners.OWNERS
        )

    def _watch_files(self, log: Tail, *, closed: bool = False) -> None:
        """Watch exactly the open files of a log."""
        contents = {} if closed else {content.key: content for content in log.contents if not content.compressed}
        for number in [number for number, (owner, key) in self._files.items() if owner is log and key not in contents]:
            del self._files[number]
            if self._inotify is not None:
                self._inotify.forget(number)
        for key in set(contents) - {key for owner, key in self._files.values() if owner is log}:
            self._watch(contents[key].watch_path, inotify.FILE, self._files, (log, key))

    def _look(self, dirty: set[Tail]) -> bool:
        """Add the logs with events to `dirty`; return True if files may have come or gone."""
        if self._inotify is None:
            dirty.update(self._logs.values())
            return True
        rescan = False
        for number, mask in self._inotify.events():
            if mask & inotify.Q_OVERFLOW:
                dirty.update(self._logs.values())
                rescan = True
            elif number in self._files:
                log = self._files[number][0]
                dirty.add(log)
                rescan |= bool(mask & ~inotify.MODIFY) or log.untouched
                if mask & inotify.IGNORED:
                    del self._files[number]
            elif number in self._folders:
                rescan = True
                if mask & inotify.IGNORED:
                    del self._folders[number]
            # Otherwise it is the last event of a watch that was ended.
        return rescan

    # ------------------------------------------------------------ items

    def _pass_on(self, log: Tail, entries: Iterable[LogEntry], put: Callable[[Item], None]) -> None:
        seen, open_before = log.seen, log.contents
        for entry in entries:
            self._status.matched += 1
            put(entry)
        self._status.seen += log.seen - seen
        self._moved.add(log)
        if log.contents != open_before:
            self._watch_files(log)

    def _progress(self, log: Tail, put: Callable[[Item], None]) -> None:
        if progress := log.progress():
            put(progress)

    def _report(self, put: Callable[[Item], None], *, lag: float) -> None:
        for log in self._moved:
            self._progress(log, put)
        self._moved.clear()
        put(self._status.report(lag=lag if lag > BEHIND else 0.0, position=f"{len(self._logs)} files"))
