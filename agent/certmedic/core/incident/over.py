"""The end of an incident."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from certmedic.core import verify
from certmedic.core.incident.effects import Effect, Journal, JudgeAgain, LookAgain, Note, Resolve, Tell
from certmedic.core.incident.group import is_shared
from certmedic.core.incident.state import UNDER_WAY, Act, Incident, IncidentState, RecheckKind
from certmedic.core.model import Cause, Confidence, Diagnosis, MessageKind, Suspect, Trust


def resolved(
    incident: Incident, reason: str, now: datetime, *, warned: Iterable[Incident] = (), sick: str = ""
) -> list[Effect]:
    """Return the effects of the end of an incident. `reason` is a sentence that says what ended it.

    `warned` are the reported forecasts that it replaced. If it ends before its report, people hear of the end of these.
    `sick` names the other members of the group that still have the fault.
    """
    reported = incident.announced_at is not None
    tell: list[Effect] = [Tell(MessageKind.RESOLVED, reason, sick=sick)] if reported else []
    if not reported:
        tell = [Tell(MessageKind.RESOLVED, reason, about=forecast) for forecast in warned]
    group: list[Effect] = [LookAgain(RecheckKind.GROUP, now)] if reported and is_shared(incident) else []
    known = f"{reason}; not yet on {sick}" if sick else reason
    return [Note("resolved", known), Journal(MessageKind.RESOLVED, known), *tell, Resolve(), *group, JudgeAgain()]


def superseded(incident: Incident, others: Iterable[Incident]) -> list[Incident]:
    """Return the forecasts that a new incident replaces: its message includes theirs."""
    diagnosis = incident.diagnosis
    if diagnosis.confidence is not Confidence.PROVEN or diagnosis.trust is not Trust.SYSTEM:
        return []
    files = set(verify.files_of(diagnosis))
    return [
        other
        for other in others
        if other.diagnosis.cause is Cause.EXPIRES_SOON
        and other.id != incident.id
        and files & set(verify.files_of(other.diagnosis))
    ]


def warned_of(incident: Incident, recent: Iterable[Incident]) -> list[Incident]:
    """Return the reported forecasts that an incident replaced. `recent` ended no earlier than it began."""
    return superseded(incident, [o for o in recent if o.state is IncidentState.RESOLVED and o.announced_at is not None])


def is_half_cured(diagnosis: Diagnosis, incidents: Iterable[Incident]) -> bool:
    """Whether programs hold what the files of an open incident held before: that one ends only with their restart, and tells it already."""
    files = set(verify.files_of(diagnosis))
    if diagnosis.cause is not Cause.STALE_IN_MEMORY or not files:
        return False
    return any(
        incident.diagnosis.cause is Cause.EXPIRED
        and incident.diagnosis.suspect is Suspect.OWN
        and not incident.diagnosis.is_unused
        and files <= set(verify.files_of(incident.diagnosis))
        for incident in incidents
    )


def is_of_an_act(diagnosis: Diagnosis, incidents: Iterable[Incident], acts: Iterable[Act]) -> bool:
    """Whether an action that is under way on the same group explains a diagnosis. If the fault lasts, it is found again afterwards.

    Programs miss a file that was moved aside until it is reissued. A file that was read before it was reissued looks unused.
    """
    missed = diagnosis.suspect is Suspect.OWN and diagnosis.cause is Cause.UNEXPLAINED
    if not (missed or diagnosis.is_unused):
        return False
    acting = {act.incident for act in acts if act.state in UNDER_WAY}
    return any(
        incident.diagnosis.group == diagnosis.group
        and (missed or set(verify.files_of(diagnosis)) <= set(verify.files_of(incident.diagnosis)))
        for incident in incidents
        if incident.id in acting
    )
