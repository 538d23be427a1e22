"""One view of a fleet: each incident once, each cluster with its state, and the certificates that expire next."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from certmedic.core.fleet.records import Cure, Expiry, Master, Records, Report
from certmedic.core.message.words import WHAT

SILENT_AFTER = timedelta(hours=1)
SOON = timedelta(days=14)  # a certificate that nothing renews and that expires within it makes its cluster a warning
WEEKS = 13
URGENCY: Mapping[str, int] = {"critical": 0, "warning": 1, "info": 2}
PHRASES: Mapping[str, str] = {str(cause): text for cause, text in WHAT.items()}
RENEWERS = {  # the cure that a metric names -> what renews the certificate
    "restart": "a restart",
    "renew": "a command",
    "reissue": "a restart without the file",
    "manual": "a person",
}
NO_DATE = datetime.max.replace(tzinfo=UTC)


class State(StrEnum):
    """The state of a cluster, most urgent first."""

    CRITICAL = "critical"  # a critical incident is open, or a certificate has expired
    WARNING = "warning"  # another incident is open, or a certificate expires soon and nothing renews it
    SILENT = "silent"  # nothing is known to be wrong, but a master has gone silent
    GOOD = "good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One open incident, and every machine that reports it."""

    cluster: str
    culprit: str  # a machine, member or file; "" if nobody says
    cause: str
    severity: str
    plane: str
    group: str
    since: datetime | None
    reporters: tuple[str, ...]
    text: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One cluster at a glance."""

    name: str
    state: State
    masters: tuple[Master, ...]
    silent: tuple[str, ...]  # names of masters
    incidents: int
    next: Expiry | None  # the certificate that expires first


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """How many certificates expire in a week."""

    start: date | None  # its Monday; None: they have expired already
    count: int
    alone: int  # of these, the certificates that nothing renews by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All clusters at one moment, the most urgent one first."""

    at: datetime
    clusters: tuple[Cluster, ...]
    incidents: tuple[Incident, ...]
    expiries: tuple[Expiry, ...]
    weeks: tuple[Week, ...]  # the coming ones; empty if no certificate is known
    cures: tuple[Cure, ...]  # latest first

    @property
    def masters(self) -> int:
        """Number of masters."""
        return sum(len(cluster.masters) for cluster in self.clusters)

    @property
    def silent(self) -> tuple[Master, ...]:
        """The masters that have gone silent, the longest silence first."""
        gone = [m for cluster in self.clusters for m in cluster.masters if m.name in cluster.silent]
        return tuple(sorted(gone, key=lambda master: (master.heard or NO_DATE, master.cluster, master.name)))


def view(records: Records, now: datetime) -> Fleet:
    """Return the view of a fleet at a moment."""
    incidents = _incidents(records.reports)
    expiries = tuple(sorted(set(records.expiries), key=lambda e: (e.not_after, e.cluster, e.master, e.path)))
    return Fleet(
        at=now,
        clusters=_clusters(records, incidents, expiries, now),
        incidents=incidents,
        expiries=expiries,
        weeks=_weeks(expiries, now),
        cures=tuple(sorted(set(records.cures), key=lambda c: (-c.at.timestamp(), c.cluster, c.master, c.what))),
    )


def whose(incident: Incident) -> str:
    """Return whose certificate an incident is about: machine, plane and group, as far as they are known."""
    of = f"etcd {incident.group}" if incident.group else incident.plane
    return ": ".join(filter(None, (incident.culprit or "a machine that nobody names", of)))


def renewed(expiry: Expiry, now: datetime) -> str:
    """Return what renews a certificate, in words; "" if nobody knows."""
    return "itself, in time" if expiry.by_itself and expiry.not_after > now else RENEWERS.get(expiry.cure, expiry.cure)


def wrong(incident: Incident) -> str:
    """Return what is wrong, in a few words; a cause of a later certmedic as it is."""
    return PHRASES.get(incident.cause, incident.cause)


# ---------------------------------------------------------------- incidents


def _incidents(reports: Iterable[Report]) -> tuple[Incident, ...]:
    """Return each incident once: a machine that reports on itself speaks, and those that accuse it are only named."""
    ordered = sorted(reports, key=lambda r: (r.cluster, r.cause, r.master, r.culprit, r.plane, r.group))
    of_own: dict[tuple[str, ...], list[Report]] = defaultdict(list)
    for report in ordered:
        if report.suspect != "peer":
            of_own[report.cluster, report.cause, report.plane, report.group, report.master, report.culprit].append(
                report
            )
    own = list(of_own.values())
    accused: dict[tuple[str, ...], list[Report]] = defaultdict(list)
    for report in ordered:
        if report.suspect != "peer":
            continue
        if (known := _of(report, own)) is not None:
            known.append(report)
        else:
            accused[report.cluster, report.cause, report.plane, report.group, report.culprit].append(report)
    made = [_incident(each) for each in [*own, *accused.values()]]
    return tuple(
        sorted(made, key=lambda i: (URGENCY.get(i.severity, 3), i.since or NO_DATE, i.cluster, i.culprit, i.cause))
    )


