"""The journal entries of many agents, brought to records: which incidents are open, what was cured, and what expires."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from certmedic.core.fleet.records import Cure, Expiry, Master, Records, Report

FIELDS = (
    "_HOSTNAME",
    "PRIORITY",
    "CERTMEDIC_EVENT",
    "CERTMEDIC_INCIDENT",
    "CERTMEDIC_CLUSTER",
    "CERTMEDIC_VERSION",
    "CERTMEDIC_MODE",
    "CERTMEDIC_CAUSE",
    "CERTMEDIC_SUSPECT",
    "CERTMEDIC_WHOSE",
    "CERTMEDIC_PLANE",
    "CERTMEDIC_GROUP",
    "CERTMEDIC_CERT",
    "CERTMEDIC_NOT_AFTER",
    "CERTMEDIC_EFFECT",
    "CERTMEDIC_COMMAND",
    "CERTMEDIC_OUTCOME",
)
SEVERITIES: Mapping[str, str] = {"2": "critical", "4": "warning", "6": "info"}  # by PRIORITY
OF_INCIDENTS = ("opened", "decided", "intent", "acted", "resolved", "escalated", "reminder")
NOTHING = "(nothing to type)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine whose journal is here, and the time of its last entry, whichever program wrote it."""

    name: str
    heard: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of an agent; `fields` has every name of `FIELDS`, with "" for a field that the entry lacks."""

    at: datetime
    fields: Mapping[str, str]


def records_of(hosts: Iterable[Host], entries: Iterable[Entry]) -> Records:
    """Return the records in entries of many agents, given in order of time."""
    heard = {host.name: host.heard for host in hosts}
    masters: dict[str, Master] = {}
    reports: dict[tuple[str, str], Report] = {}
    expiries: dict[tuple[str, str], Expiry] = {}
    acted: set[tuple[str, str]] = set()
    cures: list[Cure] = []
    for entry in entries:
        fields = entry.fields
        name, event = fields["_HOSTNAME"], fields["CERTMEDIC_EVENT"]
        masters[name] = _master(masters.get(name), name, heard.get(name), fields)
        if event not in OF_INCIDENTS:
            continue
        incident = (name, fields["CERTMEDIC_INCIDENT"])
        if event == "resolved":
            reports.pop(incident, None)
        else:
            reports[incident] = _report(entry, reports.get(incident))
        if event == "acted":
            acted.add(incident)
        elif event in ("resolved", "escalated") and incident in acted:
            acted.discard(incident)
            what = fields["CERTMEDIC_OUTCOME"] or fields["CERTMEDIC_CAUSE"]
            cures.append(Cure(cluster="", master=name, at=entry.at, what=what, verified=event == "resolved"))
        if (expiry := _expiry(name, fields)) is not None:
            if event == "resolved":
                expiries.pop((name, expiry.path), None)
            else:
                expiries[name, expiry.path] = expiry
    return Records(
        masters=tuple(masters.values()),
        expiries=tuple(replace(each, cluster=masters[each.master].cluster) for each in expiries.values()),
        reports=tuple(replace(each, cluster=masters[each.master].cluster) for each in reports.values()),
        cures=tuple(replace(each, cluster=masters[each.master].cluster) for each in cures),
    )


def _master(known: Master | None, name: str, heard: datetime | None, fields: Mapping[str, str]) -> Master:
    known = known or Master(cluster="", name=name, heard=heard)
    return replace(
        known,
        cluster=fields["CERTMEDIC_CLUSTER"] or known.cluster,
        version=fields["CERTMEDIC_VERSION"] or known.version,
        mode=fields["CERTMEDIC_MODE"] or known.mode,
    )


def _report(entry: Entry, known: Report | None) -> Report:
    """Return an incident after one more event. Its severity is that of its first entry: some events have their own priority."""
    fields = entry.fields
    command = fields["CERTMEDIC_COMMAND"]
    suspect = fields["CERTMEDIC_SUSPECT"]
    return Report(
        cluster="",
        master=fields["_HOSTNAME"],
        cause=fields["CERTMEDIC_CAUSE"],
        suspect=suspect,
        severity=SEVERITIES.get(fields["PRIORITY"], known.severity if known else "warning"),
        plane=fields["CERTMEDIC_PLANE"],
        group=fields["CERTMEDIC_GROUP"],
        culprit=fields["CERTMEDIC_WHOSE"] if suspect == "peer" else "",
        since=known.since if known else entry.at,
        text=fields["CERTMEDIC_EFFECT"],
        command="" if command == NOTHING else command,
    )


def _expiry(name: str, fields: Mapping[str, str]) -> Expiry | None:
    """Return the certificate of an incident; None if it is not a file of that machine."""
    try:
        end = datetime.fromisoformat(fields["CERTMEDIC_NOT_AFTER"])
    except ValueError:
        return None
    path = fields["CERTMEDIC_CERT"]
    if fields["CERTMEDIC_SUSPECT"] != "own" or not path.startswith("/"):
        return None
    return Expiry(
        cluster="",
        master=name,
        path=path,
        not_after=end if end.tzinfo else end.replace(tzinfo=UTC),
        plane=fields["CERTMEDIC_PLANE"],
    )
