"""The Protocols between the loop and the outside, and `World`, which holds an implementation of each.

The classes in `edge/` implement these Protocols without naming them; `app.py` chooses the implementations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from certmedic.core.lease import Access
from certmedic.core.model import Container, Facts, Lease, Message, Origin, Severity, Stored, Told


class Senses(Protocol):
    """Reads the state of this machine."""

    def gather(self, *, now: datetime, with_members: bool = False, nameless: bool = False) -> Facts:
        """Return the facts of this moment; `with_members` adds the other members of its etcd groups.

        `nameless` adds what listeners serve to clients that send no SNI. `Facts.blind` lists what cannot be seen. Raises UnseenError
        while no file can be read at all.
        """

    def meet(self, known: Mapping[str, Told]) -> Mapping[str, Told]:
        """Return the members of its etcd groups, for the time when no etcd answers; `known` is from an earlier run. Raises UnseenError."""

    def learn(self, origin: Origin) -> None:
        """Look up which certificate files the program that wrote a line was started with. Raises UnseenError."""

    def is_own_probe(self, address: str) -> bool:
        """Whether "host:port" was this agent's end of a handshake that it made to look at a certificate."""


class Hands(Protocol):
    """Restarts programs on this machine."""

    def restart(self, container: Container) -> str:
        """Restart a container and return a sentence that says how. Raises RestartError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """One renewed file, with all that another process needs to undo it."""

    path: str  # the file that was replaced
    backup: str  # the old file, with its owner and mode
    not_after: datetime  # of the new certificate
    ca_path: str  # certificate of the authority that signed it
    fingerprint: str  # of the new certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """One file that is moved aside, with all that another process needs to do or undo it."""

    path: str
    backup: str  # its copy, with owner and mode
    fingerprint: str  # of the certificate in it


class CertificateFiles(Protocol):
    """Renews certificate files and moves them aside. Each method raises RenewError."""

    def renew(self, stored: Stored, *, now: datetime, about_to: Callable[[Renewed], None]) -> Renewed:
        """Renew one leaf in place; call `about_to` before the first change. After an error the file is unchanged."""

    def undo(self, renewed: Renewed) -> None:
        """Put the old file back."""

    def plan_aside(self, stored: Stored) -> Aside:
        """Return how one file would be moved aside. Changes nothing."""

    def move_aside(self, aside: Aside, /) -> None:
        """Move one file aside, unless it is there already. After an error the file is at its place."""

    def put_back(self, aside: Aside, /) -> bool:
        """Put one file back, unless its place is taken; return whether it was put back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One address, without its secret."""

    id: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The result of a delivery. `error` holds no address. Every failed delivery may be retried."""

    ok: bool
    error: str = ""


class Notifier(Protocol):
    """Sends messages to people."""

    def channels(self, severity: Severity, tag: str = "") -> Sequence[Channel]:
        """Return the channels that get messages of this severity, or of a tag that a route names."""

    def refresh(self) -> None:
        """Read the files of channels, if they were not read yet or had a fault."""

    def send_all(self, batch: Sequence[tuple[str, Message]]) -> Iterator[tuple[int, Delivered]]:
        """Send each message to its channel; yield its place in `batch` and the result, in order of arrival. Never raises."""


class Entries(Protocol):
    """Takes structured journal entries."""

    def emit(self, fields: Mapping[str, str]) -> None:
        """Write one entry. Never raises."""


class Lock(Protocol):
    """Lets one master of a group act at a time."""

    def take(self, group: str, access: Access) -> Lease:
        """Try to get the lease of a group's etcd. Never raises, and returns within a few seconds."""

    def release(self, group: str) -> None:
        """Release the lease if etcd answers; otherwise it expires. Never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything outside the loop: an implementation of each Protocol, and the name of this machine."""

    senses: Senses
    hands: Hands
    pen: CertificateFiles
    notifier: Notifier
    journal: Entries
    host: str
    boot_id: str
    lock: Lock | None = None  # among the masters; None: handshakes alone decide
    wall: Callable[[str], str] | None = None  # writes to every terminal; returns why it did not, "" if it did
