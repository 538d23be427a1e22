"""Which master reports that the others refuse a member's certificate: the member itself, or after a while one of the others."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from certmedic.core.incident.circumstances import SILENT, Circumstances
from certmedic.core.incident.effects import Note
from certmedic.core.incident.state import Incident
from certmedic.core.model import MEMBER_ID, Diagnosis, Facts, Suspect
from certmedic.core.text import stamp

FIRST_AFTER = timedelta(minutes=10)  # of no answer, the first of the others reports it; a restart takes less
LAST_AFTER = timedelta(days=1)  # all report it, unless reminders are rarer: a master that answers may have no agent
CALM = timedelta(minutes=2)  # without a line: a member that answers has perhaps recovered


def rest_after(remind_every: timedelta) -> timedelta:
    """Return after how long the first of the others reports a member that answers, and the next if the first cannot be asked."""
    return max(remind_every, FIRST_AFTER)


def accuses(incident: Incident) -> bool:
    """Whether an incident is about the certificate of another member."""
    return incident.diagnosis.suspect is Suspect.PEER and bool(incident.diagnosis.neighbours)


def accused(diagnosis: Diagnosis, peers: frozenset[str], names: Mapping[str, str]) -> list[str]:
    """Return which of the `peers` a diagnosis is about. A line names one by its address, by address and port, by host or by id.

    `names` holds the name of each peer under its address, its host and its id.
    """
    members: list[str] = []
    for whom in diagnosis.neighbours:
        called = whom.removeprefix(MEMBER_ID).lstrip("0")
        host = called if called in peers or called in names else called.rpartition(":")[0].strip("[]")
        name = names.get(host)
        members += [peer for peer in sorted(peers) if peer == host or (name is not None and names.get(peer) == name)]
    return list(dict.fromkeys(members))


def leaves_it_to(incident: Incident, facts: Facts, around: Circumstances, now: datetime) -> Note | None:
    """Return why this master does not report a member yet; None if it does, or if no member is accused.

    The masters of a group know the same addresses, so that each knows without asking who is the first of them. A master that
    answers nowhere is passed over.
    """
    members = accused(incident.diagnosis, facts.peers, facts.names)
    by_id = [whom for whom in incident.diagnosis.neighbours if whom.startswith(MEMBER_ID)]  # a peer, whoever that is
    if not accuses(incident) or not (members or by_id):
        return None
    whom = min(members or by_id)
    mine = max(sorted(facts.addresses), key=lambda address: _alike(address, whom), default="")
    before = {_answers(peer, facts) for peer in facts.peers.difference(members) if peer <= mine}
    answers = _answers(whom, facts) if members else _all_answer(facts)
    if True in before:
        wait = max(around.terms.remind_every, LAST_AFTER)
    elif None in before or answers:
        wait = rest_after(around.terms.remind_every)
    else:
        wait = FIRST_AFTER
    member, due = facts.names.get(whom, whom), incident.opened_at + wait
    is_silent = False in {*before, answers}
    if is_silent:
        due = max(due, around.happened.get(SILENT, now) + FIRST_AFTER)
    if now < due:
        why = f"{member} reports itself; if it does not recover, this master reports it at {stamp(due)}"
        return Note(SILENT if is_silent else "not reported", why, once=True)
    if answers and now >= incident.last_seen + CALM:
        why = f"{member} was last refused at {stamp(incident.last_seen)}; this master reports it at the next failure"
        return Note("not reported", why, once=True)
    return None


def _answers(address: str, facts: Facts) -> bool | None:
    """Whether a member shakes hands at an address; None if it was not tried."""
    tried = [member for member in facts.members if member.dialled == address]
    return any(member.serves or member.serves_clients for member in tried) if tried else None


def _all_answer(facts: Facts) -> bool | None:
    """Whether all peers shake hands, so that one of which only the id is known does; None if some were not tried."""
    known = {_answers(peer, facts) for peer in facts.peers}
    return False if False in known else None if None in known or not known else True


def _alike(one_address: str, other: str) -> int:
    """Return with how many equal characters two addresses begin."""
    pairs = zip(one_address, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one_address), len(other)))
