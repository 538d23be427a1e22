"""A symptom that one line reports, and the count of equal lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from certmedic.core.entries import LogEntry
from certmedic.core.vocabulary import RejectedBy, Role, Suspect, Symptom, Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A symptom that one line reports."""

    entry: LogEntry
    rule: str  # name of the rule that matched
    symptom: Symptom
    rejected_by: RejectedBy
    suspect: Suspect
    role: Role
    program: str  # etcd, etcd-manager, kube-apiserver, kubelet, ...; "" if neither line nor origin shows it
    message: str  # the line without its log envelope (timestamp, JSON, quoting); printable, at most 1 KiB
    meaning: str  # one sentence for a person
    fields: Mapping[str, str]  # stated in the line, under the names of `explain --json`
    not_after: datetime | None = None
    not_before: datetime | None = None

    @property
    def remote_host(self) -> str:
        """Host of the remote address; "" if the line names none."""
        address = self.fields.get("remote_addr", "")
        host, _, port = address.rpartition(":")
        return (host if host and port.isdigit() else address).strip("[]")

    @property
    def fold(self) -> str:
        """The key under which equal lines are counted: port, time and source do not matter.

        Lines of different trust never share a fold, nor do those of two pods: a master runs an etcd for each group. A
        stranger chooses the program name in a line, so the fold of a stranger has namespace and uid instead.
        """
        stated = self.fields.get
        endpoint = stated("endpoint", "")
        if endpoint.startswith(("endpoint://", "etcd-endpoints://")):
            endpoint = endpoint.rpartition("/")[
                2
            ]  # drop the number of the client, which differs from process to process
        origin = self.entry.origin
        trust = origin.trust
        # No loop: this runs for every line of a storm.
        parts = (
            trust,
            f"{origin.namespace}/{origin.uid}" if trust is Trust.STRANGER else f"{origin.pod} {self.program}".lstrip(),
            self.symptom,
            self.rejected_by,
            self.role,
            self.remote_host,
            "/".join(endpoint.split("/", 3)[:3]),  # without the path of a URL, which differs from object to object
            stated("server_name", ""),
            stated("not_after", ""),
            stated("not_before", ""),
            stated("subject", ""),
            stated("issuer", ""),
            stated("remote_peer_id", ""),
        )
        return "|".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Equal sightings as one: the first of them, their number, and the times of the first and the last."""

    sighting: Sighting
    count: int
    first_seen: datetime
    last_seen: datetime


def counted(fold: Fold | None, sighting: Sighting, at: datetime) -> Fold:
    """Return a fold with one more sighting, seen `at`; None begins a new fold."""
    if fold is None:
        return Fold(sighting=sighting, count=1, first_seen=at, last_seen=at)
    return Fold(
        sighting=fold.sighting,
        count=fold.count + 1,
        first_seen=min(fold.first_seen, at),
        last_seen=max(fold.last_seen, at),
    )
