"""Containers of a Docker daemon: every one's log, from where it was left, for as long as it lives.

One thread waits on all of it: the daemon's events, and one stream for each container's log. Both are asked for with plain
HTTP over the daemon's unix socket instead of the Docker SDK, which hands out a stream frame by frame, needs a thread for
each, and costs 17 MB and a third of a second before the first line. HTTP/1.0 makes the daemon send a stream as it is, not in
chunks, so that whole blocks are read and searched.

A position is the timestamp of the last line handled and how many lines bore it: a log is asked for from that timestamp on,
and as many lines are passed over. A container that was never seen is read from the time until which containers were watched.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import logging
import re
import select
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from certmedic.core import lines, origin
from certmedic.core.model import Item, LogEntry, Origin, Progress, SourceStatus
from certmedic.edge.containers.daemon import BLOCK, Daemon, DockerError, RefusedError
from certmedic.edge.containers.log import Log, Position
from certmedic.edge.static_pods import StaticPods

STREAM = "docker"  # its position: until when (seconds since 1970) new containers were watched for
REPORT_EVERY = 2.0  # seconds
QUIET_REPORT_EVERY = 10.0  # the same, while there is nothing new to report
AGAIN_AFTER = 2.0  # seconds until a log that ended although its container runs is asked for again
SILENCE = 60.0  # seconds without a word from a container after which the daemon is asked whether there was none
ON_ITS_WAY = 0.5  # seconds for a line to come that the daemon has
SLACK = 30.0  # seconds by which the watch is taken to have ended earlier than it did: the daemon may have been behind

__all__ = ["DockerError", "DockerSource", "own_ids"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Followed:
    """A container whose log is open."""

    id: str
    origin: Origin
    log: Log
    resumed: Position | None  # where its log was taken up
    connection: socket.socket

    @property
    def stream(self) -> str:
        """The name under which its position is stored."""
        return f"{STREAM}:{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What lives from one connection to the daemon to the next."""

    resume: Callable[[str], str | None]
    put: Callable[[Item], None]
    watched_until: float  # seconds since 1970: containers never seen are read from here on
    selector: selectors.BaseSelector
    followed: dict[str, _Followed] = field(default_factory=dict)  # by id
    moved: set[str] = field(default_factory=set)  # ids of those that have come further than what was put
    heard: dict[str, float] = field(default_factory=dict)  # id -> when something came, or was asked for
    again: dict[str, float] = field(default_factory=dict)  # id -> when to ask for its log once more
    destroyed: set[str] = field(default_factory=set)  # ids of those that are gone, but for the rest of their log

    def close(self) -> None:
        """Close every log that is open."""
        for followed in self.followed.values():
            followed.connection.close()


