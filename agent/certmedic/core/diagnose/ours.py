"""The other side refused ours: which certificate of this machine deserves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from certmedic.core import certificates, remedies
from certmedic.core.diagnose.owned import in_memory, own, quote
from certmedic.core.diagnose.scene import Scene, is_loopback, is_ours, of_etcd_manager, shown
from certmedic.core.examine import Finding, examine, names_of
from certmedic.core.model import Cause, Confidence, Diagnosis, Role, Stored, Suspect, Symptom
from certmedic.core.verdict import gravest

ALERTS = {
    Symptom.EXPIRED_ALERT: (Cause.EXPIRED, Cause.CA_EXPIRED, Cause.NOT_YET_VALID, Cause.CLOCK),
    Symptom.UNKNOWN_CA_ALERT: (Cause.UNKNOWN_AUTHORITY, Cause.CA_EXPIRED),
}


def refused_by_them(scene: Scene) -> Diagnosis:
    """The other side refused a certificate of ours: find the one that deserves it."""
    sighting, facts = scene.sighting, scene.facts
    candidates = shown(scene)
    allowed = ALERTS.get(sighting.symptom)
    findings = [found for stored in candidates if (found := examine(stored, facts)) is not None]
    fitting = [found for found in findings if allowed is None or found.cause in allowed] or findings
    said = f"a remote side refused this machine's certificate: {quote(sighting)}"
    if fitting:
        return replace(own(gravest(fitting), scene, said), neighbours=accusers(scene))
    lacking = unnamed(scene, candidates)
    if lacking:
        ours = own(gravest(lacking), scene, said)
        return replace(
            ours, neighbours=accusers(scene), provokable=scene.provokable and not is_advertised(lacking, scene)
        )
    stale = [
        seen
        for seen in facts.served
        if seen.certificate is not None
        and seen.certificate.not_after < facts.at
        and all(seen.certificate.fingerprint != stored.certificate.fingerprint for stored in facts.stored)
        and any(seen.port in stored.place.ports for stored in candidates)
    ]
    if stale:
        return in_memory(
            scene, candidates, f"{stale[0].address}:{stale[0].port} serves a certificate that is in no file here"
        )
    if (
        of_etcd_manager(sighting)
        and sighting.program == "etcd-manager"
        and sighting.role is Role.CLIENT
        and is_ours(scene)
    ):
        # It called its own etcd, and every file is good: it showed the certificate that is in no file.
        return in_memory(scene, candidates, "etcd-manager logged it itself, and every file here is good")
    return unproven(scene, candidates)


def accusers(scene: Scene) -> tuple[str, ...]:
    """Return the other member of the group that refused ours. Of strangers none counts: its clock proves nothing."""
    return (scene.sighting.remote_host,) if scene.by_member and not scene.from_here else ()


def is_advertised(lacking: Sequence[Finding], scene: Scene) -> bool:
    """Whether the missing name is certain without the caller's word: this machine advertises it, or the file holds no name at all."""
    server_name = scene.sighting.fields.get("server_name", "")
    if server_name in {host for _, host in scene.facts.called} | {m.address for m in scene.facts.members if m.is_self}:
        return True
    return any(not certificates.names(found.stored.certificate) for found in lacking)


def unnamed(scene: Scene, candidates: Sequence[Stored]) -> list[Finding]:
    """Return findings on certificates that hold none of the names that the other side can have called."""
    if scene.sighting.role is Role.CLIENT:
        return []
    name = scene.sighting.fields.get("server_name", "")
    if not name and scene.provokable and not scene.facts.called:
        # A stranger may dial any address. That the certificate lacks it is no fault of the certificate.
        candidates = [stored for stored in candidates if not certificates.names(stored.certificate)]
    names = {stored.certificate.path: [name] if name else called_by(stored, scene) for stored in candidates}
    lacking = [
        stored
        for stored in candidates
        if not certificates.names(stored.certificate)
        or (
            (wanted := names[stored.certificate.path])
            and not any(certificates.covers(stored.certificate, one) for one in wanted)
        )
    ]
    # The line does not say which port was called: where one certificate holds the name, it may be the one that was shown.
    sure = Confidence.LIKELY if len(lacking) == len(candidates) else Confidence.POSSIBLE
    return [
        Finding(
            stored=stored,
            culprit=stored.certificate,
            cause=Cause.NAME_MISMATCH,
            confidence=sure,
            said=f"{stored.certificate.path}: clients call {' or '.join(names[stored.certificate.path]) or 'an unknown name'}, but it holds {names_of(stored.certificate)}",
        )
        for stored in lacking
    ]


def called_by(stored: Stored, scene: Scene) -> list[str]:
    """Return how a certificate's owner is called where the line does not say: as etcd advertised, else by address.

    A caller that sends no name (an empty ServerName) has dialled an address.
    """
    if "server_name" not in scene.sighting.fields:
        return []
    called = scene.facts.called
    said = [host for use, host in called if use == stored.place.use] or [host for _, host in called]
    return said or sorted(address for address in scene.facts.addresses if not is_loopback(address))


def unproven(scene: Scene, candidates: Sequence[Stored]) -> Diagnosis:
    """Ours was refused, and nothing here explains it."""
    if candidates:
        cause, certs = Cause.DISTRUSTED, tuple(stored.certificate for stored in candidates)
        said = "all local checks pass: " + ", ".join(stored.certificate.path for stored in candidates)
    else:
        cause, certs, said = Cause.UNEXPLAINED, (), "no certificate of the program that logged this line is known here"
    return Diagnosis(
        key=f"{cause}|{scene.program}|{scene.group}",
        cause=cause,
        suspect=Suspect.UNKNOWN,
        confidence=Confidence.POSSIBLE,
        certificates=certs,
        evidence=(f"a remote side refused this machine's certificate: {quote(scene.sighting)}", said),
        effect="Whoever refuses it cannot connect. Anyone who can reach the port can cause such a line.",
        remedy=remedies.for_distrust(scene.sighting.remote_host),
        group=scene.group,
        neighbours=tuple(filter(None, (scene.sighting.remote_host,))),
    )
