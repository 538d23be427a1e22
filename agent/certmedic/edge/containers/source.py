"""The logs of a Docker daemon's containers as a source: each is followed from its position for as long as the container lives.

One thread waits for the daemon's events and for one stream of each container's log: the daemon may be slow to answer. HTTP/1.0 makes the daemon send a stream
without chunks, so that whole blocks are read and searched.

A position is the timestamp of the last line handled and the number of lines so far with that timestamp: the log is requested
from that timestamp on, and that many lines are skipped. The log of a new container is read from the end of the last watch on.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import logging
import select
import selectors
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from certmedic.core import lines, origin
from certmedic.core.model import Item, LogEntry, Origin, Progress
from certmedic.edge.containers.daemon import BLOCK, Daemon, DockerError, RefusedError, receive
from certmedic.edge.containers.own import own_ids
from certmedic.edge.containers.run import STREAM, Followed, Run, stream_of
from certmedic.edge.containers.stream import Position, Stream
from certmedic.edge.inbox import on_thread
from certmedic.edge.source import Reads, Status, from_checkpoint
from certmedic.edge.static_pods import StaticPods

REPORT_EVERY = 10.0  # seconds
AGAIN_AFTER = 2.0  # seconds until a log is requested again that ended while its container runs
SILENCE = 60.0  # seconds without a line, after which the daemon is asked for the last line of a log
ON_ITS_WAY = 0.5  # seconds to wait for a line that the daemon has
SLACK = 30.0  # seconds before the end of the last watch: the daemon may have been behind

logger = logging.getLogger(__name__)


class DockerSource:
    """Follow the logs of containers whose name or pod matches one of `names` (globs), or that have one of `labels`.

    A label is `key` or `key=value`; without names and labels, all containers are followed, except this agent's own. At the first
    watch, logs are read from `lookback` seconds ago on. Containers with a log driver of `in_files` are left to another source.
    """

    name = "docker"

    def __init__(  # noqa: PLR0913 - options, each named at every call
        self,
        needles: tuple[bytes, ...],
        *,
        names: Sequence[str] = (),
        labels: Sequence[str] = (),
        base_url: str = "unix:///var/run/docker.sock",
        static_pods: StaticPods | None = None,
        lookback: float = 600.0,
        required: bool = False,
        in_files: Collection[str] = (),
    ) -> None:
        self.required = required
        self._in_files = frozenset(in_files)
        self._needles = needles
        self._names, self._labels = tuple(names), tuple(labels)
        self._static_pods = static_pods or StaticPods()
        self._daemon = Daemon(base_url)
        self._lookback = lookback
        self._own = own_ids(Path("/proc/self/mountinfo"), Path("/proc/self/cgroup"))
        self._status = Status(self.name, logger)
        self._lag = 0.0
        self._refused: set[str] = set()  # ids of containers whose log cannot be read, each reported once

    def reads(self, resume: Callable[[str], str | None], put: Callable[[Item], None]) -> Reads:
        """Read on a thread: the daemon may be slow to answer. Raises DockerError if it is missing, stops or answers nonsense."""
        return on_thread(self.follow, resume, put, self.name)

    def follow(self, resume: Callable[[str], str | None], put: Callable[[Item], None], stop: threading.Event) -> None:
        """Read until `stop` is set. Raises DockerError if the daemon is missing, stops or answers nonsense."""
        watched_until = from_checkpoint(resume(STREAM), float)
        watched_until = (
            time.time() - self._lookback if watched_until is None else min(watched_until, time.time() - SLACK)
        )
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as closing:
            run = Run(resume=resume, put=put, watched_until=watched_until, selector=selector)
            closing.callback(run.close)
            # Events first, so that no container starts unseen between the two requests.
            only = json.dumps({"type": ["container"], "event": ["start", "destroy"]})
            events, pending = self._daemon.open("/events", filters=only)
            closing.callback(events.close)
            selector.register(events, selectors.EVENT_READ)
            for container in self._daemon.get("/containers/json", all="1"):
                self._attach(run, container["Id"])
            reported = 0.0
            while not stop.is_set():
                pending = self._started(run, pending)
                for key, _ in selector.select(timeout=1.0):
                    if key.data is not None:
                        self._read(run, key.data)
                    elif data := receive(events):
                        pending += data
                    else:
                        raise DockerError("the Docker daemon closed the connection: it stopped or was restarted")
                now = time.monotonic()
                for id_ in [id_ for id_, due in run.again.items() if due <= now]:
                    del run.again[id_]
                    self._attach(run, id_)
                for followed in [log for id_, log in run.followed.items() if now - run.heard[id_] >= SILENCE]:
                    self._make_sure(run, followed)
                if now - reported >= REPORT_EVERY or not reported:
                    self._report(run)
                    reported = now

    def past(self, since: datetime) -> Iterator[tuple[float, list[LogEntry]]]:
        """Read the logs of all containers from `since` on, once; yield as `JournalSource.past` does. Raises DockerError."""
        listed = self._daemon.get("/containers/json", all="1")
        for number, container in enumerate(listed):
            id_ = container["Id"]
            try:
                details = self._daemon.get(f"/containers/{id_}/json")
                writer = self._origin(details)
                labels = details["Config"].get("Labels") or {}
                if not self._wants(writer, labels) or _driver(details) in self._in_files:
                    continue
                query = {"stdout": "1", "stderr": "1", "timestamps": "1", "since": f"{max(since.timestamp(), 0):.9f}"}
                connection, data = self._daemon.open(f"/containers/{id_}/logs", **query)
            except RefusedError as error:
                self._status.say(f"the log of {container['Names']} cannot be read: {error}")
                continue
            reader = Stream(needles=self._needles, tty=bool(details["Config"].get("Tty")), resumed=None)
            with contextlib.closing(connection):
                while True:
                    entries = [self._entry(stream_of(id_), writer, *line) for line in reader.feed(data)] if data else []
                    yield number / len(listed), entries
                    data = receive(connection)
                    if not data:
                        break
            yield number / len(listed), [self._entry(stream_of(id_), writer, *line) for line in reader.finish()]
            self._status.seen += reader.seen
        yield 1.0, []

    @property
    def read(self) -> tuple[int, int, str]:
        """How many lines were read, how many of them passed on, and what could not be read."""
        return self._status.read

    def _started(self, run: Run, pending: bytes) -> bytes:
        """Attach to the containers that events tell of, forget those that are gone; returns the event that is not complete."""
        *whole, rest = pending.split(b"\n")
        for event in filter(None, whole):
            try:
                parsed = json.loads(event)
                what, id_ = str(parsed["Action"]), str(parsed["Actor"]["ID"])
            except (ValueError, TypeError, KeyError) as error:
                raise DockerError(f"the Docker daemon sent an event that makes no sense: {event[:200]!r}") from error
            if what == "destroy":
                run.destroyed.add(id_)
                if id_ not in run.followed:
                    self._forget(run, id_)
            elif id_ in run.followed:
                # It was restarted before the end of its log came in; that may or may not go on with the new run.
                run.again[id_] = time.monotonic() + AGAIN_AFTER
            else:
                self._attach(run, id_)
        return rest

    def _attach(self, run: Run, id_: str) -> None:
        """Open the log of a container at its position, if the container is to be followed."""
        if id_ in run.followed:
            return
        try:
            details = self._daemon.get(f"/containers/{id_}/json")
        except RefusedError:
            return  # it was removed meanwhile
        writer = self._origin(details)
        labels = details["Config"].get("Labels") or {}
        if not self._wants(writer, labels) or _driver(details) in self._in_files:
            return
        stored = Position.parse(run.resume(stream_of(id_)))
        if stored and stored.time.timestamp() > time.time() + SLACK:
            # The clock was set back. The daemon would send no line until that time has come.
            self._status.say(
                f"the log of {writer.container} was left in the future, at {stored.stamp}: lines may come again"
            )
            stored = None
        query = {"stdout": "1", "stderr": "1", "follow": "1", "timestamps": "1"}
        query["since"] = stored.since if stored else f"{max(run.watched_until, 0):.9f}"
        try:
            connection, begun = self._daemon.open(f"/containers/{id_}/logs", **query)
        except RefusedError as error:
            if id_ not in self._refused:
                self._refused.add(id_)
                self._status.say(f"the log of {writer.container} cannot be read: {error}")
            return
        reader = Stream(needles=self._needles, tty=bool(details["Config"].get("Tty")), resumed=stored)
        followed = Followed(id=id_, origin=writer, log=reader, resumed=stored, connection=connection)
        run.followed[id_] = followed
        run.selector.register(connection, selectors.EVENT_READ, followed)
        self._take(run, followed, begun)

    def _make_sure(self, run: Run, followed: Followed) -> None:
        """Request a log again if its stream stopped: Docker 20.10 may silently stop sending a log after its rotation."""
        run.heard[followed.id] = time.monotonic()
        query = {"stdout": "1", "stderr": "1", "timestamps": "1", "tail": "1"}
        try:
            connection, data = self._daemon.open(f"/containers/{followed.id}/logs", **query)
        except RefusedError:
            return  # it was removed
        with contextlib.closing(connection):
            while more := receive(connection):
                data += more
        last = Stream(needles=(), tty=followed.log.tty, resumed=None)
        list(last.feed(data))
        heard = followed.log.stamp or (followed.resumed.stamp if followed.resumed else "")
        newer = last.stamp > heard if heard else Position(last.stamp, 1).time.timestamp() > run.watched_until
        if last.stamp and newer and not select.select([followed.connection], [], [], ON_ITS_WAY)[0]:
            self._status.say(
                f"the Docker daemon had stopped sending the log of {followed.origin.container}; it is requested again"
            )
            self._let_go(run, followed)
            self._attach(run, followed.id)

    def _let_go(self, run: Run, followed: Followed) -> None:
        self._progress(run, followed)
        run.selector.unregister(followed.connection)
        followed.connection.close()
        del run.followed[followed.id], run.heard[followed.id]

    def _origin(self, details: dict[str, Any]) -> Origin:
        """Return the origin of a container from the daemon's answer. Labels are for display: an image can set them."""
        name = str(details["Name"]).lstrip("/")
        labels = details["Config"].get("Labels") or {}
        pod = origin.pod_of_container(name)
        configured = any(fnmatch.fnmatchcase(name, glob) for glob in self._names)
        return Origin(
            container=name,
            container_id=str(details["Id"]),
            image=str(details["Config"].get("Image", "")),
            pod=pod.pod or labels.get("io.kubernetes.pod.name", ""),
            namespace=pod.namespace,
            trust=origin.of_container(name, self._static_pods.names, configured=configured),
        )

    def _wants(self, writer: Origin, labels: dict[str, str]) -> bool:
        if self._own & {writer.container_id, labels.get("io.kubernetes.sandbox.id", "")}:
            return False
        if labels.get("io.kubernetes.docker.type") == "podsandbox":
            return False  # the pause container of a pod, which logs nothing
        if not self._names and not self._labels:
            return True
        return any(
            fnmatch.fnmatchcase(name, glob) for glob in self._names for name in (writer.container, writer.pod) if name
        ) or any(
            key in labels and (not equals or labels[key] == value)
            for key, equals, value in (label.partition("=") for label in self._labels)
        )

    def _read(self, run: Run, followed: Followed) -> None:
        """Read a block from the connection of a container; at its end, close it."""
        data = receive(followed.connection)
        if data:
            self._take(run, followed, data)
            return
        for position, line in followed.log.finish():
            self._pass_on(run, followed, position, line)
        followed_on = followed.log.position != followed.resumed
        self._let_go(run, followed)
        if followed.id in run.destroyed:
            self._forget(run, followed.id)
            return
        # The daemon may end the stream of a container that exits before its last lines, or of one that runs: request the log
        # again until nothing is added.
        if followed_on or self._runs(followed.id):
            run.again[followed.id] = time.monotonic() + AGAIN_AFTER

    def _forget(self, run: Run, id_: str) -> None:
        """Forget a removed container: containers come and go as long as the agent runs."""
        run.destroyed.discard(id_)
        run.again.pop(id_, None)
        self._refused.discard(id_)
        run.put(Progress(stream=stream_of(id_), position=None))

    def _runs(self, id_: str) -> bool:
        try:
            return bool(self._daemon.get(f"/containers/{id_}/json")["State"].get("Running"))
        except RefusedError:
            return False

    def _take(self, run: Run, followed: Followed, data: bytes) -> None:
        reader = followed.log
        run.heard[followed.id] = time.monotonic()
        seen = reader.seen
        for position, line in reader.feed(data):
            self._pass_on(run, followed, position, line)
        self._status.seen += reader.seen - seen
        if reader.lost:
            reader.lost = False
            self._status.say(
                f"the log of {followed.origin.container} was rotated past where it was left: lines may be missing"
            )
        if reader.seen != seen:
            run.moved.add(followed.id)
            # A full block means that more follows: still catching up.
            last = reader.position if len(data) == BLOCK else None
            self._lag = time.time() - last.time.timestamp() if last else 0.0

    def _pass_on(self, run: Run, followed: Followed, position: Position, line: bytes) -> None:
        run.put(self._entry(followed.stream, followed.origin, position, line))

    def _entry(self, stream: str, writer: Origin, position: Position, line: bytes) -> LogEntry:
        self._status.matched += 1
        return LogEntry(stream=stream, position=str(position), time=position.time, text=lines.text(line), origin=writer)

    def _progress(self, run: Run, followed: Followed) -> None:
        position = followed.log.position
        if followed.id in run.moved and position:
            run.moved.discard(followed.id)
            if run.resume(followed.stream) != str(position):
                run.put(Progress(stream=followed.stream, position=str(position)))

    def _report(self, run: Run) -> None:
        for followed in list(run.followed.values()):
            self._progress(run, followed)
        run.put(Progress(stream=STREAM, position=f"{time.time() - SLACK:.0f}"))
        run.put(self._status.report(lag=self._lag, position=f"{len(run.followed)} containers"))


def _driver(details: Mapping[str, Any]) -> str:
    return str(((details.get("HostConfig") or {}).get("LogConfig") or {}).get("Type", ""))