class DockerSource:
    """Follow the logs of containers whose name or pod matches one of `names` (globs) or that bear one of `labels`.

    A label is `key` or `key=value`; where neither names nor labels are given, all are followed. This agent's own container
    is passed over. Where there was no earlier watch, containers are read from `lookback` seconds ago on.
    """

    name = "docker"

    def __init__(  # noqa: PLR0913 - each is a choice of its own, with a name at every call
        self,
        needles: tuple[bytes, ...],
        *,
        names: Sequence[str] = (),
        labels: Sequence[str] = (),
        base_url: str = "unix:///var/run/docker.sock",
        static_pods: StaticPods | None = None,
        lookback: float = 600.0,
        required: bool = False,
    ) -> None:
        self.required = required
        self._needles = needles
        self._names, self._labels = tuple(names), tuple(labels)
        self._static_pods = static_pods or StaticPods()
        self._daemon = Daemon(base_url)
        self._lookback = lookback
        self._own = own_ids(Path("/proc/self/mountinfo"), Path("/proc/self/cgroup"))
        self._seen = self._matched = 0
        self._lag = 0.0
        self._detail = ""
        self._refused: set[str] = set()  # ids of containers whose log cannot be had, each said once

    def follow(self, resume: Callable[[str], str | None], put: Callable[[Item], None], stop: threading.Event) -> None:
        """Read until `stop` is set; DockerError where the daemon is not there, goes away or talks nonsense."""
        watched_until = time.time() - self._lookback
        with contextlib.suppress(ValueError, TypeError):
            watched_until = min(float(resume(STREAM) or ""), time.time() - SLACK)
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as closing:
            run = _Run(resume=resume, put=put, watched_until=watched_until, selector=selector)
            closing.callback(run.close)
            # The events first, so that no container starts between the list and them.
            only = json.dumps({"type": ["container"], "event": ["start", "destroy"]})
            events, told = self._daemon.open("/events", filters=only)
            closing.callback(events.close)
            selector.register(events, selectors.EVENT_READ)
            for container in self._daemon.get("/containers/json", all="1"):
                self._attach(run, container["Id"])
            reported = 0.0
            while not stop.is_set():
                told = self._started(run, told)
                for key, _ in selector.select(timeout=1.0):
                    if key.data is not None:
                        self._read(run, key.data)
                    elif data := _receive(events):
                        told += data
                    else:
                        raise DockerError("the Docker daemon closed the connection: it stopped or was restarted")
                now = time.monotonic()
                for id_ in [id_ for id_, due in run.again.items() if due <= now]:
                    del run.again[id_]
                    self._attach(run, id_)
                for followed in [one for id_, one in run.followed.items() if now - run.heard[id_] >= SILENCE]:
                    self._make_sure(run, followed)
                if now - reported >= (REPORT_EVERY if run.moved else QUIET_REPORT_EVERY) or not reported:
                    self._report(run)
                    reported = now

    def past(self, since: datetime) -> Iterator[tuple[float, list[LogEntry]]]:
        """Read what every container said from `since` on, once; yields as the journal's does. DockerError as of `follow`."""
        listed = self._daemon.get("/containers/json", all="1")
        for number, container in enumerate(listed):
            id_ = container["Id"]
            try:
                told = self._daemon.get(f"/containers/{id_}/json")
                writer = self._origin(told)
                if not self._wants(writer, told["Config"].get("Labels") or {}):
                    continue
                query = {"stdout": "1", "stderr": "1", "timestamps": "1", "since": f"{max(since.timestamp(), 0):.9f}"}
                connection, data = self._daemon.open(f"/containers/{id_}/logs", **query)
            except RefusedError as error:
                self._say(f"the log of {container['Names']} cannot be read: {error}")
                continue
            reader = Log(needles=self._needles, tty=bool(told["Config"].get("Tty")), resumed=None)
            with contextlib.closing(connection):
                while True:
                    found = [self._entry(f"{STREAM}:{id_}", writer, *one) for one in reader.feed(data)] if data else []
                    yield number / len(listed), found
                    data = _receive(connection)
                    if not data:
                        break
            yield number / len(listed), [self._entry(f"{STREAM}:{id_}", writer, *one) for one in reader.finish()]
            self._seen += reader.seen
        yield 1.0, []

    @property
    def read(self) -> tuple[int, int, str]:
        """How many lines were read, how many of them passed on, and what could not be read."""
        return self._seen, self._matched, self._detail

    def _started(self, run: _Run, told: bytes) -> bytes:
        """Attach to the containers that events tell of, forget those that are gone; returns the event that is not complete."""
        *whole, rest = told.split(b"\n")
        for event in filter(None, whole):
            try:
                said = json.loads(event)
                what, id_ = str(said["Action"]), str(said["Actor"]["ID"])
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

    def _attach(self, run: _Run, id_: str) -> None:
        """Open a container's log where it was left, if it is to be followed at all."""
        if id_ in run.followed:
            return
        try:
            told = self._daemon.get(f"/containers/{id_}/json")
        except RefusedError:
            return  # it is gone already
        writer = self._origin(told)
        labels = told["Config"].get("Labels") or {}
        if not self._wants(writer, labels):
            return
        stored = Position.parse(run.resume(f"{STREAM}:{id_}"))
        if stored and stored.time.timestamp() > time.time() + SLACK:
            # The clock was set back. Asked for lines from that time on, the daemon would keep all others from us until then.
            self._say(f"the log of {writer.container} was left in the future, at {stored.stamp}: lines may come again")
            stored = None
        query = {"stdout": "1", "stderr": "1", "follow": "1", "timestamps": "1"}
        query["since"] = stored.since if stored else f"{max(run.watched_until, 0):.9f}"
        try:
            connection, begun = self._daemon.open(f"/containers/{id_}/logs", **query)
        except RefusedError as error:
            if id_ not in self._refused:
                self._refused.add(id_)
                self._say(f"the log of {writer.container} cannot be read: {error}")
            return
        reader = Log(needles=self._needles, tty=bool(told["Config"].get("Tty")), resumed=stored)
        followed = _Followed(id=id_, origin=writer, log=reader, resumed=stored, connection=connection)
        run.followed[id_] = followed
        run.selector.register(connection, selectors.EVENT_READ, followed)
        self._take(run, followed, begun)

    def _make_sure(self, run: _Run, followed: _Followed) -> None:
        """Take up a log anew whose stream has dried up: while one is rotated, Docker 20.10 may stop sending it without a word."""
        run.heard[followed.id] = time.monotonic()
        query = {"stdout": "1", "stderr": "1", "timestamps": "1", "tail": "1"}
        try:
            connection, data = self._daemon.open(f"/containers/{followed.id}/logs", **query)
        except RefusedError:
            return  # it is gone
        with contextlib.closing(connection):
            while more := _receive(connection):
                data += more
        last = Log(needles=(), tty=followed.log.tty, resumed=None)
        list(last.feed(data))
        heard = followed.log.stamp or (followed.resumed.stamp if followed.resumed else "")
        newer = last.stamp > heard if heard else Position(last.stamp, 1).time.timestamp() > run.watched_until
        if last.stamp and newer and not select.select([followed.connection], [], [], ON_ITS_WAY)[0]:
            self._say(
                f"the Docker daemon had stopped sending the log of {followed.origin.container}; it is asked for anew"
            )
            self._let_go(run, followed)
            self._attach(run, followed.id)

    def _let_go(self, run: _Run, followed: _Followed) -> None:
        self._progress(run, followed)
        run.selector.unregister(followed.connection)
        followed.connection.close()
        del run.followed[followed.id], run.heard[followed.id]

    def _origin(self, told: dict[str, Any]) -> Origin:
        """Say which container this is, from the daemon's answer. Labels are for display: an image brings its own."""
        name = str(told["Name"]).lstrip("/")
        labels = told["Config"].get("Labels") or {}
        pod = origin.pod_of_container(name)
        configured = any(fnmatch.fnmatchcase(name, glob) for glob in self._names)
        return Origin(
            container=name,
            container_id=str(told["Id"]),
            image=str(told["Config"].get("Image", "")),
            pod=pod.pod or labels.get("io.kubernetes.pod.name", ""),
            namespace=pod.namespace,
            trust=origin.of_container(name, self._static_pods.names, configured=configured),
        )

    def _wants(self, writer: Origin, labels: dict[str, str]) -> bool:
        if self._own & {writer.container_id, labels.get("io.kubernetes.sandbox.id", "")}:
            return False
        if labels.get("io.kubernetes.docker.type") == "podsandbox":
            return False  # the pause container of a pod, which says nothing
        if not self._names and not self._labels:
            return True
        return any(
            fnmatch.fnmatchcase(name, glob) for glob in self._names for name in (writer.container, writer.pod) if name
        ) or any(
            key in labels and (not equals or labels[key] == value)
            for key, equals, value in (label.partition("=") for label in self._labels)
        )

    def _read(self, run: _Run, followed: _Followed) -> None:
        """Take what a container's connection holds; at its end, close it."""
        data = _receive(followed.connection)
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
        # The daemon may end a stream before the last words of a container that exits; so it is asked once more, until it
        # has nothing to add. A log that ended although its container runs is taken up again by the same road.
        if followed_on or self._runs(followed.id):
            run.again[followed.id] = time.monotonic() + AGAIN_AFTER

    def _forget(self, run: _Run, id_: str) -> None:
        """Keep nothing of a container that is gone: others come and go for as long as the agent runs."""
        run.destroyed.discard(id_)
        run.again.pop(id_, None)
        self._refused.discard(id_)
        run.put(Progress(stream=f"{STREAM}:{id_}", position=None))

    def _runs(self, id_: str) -> bool:
        try:
            return bool(self._daemon.get(f"/containers/{id_}/json")["State"].get("Running"))
        except RefusedError:
            return False

    def _take(self, run: _Run, followed: _Followed, data: bytes) -> None:
        reader = followed.log
        run.heard[followed.id] = time.monotonic()
        seen = reader.seen
        for position, line in reader.feed(data):
            self._pass_on(run, followed, position, line)
        self._seen += reader.seen - seen
        if reader.lost:
            reader.lost = False
            self._say(
                f"the log of {followed.origin.container} was rotated past where it was left: lines may be missing"
            )
        if reader.seen != seen:
            run.moved.add(followed.id)
            # A full block means that there is more: it is still catching up.
            last = reader.position if len(data) == BLOCK else None
            self._lag = time.time() - last.time.timestamp() if last else 0.0

    def _pass_on(self, run: _Run, followed: _Followed, position: Position, line: bytes) -> None:
        run.put(self._entry(followed.stream, followed.origin, position, line))

    def _entry(self, stream: str, writer: Origin, position: Position, line: bytes) -> LogEntry:
        self._matched += 1
        return LogEntry(stream=stream, position=str(position), time=position.time, text=lines.text(line), origin=writer)

    def _progress(self, run: _Run, followed: _Followed) -> None:
        position = followed.log.position
        if followed.id in run.moved and position:
            run.moved.discard(followed.id)
            if run.resume(followed.stream) != str(position):
                run.put(Progress(stream=followed.stream, position=str(position)))

    def _report(self, run: _Run) -> None:
        for followed in list(run.followed.values()):
            self._progress(run, followed)
        run.put(Progress(stream=STREAM, position=f"{time.time() - SLACK:.0f}"))
        run.put(
            SourceStatus(
                source=self.name,
                seen=self._seen,
                matched=self._matched,
                lag_seconds=max(self._lag, 0.0),
                position=f"{len(run.followed)} containers",
                detail=self._detail,
            )
        )

    def _say(self, trouble: str) -> None:
        self._detail = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: {trouble}"
        logger.warning("docker: %s", trouble)


def _receive(connection: socket.socket) -> bytes:
    """Read a block; nothing at the end, of whatever kind."""
    try:
        return connection.recv(BLOCK)
    except OSError:
        return b""


def own_ids(mountinfo: Path, cgroup: Path) -> frozenset[str]:
    """Return the ids of the container that this process runs in, and of its pod; empty on a plain machine.

    A machine's own mountinfo names its containers too, but mounts none of their files over /etc/hostname.
    """
    found = set()
    with contextlib.suppress(OSError):
        for line in mountinfo.read_text(errors="replace").splitlines():
            parts = line.split()
            if len(parts) > 4 and parts[4] == "/etc/hostname":
                found.update(re.findall(r"/containers/([0-9a-f]{64})/", parts[3]))
    with contextlib.suppress(OSError):
        found.update(re.findall(r"[/-]([0-9a-f]{64})(?:\.scope)?$", cgroup.read_text(errors="replace"), re.MULTILINE))
    return frozenset(found)
