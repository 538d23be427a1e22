"""Which master reports that the others refuse a member's certificate: the member itself, or after a while one of the others."""

from __future__ import annotations

from datetime import datetime, timedelta

from certmedic.core.incident.state import Incident
from certmedic.core.model import Facts, Suspect
from certmedic.core.text import stamp

FIRST_AFTER = timedelta(minutes=10)  # the first of the others reports it, since the member may be dead
REST_AFTER = timedelta(hours=1)  # the rest report it, since the first may be dead too


def leaves_it_to(incident: Incident, facts: Facts, now: datetime) -> str | None:
    """Return why this master does not report a member yet; None if it does, or if no member is accused.

    The masters of a group know the same addresses, so that each knows without asking who is the first of them.
    """
    accused = facts.peers.intersection(incident.diagnosis.neighbours)
    if incident.diagnosis.suspect is not Suspect.PEER or not accused:
        return None
    whom = min(accused)
    mine = max(sorted(facts.addresses), key=lambda address: _alike(address, whom), default="")
    is_first = all(mine < peer for peer in facts.peers - accused)
    due = incident.opened_at + (FIRST_AFTER if is_first else REST_AFTER)
    return (
        f"{whom} reports itself; if it does not recover, this master reports it at {stamp(due)}" if now < due else None
    )


def _alike(one_address: str, other: str) -> int:
    """Return with how many equal characters two addresses begin."""
    pairs = zip(one_address, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one_address), len(other)))
