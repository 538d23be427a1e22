"""We refused theirs: usually a neighbour's certificate, sometimes one of this machine's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from certmedic.core import remedies
from certmedic.core.diagnose.owned import in_memory, own, quote
from certmedic.core.diagnose.scene import Scene, is_ours, joined, of_etcd_manager, shown
from certmedic.core.examine import examine, stamp
from certmedic.core.model import Cause, Confidence, Diagnosis, Place, Role, Sighting, Stored, Suspect, Symptom
from certmedic.core.verdict import gravest

DATED = (Cause.EXPIRED, Cause.CA_EXPIRED, Cause.NOT_YET_VALID, Cause.CLOCK)
PEER_CAUSES = {
    Symptom.EXPIRED: Cause.EXPIRED,
    Symptom.EXPIRED_OR_NOT_YET_VALID: Cause.EXPIRED,
    Symptom.EXPIRED_ALERT: Cause.EXPIRED,
    Symptom.NOT_YET_VALID: Cause.NOT_YET_VALID,
    Symptom.UNKNOWN_AUTHORITY: Cause.UNKNOWN_AUTHORITY,
    Symptom.UNKNOWN_CA_ALERT: Cause.UNKNOWN_AUTHORITY,
    Symptom.NAME_MISMATCH: Cause.NAME_MISMATCH,
    Symptom.MISSING_CLIENT_CERT: Cause.MISSING_CLIENT_CERT,
    Symptom.REVOKED: Cause.REVOKED,
    Symptom.USAGE: Cause.USAGE,
}


def refused_by_us(scene: Scene) -> Diagnosis:
    """The logging process refused a certificate: usually a neighbour's, sometimes one of this machine's own."""
    sighting, facts = scene.sighting, scene.facts
    by_time = joined(sighting.not_after, facts, scene.group)
    expired = sighting.symptom in (Symptom.EXPIRED, Symptom.EXPIRED_OR_NOT_YET_VALID)
    explained = explained_by_time(by_time, scene)
    if explained is not None:
        return explained
    if sighting.suspect is Suspect.OWN or (expired and sighting.not_after is None and is_ours(scene)):
        findings = [found for stored in shown(replace_role(scene)) if (found := examine(stored, facts)) is not None]
        dated = [found for found in findings if found.cause in DATED]
        if dated or (findings and sighting.suspect is Suspect.OWN):
            said = f"this machine refused a certificate of its own: {quote(sighting)}"
            return own(gravest(dated or findings), scene, said)
    if expired and not by_time and is_ours(scene) and sighting.role is Role.SERVER and of_etcd_manager(sighting):
        if ended_before_start(scene):
            return self_dial(scene)
        # etcd-manager holds a client certificate that is in no file, and dials its own etcd with it (FIELD 1.1).
        said = "the caller is on this machine, and the certificate that it showed is in no file here: etcd-manager keeps such a one in memory"
        return in_memory(scene, shown(scene), said)
    return ours_unseen(scene) if sighting.suspect is Suspect.OWN else neighbour(scene)


def ours_unseen(scene: Scene) -> Diagnosis:
    """The line itself says that the certificate is this machine's; which file it is in was not found."""
    sighting = scene.sighting
    cause = PEER_CAUSES.get(sighting.symptom, Cause.UNEXPLAINED)
    path = sighting.fields.get("path", "")
    program = sighting.program or "a program"
    return Diagnosis(
        key=f"own|{sighting.program}|{scene.group}|{cause}",
        cause=cause,
        suspect=Suspect.OWN,
        confidence=Confidence.LIKELY,
        certificates=(),
        evidence=(
            f"{program} refused a certificate of this machine: {quote(sighting)}",
            f"it names {path}" if path else "no file here explains it",
        ),
        effect="What uses that certificate fails.",
        remedy=remedies.for_unseen(path),
        group=scene.group,
        since=sighting.not_after,
    )


def explained_by_time(by_time: Sequence[Stored], scene: Scene) -> Diagnosis | None:
    """Return the diagnosis of the file whose NotAfter the line states: a leaf that was shown from here, or a CA."""
    for stored in by_time:
        found = examine(stored, scene.facts)
        if found is not None and (stored.certificate.is_ca or is_ours(scene)):
            return own(
                [found], scene, f"the time in the line is the NotAfter of {stored.certificate.path}, to the second"
            )
    return None


