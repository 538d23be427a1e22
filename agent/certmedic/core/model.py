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
    Place,
    Served,
    Stored,
    Told,
)
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
    "Progress",
    "Recheck",
    "RejectedBy",
    "Remedy",
    "RemedyKind",
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
    "Told",
    "Trust",
    "WaitsFor",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What fixes it. `helps` answers one question only: does a restart of `target` fix it?"""

    kind: RemedyKind
    helps: Helps
    why: str
    commands: tuple[Command, ...] = ()  # what a person types, in this order
    target: str = ""  # "<plane>/<group>", e.g. "kops/main": whose program holds the certificate
    command: str = field(init=False, default="")  # `commands` as one line for a shell; "" if there is nothing to type

    def __post_init__(self) -> None:
        object.__setattr__(self, "command", shell(self.commands))


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Whose certificate, which file, since when, what it breaks, and what cures it."""

    key: str  # equal for the same fault: what an incident is known by
    cause: Cause
    suspect: Suspect
    confidence: Confidence
    certificates: tuple[Certificate, ...]
    evidence: tuple[str, ...]
    effect: str  # what it breaks, one sentence
    remedy: Remedy
    plane: str = ""
    group: str = ""
    # Suspect `peer`: addresses, names or member ids of those at fault; `own`: other machines that refused ours.
    neighbours: tuple[str, ...] = ()
    since: datetime | None = None  # when the certificate became bad
    count: int = 0
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    source: str = ""  # cause `blind`: which reader
    trust: Trust = (
        Trust.SYSTEM
    )  # the least trusted origin that it rests on; of a stranger it is INFO, and decides nothing
    provokable: bool = False  # anyone who reaches the port can cause these lines, and no file that was read proves them
    is_unused: bool = False  # the files are not in use: the listener serves another certificate

    @property
    def severity(self) -> Severity:
        """Own faults are critical; others', forecasts and blindness are warnings; what anyone can cause is information."""
        if self.trust is Trust.STRANGER or (self.provokable and self.confidence is not Confidence.PROVEN):
            return Severity.INFO
        if self.trust is Trust.CLUSTER and self.confidence is not Confidence.PROVEN:
            return Severity.INFO if self._by_cause is Severity.INFO else Severity.WARNING
        return self._by_cause

    @property
    def _by_cause(self) -> Severity:
        if self.cause is Cause.UNEXPLAINED and self.suspect is Suspect.OWN:
            return Severity.WARNING  # a program says so of its own files, which nobody outside can make it say
        if self.cause in (Cause.MISSING_CLIENT_CERT, Cause.DISTRUSTED, Cause.UNEXPLAINED):
            return Severity.INFO
        if self.cause in (Cause.EXPIRES_SOON, Cause.BLIND) or self.suspect is not Suspect.OWN:
            return Severity.WARNING
        return Severity.CRITICAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One condition for acting, and its answer."""

    name: str  # a GateName
    passed: bool
    why: str  # what is so
    opens: str = ""  # of a gate that did not pass: what to do or to wait for, so that it does


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One act on one target, complete enough to be written down before it is done."""

    kind: RemedyKind
    container: Container | None  # what is restarted; None where files are renewed in place
    watched: tuple[tuple[str, datetime], ...]  # (file, NotAfter before): success is each of them moved forward
    ports: tuple[int, ...] = ()  # where the new certificates must be seen served


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows from a diagnosis; doing nothing is a decision with a reason too."""

    reason: str  # for people
    gates: tuple[Gate, ...] = ()
    action: Action | None = None
    waits_for: WaitsFor | None = None  # None also if several gates did not pass

    @property
    def blocked_by(self) -> tuple[Gate, ...]:
        """The gates that did not pass, in order."""
        return tuple(gate for gate in self.gates if not gate.passed)

    def is_blocked_by(self, *names: GateName) -> bool:
        """Whether one of these gates did not pass."""
        return any(gate.name in names for gate in self.blocked_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An act of the past, as the store remembers it."""

    incident: int
    target: str  # "<plane>/<group>"
    at: datetime
    state: str  # intent | done | undoing | verified | failed | withdrawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which messages go to the channels of one apprise tag. An empty condition is met by every message."""

    tag: str
    severity: str = ""
    cause: str = ""
    plane: str = ""
    event: str = ""  # a MessageKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Which incidents people want no messages about, from when until when, and who wants that. Empty conditions as in Route."""

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
    """One message in the three forms that channels take."""

    kind: MessageKind
    severity: Severity
    title: str
    plain: str
    markdown: str
    html: str
