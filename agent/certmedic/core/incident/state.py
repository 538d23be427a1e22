"""An incident and its actions: which states they have, and which state may follow which.

    incident   open -> escalated -> resolved            act   intent -> done -> verified
               open --------------> resolved                  intent | done -> undoing -> failed
                                                               intent | done -> failed
                                                               intent -> withdrawn

`TRANSITIONS` is the table, and `moved` refuses everything else. Whether an incident was reported is a time and not a state: a silence, a
maintenance window or a budget may delay the message in any state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeVar

from certmedic.core.decision import urgency
from certmedic.core.model import Action, Decision, Diagnosis, RemedyKind, Severity


class IncidentState(StrEnum):
    """How far an incident has come."""

    OPEN = "open"
    ESCALATED = "escalated"  # an action failed: a person is needed, and certmedic does nothing more
    RESOLVED = "resolved"


class ActState(StrEnum):
    """How far an action has come."""

    INTENT = "intent"  # recorded, and perhaps begun
    DONE = "done"  # to be verified
    VERIFIED = "verified"
    UNDOING = "undoing"  # the files that it replaced are being put back
    FAILED = "failed"
    WITHDRAWN = "withdrawn"  # never begun


class RecheckKind(StrEnum):
    """The kinds of looks that are scheduled, at an incident or at the whole machine."""

    ANNOUNCE = "announce"  # report a new incident
    INCIDENT = "incident"  # is it over, or may something be done by now?
    VERIFY = "verify"  # did the action help?
    RESUME = "resume"  # did an earlier run perform its action?
    REMIND = "remind"
    INVENTORY = "inventory"  # all certificates
    BLIND = "blind"  # sources that cannot be read
    DIGEST = "digest"  # incidents that are not reported one by one
    GROUP = "group"  # a resolved incident: are the members that it was reported for well too?


State = TypeVar("State", IncidentState, ActState)

UNDER_WAY: Final = (ActState.INTENT, ActState.DONE, ActState.UNDOING)
TRANSITIONS: Final[Mapping[IncidentState | ActState, frozenset[IncidentState | ActState]]] = {
    IncidentState.OPEN: frozenset({IncidentState.ESCALATED, IncidentState.RESOLVED}),
    IncidentState.ESCALATED: frozenset({IncidentState.RESOLVED}),
    IncidentState.RESOLVED: frozenset(),
    ActState.INTENT: frozenset({ActState.DONE, ActState.UNDOING, ActState.FAILED, ActState.WITHDRAWN}),
    ActState.DONE: frozenset({ActState.VERIFIED, ActState.UNDOING, ActState.FAILED}),
    ActState.UNDOING: frozenset({ActState.FAILED}),
    ActState.VERIFIED: frozenset(),
    ActState.FAILED: frozenset(),
    ActState.WITHDRAWN: frozenset(),
}


class TransitionError(Exception):
    """A state cannot follow another: a fault of certmedic."""


def moved(before: State, after: State) -> State:
    """Return the state `after`. Raises TransitionError if it cannot follow `before`."""
    if after not in TRANSITIONS[before]:
        raise TransitionError(f"{type(before).__name__}: {after} cannot follow {before}")
    return after


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One fault over time."""

    id: int
    key: str
    state: IncidentState
    diagnosis: Diagnosis  # the latest
    decision: Decision | None  # the latest
    opened_at: datetime
    announced_at: datetime | None  # when it was first reported; None: it was not
    last_seen: datetime
    resolved_at: datetime | None
    count: int  # lines
    system_seen: datetime | None = None  # when a trusted origin logged it last

    @property
    def severity(self) -> Severity:
        """How urgent it is now."""
        return urgency(self.diagnosis, self.decision, failed=self.state is IncidentState.ESCALATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """An action as it was recorded."""

    id: int
    incident: int
    target: str
    action: Action
    state: ActState
    boot_id: str
    at: datetime
    ended_at: datetime | None  # of its last change of state
    detail: str
    undo: tuple[dict[str, str], ...]  # the files that it replaced, and their backups

    @property
    def in_place(self) -> bool:
        """Whether it renews files."""
        return self.action.kind is RemedyKind.RENEW
