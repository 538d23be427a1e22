"""Which master reports that the others refuse a member's certificate: the member itself, or after a while one of the others."""

from __future__ import annotations

from datetime import datetime, timedelta

from certmedic.core.incident.state import Incident
from certmedic.core.model import Facts, Suspect
from certmedic.core.text import stamp

FIRST_AFTER = timedelta(minutes=10)  # the first of the others reports it, since the member is dead or cannot be asked
REST_AFTER = timedelta(hours=1)  # the first reports a member that answers; the next does if the first cannot be asked
LAST_AFTER = timedelta(days=1)  # all report it: a master that answers may have no agent


def accuses(incident: Incident) -> bool:
    """Whether an incident is about the certificate of another member."""
    return incident.diagnosis.suspect is Suspect.PEER and bool(incident.diagnosis.neighbours)


def leaves_it_to(incident: Incident, facts: Facts, now: datetime) -> str | None:
    """Return why this master does not report a member yet; None if it does, or if no member is accused.

    The masters of a group know the same addresses, so that each knows without asking who is the first of them. A master that
    answers nowhere is passed over.
    """
    accused = facts.peers.intersection(incident.diagnosis.neighbours)
    if not accuses(incident) or not accused:
        return None
    whom = min(accused)
    mine = max(sorted(facts.addresses), key=lambda address: _alike(address, whom), default="")
    before = {_answers(peer, facts) for peer in facts.peers - accused if peer <= mine}
    if True in before:
        wait = LAST_AFTER
    elif None in before or _answers(whom, facts):
        wait = REST_AFTER
    else:
        wait = FIRST_AFTER
    due = incident.opened_at + wait
    member = facts.names.get(whom, whom)
    return (
        f"{member} reports itself; if it does not recover, this master reports it at {stamp(due)}"
        if now < due
        else None
    )


def _answers(address: str, facts: Facts) -> bool | None:
    """Whether a member shakes hands at an address; None if it was not tried."""
    tried = [member for member in facts.members if member.dialled == address]
    return any(member.serves or member.serves_clients for member in tried) if tried else None


def _alike(one_address: str, other: str) -> int:
    """Return with how many equal characters two addresses begin."""
    pairs = zip(one_address, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one_address), len(other)))
