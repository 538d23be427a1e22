"""Docker's logs: as files, and over Docker's socket those that are in no file, if this process may use the socket."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from certmedic.core.model import Item, LogEntry, Progress, SourceStatus
from certmedic.edge.containers import DockerError, DockerSource
from certmedic.edge.containers.own import own_ids
from certmedic.edge.files.docker import LOGS, DockerFiles
from certmedic.edge.inbox import on_thread
from certmedic.edge.os import docker_root
from certmedic.edge.os.readfile import may_access
from certmedic.edge.source import Reads, from_checkpoint

IN_FILES = frozenset({"json-file", "none", ""})  # log drivers, with those that keep nothing
BESIDE = "docker-socket"  # the stream of the time until which containers were watched over the socket beside the files
AGAIN = 10.0  # seconds after which a socket that failed is tried again


class DockerLogs:
    """Follow the logs of Docker's containers. `with_journal`: the journal is read too, and with it the containers that log there."""

    name = "docker"

    def __init__(  # noqa: PLR0913 - options, each named at every call
        self,
        needles: tuple[bytes, ...],
        *,
        names: Sequence[str] = (),
        labels: Sequence[str] = (),
        base_url: str = "unix:///var/run/docker.sock",
        with_journal: bool = True,
        required: bool = False,
    ) -> None:
        self.required = required
        self._needles, self._names, self._labels, self._url = needles, tuple(names), tuple(labels), base_url
        self._elsewhere = IN_FILES | ({"journald"} if with_journal else set())
        self._trouble = ""  # of the socket beside the files
        self._source: DockerSource | DockerFiles = self._over_socket(())

    def reads(self, resume: Callable[[str], str | None], put: Callable[[Item], None]) -> Reads:
        """Read step by step. Raises DockerError or OSError if neither files nor socket can be read.

        With the socket, the first step asks the daemon for its folder, for two seconds at most.
        """
        root = self._choose(earlier=root_of(resume(self.name)))
        if isinstance(self._source, DockerSource):
            yield from self._source.reads(lambda stream: time_of(resume(stream)), put)
            return
        wanted = False

        def pass_on(item: Item) -> None:
            nonlocal wanted
            # The status comes every few seconds.
            if isinstance(item, SourceStatus) and (unread := self._unread(root)):
                wanted |= self._may_use_socket
                item = self._with_trouble(item, unread)
            put(item)

        with contextlib.ExitStack() as closing:
            files = closing.enter_context(contextlib.closing(self._source.reads(resume, pass_on)))
            beside: Reads | None = None
            for pause in files:
                if wanted and beside is None:
                    beside = on_thread(self._beside, resume, put, "docker socket")
                    closing.enter_context(contextlib.closing(beside))
                yield min(pause, next(beside), key=lambda each: each.seconds) if beside else pause

    def past(self, since: datetime) -> Iterator[tuple[float, list[LogEntry]]]:
        """Read all logs from `since` on, once; yield as `JournalSource.past` does. Raises DockerError."""
        root = self._choose()
        if isinstance(self._source, DockerFiles) and self._may_use_socket and self._unread(root):
            yield from self._over_socket(self._elsewhere).past(since)
        yield from self._source.past(since)

    @property
    def read(self) -> tuple[int, int, str]:
        """Lines read, lines passed on, and the latest trouble."""
        return self._source.read

    def _choose(self, *, earlier: str = "") -> str:
        """Choose how to read, and return Docker's folder. While the daemon does not answer, that is the one of the `earlier` watch.

        A source that is read another way than before would pass on its last lines again.
        """
        root = docker_root.data_root(self._url, earlier=earlier)
        self._source = self._over_socket(())
        if may_access(f"{root}/containers", os.R_OK | os.X_OK):
            own = own_ids(Path("/proc/self/mountinfo"), Path("/proc/self/cgroup"))
            names, labels = self._names, self._labels
            self._source = DockerFiles(self._needles, root, names=names, labels=labels, own=own, required=self.required)
        return root

    def _over_socket(self, in_files: Sequence[str] | frozenset[str]) -> DockerSource:
        return DockerSource(
            self._needles,
            names=self._names,
            labels=self._labels,
            base_url=self._url,
            required=self.required,
            in_files=in_files,
        )

    @property
    def _may_use_socket(self) -> bool:
        path = self._url.removeprefix("unix://")
        return path.startswith("/") and may_access(path, os.W_OK)

    def _unread(self, root: str) -> list[str]:
        """Return the log drivers of containers whose logs are neither in files nor in the journal."""
        return sorted({docker_root.driver(root, number) for number in docker_root.ids(root)} - self._elsewhere)

    def _with_trouble(self, status: SourceStatus, unread: Sequence[str]) -> SourceStatus:
        detail = self._trouble
        if not self._may_use_socket:
            detail = (
                f"containers with the log driver {', '.join(unread)} are not read: only Docker's socket has their logs"
            )
        return replace(status, detail="; ".join(filter(None, (status.detail, detail))))

    def _beside(self, resume: Callable[[str], str | None], put: Callable[[Item], None], stop: threading.Event) -> None:
        """Follow the containers whose logs are in no file, until `stop` is set."""

        def resume_here(stream: str) -> str | None:
            return time_of(resume(BESIDE) or resume(stream)) if stream == self.name else resume(stream)

        def put_here(item: Item) -> None:
            if isinstance(item, SourceStatus):
                self._trouble = item.detail
            elif isinstance(item, Progress) and item.stream == self.name:
                put(replace(item, stream=BESIDE))
            elif not (isinstance(item, Progress) and item.position is None):  # the files tell which containers are gone
                put(item)

        while not stop.is_set():
            with contextlib.suppress(DockerError, OSError):
                self._over_socket(self._elsewhere).follow(resume_here, put_here, stop)
            stop.wait(AGAIN)


def time_of(stored: str | None) -> str | None:
    """Return the position of the whole source as the socket's is: the time until which containers were watched."""
    try:
        kept = json.loads(stored or "null")
    except ValueError:
        return None
    return json.dumps(kept["time"]) if isinstance(kept, dict) and "globs" in kept else stored


def root_of(stored: str | None) -> str:
    """Return Docker's folder by the stored position of the whole source; "" if it was not read as files."""
    watch = from_checkpoint(stored, lambda kept: str(kept["globs"][0]))
    return "" if watch is None else re.sub(r"\[([*?[])\]", r"\1", watch.removesuffix(LOGS))
