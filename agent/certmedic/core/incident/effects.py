"""The effects of a look at an incident, as values. The loop applies them in order, in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from certmedic.core.incident.state import ActState, Incident, RecheckKind
from certmedic.core.model import Action, Decision, Diagnosis, MessageKind


@dataclass(frozen=True, slots=True)
class Tell:
    """Send people a message, once of each kind. Mode, silences and maintenance windows may hold it back."""

    kind: MessageKind
    outcome: str = ""
    about: Incident | None = None  # another incident than the one that was looked at
    sick: str = ""  # of an end: the other members that still have the fault


@dataclass(frozen=True, slots=True)
class Journal:
    """Write an event of the incident into the journal."""

    event: str
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Add a line to the history that `certmedic show` prints."""

    event: str
    text: str
    once: bool = False  # unless the history has that line already


@dataclass(frozen=True, slots=True)
class Rejudge:
    """Replace the diagnosis."""

    diagnosis: Diagnosis


@dataclass(frozen=True, slots=True)
class Decide:
    """Record a decision. `diagnosis` is the incident's, with its lines counted."""

    decision: Decision
    diagnosis: Diagnosis


@dataclass(frozen=True, slots=True)
class Intend:
    """Record an action. The hands perform it after the commit."""

    action: Action
    target: str


@dataclass(frozen=True, slots=True)
class MoveAct:
    """Move an action to another state."""

    act: int
    state: ActState
    detail: str


@dataclass(frozen=True, slots=True)
class Take:
    """Take over an action of an earlier run: it is now known whether it was begun."""

    act: int


@dataclass(frozen=True, slots=True)
class TakeLease:
    """Take the lease of the incident's etcd group before the next look."""


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    """Release the lease of the incident's etcd group."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Schedule a look at the incident, or at the whole machine for a kind that concerns it."""

    kind: RecheckKind
    at: datetime
    at_latest: bool = False  # keep an earlier time
    often: bool = False  # one of many: after a restart of the agent it may be due at once


@dataclass(frozen=True, slots=True)
class JudgeAgain:
    """Diagnose the next line of the incident again, instead of counting it with those before."""


@dataclass(frozen=True, slots=True)
class Escalate:
    """Hand the incident to a person."""


@dataclass(frozen=True, slots=True)
class Resolve:
    """The incident is over."""


Effect = (
    Tell
    | Journal
    | Note
    | Rejudge
    | Decide
    | Intend
    | MoveAct
    | Take
    | TakeLease
    | ReleaseLease
    | LookAgain
    | JudgeAgain
    | Escalate
    | Resolve
)
