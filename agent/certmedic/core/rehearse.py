"""Simulation: the order in which certificates expire if nobody renews them, and what the agent would report and do.

Only the date moves. The simulation renews nothing, so everything after the first fix is the worst case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certmedic.core.decision import History, Policy, decide
from certmedic.core.model import Cause, Decision, Diagnosis, Facts
from certmedic.core.verdict import survey


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One simulated event. A warning has no decision: it is only reported."""

    at: datetime
    diagnosis: Diagnosis
    decision: Decision | None = None


def rehearse(
    facts: Facts,
    until: datetime,
    *,
    policy: Policy,
    warn_days: Sequence[int],
    of_plane: Mapping[str, Sequence[int]] | None = None,
) -> tuple[Moment, ...]:
    """Return the events between `facts.at` and `until`, in order. `of_plane` overrides `warn_days` for single planes."""
    days_of = of_plane or {}
    every_day = sorted({*warn_days, *(days for those in days_of.values() for days in those)})
    ends = sorted({known.certificate.not_after for known in (*facts.stored, *facts.memory)})
    breaking = [facts.at, *(end + timedelta(seconds=1) for end in ends if facts.at <= end < until)]
    warning = [(end - timedelta(days=days), days) for end in ends for days in every_day]
    moments: list[Moment] = []
    reported: set[tuple[str, tuple[str, ...]]] = set()
    for at in breaking:
        then = replace(facts, at=at, served=())
        for diagnosis in survey(then, warn_within=timedelta()):
            mark = (diagnosis.key, tuple(c.path for c in diagnosis.certificates))
            # A certificate that expires in this second has not expired: its moment is the next one.
            if mark not in reported and diagnosis.cause is not Cause.EXPIRES_SOON:
                reported.add(mark)
                # Assume that the first failing line follows at once.
                seen = replace(diagnosis, count=1, first_seen=at, last_seen=at)
                decision = decide(seen, then, History(started_at=facts.at), policy)
                moments.append(Moment(at=at, diagnosis=diagnosis, decision=decision))
    for at, days in sorted(set(warning)):
        if facts.at < at <= until:
            then = replace(facts, at=at, served=())
            moments += [
                Moment(at=at, diagnosis=diagnosis)
                for diagnosis in survey(then, warn_within=timedelta(days=days))
                if diagnosis.cause is Cause.EXPIRES_SOON
                and diagnosis.since == at + timedelta(days=days)
                and days in days_of.get(diagnosis.plane, warn_days)
            ]
    return tuple(sorted(moments, key=lambda moment: (moment.at, moment.decision is None)))
