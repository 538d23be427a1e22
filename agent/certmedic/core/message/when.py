"""When messages go out: retries after a failure, and forecasts at their thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from certmedic.core.model import Diagnosis, Facts
from certmedic.core.text import stamp

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=15)
KEEP_TRYING = timedelta(days=1)


def retry_at(attempts: int, now: datetime, created_at: datetime, *, key: str = "") -> datetime | None:
    """Return when to retry a channel that failed `attempts` times; None gives the message up, after a day.

    5 s, doubled each time, at most 15 min; longer by up to a fifth, which `key` chooses, so that not all come at once.
    """
    if now - created_at > KEEP_TRYING:
        return None
    pause = min(FIRST_PAUSE * int(2 ** min(attempts, 20)), LONGEST_PAUSE)
    return now + pause * (1 + (sum(key.encode()) + attempts) % 20 / 100)


def forecast(diagnosis: Diagnosis, thresholds: Sequence[int], now: datetime) -> Diagnosis:
    """Return a forecast with the key of the threshold that it has passed: each threshold is one incident, reported once."""
    left = diagnosis.since - now if diagnosis.since else timedelta()
    under = min((days for days in thresholds if left <= timedelta(days=days)), default=max(thresholds, default=0))
    return replace(diagnosis, key=f"{diagnosis.key}|{under}")


def renewed(diagnosis: Diagnosis, facts: Facts) -> tuple[bool, str]:
    """Whether every certificate of a forecast was renewed, and what it is now."""
    renewals = []
    for before in diagnosis.certificates:
        now = next(
            (
                s.certificate
                for s in facts.stored
                if s.certificate.path == before.path and s.certificate.index == before.index
            ),
            None,
        )
        if now is None or now.not_after <= before.not_after:
            return False, f"{before.path} is not renewed yet"
        renewals.append(f"{before.path} was renewed and is valid until {stamp(now.not_after)}")
    return bool(renewals), "; ".join(renewals)
