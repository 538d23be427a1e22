"""From what a line says and what is on disk to whose certificate it is and what cures it.

The order of the questions (FIELD 4): who refused whom; does the time in the line belong to a file here; which of this
machine's certificates could the line be about, and is one of them bad by a check that can be made here; what does a
restart do to that file. A line without a certificate that explains it is never more than `possible`.
"""

from __future__ import annotations

from dataclasses import replace

from certmedic.core.diagnose.ours import refused_by_them
from certmedic.core.diagnose.scene import Scene, group_of, is_gateway
from certmedic.core.diagnose.theirs import refused_by_us
from certmedic.core.model import Diagnosis, Facts, Fold, RejectedBy, Symptom

__all__ = ["diagnose"]


def diagnose(fold: Fold, facts: Facts) -> Diagnosis | None:
    """Return what is behind equal lines, for the moment of the facts; None for noise that is known to be harmless."""
    scene = Scene(sighting=fold.sighting, facts=facts, group=group_of(fold.sighting.entry.origin))
    if is_noise(scene):
        return None
    found = refused_by_them(scene) if fold.sighting.rejected_by is RejectedBy.REMOTE else refused_by_us(scene)
    return replace(found, count=fold.count, first_seen=fold.first_seen, last_seen=fold.last_seen)


def is_noise(scene: Scene) -> bool:
    """Whether a line is known to be harmless: the old gateway's self-dial, and probes from this machine (FIELD 2.4, 3.3)."""
    sighting = scene.sighting
    if sighting.rejected_by is not RejectedBy.LOCAL or not scene.from_here:
        return False
    return sighting.symptom is Symptom.MISSING_CLIENT_CERT or (sighting.symptom is Symptom.USAGE and is_gateway(scene))
