"""Values that the sources send: log entries, progress, and the state of the sources themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from certmedic.core.vocabulary import Trust


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
