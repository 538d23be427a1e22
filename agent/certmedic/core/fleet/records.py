"""Records of a fleet, as Prometheus, Alertmanager or a journal has them. Every text in them is foreign."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Master:
    """One machine with an agent."""

    cluster: str  # "" if the cluster has no name
    name: str
    heard: datetime | None = None  # last sign of life; None: the source does not know
    version: str = ""
    mode: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """One certificate on one machine."""

    cluster: str
    master: str
    path: str
    not_after: datetime
    plane: str = ""
    use: str = ""
    cure: str = ""  # restart, renew, ...; "" if the source does not know
    by_itself: bool = False  # whether something renews it before it expires


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An open incident as one machine reports it."""

    cluster: str
    master: str  # the machine that reports
    cause: str
    suspect: str  # "own" | "peer" | ..., from the view of that machine
    severity: str
    plane: str = ""
    group: str = ""
    culprit: str = ""  # whose certificate it is, as far as the source says; "" if it does not
    since: datetime | None = None
    text: str = ""  # what happened, in a sentence
    command: str = ""  # what to type


@dataclass(frozen=True, slots=True, kw_only=True)
class Cure:
    """An action of an agent that has ended."""

    cluster: str
    master: str
    at: datetime
    what: str
    verified: bool  # False: it failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """All that a source has on a fleet."""

    masters: tuple[Master, ...] = ()
    expiries: tuple[Expiry, ...] = ()
    reports: tuple[Report, ...] = ()
    cures: tuple[Cure, ...] = ()


def joined(records: Iterable[Records]) -> Records:
    """Return the records of several sources as one."""
    each = tuple(records)
    return Records(
        masters=tuple(master for source in each for master in source.masters),
        expiries=tuple(expiry for source in each for expiry in source.expiries),
        reports=tuple(report for source in each for report in source.reports),
        cures=tuple(cure for source in each for cure in source.cures),
    )
