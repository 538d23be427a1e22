"""We refused theirs: usually a neighbour's certificate, sometimes one of this machine's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from certmedic.core import remedies
from certmedic.core.diagnose.owned import in_memory, own, quote
from certmedic.core.diagnose.scene import (
    ETCD_PROGRAMS,
    Scene,
    called_here,
    door,
    in_group,
    is_gateway,
    is_ours,
    joined,
    of_etcd_manager,
    shown,
)
from certmedic.core.examine import Finding, authorities, examine, stamp
from certmedic.core.model import (
    Cause,
    Confidence,
    Diagnosis,
    Facts,
    FileFault,
    Place,
    Role,
    Sighting,
    Stored,
    Suspect,
    Symptom,
)
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
    served = called_here(scene)
    if served is not None:
        findings = [found for stored in served if (found := examine(stored, facts)) is not None]
        said = f"a program on this machine refused what is served here: {quote(sighting)}"
        return own(gravest(findings), scene, said) if findings else ours_unseen(scene)
    if sighting.suspect is Suspect.OWN or (expired and sighting.not_after is None and is_ours(scene)):
        findings = [found for stored in shown(replace_role(scene)) if (found := examine(stored, facts)) is not None]
        dated = [found for found in findings if found.cause in DATED]
        if dated or (findings and sighting.suspect is Suspect.OWN):
            said = f"this machine refused a certificate of its own: {quote(sighting)}"
            return own(gravest(dated or findings), scene, said)
    if sighting.symptom is Symptom.UNKNOWN_AUTHORITY and sighting.program in ETCD_PROGRAMS:
        strange = [found for stored in shown(replace_role(scene)) if (found := stranger(stored, facts)) is not None]
        if strange:
            said = f"this machine trusts another CA than the one that its own certificate comes from: {quote(sighting)}"
            return own(strange, scene, said)
        unusable = {stored.place.ca_path for stored in shown(replace_role(scene))} & {
            fault.path for fault in facts.faults
        }
        if unusable:
            return ours_unseen(scene, min(unusable))
    if expired and not by_time and is_ours(scene) and sighting.role is Role.SERVER and of_etcd_manager(sighting):
        if ended_before_start(scene):
            return self_dial(scene)
        # etcd-manager holds a client certificate that is in no file, and dials its own etcd with it (FIELD 1.1).
        said = "the caller is on this machine, and the certificate that it showed is in no file here: etcd-manager keeps such a one in memory"
        return in_memory(scene, shown(scene), said)
    # A caller from here that was refused for its usage is etcd's gateway, or else a client like any other.
    other = sighting.suspect is not Suspect.OWN or (sighting.symptom is Symptom.USAGE and not is_gateway(scene))
    return neighbour(scene) if other else ours_unseen(scene)


def stranger(stored: Stored, facts: Facts) -> Finding | None:
    """Return the finding that a CA file does not fit the leaf beside it, with the CA file as the culprit.

    The others, who share an authority, are refused here and trust this leaf or not: it is this machine's file that is another.
    """
    found = examine(stored, facts)
    if found is None or found.cause is not Cause.UNKNOWN_AUTHORITY:
        return None
    return replace(found, culprit=authorities(stored, facts)[0])


def ours_unseen(scene: Scene, path: str = "") -> Diagnosis:
    """The fault is this machine's, in the file at `path`, in one that the line names, or in one unknown: no check made here explains it."""
    sighting, facts = scene.sighting, scene.facts
    mismatch = sighting.rule == "own-key-mismatch"
    cause = Cause.KEY_MISMATCH if mismatch else PEER_CAUSES.get(sighting.symptom, Cause.UNEXPLAINED)
    named = sighting.fields.get("cert_file", "")
    loaded = being_loaded(scene, named) if mismatch else []
    unusable = unusable_files(scene, path or named)
    about = [f"{fault.path}: {fault.reason}: {fault.detail}" for fault in unusable]
    if loaded:
        where = "one of " * (len(loaded) > 1) + ", ".join(stored.certificate.path for stored in loaded)
        about.insert(0, f"as it started it was loading {where}")
    elif named:
        about.insert(0, f"it names {named}")
    did = (
        "found fault with a file of its own"
        if sighting.rule.startswith("own-")
        else "refused a certificate of this machine"
    )
    culprit = path or named or (unusable[0].path if len(unusable) == 1 else "")
    return Diagnosis(
        key=f"own|{sighting.program}|{scene.group}|{cause}",
        cause=cause,
        suspect=Suspect.OWN,
        confidence=Confidence.LIKELY,
        certificates=tuple(stored.certificate for stored in loaded),
        evidence=(
            f"{sighting.program or 'a program'} {did}: {quote(sighting)}",
            *(about or ["no file here explains it"]),
        ),
        effect="What uses that certificate fails.",
        remedy=remedies.for_own(cause, loaded, facts) if loaded else remedies.for_unseen(culprit),
        group=scene.group,
        since=sighting.not_after,
    )


def unusable_files(scene: Scene, path: str) -> list[FileFault]:
    """Return what is known of the file at `path`; where a program does not name the one that it cannot use, of those that it may mean."""
    faults = scene.facts.faults
    if path or scene.sighting.rule != "own-file-unusable":
        return [fault for fault in faults if fault.path == path]
    loaded = [fault for fault in faults if fault.path in scene.facts.used]
    return (loaded or list(faults))[:3]


def being_loaded(scene: Scene, path: str) -> list[Stored]:
    """Return the certificates that a program was loading as it failed: of etcd, those that its start-up lines had named by then.

    It names and loads what it shows to peers first, so where it has named that alone it is that.
    """
    leaves = [stored for stored in scene.facts.stored if not stored.certificate.is_ca]
    listener = re.search(r"creating (peer|client) listener", scene.sighting.said)
    said = set(scene.facts.used.values()) & {"peer", "server"}
    if listener:
        said = {"peer"} if listener[1] == "peer" else {"server"}
    named = [stored for stored in leaves if path and stored.certificate.path == path]
    return named or [stored for stored in leaves if stored.place.use in said and in_group(stored, scene.group)]


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
    anyone = cause is Cause.MISSING_CLIENT_CERT or sighting.program == "kube-apiserver" or scene.from_here
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
        remedy=remedies.for_neighbour(cause, "a program on this machine" if scene.from_here else " / ".join(whom)),
        group=scene.group,
        neighbours=whom,
        since=sighting.not_after,
    )


def neighbours_of(sighting: Sighting) -> tuple[str, ...]:
    """Return what a line tells of the other side: address or name; of an etcd's peer, its id where it tells nothing else."""
    told = tuple(dict.fromkeys(filter(None, (sighting.remote_host, door(sighting.fields.get("endpoint", ""))))))
    number = sighting.fields.get("remote_peer_id", "")
    return told or ((f"{remedies.MEMBER}{number}",) if number else ())
