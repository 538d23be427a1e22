"""The policy of the operator, and the history of actions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from certmedic.core.means import Means
from certmedic.core.model import Attempt, Cause, Diagnosis, Suspect, Trust
from certmedic.core.window import Window

FRESH_FOR = timedelta(minutes=10)  # an action answers what happens now, not what a journal remembers


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings of the operator for actions."""

    mode: str  # observe | notify | approve | remedy
    unable: str = ""  # why nothing can act for this agent, in a sentence; "" if an actor is there
    restart: tuple[str, ...]  # renewers that may be restarted
    cooldown: timedelta
    per_day: int
    renew: bool = False  # leaves may be renewed in place
    reissue: bool = False  # an expired file may be moved aside for a manager that would keep it
    means: tuple[Means, ...] = ()  # of the operator's own
    window: Window | None = None  # of planned actions; None: at any time
    plan_ahead: timedelta = timedelta(0)  # how long before expiry an action is planned; zero: never


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The actor's last refusal of an action on an incident."""

    why: str
    until: datetime  # when it may be asked again


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Earlier actions of this machine, and the members that are in trouble."""

    started_at: datetime  # when this agent started
    attempts: tuple[Attempt, ...] = ()  # of the last day at least, any incident
    incident: int = 0
    troubled: tuple[str, ...] = ()  # members whose certificates this group refuses at present, from `troubled`
    tripped: str = ""  # the action that failed since the last reset, in a sentence
    waiting_since: datetime | None = None  # when this machine first wanted to act on it
    approved: str = ""  # who approved an action for this incident, if the approval still holds
    under_way: str = ""  # the target of another restart of this machine that is not verified yet
    refused: Refusal | None = None  # None: the actor refused nothing about this incident


def troubled(others: Iterable[Diagnosis], group: str) -> tuple[str, ...]:
    """Return the members of a group that are in trouble by other open diagnoses.

    Lines of other pods or strangers, and lines that any caller can provoke, do not count: they could veto every action.
    """
    names = [
        name
        for other in others
        if other.suspect is Suspect.PEER
        and other.cause is not Cause.MISSING_CLIENT_CERT
        and other.trust is Trust.SYSTEM
        and not other.provokable
        and other.group in ("", group)
        for name in (other.neighbours or ("another member",))
    ]
    return tuple(dict.fromkeys(names))
