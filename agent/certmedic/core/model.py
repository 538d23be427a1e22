"""Every value that travels along the line, frozen.

    LogEntry -> Sighting -> Facts -> Diagnosis -> Decision -> Outcome

All times are aware datetimes in UTC. Nothing here does anything; the words are those of a doctor and are the same in
code, configuration, messages and documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from certmedic.core.command import Command, shell
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

# ---------------------------------------------------------------- what comes in


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who wrote a line, as far as its source knows; empty where it does not."""

    program: str = ""  # syslog identifier or command name
    unit: str = ""  # systemd unit
    pid: int | None = None
    container: str = ""  # the runtime's name, e.g. k8s_etcd-manager_etcd-manager-main-...
    container_id: str = ""
    image: str = ""
    pod: str = ""  # Kubernetes pod name
    path: str = ""  # the file that was read
    namespace: str = ""  # Kubernetes namespace of the pod
    uid: int | None = None  # of the process that wrote the line
    trust: Trust = Trust.STRANGER  # by core/origin.py, from what the writer cannot choose
    started_at: datetime | None = None  # when the program that wrote it began, where a saved log tells


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line that passed the gate, at the door of the house."""

    stream: str  # key under which `position` is stored: "journal", "docker:<id>", "file:<path>", "pod:<path>"
    position: str  # opaque to all but the source: where to read on after this entry
    time: datetime  # when it was logged, as the source knows it
    text: str  # one line, no line end, undecodable bytes replaced, at most 64 KiB
    origin: Origin = field(default_factory=Origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Nothing of interest up to here: only the position moves."""

    stream: str
    position: str | None  # None: nothing is left of this stream, and where it was read is of no use any more


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDown:
    """A reader died or cannot see: certmedic is blind here. Sent once per outage."""

    source: str  # the reader's name, e.g. "journal", "docker"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceUp:
    """A reader that was down reads again."""

    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """How a reader is doing: sent when it begins to read and every few seconds, so also its sign of life."""

    source: str  # the reader's name
    seen: int  # entries read since it started; lines of a backlog in files are estimated
    matched: int  # of these, passed on
    lag_seconds: float  # age of what is being read; 0 where the reader has caught up
    position: str = ""  # how far it has come, for a person
    detail: str = ""  # what it cannot read or had to skip, newest first; "" where all is well


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """Something that was to be looked at again is due."""

    kind: str  # "incident" | "announce" | "verify" | "resume" | "remind" | "blind" | "inventory"
    incident: int | None
    due: datetime


Item = LogEntry | Progress | SourceDown | SourceUp | SourceStatus | Recheck


# ---------------------------------------------------------------- what a line says


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A symptom, seen in one line."""

    entry: LogEntry
    rule: str  # name of the rule that matched
    symptom: Symptom
    rejected_by: RejectedBy
    suspect: Suspect
    role: Role
    program: str  # etcd, etcd-manager, kube-apiserver, kubelet, ...; "" where neither line nor origin tells
    said: str  # the message without the dress it came in (timestamps, JSON, quoting); printable, at most 1 KiB
    meaning: str  # one sentence for a person
    fields: Mapping[str, str]  # what the line itself states; names of `explain --json`
    not_after: datetime | None = None
    not_before: datetime | None = None

    @property
    def remote_host(self) -> str:
        """Host part of the remote address, without port; empty where the line names none."""
        address = self.fields.get("remote_addr", "")
        host, _, port = address.rpartition(":")
        return (host if host and port.isdigit() else address).strip("[]")

    @property
    def fold(self) -> str:
        """Equal for lines that report the same fault, whatever their port, time and source.

        Lines of unequal trust never share a fold. A stranger chooses the program name in a line, so its fold has the
        origin's namespace and uid instead.
        """
        stated = self.fields.get
        endpoint = stated("endpoint", "")
        if endpoint.startswith(("endpoint://", "etcd-endpoints://")):
            endpoint = endpoint.rpartition("/")[2]  # the client's own number stands before it
        origin = self.entry.origin
        trust = origin.trust
        # Written out: every line of a storm asks for its fold.
        parts = (
            trust,
            f"{origin.namespace}/{origin.uid}" if trust is Trust.STRANGER else self.program,
            self.symptom,
            self.rejected_by,
            self.role,
            self.remote_host,
            "/".join(endpoint.split("/", 3)[:3]),  # no path of a URL: each object has another
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
    """Equal sightings as one: the first of them, how many, and from when to when."""

    sighting: Sighting
    count: int
    first_seen: datetime
    last_seen: datetime


# ---------------------------------------------------------------- what is wrong, and what is done


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
