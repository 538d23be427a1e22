"""Which master reports a fault that members of an etcd group share: the one whose certificate expires first, for all of them.

A master knows the others by handshakes alone. Only a member that proves its certificate by the group's CA can make another one
wait: until the next reminder, since nobody can see whether an agent runs there. Where one answers no longer, nobody waits longer
than the kubelet may take to restart its etcd.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from certmedic.core import certificates
from certmedic.core.decision.quorum import good, of_group
from certmedic.core.decision.steady import silence_of
from certmedic.core.decision.urgency import acts
from certmedic.core.incident.circumstances import DAY, DEAD_AFTER, Circumstances
from certmedic.core.incident.effects import Effect, LookAgain, Note
from certmedic.core.incident.state import Incident, RecheckKind
from certmedic.core.model import Cause, Certificate, Decision, Diagnosis, Facts, Member, Suspect, WaitsFor
from certmedic.core.text import stamp

TOGETHER = timedelta(hours=1)  # certificates that expire within so long share one fault
AGAIN = timedelta(seconds=5)  # between two looks at the others, after this machine was fixed
SLOWER = 24  # a longer trouble is looked at less often: after a twenty-fourth of its time so far
NEW = timedelta(minutes=1)  # after the start of an agent; it finds older faults by then
LEFT = "left to another"  # the event of an incident that another master reports
LEADS = "reported for others"  # the event of an incident that this master reports for other members too
Rank = tuple[datetime, str]  # all masters see the same dates and names, so each knows which of them is the first


def is_shared(incident: Incident) -> bool:
    """Whether other members may have the same fault as this machine."""
    diagnosis = incident.diagnosis
    return diagnosis.suspect is Suspect.OWN and diagnosis.cause in (Cause.EXPIRED, Cause.CA_EXPIRED)


def left_to(incident: Incident, decision: Decision, facts: Facts, around: Circumstances, now: datetime) -> Note | None:
    """Return why another master reports this fault of the group; None if this one does.

    An agent that started after the expiry reports at once: it may be the only one, installed on one of three sick masters.
    """
    if incident.diagnosis.cause is Cause.EXPIRES_SOON:
        why = _forecast_left_to(incident, decision, facts, around, now)
        return Note(LEFT, why, once=True) if why else None
    before = _before(incident, facts)
    due = incident.opened_at + around.terms.remind_every * max(1, len(before))
    if not is_shared(incident) or now >= due:
        return None
    then = f"if this machine is not fixed by {stamp(due)}, it reports itself"
    if before and (LEFT in around.happened or (incident.diagnosis.since or now) > around.started_at):
        return Note(LEFT, f"{before[0][1]} reports the group; {then}", once=True)
    if LEFT not in around.happened:
        return None
    others = [member for member in of_group(facts.members, incident.diagnosis.group) if not member.is_self]
    if any(good(member, now) for member in others):
        # The last message of the one that was fixed named this one, unless certmedic fixes this one without a person.
        is_left = acts(decision) or not around.terms.may_act_on(incident)
    else:
        is_left = all(silence_of(member, facts) < DEAD_AFTER for member in others)
    return Note(LEFT, f"the group was reported; {then}", once=True) if is_left else None


def _forecast_left_to(
    incident: Incident, decision: Decision, facts: Facts, around: Circumstances, now: datetime
) -> str | None:
    """Return why another master warns of the expiry of the group; None if this one does, which is at the latest at the next reminder.

    An agent that finds the forecast at its start reports at once, as with a fault. So does one that needs an approval.
    """
    diagnosis, began = incident.diagnosis, incident.opened_at
    first = before[0][1] if (before := _before(incident, facts)) else ""
    is_left = LEFT in around.happened or (first and began > around.started_at + NEW)
    if not is_left or decision.waits_for is WaitsFor.APPROVAL:
        return None
    end = min(leaf.not_after for leaf in diagnosis.certificates)
    # When it expires, another incident replaces this one.
    half = began + (end - began) / 2 if end - began > DAY else end
    due = min(around.terms.thresholds(diagnosis.plane, [end], began), default=half)
    whom = f"{first} reports the group" if first else "the group was reported"
    return f"{whom}; if nothing is renewed here by {stamp(due)}, this machine reports itself" if now < due else None


def _before(incident: Incident, facts: Facts) -> list[Rank]:
    """Return the members that are to report before this one, the first of them first."""
    return sorted({other for other, mine in _fellows(incident.diagnosis, facts) if other < mine})


def fellows(incident: Incident, facts: Facts) -> str:
    """Return the names of the other members that have the same fault; "" if none is seen."""
    is_forecast = incident.diagnosis.cause is Cause.EXPIRES_SOON
    names = [name for (_, name), _ in _fellows(incident.diagnosis, facts)] if is_forecast or is_shared(incident) else []
    return ", ".join(sorted(names))


def awaits(incident: Incident, facts: Facts, around: Circumstances, now: datetime) -> list[Effect]:
    """Return the effects of a look at the others after this machine was fixed: the group's alert lasts until all are well.

    It lasts no longer than the others leave the report to this machine. Whoever does not answer may be restarting.
    """
    others = [member for member in of_group(facts.members, incident.diagnosis.group) if not member.is_self]
    if now >= incident.opened_at + around.terms.remind_every or (
        others and all(good(member, now) for member in others)
    ):
        return []
    followers = [member.name for member in others if member.verified and _follows(member, incident, now)]
    if not (LEADS in around.happened or followers):
        return []
    leads: list[Effect] = [Note(LEADS, ", ".join(sorted(followers)))] if LEADS not in around.happened else []
    again = max(AGAIN, (now - incident.opened_at) / SLOWER)
    return [*leads, LookAgain(RecheckKind.GROUP, now + again, often=True)]


def _follows(member: Member, incident: Incident, now: datetime) -> bool:
    """Whether a member has the fault that this machine had, and had it no earlier."""
    ends = [leaf.not_after for leaf in incident.diagnosis.certificates]
    shown = member.serves
    return (
        bool(ends)
        and shown is not None
        and shown.not_after < now
        and min(ends) <= shown.not_after <= min(ends) + TOGETHER
    )


def still_sick(incident: Incident, facts: Facts) -> str:
    """Return the names of the other members that still serve an expired certificate; "" if none is seen."""
    members = of_group(facts.members, incident.diagnosis.group) if is_shared(incident) else []
    names = [
        member.name
        for member in members
        if member.verified and not member.is_self and member.serves and member.serves.not_after < facts.at
    ]
    return ", ".join(sorted(names))


def _fellows(diagnosis: Diagnosis, facts: Facts) -> Iterator[tuple[Rank, Rank]]:
    """Yield the rank of each proven member that serves the same fault as this machine, beside this machine's rank."""
    members = of_group(facts.members, diagnosis.group)
    mine = [member for member in members if member.is_self]
    for me in mine if len(mine) == 1 else ():
        for member in members:
            if member.is_self or not member.verified:
                continue
            for own, other in ((me.serves, member.serves), (me.serves_clients, member.serves_clients)):
                if own is not None and other is not None and _is_same(diagnosis, own, other):
                    yield (other.not_after, member.name), (own.not_after, me.name)
                    break


def _is_same(diagnosis: Diagnosis, own: Certificate, other: Certificate) -> bool:
    if diagnosis.cause is Cause.CA_EXPIRED:
        cas = [leaf for leaf in diagnosis.certificates if leaf.is_ca]
        return any(certificates.issued_by(own, ca) and certificates.issued_by(other, ca) for ca in cas)
    faulty = {leaf.fingerprint for leaf in diagnosis.certificates}
    return own.fingerprint in faulty and abs(own.not_after - other.not_after) <= TOGETHER
