"""One turn of the loop: its items and due rechecks, the facts that they need, and the look at the machine that gathers them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from certmedic.core import diagnose as doctor
from certmedic.core.incident import UNDER_WAY, Act, Incident, IncidentState, RecheckKind, Terms, accuses, is_shared
from certmedic.core.model import (
    Cause,
    Facts,
    Fold,
    Item,
    Lease,
    Origin,
    Recheck,
    RemedyKind,
    Replaced,
    Sighting,
    Suspect,
    Trust,
    VoterList,
)
from certmedic.edge.source import UnseenError
from certmedic.edge.store import Store
from certmedic.intake import Intake, Taken
from certmedic.ports import Lock, Senses
from certmedic.tally import Tally

SHARED = timedelta(seconds=10)  # looks at incidents that are due within so long share one look at the machine
FACTS_FOR = timedelta(seconds=2)  # age up to which gathered facts serve new lines

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The facts that a turn needs."""

    at: datetime
    looks: bool = False  # at incidents or files, which need the facts of this moment
    learn: tuple[Origin, ...] = ()  # programs whose certificate files to look up; trusted origins only
    with_members: bool = False
    verifies: bool = False  # also what listeners serve to clients that send no SNI
    known_members: Mapping[str, VoterList] | None = None  # None: do not ask etcd who the members are
    leases: frozenset[str] = frozenset()  # etcd groups whose lease to take

    @property
    def plain(self) -> bool:
        """Whether recent facts suffice."""
        return not (self.with_members or self.verifies or self.leases or self.looks) and self.known_members is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """The probe's answer to a request."""

    facts: Facts | None  # None: the turn only verifies an action
    for_verification: Facts | None = None
    members: Mapping[str, VoterList] | None = None
    leases: Mapping[str, Lease] = field(default_factory=dict)


def renewing(acts: Iterable[Act]) -> tuple[Replaced, ...]:
    """Return what files held before the renewals of these actions, which no inventory may have seen yet."""
    return tuple(
        Replaced(path=path, serial="", authority_key_id="", not_after=before, fingerprint="", at=act.at)
        for act in acts
        if act.action.kind is RemedyKind.RENEW
        for path, before in act.action.watched
    )


