"""All values that travel along the line, frozen; those from Remedy on are defined here.

    LogEntry -> Sighting -> Facts -> Diagnosis -> Decision

All times are aware datetimes in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from certmedic.core.command import Command, shell
from certmedic.core.entries import (
    Item,
    LogEntry,
    Origin,
    Progress,
    Recheck,
    SourceDown,
    SourceStatus,
    SourceUp,
)
from certmedic.core.evidence import (
    Certificate,
    Container,
    Facts,
    FileFault,
    Lease,
    Member,
    Program,
    Replaced,
    Revocations,
    Served,
    Stored,
    VoterList,
)
from certmedic.core.place import Place
from certmedic.core.sightings import Fold, Sighting
from certmedic.core.vocabulary import (
    Cause,
    Confidence,
    GateName,
    Helps,
    MessageKind,
    RejectedBy,
    RemedyKind,
    Role,
    Severity,
    Suspect,
    Symptom,
    Trust,
    WaitsFor,
)

__all__ = [
    "Action",
    "Attempt",
    "Cause",
    "Certificate",
    "Command",
    "Confidence",
    "Container",
    "Decision",
    "Diagnosis",
    "Facts",
    "FileFault",
    "Fold",
    "Gate",
    "GateName",
    "Helps",
    "Item",
    "Lease",
    "LogEntry",
    "Member",
    "Message",
    "MessageKind",
    "Origin",
    "Place",
    "Program",
    "Progress",
    "Recheck",
    "RejectedBy",
    "Remedy",
    "RemedyKind",
    "Replaced",
    "Revocations",
    "Role",
    "Route",
    "Served",
    "Severity",
    "Sighting",
    "Silence",
    "SourceDown",
    "SourceStatus",
    "SourceUp",
    "Stored",
    "Suspect",
    "Symptom",
    "Trust",
    "VoterList",
    "WaitsFor",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """The fix for a fault. `helps` answers one question only: does a restart of `target` fix it?"""

    kind: RemedyKind
    helps: Helps
    why: str
    commands: tuple[Command, ...] = ()  # for a person to type, in this order
    target: str = ""  # "<plane>/<group>" of the holder, e.g. "kops/main"
    command: str = field(init=False, default="")  # `commands` as one line for a shell; "" if there is nothing to type

    def __post_init__(self) -> None:
        object.__setattr__(self, "command", shell(self.commands))


MEMBER_ID = "etcd member "  # before the id of a peer whose line names no address


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The answer to: whose certificate, which file, since when, what does it break, what fixes it."""

    key: str  # equal for the same fault; the key of its incident
    cause: Cause
    suspect: Suspect
    confidence: Confidence
    certificates: tuple[Certificate, ...]
    evidence: tuple[str, ...]
    effect: str  # what it breaks, one sentence
    remedy: Remedy
    plane: str = ""
    group: str = ""
    # With suspect `peer` or `outside`, addresses, names or member ids of those at fault; with `own`, the peers that refused our certificate.
    neighbours: tuple[str, ...] = ()
    whom: str = (
        ""  # with suspect `peer`, the first of them as people call it: "etcd-b at 10.0.0.2"; "" if it has no known name
    )
    since: datetime | None = None  # when the certificate became bad
    count: int = 0
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    source: str = ""  # with cause `blind`, the source
    trust: Trust = Trust.SYSTEM  # the least trusted origin of its evidence
    provokable: bool = False  # anyone who reaches the port can cause these lines, and no file proves them
    is_unused: bool = False  # the files are not in use: the listener serves another certificate
    holders: tuple[str, ...] = ()  # with cause `stale_in_memory`, the programs that hold the old certificate
    is_idle: bool = False  # no program uses the files, only commands of a person

    @property
    def severity(self) -> Severity:
        """Critical for own faults; warning for peers, forecasts and blindness; information for lines that anyone can cause."""
        if self.trust is Trust.STRANGER or (self.provokable and self.confidence is not Confidence.PROVEN):
            return Severity.INFO
        if self.trust is Trust.CLUSTER and self.confidence is not Confidence.PROVEN:
            return Severity.INFO if self._by_cause is Severity.INFO else Severity.WARNING
        return self._by_cause

    @property
    def _by_cause(self) -> Severity:
        if self.cause is Cause.UNEXPLAINED and self.suspect is Suspect.OWN:
            return Severity.WARNING  # a program reports on its files, and no caller can provoke that
        if self.suspect is Suspect.OUTSIDE or self.cause in (
            Cause.MISSING_CLIENT_CERT,
            Cause.DISTRUSTED,
            Cause.UNEXPLAINED,
        ):
            return Severity.INFO
        if self.is_unused or self.is_idle:
            return Severity.WARNING  # no program stops
        if self.cause in (Cause.EXPIRES_SOON, Cause.BLIND) or self.suspect is not Suspect.OWN:
            return Severity.WARNING
        return Severity.CRITICAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One condition for acting: whether it holds, and why."""

    name: str  # a GateName
    passed: bool
    why: str
    opens: str = ""  # how a closed gate opens: what to do or to wait for


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action on one target, with all that its intent must record."""

    kind: RemedyKind
    container: Container | None  # the container to restart; None if files are renewed in place
    watched: tuple[tuple[str, datetime], ...]  # (file, NotAfter before); success moves each NotAfter forward
    ports: tuple[int, ...] = ()  # that must serve the new certificates afterwards


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether to act on a diagnosis, with the reason; doing nothing has a reason too."""

    reason: str  # for people
    gates: tuple[Gate, ...] = ()
    action: Action | None = None
    waits_for: WaitsFor | None = None  # None also if several gates did not pass

    @property
    def blocked_by(self) -> tuple[Gate, ...]:
        """The gates that did not pass, in order."""
        return tuple(gate for gate in self.gates if not gate.passed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A past action, as the store records it."""

    incident: int
    target: str  # "<plane>/<group>"
    at: datetime
    state: str  # intent | done | undoing | verified | failed | withdrawn
    in_place: bool = False  # it renewed files


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The messages that go to the channels of one apprise tag. Every message meets an empty condition."""

    tag: str
    severity: str = ""
    cause: str = ""
    plane: str = ""
    event: str = ""  # a MessageKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Pager:
    """A service that keeps incidents and calls people for them."""

    service: str  # "pagerduty", "opsgenie" or "splunk"
    key: str  # the file with the key that the service gave out: its path, or "credential:NAME"
    region: str = "us"  # "us" or "eu"
    routing: str = ""  # the routing key of Splunk On-Call
    tag: str = ""  # as apprise's tags; "" gets all messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """The incidents that send no messages for a time, and who wants that. Every incident meets an empty condition."""

    id: int
    cause: str
    file: str  # glob; every file of an incident must match
    plane: str
    author: str
    comment: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message in the three forms that channels accept."""

    kind: MessageKind
    severity: Severity
    title: str
    plain: str
    markdown: str
    html: str
    thread: str = ""  # equal for the messages of one trouble; "" for a message that stands alone
    key: str = ""  # equal for the messages of one incident and of no other; "" for a message that stands alone
