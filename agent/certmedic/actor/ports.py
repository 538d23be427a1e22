"""The Protocols between the actor's decision and the means of its machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from certmedic.core.lease import Access
from certmedic.core.model import Container, Facts, Lease, Stored, VoterList


class Eyes(Protocol):
    """Reads the state of this machine with the actor's own eyes."""

    def gather(self, *, now: datetime, with_members: bool = False, nameless: bool = False) -> Facts:
        """Return the facts of this moment. Never raises."""

    def meet(self, known: Mapping[str, VoterList]) -> Mapping[str, VoterList]:
        """Ask the etcds here for their members, and return all that is known. Never raises."""


class Lock(Protocol):
    """The lease in etcd."""

    def take(self, group: str, access: Access) -> Lease:
        """Try to get the lease. Never raises."""

    def release(self, group: str, access: Access) -> None:
        """Release the lease if it is this member's. Never raises."""


class Restarts(Protocol):
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
