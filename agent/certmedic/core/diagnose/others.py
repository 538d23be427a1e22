"""The other side is at fault: another member, a program on this machine, or someone outside of the cluster."""

from __future__ import annotations

from dataclasses import replace

from certmedic.core import clocks, remedies
from certmedic.core.diagnose.owned import quote
from certmedic.core.diagnose.scene import ETCD_PROGRAMS, Scene, door, host_and_port, is_here, joined
from certmedic.core.diagnose.whose import calls_api, is_of_cluster
from certmedic.core.model import MEMBER_ID, Cause, Confidence, Diagnosis, Facts, Role, Sighting, Suspect, Symptom
from certmedic.core.text import stamp

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


def local_caller(scene: Scene) -> Diagnosis:
    """Return the diagnosis that the other side is a program on this machine, of whose files none has that fault."""
    diagnosis = neighbour(scene)
    return replace(
        diagnosis,
        key=diagnosis.key.replace("peer|", "own|here|", 1),
        suspect=Suspect.OWN,
        neighbours=(),
        whom="",
        effect="A program on this machine cannot connect to another one here.",
    )


def neighbour(scene: Scene) -> Diagnosis:
    """Return the diagnosis that the fault is on the other side: another member, or someone outside of the cluster."""
    sighting = scene.sighting
    suspect = Suspect.PEER if is_here(scene) or is_of_cluster(scene) else Suspect.OUTSIDE
    cause = PEER_CAUSES.get(sighting.symptom, Cause.UNEXPLAINED)
    if sighting.not_before is not None and sighting.symptom is Symptom.EXPIRED_OR_NOT_YET_VALID:
        cause = Cause.NOT_YET_VALID
    whom = neighbours_of(sighting)
    known = name_of(sighting, scene.facts) if suspect is Suspect.PEER else ""
    is_called = sighting.role is Role.CLIENT and bool(sighting.fields.get("endpoint", ""))
    where = f"{sighting.program or 'the program that logged it'} refused the certificate of {' / '.join(whom) or 'the other side'}"
    evidence = [f"{where}: {quote(sighting)}"]
    if sighting.not_after is not None:
        here = joined(sighting.not_after, scene.facts, scene.group)
        owner = (
            "a file here has the same date, but the certificate came from elsewhere"
            if here
            else "no file here has that date"
        )
        evidence.append(f"that certificate expired {stamp(sighting.not_after)}; {owner}")
    if cause is Cause.NOT_YET_VALID and sighting.not_before is not None:
        evidence.append(clocks.behind(sighting.not_before, scene.facts.at))
    if cause is Cause.NOT_YET_VALID:
        evidence += clocks.witnesses(scene.facts)
    is_peer = suspect is Suspect.PEER and sighting.program in ETCD_PROGRAMS and cause is not Cause.MISSING_CLIENT_CERT
    is_peer = is_peer and not calls_api(sighting, scene.facts)
    if suspect is Suspect.OUTSIDE:
        evidence += described(sighting)
    return Diagnosis(
        key=f"{suspect}|{scene.program}|{scene.group}|{cause}",
        cause=cause,
        suspect=suspect,
        confidence=Confidence.LIKELY if whom else Confidence.POSSIBLE,
        certificates=(),
        evidence=tuple(evidence),
        effect=f"{known or ' / '.join(whom) or 'That member'} is cut off from the etcd cluster until its certificate is fixed."
        if is_peer and not scene.provokable
        else "That client or server cannot connect here.",
        remedy=remedies.for_peer(
            cause,
            "a program on this machine" if is_here(scene) and not is_called else known or " / ".join(whom),
            is_here=is_here(scene),
            is_called=is_called,
            is_member_id=bool(whom) and not known and not (sighting.remote_host or sighting.fields.get("endpoint", "")),
        ),
        group=scene.group,
        neighbours=whom,
        whom=known,
        since=sighting.not_after,
        provokable=scene.provokable,
    )


def described(sighting: Sighting) -> list[str]:
    """Return what a line states of a certificate that is not of this cluster's members: serial and issuer."""
    named = (("serial", "serial"), ("issuer", "issuer"), ("subject", "subject"), ("akid", "key id of its issuer"))
    stated = [f"{what} {sighting.fields[field]}" for field, what in named if sighting.fields.get(field)]
    return [f"it has {', '.join(stated)}"] if stated else []


def neighbours_of(sighting: Sighting) -> tuple[str, ...]:
    """Return the other side by address or name, or an etcd peer by its id."""
    hosts = tuple(dict.fromkeys(filter(None, (sighting.remote_host, door(sighting.fields.get("endpoint", ""))))))
    number = sighting.fields.get("remote_peer_id", "")
    return hosts or ((f"{MEMBER_ID}{number}",) if number else ())


def name_of(sighting: Sighting, facts: Facts) -> str:
    """Return a member as people call it, by its name and address; "" if its name is not known."""
    for called in filter(None, (sighting.remote_host, sighting.fields.get("endpoint", ""))):
        host = host_and_port(called)[0] if called != sighting.remote_host else called
        if host in facts.names:
            return facts.names[host] if facts.names[host] == host else f"{facts.names[host]} at {host}"
    return facts.names.get(sighting.fields.get("remote_peer_id", "").lstrip("0"), "")
