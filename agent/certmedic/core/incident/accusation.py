"""Which master reports that the others refuse a member's certificate: the member itself, or after a while one of the others."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from certmedic.core.decision.steady import silence_of
from certmedic.core.incident.circumstances import DEAD_AFTER, SHARED, SILENT, Circumstances
from certmedic.core.incident.effects import Note
from certmedic.core.incident.group import is_shared
from certmedic.core.incident.state import Incident
from certmedic.core.model import MEMBER_ID, Diagnosis, Facts, Suspect
from certmedic.core.text import stamp

FIRST_AFTER = DEAD_AFTER  # the first of the others reports a dead member
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
    is dead is passed over.
    """
    members = accused(incident.diagnosis, facts.peers, facts.names)
    by_id = [whom for whom in incident.diagnosis.neighbours if whom.startswith(MEMBER_ID)]  # a peer, whoever that is
    if not accuses(incident) or not (members or by_id):
        return None
    whom = min(members or by_id, key=lambda member: (not _lives(_silence(member, facts)), member))
    mine = max(sorted(facts.addresses), key=lambda address: _alike(address, whom), default="")
    first = [_silence(peer, facts) for peer in facts.peers.difference(members) if peer <= mine]
    # Where only the id of a member is known, it answers if all do.
    asked = [_silence(peer, facts) for peer in ([whom] if members else facts.peers)]
    shares = SHARED in around.happened or _shares(incident, around)
    if any(map(_lives, first)):
        wait = max(around.terms.remind_every, LAST_AFTER)
    elif None in first or (asked and all(map(_lives, asked))) or shares:
        wait = rest_after(around.terms.remind_every)
    else:
        wait = FIRST_AFTER
    member, due = facts.names.get(whom, whom), incident.opened_at + wait
    if now < due:
        is_new = shares and SHARED not in around.happened
        why = f"{member} reports itself; if it does not recover, this master reports it at {stamp(due)}"
        return Note(SHARED if is_new else SILENT if any((*first, *asked)) else "not reported", why, once=True)
    if asked and not any(silence is None or silence for silence in asked) and now >= incident.last_seen + CALM:
        why = f"{member} was last refused at {stamp(incident.last_seen)}; this master reports it at the next failure"
        return Note("not reported", why, once=True)
    return None


def _shares(incident: Incident, around: Circumstances) -> bool:
    """Whether this machine has a fault that one member reports for its whole group, as far as the groups are known.

    Its own etcd may be down then, so that no other member is known and tried.
    """
    groups = {other.diagnosis.group for other in around.others if is_shared(other)}
    mine = incident.diagnosis.group
    return bool(groups) and (not mine or "" in groups or mine in groups)


def _silence(address: str, facts: Facts) -> timedelta | None:
    """Return for how long a member has not shaken hands at an address; 0 if it does, None if it was not tried."""
    tried = [member for member in facts.members if member.dialled == address]
    answers = any(member.serves or member.serves_clients for member in tried)
    return timedelta() if answers else min((silence_of(member, facts) for member in tried), default=None)


def _lives(silence: timedelta | None) -> bool:
    return silence is not None and silence < DEAD_AFTER


def _alike(one_address: str, other: str) -> int:
    """Return with how many equal characters two addresses begin."""
    pairs = zip(one_address, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one_address), len(other)))
