"""An incident as an alert of Alertmanager: labels that identify it, and annotations for people.

Alertmanager identifies an alert by its labels, so no label holds a count, a time or text of strangers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from certmedic.core.incident.accusation import FIRST_AFTER, rest_after
from certmedic.core.incident.state import Incident, IncidentState
from certmedic.core.message.compose import compose
from certmedic.core.model import MessageKind, Severity, Silence, Suspect
from certmedic.core.text import cut

LASTS = timedelta(minutes=5)  # an alert that is not posted again by then counts as resolved
QUIET = timedelta(minutes=2)  # a member about which nothing more is logged is no longer accused
KEPT = timedelta(minutes=15)  # a resolved incident is posted for so long, since Alertmanager forgets it in a restart
FIXED = "CertmedicFixed"  # the alert that goes to nobody
OUTSIDE = "outside"  # the culprit is no member of this cluster
RUNBOOK = "https://pypi.org/project/certmedic/#a-fleet-through-alertmanager"
Labels = Mapping[str, str]


def is_posted(
    incident: Incident, silence: Silence | None, *, answering: Sequence[str], is_left: bool, now: datetime
) -> bool:
    """Whether an incident is an alert: one that was judged, and that was reported or is not silenced.

    A master that leaves the report to another one posts nothing either. `answering` are the peers that the incident is about, if
    they answered until the report. These are accused only as long as they are refused. One that does not answer is refused no more.
    """
    if incident.severity is Severity.INFO:
        return False
    if incident.diagnosis.suspect is Suspect.PEER:
        return incident.announced_at is not None and not (answering and now - incident.last_seen > QUIET)
    judged = incident.decision is not None and silence is None and not is_left
    return incident.announced_at is not None or judged


def answered(incident: Incident, remind_every: timedelta) -> bool:
    """Whether an accused member answered until the report; one that does not answer is reported earlier."""
    reported = incident.announced_at
    return reported is not None and reported - incident.opened_at >= rest_after(remind_every)


def labels_of(incident: Incident, *, cluster: str, host: str, address: str, members: Sequence[str]) -> dict[str, str]:
    """Return the labels. `address` is this machine's own as its peers see it, or "" if that is not known."""
    diagnosis = incident.diagnosis
    culprit = next(iter(members), OUTSIDE) if diagnosis.suspect is Suspect.PEER else address or host
    labels = {
        "alertname": "Certmedic" + "".join(word.capitalize() for word in diagnosis.cause.split("_")),
        "cluster": cluster,
        "instance": host,
        "plane": diagnosis.plane,
        "group": diagnosis.group,
        "culprit": culprit,
        "cause": str(diagnosis.cause),
        "suspect": str(diagnosis.suspect),
        "severity": str(incident.severity),
    }
    return {name: cut(value, 200) for name, value in labels.items() if value}


def annotations_of(incident: Incident, *, cluster: str, host: str, now: datetime, others: str = "") -> dict[str, str]:
    """Return the texts for people: those of a first message. `others` are the members that it is reported for too."""
    written = compose(
        MessageKind.OPENED,
        incident.diagnosis,
        incident=incident.id,
        host=host,
        cluster=cluster,
        now=now,
        decision=incident.decision,
        outcome=others,
        failed=incident.state is IncidentState.ESCALATED,
    )
    annotations = {
        "summary": written.title,
        "description": written.plain,
        "command": incident.diagnosis.remedy.command,
        "incident": str(incident.id),
        "runbook_url": RUNBOOK,
    }
    return {name: value for name, value in annotations.items() if value}


def alert(incident: Incident, labels: Labels, annotations: Labels, *, now: datetime) -> dict[str, Any]:
    """Return an alert as `POST /api/v2/alerts` takes it. A resolved incident ends when it was resolved."""
    ends = incident.resolved_at or now + LASTS
    # Alertmanager waits for the alerts of the same group only if an alert has just started.
    starts = incident.announced_at or incident.opened_at
    return {
        "labels": dict(labels),
        "annotations": dict(annotations),
        "startsAt": min(starts, ends).isoformat(),
        "endsAt": ends.isoformat(),
    }


def fixed(incident: Incident, labels: Labels) -> dict[str, Any] | None:
    """Return the alert that hides accusers of this machine after its fault is over; None if no accuser can have reported it.

    An accuser knows only later, by silence, that it is over. Until then its alert would be the only one left, and be notified.
    """
    over, is_own = incident.resolved_at, incident.diagnosis.suspect is Suspect.OWN
    if over is None or not is_own or over - incident.opened_at < FIRST_AFTER:
        return None
    return {
        "labels": {**labels, "alertname": FIXED, "severity": "none"},
        "startsAt": over.isoformat(),
        "endsAt": (over + KEPT + QUIET).isoformat(),
    }


def ended(labels: Labels, *, opened_at: datetime, at: datetime) -> dict[str, Any]:
    """Return the end of an alert whose incident now has other labels, e.g. another severity."""
    return {"labels": dict(labels), "startsAt": min(opened_at, at).isoformat(), "endsAt": at.isoformat()}
