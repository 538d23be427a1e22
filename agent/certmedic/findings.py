"""Opens incidents: for log lines, for certificates on disk, and for sources that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from certmedic.apply import Applier
from certmedic.core import diagnose as doctor
from certmedic.core import verdict
from certmedic.core.incident import (
    UNDER_WAY,
    Incident,
    RecheckKind,
    effects,
    is_half_cured,
    is_of_an_act,
    superseded,
    warned_of,
)
from certmedic.core.model import Confidence, Diagnosis, Facts, Fold
from certmedic.edge.store import Store
from certmedic.tally import Seen
from certmedic.teller import Teller

INVENTORY_EVERY = timedelta(minutes=10)
EXPIRED = timedelta(seconds=1)  # after NotAfter, which counts whole seconds
BETWEEN = timedelta(seconds=3)  # two inventories for certificates that expire one after the other

Passes = Callable[[str, Callable[[], None]], bool]


class Findings:
    """Opens incidents. Every method runs within a transaction.

    `warn_days` and `of_plane` are the days before expiry at which a forecast is reported. An action is planned `plan_ahead` of expiry.
    """

    def __init__(  # noqa: PLR0913 - what it works on, and what the operator asked for
        self,
        store: Store,
        teller: Teller,
        applier: Applier,
        *,
        group_for: timedelta,
        warn_days: Sequence[int],
        of_plane: dict[str, tuple[int, ...]],
        plan_ahead: timedelta,
    ) -> None:
        self._store = store
        self._teller = teller
        self._applier = applier
        self._group_for = group_for
        self._warn_days = warn_days
        self._of_plane = of_plane
        self._plan_ahead = plan_ahead

    def judge(self, seen: Seen, facts: Facts, now: datetime) -> None:
        """Diagnose equal lines, and open their incident."""
        fold = Fold(sighting=seen.sighting, count=seen.total, first_seen=seen.first, last_seen=seen.last)
        diagnosis = doctor.diagnose(fold, facts)
        if diagnosis is not None and self._is_of_an_act(diagnosis):
            diagnosis = None
        incident = self.open(diagnosis, now) if diagnosis is not None else None
        seen.incident = incident.id if incident is not None else None
        if incident is not None and not incident.count and incident.announced_at is not None:
            self._store.recheck_often(RecheckKind.INCIDENT, incident.id, now)  # its action waited for the first failure

    def open(self, diagnosis: Diagnosis, now: datetime) -> Incident:
        """Return the open incident of a diagnosis, after adding the diagnosis to it. Opens one if there is none."""
        known = self._store.lasting(diagnosis.key)
        if known is not None:
            diagnosis = verdict.joined_diagnosis(known.diagnosis, diagnosis)
        incident, new = self._store.open_incident(diagnosis, now=now)
        if new:
            reason = f"{diagnosis.cause}, {diagnosis.suspect}: {diagnosis.evidence[0]}"
            # Files that break together are reported, and decided on, together.
            announce = effects.LookAgain(RecheckKind.ANNOUNCE, now + self._group_for)
            self._applier.apply(incident, [effects.Journal("opened"), effects.Note("opened", reason), announce], now)
        sure = Confidence.PROVEN
        if new or (known is not None and known.diagnosis.confidence is not sure and diagnosis.confidence is sure):
            self._supersede(incident, now)
        return incident

    def _supersede(self, incident: Incident, now: datetime) -> None:
        for other in superseded(incident, self._store.incidents(unresolved=True)):
            why = f"by incident {incident.id}: {incident.diagnosis.cause}"
            self._applier.apply(
                other,
                [
                    effects.Note("superseded", why),
                    effects.Journal("resolved", f"superseded {why}"),
                    effects.Resolve(),
                ],
                now,
            )

    def warned_of(self, incident: Incident) -> list[Incident]:
        """Return the reported forecasts that an incident replaced. None once it was reported: its own end is theirs too."""
        if incident.announced_at is not None or incident.diagnosis.confidence is not Confidence.PROVEN:
            return []  # most looks end here, also with a thousand incidents of strangers
        return warned_of(incident, self._store.reported_ends(incident.opened_at))

    def take_inventory(self, facts: Facts, passes: Passes, now: datetime) -> None:
        """Open incidents for certificates that have expired or soon will, even if nothing has failed yet."""
        of_plane = {plane: self._ahead(days) for plane, days in self._of_plane.items()}
        for fault in verdict.survey(facts, warn_within=self._ahead(self._warn_days), of_plane=of_plane):
            if self._is_of_an_act(fault):
                continue

            def opened(diagnosis: Diagnosis = fault) -> None:
                self.open(diagnosis, now)

            passes("a certificate", opened)
        self._store.prune(now=now)
        # Look again at each expiry before the next inventory: an etcd before 3.3 does not log the clients that it refuses.
        later = now + INVENTORY_EVERY
        ends = [stored.certificate.not_after for stored in facts.stored]
        ends += [old.not_after for old in facts.replaced]  # a program may still hold it
        soon = [max(end + EXPIRED, now + BETWEEN) for end in ends if now - EXPIRED < end < later]
        self._store.recheck_often(RecheckKind.INVENTORY, None, min([later, *soon]))

    def _ahead(self, thresholds: Sequence[int]) -> timedelta:
        return max(timedelta(days=max(thresholds, default=0)), self._plan_ahead)

    def _is_of_an_act(self, diagnosis: Diagnosis) -> bool:
        """Whether a cure that is under way, by certmedic or by a person, explains a diagnosis."""
        if is_half_cured(diagnosis, self._store.incidents(unresolved=True)):
            return True
        acts = [act for state in UNDER_WAY for act in self._store.acts(state=state)]
        return bool(acts) and is_of_an_act(diagnosis, self._store.incidents(unresolved=True), acts)
