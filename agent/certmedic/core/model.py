"""Every value that travels along the line, frozen.

    LogEntry -> Sighting -> Facts -> Diagnosis -> Decision -> Outcome

All times are aware datetimes in UTC. Nothing here does anything; the words are those of a doctor and are the same in
code, configuration, messages and documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

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
from certmedic.core.origin import Trust
from certmedic.core.vocabulary import (
    Cause,
    Confidence,
    Helps,
    MessageKind,
    RejectedBy,
    RemedyKind,
    Role,
    Severity,
    Suspect,
    Symptom,
)

__all__ = [
    "Action",
    "Attempt",
    "Cause",
    "Certificate",
    "Confidence",
    "Container",
    "Decision",
    "Diagnosis",
    "Facts",
    "FileFault",
    "Fold",
    "Gate",
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
        """Equal for lines that say the same thing, whatever their port, time and source."""
        told = self.fields.get
        endpoint = told("endpoint", "")
        if endpoint.startswith(("endpoint://", "etcd-endpoints://")):
            endpoint = endpoint.rpartition("/")[2]  # before it stands a number of the client's
        # Written out: this is asked of every line of a storm.
        parts = (
            self.program,
            self.symptom,
            self.rejected_by,
            self.role,
            self.remote_host,
            "/".join(endpoint.split("/", 3)[:3]),  # of a URL, no path: each object has another
            told("server_name", ""),
            told("not_after", ""),
            told("not_before", ""),
            told("subject", ""),
            told("issuer", ""),
            told("remote_peer_id", ""),
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
    """What cures it. `helps` answers one question only: does a restart of `target` cure it?"""

    kind: RemedyKind
    helps: Helps
    why: str
    command: str  # what a person would type; "" where there is nothing to type
    target: str = ""  # "<plane>/<group>", e.g. "kops/main": whose program holds the certificate


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
    trust: Trust = Trust.SYSTEM  # the least trusted origin that it rests on; of a stranger it is INFO, and decides nothing

    @property
    def severity(self) -> Severity:
        """Own faults are critical; others', forecasts and blindness are warnings; what anyone can cause from outside is information."""
        if self.cause is Cause.UNEXPLAINED and self.suspect is Suspect.OWN:
            return Severity.WARNING  # a program says so of its own files, which nobody outside can make it say
        if self.cause in (Cause.MISSING_CLIENT_CERT, Cause.DISTRUSTED, Cause.UNEXPLAINED):
            return Severity.INFO
        if self.cause in (Cause.EXPIRES_SOON, Cause.BLIND) or self.suspect is not Suspect.OWN:
            return Severity.WARNING
        return Severity.CRITICAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One condition of an act, and its answer."""

    name: str
    passed: bool
    why: str  # what was found; where it did not pass, also what would open it


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

    reason: str
    gates: tuple[Gate, ...] = ()
    action: Action | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An act of the past, as the store remembers it."""

    incident: int
    target: str  # "<plane>/<group>"
    at: datetime
    state: str  # intent | done | verified | failed


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