def _of(report: Report, own: Sequence[list[Report]]) -> list[Report] | None:
    """Return the reports of the machine that this report accuses; None if no machine of the cluster reports such a fault on itself.

    The accusation may name a machine by an address that nobody else uses. Then it counts for the first that fits.
    """
    fitting = [
        each
        for each in own
        if (each[0].cluster, each[0].cause) == (report.cluster, report.cause)
        and (each[0].plane, each[0].group) == (report.plane, report.group)
    ]
    named = [each for each in fitting if report.culprit and report.culprit in (each[0].culprit, each[0].master)]
    return next(iter([*named, *fitting]), None)


def _incident(reports: Sequence[Report]) -> Incident:
    first = reports[0]
    return Incident(
        cluster=first.cluster,
        culprit=first.culprit or ("" if first.suspect == "peer" else first.master),
        cause=first.cause,
        severity=min((report.severity for report in reports), key=lambda severity: URGENCY.get(severity, 3)),
        plane=first.plane,
        group=first.group,
        since=min((report.since for report in reports if report.since is not None), default=None),
        reporters=tuple(dict.fromkeys(report.master for report in reports)),
        text=first.text,
        command=first.command,
    )


# ---------------------------------------------------------------- clusters


def _clusters(
    records: Records, incidents: Iterable[Incident], expiries: Iterable[Expiry], now: datetime
) -> tuple[Cluster, ...]:
    masters: dict[str, dict[str, Master]] = defaultdict(dict)
    for master in records.masters:
        known = masters[master.cluster].get(master.name)
        masters[master.cluster][master.name] = master if known is None else _later(known, master)
    for report in records.reports:  # a source of incidents alone does not list the masters
        masters[report.cluster].setdefault(report.master, Master(cluster=report.cluster, name=report.master))
    opened: dict[str, list[Incident]] = defaultdict(list)
    for incident in incidents:
        opened[incident.cluster].append(incident)
    first: dict[str, Expiry] = {}
    for expiry in expiries:
        first.setdefault(expiry.cluster, expiry)
    risk = _risks(expiries, now)
    made = []
    for name, those in masters.items():
        listed = tuple(sorted(those.values(), key=lambda master: master.name))
        silent = tuple(m.name for m in listed if m.heard is not None and now - m.heard > SILENT_AFTER)
        made.append(
            Cluster(
                name=name,
                state=_state(opened[name], risk.get(name), now, is_silent=bool(silent)),
                masters=listed,
                silent=silent,
                incidents=len(opened[name]),
                next=first.get(name),
            )
        )
    order = list(State)
    return tuple(
        sorted(made, key=lambda c: (order.index(c.state), c.next.not_after if c.next else NO_DATE, c.name)),
    )


def _later(first: Master, other: Master) -> Master:
    """Return one master from two records of it: that with the later sign of life."""
    times = [moment for moment in (first.heard, other.heard) if moment is not None]
    newer = other if other.heard is not None and other.heard == max(times) else first
    return replace(
        newer, version=newer.version or first.version or other.version, mode=newer.mode or first.mode or other.mode
    )


def _risks(expiries: Iterable[Expiry], now: datetime) -> dict[str, datetime]:
    """Return for each cluster when the first certificate expires of those that have expired or that nothing renews by itself."""
    risks: dict[str, datetime] = {}
    for expiry in expiries:
        if expiry.not_after <= now or not expiry.by_itself:
            risks.setdefault(expiry.cluster, expiry.not_after)
    return risks


def _state(incidents: Sequence[Incident], risk: datetime | None, now: datetime, *, is_silent: bool) -> State:
    severities = {incident.severity for incident in incidents}
    if "critical" in severities or (risk is not None and risk <= now):
        return State.CRITICAL
    if "warning" in severities or (risk is not None and risk - now <= SOON):
        return State.WARNING
    return State.SILENT if is_silent else State.GOOD


def _weeks(expiries: Sequence[Expiry], now: datetime) -> tuple[Week, ...]:
    """Return the coming weeks with the number of certificates that expire in each, and before them those that have expired."""
    if not expiries:
        return ()
    monday = now.date() - timedelta(days=now.weekday())
    counts: Counter[date | None] = Counter()
    alone: Counter[date | None] = Counter()
    for expiry in expiries:
        day = expiry.not_after.date()
        week = None if expiry.not_after <= now else day - timedelta(days=day.weekday())
        counts[week] += 1
        alone[week] += not expiry.by_itself
    starts = [monday + timedelta(weeks=number) for number in range(WEEKS)]
    gone: list[date | None] = [None] if counts[None] else []
    return tuple(Week(start=start, count=counts[start], alone=alone[start]) for start in [*gone, *starts])
