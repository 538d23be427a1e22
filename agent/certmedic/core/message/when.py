"""When messages go out again after a failure, and when a forecast is over."""

from __future__ import annotations

from datetime import datetime, timedelta

from certmedic.core.model import Diagnosis, Facts
from certmedic.core.text import stamp

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=15)
KEEP_TRYING = timedelta(days=1)


def retry_at(attempts: int, now: datetime, created_at: datetime, *, key: str = "") -> datetime | None:
    """Return when to retry a channel that failed `attempts` times; None gives the message up, after a day.

    The wait starts at 5 s, doubles each time up to 15 min, and is up to a fifth longer, by `key`, so that retries spread out.
    """
    if now - created_at > KEEP_TRYING:
        return None
    pause = min(FIRST_PAUSE * int(2 ** min(attempts, 20)), LONGEST_PAUSE)
    return now + pause * (1 + (sum(key.encode()) + attempts) % 20 / 100)


def renewed(diagnosis: Diagnosis, facts: Facts) -> tuple[bool, str]:
    """Whether every certificate of a forecast was renewed; and a sentence on that."""
    renewals = []
    for before in diagnosis.certificates:
        now = next((leaf for leaf in facts.by_path.get(before.path, ()) if leaf.index == before.index), None)
        if now is None or now.not_after <= before.not_after:
            return False, f"{before.path} is not renewed yet"
        renewals.append(f"{before.path} was renewed and is valid until {stamp(now.not_after)}")
    return bool(renewals), "; ".join(renewals)