def ended_before_start(scene: Scene) -> bool:
    """Whether the certificate had ended when the program began: then it is none that the program made for itself."""
    ends, origin = scene.sighting.not_after, scene.sighting.entry.origin
    began = [origin.started_at, *(c.started_at for c in scene.facts.containers if c.id == origin.container_id)]
    return ends is not None and any(start is not None and ends < start for start in began)


def self_dial(scene: Scene) -> Diagnosis:
    """Judge a refusal of etcd's own gateway, which dials its client port with the server certificate (FIELD 3.3)."""
    ends = scene.sighting.not_after
    files = [path for path, use in scene.facts.used.items() if use == "server"]
    evidence = [
        f"etcd refused a caller on this machine: {quote(scene.sighting)}",
        "its gateway dials its own port with the server certificate, and etcd-manager's own certificates are younger than that",
        f"etcd said at its start that this is {files[0]}; it could not be read here"
        if files
        else "which file that is, its start-up lines say",
    ]
    place = Place(plane="kops", group=scene.group, use="server", renewer="etcd-manager")
    return Diagnosis(
        key=f"own|kops/{scene.group}|etcd-manager|{Cause.EXPIRED}",
        cause=Cause.EXPIRED,
        suspect=Suspect.OWN,
        confidence=Confidence.LIKELY,
        certificates=(),
        evidence=tuple(evidence),
        effect=remedies.effect_of(Cause.EXPIRED, [place]),
        remedy=remedies.for_place(place, scene.facts),
        plane="kops",
        group=scene.group,
        since=ends,
    )


def replace_role(scene: Scene) -> Scene:
    """The same scene asked from the other end, for a process that refused its own machine's certificate."""
    other = Role.CLIENT if scene.sighting.role is Role.SERVER else Role.SERVER
    return replace(
        scene, sighting=replace(scene.sighting, role=other if scene.sighting.program != "etcd" else Role.UNKNOWN)
    )


def neighbour(scene: Scene) -> Diagnosis:
    """The fault is on the other side."""
    sighting = scene.sighting
    cause = PEER_CAUSES.get(sighting.symptom, Cause.UNEXPLAINED)
    if sighting.not_before is not None and sighting.symptom is Symptom.EXPIRED_OR_NOT_YET_VALID:
        cause = Cause.NOT_YET_VALID
    whom = neighbours_of(sighting)
    where = f"{sighting.program or 'the program that logged it'} refused the certificate of {' / '.join(whom) or 'the other side'}"
    evidence = [f"{where}: {quote(sighting)}"]
    if sighting.not_after is not None:
        here = joined(sighting.not_after, scene.facts, scene.group)
        owner = (
            "though a file here has the same date, it was shown from elsewhere"
            if here
            else "no certificate file here has that date"
        )
        evidence.append(f"that certificate expired {stamp(sighting.not_after)}; {owner}")
    if cause is Cause.NOT_YET_VALID and scene.facts.clock_synchronised is False:
        evidence.append("this machine's clock is not synchronised: look at the clock first")
    anyone = cause is Cause.MISSING_CLIENT_CERT or sighting.program == "kube-apiserver"
    return Diagnosis(
        key=f"peer|{sighting.program}|{scene.group}|{cause}",
        cause=cause,
        suspect=Suspect.PEER,
        confidence=Confidence.LIKELY if whom else Confidence.POSSIBLE,
        certificates=(),
        evidence=tuple(evidence),
        effect="This master is not at fault. "
        + (
            "That client is refused." if anyone else "That neighbour is cut off from the group until it is cured there."
        ),
        remedy=remedies.for_neighbour(cause, " / ".join(whom)),
        group=scene.group,
        neighbours=whom,
        since=sighting.not_after,
    )


def neighbours_of(sighting: Sighting) -> tuple[str, ...]:
    """Return what a line tells of the other side: address, name or member id."""
    told = (sighting.remote_host, sighting.fields.get("endpoint", ""), sighting.fields.get("remote_peer_id", ""))
    return tuple(dict.fromkeys(filter(None, told)))