def with_memory(looked: Looked, store: Store) -> Looked:
    """Return what the probe found, with the certificates that files held before."""
    old = (*store.replaced(), *renewing(act for state in UNDER_WAY for act in store.acts(state=state)))
    if not old:
        return looked
    seen = {name: facts for name in ("facts", "for_verification") if (facts := getattr(looked, name)) is not None}
    return replace(looked, **{name: replace(facts, replaced=old) for name, facts in seen.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A turn that has begun."""

    taken: Taken
    due: Sequence[Recheck]
    request: Request | None  # None: the turn needs no look at the machine
    began: datetime


class Turns:
    """Takes items, and finds out which facts a turn needs."""

    def __init__(self, store: Store, tally: Tally, terms: Terms, leases: Mapping[int, str], intake: Intake) -> None:
        self._store = store
        self._tally = tally
        self._terms = terms
        self._leases = leases  # incident -> etcd group whose lease it needs
        self._intake = intake

    def begin(self, waiting: Sequence[Item], now: datetime, facts: Facts | None) -> Turn:
        """Return the turn of the waiting items and due rechecks. Its request is None if `facts`, the latest, suffice."""
        taken = self._intake.take(waiting, now)
        new = taken.new
        due = self._store.due(now=now)
        if any(recheck.kind == RecheckKind.INCIDENT for recheck in due):
            soon = self._store.due(now=now + SHARED)
            now_due = set(due)
            due += [recheck for recheck in soon if recheck.kind == RecheckKind.INCIDENT and recheck not in now_due]
        request = self._request(list(new.values()), due, now)
        if request is not None and facts is not None and request.plain and timedelta() <= now - facts.at < FACTS_FOR:
            # An unexplained line needs newer facts: a volume may just have been mounted.
            first = [sighting for fold, sighting in new.items() if self._tally.is_new(fold)]
            if all(explains(facts, sighting) for sighting in first):
                request = None
        return Turn(taken=taken, due=due, request=request, began=now)

    def _request(self, lines: Sequence[Sighting], due: Sequence[Recheck], now: datetime) -> Request | None:
        kinds = {recheck.kind for recheck in due}
        looked_at = [
            incident
            for recheck in due
            if recheck.kind in (RecheckKind.ANNOUNCE, RecheckKind.INCIDENT, RecheckKind.RESUME, RecheckKind.GROUP)
            if (incident := incident_of(recheck, self._store)) is not None
        ]
        if not (lines or looked_at or kinds & {RecheckKind.INVENTORY, RecheckKind.VERIFY}):
            return None
        unreported = {recheck.incident for recheck in due if recheck.kind == RecheckKind.ANNOUNCE}
        asks_members = self._terms.policy.mode in ("approve", "remedy") and RecheckKind.INVENTORY in kinds
        return Request(
            at=now,
            looks=bool(looked_at) or RecheckKind.INVENTORY in kinds,
            learn=tuple(dict.fromkeys(new.entry.origin for new in lines if new.entry.origin.trust is Trust.SYSTEM)),
            # Which of the masters reports a member or a group depends on who answers.
            with_members=any(
                self._terms.may_act_on(incident)
                or is_shared(incident)
                or (incident.diagnosis.cause is Cause.EXPIRES_SOON and incident.id in unreported)
                or (
                    incident.announced_at is None
                    and (accuses(incident) or incident.diagnosis.cause is Cause.UNKNOWN_AUTHORITY)
                )
                for incident in looked_at
            ),
            verifies=RecheckKind.VERIFY in kinds,
            known_members=self._store.members() if asks_members else None,
            leases=frozenset(self._leases[incident.id] for incident in looked_at if incident.id in self._leases),
        )


def incident_of(recheck: Recheck, store: Store) -> Incident | None:
    """Return the incident of a recheck; None if there is none, or if it is resolved and nothing more is to be seen of it."""
    incident = None if recheck.incident is None else store.incident(recheck.incident)
    over = incident is not None and incident.state is IncidentState.RESOLVED
    return None if over and recheck.kind != RecheckKind.GROUP else incident


def explains(facts: Facts, sighting: Sighting) -> bool:
    """Whether facts explain a line: a fault of this machine by a certificate, which may have expired since the facts were gathered."""
    time = sighting.entry.time
    diagnosis = doctor.diagnose(Fold(sighting=sighting, count=1, first_seen=time, last_seen=time), facts)
    if diagnosis is None:
        return True
    is_unseen = diagnosis.suspect is Suspect.OWN and not diagnosis.certificates
    return diagnosis.cause is not Cause.UNEXPLAINED and not is_unseen


def look(request: Request, senses: Senses, lock: Lock | None) -> Iterator[Looked]:
    """Gather the facts that a turn needs, on the probe's thread; no facts while the reader does not answer."""
    try:
        yield _looked(request, senses, lock)
    except UnseenError as error:
        log.warning("the look at the machine was given up: %s", error)
        yield Looked(facts=None)


def _looked(request: Request, senses: Senses, lock: Lock | None) -> Looked:
    for origin in request.learn:
        senses.learn(origin)
    members = None if request.known_members is None else senses.meet(request.known_members)
    verified = senses.gather(now=request.at, nameless=True) if request.verifies else None
    facts = None
    if request.looks or request.learn or verified is None:
        facts = senses.gather(now=request.at, with_members=request.with_members)
    leases = {}
    if lock is not None and facts is not None:
        leases = {group: lock.take(group) for group in request.leases}
    changed = members if members != request.known_members else None
    return Looked(facts=facts, for_verification=verified, members=changed, leases=leases)
