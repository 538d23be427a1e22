"""The Protocols between the loop and the outside, and `World`, which holds an implementation of each.

The classes in `edge/` implement these Protocols without naming them; `app.py` chooses the implementations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from certmedic.core.model import Action, Facts, Lease, Message, Origin, Severity, VoterList
from certmedic.core.request import Reply


class Senses(Protocol):
    """Reads the state of this machine."""

    def gather(self, *, now: datetime, with_members: bool = False, nameless: bool = False) -> Facts:
        """Return the facts of this moment; `with_members` adds the other members of its etcd groups.

        `nameless` adds what listeners serve to clients that send no SNI. `Facts.blind` lists what cannot be seen. Raises UnseenError
        while no file can be read at all.
        """

    def meet(self, known: Mapping[str, VoterList]) -> Mapping[str, VoterList]:
        """Return the members of its etcd groups, for the time when no etcd answers; `known` is from an earlier run. Raises UnseenError."""

    def learn(self, origin: Origin) -> None:
        """Look up which certificate files the program that wrote a line was started with. Raises UnseenError."""

    def is_own_probe(self, address: str) -> bool:
        """Whether "host:port" was this agent's end of a handshake that it made to look at a certificate."""


class Hands(Protocol):
    """Asks the actor, which is another process and decides again by itself. Never raises."""

    def cure(self, ref: int, action: Action) -> Reply:
        """Have an action performed, and wait for it. The same `ref` again returns the result of the first time."""

    def undo(self, ref: int) -> Reply:
        """Have put back what an action replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One address, without its secret."""

    id: str
    label: str
    keeps_incidents: bool = False  # opens an incident by a message, and closes it by "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The result of a delivery. `error` holds no address."""

    ok: bool
    error: str = ""
    final: bool = False  # the service refuses this message, so that it is not retried
    wait: float = 0.0  # seconds until the next attempt, as the service demands


class Notifier(Protocol):
    """Sends messages to people."""

    def channels(self, severity: Severity, tag: str = "") -> Sequence[Channel]:
        """Return the channels that get messages of this severity, or of a tag that a route names."""

    def refresh(self) -> None:
        """Read the files of channels, if they were not read yet or had a fault."""

    def send_all(self, batch: Sequence[tuple[str, Message]]) -> Iterator[tuple[int, Delivered]]:
        """Send each message to its channel; yield its place in `batch` and the result, in order of arrival. Never raises."""


class Identity(Protocol):
    """The name of this machine's cluster."""

    name: str  # "" if it is not known

    def refresh(self) -> None:
        """Look for the name again if it is not known yet. Reads files."""


class Entries(Protocol):
    """Takes structured journal entries."""

    def emit(self, fields: Mapping[str, str]) -> None:
        """Write one entry. Never raises."""


class Lock(Protocol):
    """Lets one master of a group act at a time. The actor takes and releases the lease."""

    def take(self, group: str) -> Lease:
        """Try to get the lease of a group's etcd. Never raises, and returns within half a minute."""

    def release(self, group: str) -> None:
        """Release the lease if etcd answers; otherwise it expires. Never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything outside the loop: an implementation of each Protocol, and the names of this machine and its cluster."""

    senses: Senses
    hands: Hands
    notifier: Notifier
    journal: Entries
    host: str
    identity: Identity
    boot_id: str
    lock: Lock | None = None  # among the masters; None: handshakes alone decide
    unable: str = ""  # why nothing can act here, in a sentence; "" if an actor is installed
    wall: Callable[[str], str] | None = None  # writes to every terminal; returns why it did not, "" if it did
