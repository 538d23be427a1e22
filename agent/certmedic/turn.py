"""One turn of the loop: its request to the probe, the answer, and the journal entries that follow its transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from certmedic.core.lease import access
from certmedic.core.model import Facts, Item, Lease, Origin, Recheck, Sighting, Told
from certmedic.edge.lease import Lock
from certmedic.edge.store import Store
from certmedic.teller import Entries, Senses


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The facts that a turn needs."""

    at: datetime
    looks: bool = False  # at incidents or files, which want the facts of this moment
    learn: tuple[Origin, ...] = ()  # whose certificate files to look up; of trusted origins only
    with_members: bool = False
    verifies: bool = False  # also what listeners serve to clients that send no SNI
    known_members: Mapping[str, Told] | None = None  # None: who the members are need not be asked
    leases: frozenset[str] = frozenset()  # etcd groups whose lease to take

    @property
    def plain(self) -> bool:
        """Whether facts of a moment ago may do."""
        return not (self.with_members or self.verifies or self.leases or self.looks) and self.known_members is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """The probe's answer to a request."""

    facts: Facts | None  # None: only an act was to be verified
    for_verification: Facts | None = None
    members: Mapping[str, Told] | None = None
    leases: Mapping[str, Lease] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Turn:
    """A turn that has begun: its items, and what was due."""

    items: Sequence[tuple[Item, Sighting | None]]
    due: Sequence[Recheck]
    request: Request | None  # None: nothing of the machine is needed
    began: datetime


class Deferred:
    """The journal. An entry that a transaction leads to is written once that is on the disk."""

    def __init__(self, journal: Entries, store: Store) -> None:
        self._journal = journal
        self._store = store
        self._entries: list[Mapping[str, str]] = []

    def emit(self, fields: Mapping[str, str]) -> None:
        """Write an entry, or within a transaction keep it until `flush`."""
        if self._store.in_transaction:
            self._entries.append(fields)
        else:
            self._journal.emit(fields)

    def flush(self) -> None:
        """Write what was kept."""
        entries, self._entries = self._entries, []
        for fields in entries:
            self._journal.emit(fields)

    def drop(self) -> None:
        """Forget what was kept: the transaction did not happen."""
        self._entries = []


def look(request: Request, senses: Senses, lock: Lock | None) -> Iterator[Looked]:
    """Gather the facts that a turn needs, on the probe's thread."""
    for origin in request.learn:
        senses.learn(origin)
    members = None if request.known_members is None else senses.meet(request.known_members)
    verified = senses.gather(now=request.at, nameless=True) if request.verifies else None
    facts = None
    if request.looks or request.learn or verified is None:
        facts = senses.gather(now=request.at, with_members=request.with_members)
    leases = {}
    if lock is not None and facts is not None:
        leases = {group: lock.take(group, access(facts, group)) for group in request.leases}
    changed = members if members != request.known_members else None
    yield Looked(facts=facts, for_verification=verified, members=changed, leases=leases)
