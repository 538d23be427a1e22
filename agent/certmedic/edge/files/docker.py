"""The logs of Docker's containers, as files in Docker's own folders: ten times faster than over its socket, and without its power."""

from __future__ import annotations

import fnmatch
import glob
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from certmedic.core import lines, origin
from certmedic.core.model import Item, Origin
from certmedic.edge import bytesearch
from certmedic.edge.files.formats import Found
from certmedic.edge.files.globs import Watch
from certmedic.edge.files.source import Files
from certmedic.edge.files.tail import Tail
from certmedic.edge.os import docker_root
from certmedic.edge.source import Reads, from_checkpoint
from certmedic.edge.static_pods import StaticPods

LOGS = "/containers/*/*-json.log"  # below Docker's folder
REMEMBERED = 2000  # containers
LOOKBACK = 600.0  # seconds: the agent waits for Docker, whose first containers may fail before the first watch
PART = (
    16 * 1024
)  # bytes of a line that Docker writes to one record; a longer line continues in the next record of its stream


@dataclass(slots=True)
class JsonLines:
    """Docker's records, JSON objects with log, stream and time, one a line; a long line is in several records.

    A log without line end is a part if it fills a record, and otherwise the last words of a program: nothing continues it.

    `after` is the last line that was read over the socket: its timestamp, and how many lines so far had that timestamp.
    """

    needles: tuple[bytes, ...]
    after: tuple[str, int] | None = None
    _parts: dict[str, bytes] = field(default_factory=dict)  # by stream
    _equal: int = 0  # lines with the timestamp of `after`

    @property
    def pending(self) -> bool:
        """Whether the last part of a line is missing."""
        return bool(self._parts)

    def find(self, block: bytes, size: int | None = None) -> Iterator[Found]:
        """Take the next block, or `size` bytes of it."""
        size = len(block) if size is None else size
        if not self._parts and not self.after and not _has_long(block, size):
            for start, end in bytesearch.spans(block, self.needles, size):
                text, _, stamp = _record(block[start:end])
                if lines.hit(text, self.needles):
                    yield Found(end + 1, text, _time(stamp))
            return
        at = 0
        for raw in block[:size].split(b"\n")[:-1]:
            at += len(raw) + 1
            text, stream, stamp = _record(raw, ended=False)
            is_old = self._was_read(stamp)
            whole = self._parts.pop(stream, b"") + text
            if not text.endswith(b"\n") and len(text) >= PART:
                self._parts[stream] = whole[: lines.LIMIT]
            elif not is_old and bytesearch.hit(whole, self.needles):
                yield Found(at, whole.removesuffix(b"\n"), _time(stamp))

    def _was_read(self, stamp: str) -> bool:
        if self.after is None:
            return False
        last, count = _padded(self.after[0]), self.after[1]
        stamp = _padded(stamp)
        self._equal += stamp == last
        if stamp < last or (stamp == last and self._equal <= count):
            return True
        self.after = None
        return False


def _padded(stamp: str) -> str:
    """Return a timestamp with nine digits of a second, as the socket writes it; the file leaves zeros at the end out."""
    seconds, _, fraction = stamp.removesuffix("Z").partition(".")
    return f"{seconds}.{fraction:0<9}"


def _has_long(block: bytes, size: int) -> bool:
    """Whether a line in `block[:size]` may hold a part. Looks at one line in `PART` bytes: counting all would cost as much as the search."""
    start = 0
    while size - start > PART:
        end = block.rfind(b"\n", start, start + PART)
        if end < 0:
            return True
        start = end + 1
    return False


