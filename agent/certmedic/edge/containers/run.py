"""The state of one connection to the daemon: the containers whose logs are open."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from certmedic.core.model import Item, Origin
from certmedic.edge.containers.stream import Position, Stream

STREAM = "docker"  # its position: the time (seconds since 1970) until which new containers were watched for


def stream_of(id_: str) -> str:
    """Return the name under which the position of a container's log is stored."""
    return f"{STREAM}:{id_}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A container whose log is open."""

    id: str
    origin: Origin
    log: Stream
    resumed: Position | None  # the position from which its log was requested
    connection: socket.socket

    @property
    def stream(self) -> str:
        """The name under which its position is stored."""
        return stream_of(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The state of one connection to the daemon."""

    resume: Callable[[str], str | None]
    put: Callable[[Item], None]
    watched_until: float  # seconds since 1970; the log of a new container is read from then on
    selector: selectors.BaseSelector
    followed: dict[str, Followed] = field(default_factory=dict)  # by id
    moved: set[str] = field(default_factory=set)  # ids whose position changed since it was last put
    heard: dict[str, float] = field(
        default_factory=dict
    )  # id -> when data came, or the daemon was asked for some (monotonic)
    again: dict[str, float] = field(default_factory=dict)  # id -> when to request its log again (monotonic)
    destroyed: set[str] = field(default_factory=set)  # ids of removed containers whose log is not at its end

    def close(self) -> None:
        """Close every log that is open."""
        for followed in self.followed.values():
            followed.connection.close()
