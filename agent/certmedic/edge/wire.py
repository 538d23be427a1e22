"""The protocol between the agent and its reader: frames of JSON over a unix socket, each with its length in front.

A connection begins with a `Hello` of the agent. On the connection "entries" the reader answers with a `Welcome` and then sends items,
in order, for ever; a full socket stops the reader, so that nothing is dropped or buffered without end. On the connection
"questions" each question has one answer. Two connections, so that no answer waits behind lines.

Both ends check each frame: more than MOST bytes, or values of another type, end the connection.
"""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from certmedic.core import codec
from certmedic.core.model import Item, LogEntry, Origin, Progress, Recheck, SourceDown, SourceStatus, SourceUp, Trust

VERSION: Final = 1
MOST: Final = 16 * 1024 * 1024  # bytes of a frame
BEAT: Final = 10.0  # seconds after which the reader sends an empty list of items
_HEAD: Final = struct.Struct(">I")
_BLOCK: Final = 256 * 1024


class WireError(Exception):
    """The other end is gone, is silent or sends nonsense; the text ends a sentence that begins with its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """The logs and files that the reader reads."""

    journal: bool = False
    units: tuple[str, ...] = ()  # read and believed; without units and identifiers all of the journal is read
    identifiers: tuple[str, ...] = ()
    docker: bool | None = False  # None: as soon as it is there
    docker_url: str = ""
    docker_names: tuple[str, ...] = ()
    docker_labels: tuple[str, ...] = ()
    pods: str = ""  # the folder of their logs; "" to read none
    files: tuple[str, ...] = ()  # globs of log files
    certificates: tuple[str, ...] = ()  # globs of certificate files
    containerd: str = ""  # its socket

    @property
    def required(self) -> frozenset[str]:
        """The sources without which the watchdog goes unfed."""
        return frozenset({"journal"} if self.journal else ())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the sources, whether they exist now or not."""
        wanted = {
            "journal": self.journal,
            "docker": self.docker is not False,
            "pods": self.pods,
            "files": self.files,
            "certificates": True,
        }
        return tuple(name for name, is_wanted in wanted.items() if is_wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first frame of a connection, sent by the agent."""

    version: int = VERSION
    watching: Watching = field(default_factory=Watching)
    positions: Mapping[str, str] = field(default_factory=dict)  # stream -> where it is read on
    pid: int = 0  # of the agent if it has no unit, so that its own lines in the journal are skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The reader's answer to a `Hello`."""

    version: int = VERSION
    pid: int
    there: tuple[str, ...]  # the sources that exist now


class Connection:
    """One end of a connection. Raises WireError whenever the other end is gone or sends nonsense."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._pending = bytearray()

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def hang_up(self) -> None:
        """End both directions, which also ends a `receive` of another thread."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def send(self, value: Any, *, timeout: float | None = None) -> None:
        """Send a frame; without a `timeout` (seconds) wait as long as the other end does not read."""
        data = json.dumps(value, separators=(",", ":")).encode("ascii")
        if len(data) > MOST:
            raise WireError(f"is to get a frame of {len(data)} bytes, more than {MOST}")
        try:
            self._sock.settimeout(timeout)
            self._sock.sendall(_HEAD.pack(len(data)) + data)
        except OSError as error:
            raise WireError(f"takes nothing: {error.strerror or error}") from error

    def receive(self, timeout: float) -> Any | None:
        """Return the next frame; None if it is not complete within `timeout` seconds."""
        until = time.monotonic() + timeout
        while True:
            if len(self._pending) >= _HEAD.size:
                (size,) = _HEAD.unpack_from(self._pending)
                if size > MOST:
                    raise WireError(f"sent a frame of {size} bytes, more than {MOST}")
                if len(self._pending) >= _HEAD.size + size:
                    data = bytes(self._pending[_HEAD.size : _HEAD.size + size])
                    del self._pending[: _HEAD.size + size]
                    return _parsed(data)
            left = until - time.monotonic()
            if left <= 0:
                return None
            try:
                self._sock.settimeout(left)
                data = self._sock.recv(_BLOCK)
            except TimeoutError:
                return None
            except OSError as error:
                raise WireError(f"cannot be heard: {error.strerror or error}") from error
            if not data:
                raise WireError("has ended")
            self._pending += data


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WireError("sent a frame that is no JSON") from error


_Greeting = TypeVar("_Greeting", Hello, Welcome)


def dump(value: Hello | Welcome) -> Any:
    """Return a value for `Connection.send`."""
    return json.loads(codec.dump(value))


def hello_of(frame: Any) -> Hello:
    """Return the `Hello` in a frame. Raises WireError."""
    return _greeting(Hello, frame)


def welcome_of(frame: Any) -> Welcome:
    """Return the `Welcome` in a frame. Raises WireError."""
    return _greeting(Welcome, frame)


def _greeting(kind: type[_Greeting], frame: Any) -> _Greeting:
    try:
        version = frame["version"]
        if version != VERSION:
            raise WireError(f"speaks version {version!r} of the protocol and not {VERSION}: restart both units")
        return codec.load(kind, json.dumps(frame))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WireError("sent nonsense instead of a greeting") from error


# ---------------------------------------------------------------- items

_ORIGIN: Final[Sequence[tuple[str, type]]] = (
    ("program", str), ("unit", str), ("pid", int), ("container", str), ("container_id", str), ("image", str), ("pod", str),
    ("path", str), ("namespace", str), ("uid", int),
)  # fmt: skip


def items_to(items: Iterable[Item]) -> list[Any]:
    """Return items for `Connection.send`."""
    return [_item_to(item) for item in items]


def items_of(frame: Any) -> list[Item]:
    """Return the items in a frame. Raises WireError."""
    try:
        return [_item_of(*_checked(raw, list)) for raw in _checked(frame, list)]
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise WireError("sent items that make no sense") from error


def _item_to(item: Item) -> list[Any]:
    match item:
        case LogEntry():
            origin = [*(getattr(item.origin, name) for name, _ in _ORIGIN), str(item.origin.trust)]
            return ["entry", item.stream, item.position, item.time.isoformat(), item.text, origin]
        case Progress():
            return ["progress", item.stream, item.position]
        case SourceDown():
            return ["down", item.source, item.reason]
        case SourceUp():
            return ["up", item.source]
        case SourceStatus():
            counts = [item.seen, item.matched, item.lag_seconds]
            return ["status", item.source, *counts, item.position, item.detail]
        case Recheck():
            return ["files"]


def _item_of(kind: str, *values: Any) -> Item:
    match kind, values:
        case "entry", (stream, position, time_logged, text, origin):
            return LogEntry(
                stream=_checked(stream, str),
                position=_checked(position, str),
                time=datetime.fromisoformat(time_logged).astimezone(UTC),
                text=_checked(text, str),
                origin=_origin_of(*origin),
            )
        case "progress", (stream, position):
            return Progress(
                stream=_checked(stream, str), position=None if position is None else _checked(position, str)
            )
        case "down", (source, reason):
            return SourceDown(source=_checked(source, str), reason=_checked(reason, str))
        case "up", (source,):
            return SourceUp(source=_checked(source, str))
        case "status", (source, seen, matched, lag, position, detail):
            return SourceStatus(
                source=_checked(source, str),
                seen=_checked(seen, int),
                matched=_checked(matched, int),
                lag_seconds=float(lag),
                position=_checked(position, str),
                detail=_checked(detail, str),
            )
        case "files", ():
            return Recheck(kind="inventory", incident=None, due=datetime.now(UTC))
    raise ValueError(kind)


@functools.lru_cache(maxsize=256, typed=True)
def _origin_of(*values: Any) -> Origin:
    *facts, trust = values
    named: dict[str, Any] = {
        name: None if kind is int and value is None else _checked(value, kind)
        for (name, kind), value in zip(_ORIGIN, facts, strict=True)
    }
    return Origin(**named, trust=Trust(trust))


def _checked(value: Any, kind: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} instead of {kind.__name__}")
    return value