def _record(raw: bytes, *, ended: bool = True) -> tuple[bytes, str, str]:
    """Return text, stream and timestamp of a record; of a damaged one its bytes as text."""
    try:
        record = json.loads(raw.lstrip(b"\0"))
        text, stream, stamp = str(record["log"]), str(record.get("stream", "")), str(record.get("time", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return raw if ended else raw + b"\n", "", ""
    data = text.encode(errors="replace")
    return data.removesuffix(b"\n") if ended else data, stream, stamp


def _time(stamp: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return time.astimezone(UTC) if time.tzinfo else None


class DockerFiles(Files):
    """Follow the logs below Docker's folder `root`, of containers whose name or pod matches one of `names` (globs), or that have one
    of `labels`, as `KEY` or `KEY=VALUE`; without both, of all containers but those in `own`.
    """  # noqa: D205 - one sentence

    name = "docker"

    def __init__(  # noqa: PLR0913 - options, each named at every call
        self,
        needles: tuple[bytes, ...],
        root: str,
        *,
        names: Sequence[str] = (),
        labels: Sequence[str] = (),
        own: Collection[str] = (),
        static_pods: StaticPods | None = None,
        required: bool = False,
    ) -> None:
        # Docker keeps its folder under the path without links.
        self._root = os.path.realpath(root)
        self._names, self._labels, self._own = tuple(names), tuple(labels), frozenset(own)
        self._static_pods = static_pods or StaticPods()
        self._writers: dict[str, Origin | None] = {}  # path -> who writes the log; None: it is not read
        self._made: dict[str, float] = {}  # path -> when its container was made, in seconds since 1970
        self._resume: Callable[[str], str | None] = lambda _: None
        super().__init__(needles, [glob.escape(self._root) + LOGS], required=required)

    def reads(self, resume: Callable[[str], str | None], put: Callable[[Item], None]) -> Reads:
        """Read step by step."""
        self._resume = resume
        yield from super().reads(self._converted, put)

    def _converted(self, stream: str) -> str | None:
        """Return a position; the time until which containers were watched over the socket is one, too."""
        stored = self._resume(stream)
        if stream != self.name or (watched := from_checkpoint(stored, float)) is None:
            return stored
        return str(Watch(time=watched, globs=self._globs))

    def _since(self, path: str, modified: float, *, first: bool) -> float | None:
        """See `Files`. A container that was made shortly before the first watch is new, too."""
        since = super()._since(path, modified, first=first)
        if since is None and self._earlier is None and self._made.get(path, 0.0) > self._began - LOOKBACK:
            return self._began - LOOKBACK
        return since

    def _log(self, path: str) -> Tail | None:
        writer = self._writer(path)
        if writer is None:
            return None
        stream = f"{self.name}:{writer.container_id}"
        after = from_checkpoint(self._resume(stream), lambda kept: (str(kept["stamp"]), int(kept["count"])))

        def judge(_: object) -> origin.Trust:
            return origin.of_container(
                writer.container, self._static_pods.names, configured=self._is_named(writer.container)
            )

        return Tail(path, stream, writer, JsonLines(self._needles, after), self._status.say, judge)

    def _writer(self, path: str) -> Origin | None:
        """Return who writes a log, as Docker's own file says; it is remembered, since that file goes with the container."""
        if path in self._writers:
            return self._writers[path]
        number = path.rpartition("/")[0].rpartition("/")[2]
        try:
            details = docker_root.config(self._root, number)
            writer = self._origin(details, number)
            made = _time(str(details.get("Created", "")))
            wanted = self._wants(writer, details["Config"].get("Labels") or {})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OSError(0, f"Docker's file of that container makes no sense: {error}", path) from error
        if len(self._writers) >= REMEMBERED:
            self._writers = {known: by for known, by in self._writers.items() if os.path.lexists(known)}
            self._made = {known: at for known, at in self._made.items() if known in self._writers}
        self._made[path] = made.timestamp() if made else 0.0
        self._writers[path] = writer if wanted else None
        return self._writers[path]

    def _origin(self, details: Mapping[str, Any], number: str) -> Origin:
        """Return the origin of a container. Labels are for display: an image can set them."""
        name = str(details["Name"]).lstrip("/")
        labels = details["Config"].get("Labels") or {}
        pod = origin.pod_of_container(name)
        return Origin(
            container=name,
            container_id=number,
            image=str(details["Config"].get("Image", "")),
            pod=pod.pod or str(labels.get("io.kubernetes.pod.name", "")),
            namespace=pod.namespace,
        )

    def _is_named(self, container: str) -> bool:
        return any(fnmatch.fnmatchcase(container, pattern) for pattern in self._names)

    def _wants(self, writer: Origin, labels: Mapping[str, str]) -> bool:
        if self._own & {writer.container_id, labels.get("io.kubernetes.sandbox.id", "")}:
            return False
        if labels.get("io.kubernetes.docker.type") == "podsandbox":
            return False  # the pause container of a pod, which logs nothing
        if not self._names and not self._labels:
            return True
        return (
            self._is_named(writer.container)
            or bool(writer.pod and self._is_named(writer.pod))
            or any(
                key in labels and (not equals or labels[key] == value)
                for key, equals, value in (label.partition("=") for label in self._labels)
            )
        )
