"""The diagnosis of equal lines: by the trust of their origin, then by who refused whom."""

from __future__ import annotations

from dataclasses import replace

from certmedic.core import remedies
from certmedic.core.diagnose.ours import refused_by_them
from certmedic.core.diagnose.owned import quote
from certmedic.core.diagnose.scene import Scene, group_of, is_gateway
from certmedic.core.diagnose.theirs import RULE_CRL_EXPIRED, crl_expired, refused_by_us
from certmedic.core.model import (
    Cause,
    Confidence,
    Diagnosis,
    Facts,
    Fold,
    LogEntry,
    RejectedBy,
    Sighting,
    Suspect,
    Symptom,
    Trust,
)
from certmedic.core.text import printable
from certmedic.core.verdict import trusted


def diagnose(fold: Fold, facts: Facts) -> Diagnosis | None:
    """Return the diagnosis of equal lines, for the moment of the facts; None for harmless noise."""
    sighting = fold.sighting
    trust = sighting.entry.origin.trust
    diagnosis = of_stranger(sighting) if trust is Trust.STRANGER else believed(sighting, trusted(facts))
    if diagnosis is None:
        return None
    return replace(diagnosis, trust=trust, count=fold.count, first_seen=fold.first_seen, last_seen=fold.last_seen)


def believed(sighting: Sighting, facts: Facts) -> Diagnosis | None:
    """Return the diagnosis of a line of a trusted origin; None for harmless noise."""
    scene = Scene(sighting=sighting, facts=facts, group=group_of(sighting.entry.origin))
    if is_noise(scene):
        return None
    if sighting.rule == RULE_CRL_EXPIRED:
        diagnosis = crl_expired(scene)
    else:
        diagnosis = refused_by_them(scene) if sighting.rejected_by is RejectedBy.REMOTE else refused_by_us(scene)
    if not diagnosis.provokable or diagnosis.confidence is Confidence.PROVEN:
        return replace(diagnosis, provokable=False)
    return replace(diagnosis, key=f"caller|{diagnosis.key}", confidence=Confidence.POSSIBLE)


def of_stranger(sighting: Sighting) -> Diagnosis:
    """Return the diagnosis of a stranger's line, for which no fact is looked up."""
    whose = origin_of(sighting.entry)
    return Diagnosis(
        key=f"stranger|{whose}",
        cause=Cause.UNEXPLAINED,
        suspect=Suspect.UNKNOWN,
        confidence=Confidence.POSSIBLE,
        certificates=(),
        evidence=(f"{whose} logged: {printable(quote(sighting))}",),
        effect="Nothing that certmedic can confirm: the line comes from an untrusted origin.",
        remedy=remedies.for_stranger(),
    )


def origin_of(entry: LogEntry) -> str:
    """Return the origin of a line in words that its writer cannot choose: pod, container, file, uid or stream."""
    origin = entry.origin
    if origin.namespace or origin.pod:
        name = f"pod {origin.namespace}/{origin.pod}"
    elif origin.container:
        name = f"container {origin.container}"
    elif origin.path:
        name = f"file {origin.path}"
    elif origin.uid is not None:
        name = f"uid {origin.uid}"
    else:
        name = entry.stream
    return printable(name)


def is_noise(scene: Scene) -> bool:
    """Whether a line is harmless: a call of etcd's old gateway to itself, or a probe from this machine."""
    sighting = scene.sighting
    if sighting.rejected_by is not RejectedBy.LOCAL or not scene.from_here:
        return False
    return sighting.symptom is Symptom.MISSING_CLIENT_CERT or (sighting.symptom is Symptom.USAGE and is_gateway(scene))
