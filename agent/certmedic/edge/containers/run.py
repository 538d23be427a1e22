"""What lives from one connection to the daemon to the next: the containers whose logs are open."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from certmedic.core.model import Item, Origin
from certmedic.edge.containers.stream import Position, Stream

STREAM = "docker"  # its position: until when (seconds since 1970) new containers were watched for


def stream_of(id_: str) -> str:
    """Return the name under which the position of a container's log is stored."""
    return f"{STREAM}:{id_}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A container whose log is open."""

    id: str
    origin: Origin
    log: Stream
    resumed: Position | None  # where its log was taken up
    connection: socket.socket

    @property
    def stream(self) -> str:
        """The name under which its position is stored."""
        return stream_of(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What lives from one connection to the daemon to the next."""

    resume: Callable[[str], str | None]
    put: Callable[[Item], None]
    watched_until: float  # seconds since 1970: containers never seen are read from here on
    selector: selectors.BaseSelector
    followed: dict[str, Followed] = field(default_factory=dict)  # by id
    moved: set[str] = field(default_factory=set)  # ids of those that have come further than what was put
    heard: dict[str, float] = field(default_factory=dict)  # id -> when something came, or was asked for
    again: dict[str, float] = field(default_factory=dict)  # id -> when to ask for its log once more
    destroyed: set[str] = field(default_factory=set)  # ids of those that are gone, but for the rest of their log

    def close(self) -> None:
        """Close every log that is open."""
        for followed in self.followed.values():
            followed.connection.close()
