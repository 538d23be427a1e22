"""The other side refused a certificate of this machine: which of them has a fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from certmedic.core import certificates, clocks, remedies
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
    """Return the diagnosis of a line that says that the other side refused our certificate."""
    sighting, facts = scene.sighting, scene.facts
    candidates = shown(scene)
    allowed = ALERTS.get(sighting.symptom)
    findings = [finding for stored in candidates if (finding := examine(stored, facts)) is not None]
    fitting = [finding for finding in findings if allowed is None or finding.cause in allowed] or findings
    evidence = f"a remote side refused this machine's certificate: {quote(sighting)}"
    if fitting:
        return replace(own(gravest(fitting), scene, evidence), neighbours=accusers(scene))
    lacking = unnamed(scene, candidates)
    if lacking:
        ours = own(gravest(lacking), scene, evidence)
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
        # etcd-manager called its etcd and every file is good, so it sent the certificate that is in no file.
        return in_memory(scene, candidates, "etcd-manager logged it itself, and every file here is good")
    return unproven(scene, candidates)


def accusers(scene: Scene) -> tuple[str, ...]:
    """Return the group member that refused our certificate. The refusal of a stranger proves nothing: its clock may be wrong."""
    return (scene.sighting.remote_host,) if scene.by_member and not scene.from_here else ()


def is_advertised(lacking: Sequence[Finding], scene: Scene) -> bool:
    """Whether the fault is certain without the caller: this machine advertises the name, or a certificate holds no name."""
    server_name = scene.sighting.fields.get("server_name", "")
    if server_name in {host for _, host in scene.facts.called} | {m.address for m in scene.facts.members if m.is_self}:
        return True
    return any(not certificates.names(finding.stored.certificate) for finding in lacking)


def unnamed(scene: Scene, candidates: Sequence[Stored]) -> list[Finding]:
    """Return findings on certificates that hold none of the names that the other side may have called."""
    if scene.sighting.role is Role.CLIENT:
        return []
    name = scene.sighting.fields.get("server_name", "")
    if not name and scene.provokable and not scene.facts.called:
        # A stranger may dial any address. A certificate that lacks that address has no fault.
        candidates = [stored for stored in candidates if not certificates.names(stored.certificate)]
    names = {stored.certificate.path: [name] if name else called_by(stored, scene) for stored in candidates}
    lacking = [
        stored
        for stored in candidates
        if not certificates.names(stored.certificate)
        or (
            (wanted := names[stored.certificate.path])
            and not any(certificates.covers(stored.certificate, called) for called in wanted)
        )
    ]
    # The line does not state the port. If one certificate holds the name, that one may have been served.
    sure = Confidence.LIKELY if len(lacking) == len(candidates) else Confidence.POSSIBLE
    return [
        Finding(
            stored=stored,
            culprit=stored.certificate,
            cause=Cause.NAME_MISMATCH,
            confidence=sure,
            evidence=f"{stored.certificate.path}: clients call {' or '.join(names[stored.certificate.path]) or 'an unknown name'}, but it holds {names_of(stored.certificate)}",
        )
        for stored in lacking
    ]


def called_by(stored: Stored, scene: Scene) -> list[str]:
    """Return the names by which clients may have called: those that etcd advertises, else the addresses of this machine.

    An empty ServerName in the line means that the client dialled an address. Without the field nothing is known.
    """
    if "server_name" not in scene.sighting.fields:
        return []
    called = scene.facts.called
    advertised = [host for use, host in called if use == stored.place.use] or [host for _, host in called]
    return advertised or sorted(address for address in scene.facts.addresses if not is_loopback(address))


def clock_of_other(scene: Scene, candidates: Sequence[Stored]) -> Diagnosis:
    """Return the diagnosis that the other side calls our valid certificates expired: Go sends that alert for NotBefore too."""
    host = scene.sighting.remote_host
    there = host or "the other side"
    leaves = tuple(stored.certificate for stored in candidates)
    return Diagnosis(
        key=f"{Cause.CLOCK}|{scene.program}|{scene.group}",
        cause=Cause.CLOCK,
        suspect=Suspect.PEER if scene.by_member else Suspect.OUTSIDE,
        confidence=Confidence.POSSIBLE,
        certificates=leaves,
        evidence=(
            f"a remote side refused this machine's certificate: {quote(scene.sighting)}",
            clocks.of_other(leaves, there, scene.facts.at),
            *clocks.witnesses(scene.facts),
        ),
        effect="Clients that refuse it cannot connect.",
        remedy=remedies.for_clock(there),
        group=scene.group,
        neighbours=tuple(filter(None, (host,))),
    )


def unproven(scene: Scene, candidates: Sequence[Stored]) -> Diagnosis:
    """Return the diagnosis that our certificate was refused and nothing on this machine explains it."""
    if candidates and scene.sighting.symptom is Symptom.EXPIRED_ALERT:
        return clock_of_other(scene, candidates)
    if candidates:
        cause, certs = Cause.DISTRUSTED, tuple(stored.certificate for stored in candidates)
        why = "all local checks pass: " + ", ".join(stored.certificate.path for stored in candidates)
    else:
        cause, certs, why = Cause.UNEXPLAINED, (), "no certificate of the program that logged this line is known here"
    return Diagnosis(
        key=f"{cause}|{scene.program}|{scene.group}",
        cause=cause,
        suspect=Suspect.UNKNOWN,
        confidence=Confidence.POSSIBLE,
        certificates=certs,
        evidence=(f"a remote side refused this machine's certificate: {quote(scene.sighting)}", why),
        effect="Clients that refuse it cannot connect. Anyone who can reach the port can cause such a line.",
        remedy=remedies.for_distrust(scene.sighting.remote_host),
        group=scene.group,
        neighbours=tuple(filter(None, (scene.sighting.remote_host,))),
    )
