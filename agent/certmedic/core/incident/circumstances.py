"""The circumstances of a look at an incident, beside the facts of the machine: other incidents, actions, approvals, leases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from certmedic.core.decision import FRESH_FOR, History, Policy, Refusal, troubled
from certmedic.core.incident.state import UNDER_WAY, Act, ActState, Incident
from certmedic.core.model import Attempt, Cause, Lease, Suspect

DAY = timedelta(days=1)
SILENT = "no answer"  # the event of an incident that another master is to report, which was first seen not to answer
# The event of an incident that another master is to report, while this machine had a fault of its whole group. The others may be fixed later.
SHARED = "left to the group"
# After no answer for so long a machine counts as dead. The kubelet waits for up to five minutes between two starts of an etcd.
DEAD_AFTER = timedelta(minutes=10)
REFUSED_FOR = timedelta(seconds=15)  # after the first refusal of the actor; doubled by each further one
MOST_REFUSALS = 4  # about one incident; then a person is called


def refused_for(earlier: int) -> timedelta:
    """Return how long the agent waits after a refusal, by the number of earlier refusals about the same incident."""
    return REFUSED_FOR * (1 << min(earlier, MOST_REFUSALS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The operator's settings for all incidents."""

    policy: Policy
    remind_every: timedelta
    verify_for: timedelta  # an action must show success within so long
    warn_days: Sequence[int] = ()  # the days before expiry at which a forecast is reported
    plane_days: Mapping[str, Sequence[int]] = field(default_factory=dict)  # other days of single planes

    def thresholds(self, plane: str, ends: Iterable[datetime], since: datetime) -> list[datetime]:
        """Return the moments after `since` at which people are to hear of the coming ends of certificates of a plane, in any order."""
        days = self.plane_days.get(plane, self.warn_days)
        return [at for end in ends for day in days if (at := end - timedelta(days=day)) > since]

    def may_act_on(self, incident: Incident) -> bool:
        """Whether mode and suspect allow an action at all."""
        diagnosis = incident.diagnosis
        own = diagnosis.suspect is Suspect.OWN and diagnosis.cause is not Cause.BLIND
        return own and self.policy.mode in ("approve", "remedy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """The circumstances at the time of one look."""

    terms: Terms
    started_at: datetime  # when this agent started
    others: Sequence[Incident] = ()  # all unresolved ones, this one among them
    acts: Sequence[Act] = ()  # of all incidents, oldest first
    resuming: frozenset[int] = frozenset()  # actions of an earlier run that may have begun
    tripped: str = ""  # the action that failed since the last reset, in a sentence
    approved: str = ""  # who approved an action on this incident, if the approval still holds
    happened: Mapping[str, datetime] = field(
        default_factory=dict
    )  # event of this incident -> when one of its kind came first
    warned: Sequence[Incident] = ()  # reported forecasts that this incident replaced, unless it was reported itself
    told_of: int = 0  # incidents of this severity first reported within the last hour
    with_lease: bool = False  # whether an action needs the lease of its etcd group
    lease: Lease | None = None  # None: it was not requested
    reads_since: datetime | None = None  # of the source of a `blind` incident; None: it cannot be read

    def acts_of(self, incident: Incident) -> list[Act]:
        """Return the actions on an incident, oldest first."""
        return [act for act in self.acts if act.incident == incident.id]

    def history(self, incident: Incident, now: datetime, *, act: Act | None = None) -> History:
        """Return the history for the gates. An `act` of an earlier run is left out, as if it had not begun."""
        return History(
            # The lines that led to the earlier run's action were fresh then.
            started_at=self.started_at if act is None else min(self.started_at, act.at - FRESH_FOR),
            attempts=tuple(self._attempts(now - DAY, act)),
            incident=incident.id,
            troubled=self._troubled(incident),
            waiting_since=incident.opened_at,
            tripped=self.tripped,
            approved=self.approved,
            under_way=next((other.target for other in self.acts if self._is_another_restart(other, incident)), ""),
            refused=self._refusal(incident),
        )

    def _troubled(self, incident: Incident) -> tuple[str, ...]:
        """Return the members that keep this machine from acting; of no interest where it cannot act."""
        if incident.diagnosis.suspect is not Suspect.OWN:
            return ()
        return troubled((other.diagnosis for other in self.others), incident.diagnosis.group)

    @staticmethod
    def _is_another_restart(act: Act, incident: Incident) -> bool:
        """Whether an action restarts something for another incident and is not verified yet: one at a time."""
        return act.state in UNDER_WAY and act.incident != incident.id and act.action.container is not None

    def _refusal(self, incident: Incident) -> Refusal | None:
        """Return the last action on an incident that was not begun. Each makes the wait for the next one longer."""
        withdrawn = [act for act in self.acts_of(incident) if act.state is ActState.WITHDRAWN]
        if not withdrawn:
            return None
        last = withdrawn[-1]
        return Refusal(
            why=last.detail,
            until=(last.ended_at or last.at) + refused_for(len(withdrawn) - 1),
        )

    def _attempts(self, since: datetime, but: Act | None) -> Iterator[Attempt]:
        for act in self.acts:
            if act.at >= since and act.state is not ActState.WITHDRAWN and (but is None or act.id != but.id):
                yield Attempt(
                    incident=act.incident, target=act.target, at=act.at, state=act.state, in_place=act.in_place
                )
