"""Diagnoses of faults on this machine: in a file, or only in the memory of a process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from certmedic.core import planes, remedies
from certmedic.core.diagnose.scene import Scene, of_etcd_manager
from certmedic.core.examine import Finding
from certmedic.core.model import Cause, Confidence, Diagnosis, Sighting, Stored, Suspect
from certmedic.core.text import stamp
from certmedic.core.verdict import verdict


def quote(sighting: Sighting) -> str:
    """Return the message of a line for a sentence of evidence, at most 240 characters."""
    return sighting.message if len(sighting.message) <= 240 else sighting.message[:237] + "..."


def own(findings: Sequence[Finding], scene: Scene, evidence: str) -> Diagnosis:
    """Return the diagnosis of findings in files of this machine; `evidence` is the sentence on the line."""
    base = verdict(findings, scene.facts)
    return replace(base, evidence=(evidence, *base.evidence))


def in_memory(scene: Scene, candidates: Sequence[Stored], why: str, *, provokable: bool = False) -> Diagnosis:
    """Return the diagnosis that all files are good and a process still uses a bad certificate."""
    group = scene.group or next((s.place.group for s in candidates if s.place.group), "")
    plane = next(
        (s.place.plane for s in candidates if s.place.plane),
        planes.KOPS.name if of_etcd_manager(scene.sighting) else "",
    )
    evidence = [quote(scene.sighting), why]
    if scene.sighting.not_after is not None:
        evidence.append(f"it expired {stamp(scene.sighting.not_after)}")
    return Diagnosis(
        key=f"own|{plane}/{group}|etcd-manager|{Cause.STALE_IN_MEMORY}",
        cause=Cause.STALE_IN_MEMORY,
        suspect=Suspect.OWN,
        confidence=Confidence.LIKELY,
        certificates=tuple(stored.certificate for stored in candidates),
        evidence=tuple(evidence),
        effect="The program on this machine that holds it is refused: etcd-manager can neither watch nor back up its etcd.",
        remedy=remedies.for_memory(plane, group, scene.facts),
        plane=plane,
        group=group,
        since=scene.sighting.not_after,
        provokable=provokable,
    )
