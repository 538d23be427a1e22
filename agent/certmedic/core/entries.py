"""Values that the sources send: log entries, progress, and the state of the sources themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from certmedic.core.vocabulary import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who wrote a line; fields that the source does not know are empty."""

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
    trust: Trust = Trust.STRANGER  # by core/origin.py, from fields that the writer cannot choose
    started_at: datetime | None = None  # when the program started, if a saved log shows it


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line of a log that holds a needle."""

    stream: str  # key under which `position` is stored: "journal", "docker:<id>", "file:<path>", "pod:<path>"
    position: str  # where the source reads on after this entry; only the source understands it
    time: datetime  # when it was logged, according to the source
    text: str  # one line, no line end, undecodable bytes replaced, at most 64 KiB
    origin: Origin = field(default_factory=Origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The source read up to a position without finding a needle."""

    stream: str
    position: str | None  # None: the stream is gone, so forget its position


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDown:
    """A source cannot be read: certmedic is blind there. Sent once per outage."""

    source: str  # its name, e.g. "journal", "docker"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceUp:
    """A source that was down is read again."""

    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """The state of a source: sent when reading starts and then every few seconds, so it is also a sign of life."""

    source: str
    seen: int  # entries read since the start; for a backlog in files an estimate
    matched: int  # entries that hold a needle
    lag_seconds: float  # age of the entry being read; 0 once the source has caught up
    position: str = ""  # for a person
    detail: str = ""  # parts that cannot be read or were skipped, newest first; "" if there are none


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """A recheck that was scheduled is due."""

    kind: str  # "incident" | "announce" | "verify" | "resume" | "remind" | "blind" | "inventory"
    incident: int | None
    due: datetime


Item = LogEntry | Progress | SourceDown | SourceUp | SourceStatus | Recheck
