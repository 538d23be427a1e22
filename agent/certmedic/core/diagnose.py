"""From what a line says and what is on disk to whose certificate it is and what cures it.

The order of the questions (FIELD 4): who refused whom; does the time in the line belong to a file here; which of this
machine's certificates could the line be about, and is one of them bad by a check that can be made here; what does a
restart do to that file. A line without a certificate that explains it is never more than `possible`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certmedic.core import certificates, remedies
from certmedic.core.examine import Finding, examine, names_of, stamp
from certmedic.core.model import (
    Cause,
    Confidence,
    Diagnosis,
    Facts,
    Fold,
    Origin,
    Place,
    RejectedBy,
    Role,
    Sighting,
    Stored,
    Suspect,
    Symptom,
)
from certmedic.core.verdict import gravest, verdict

SAME = timedelta(seconds=1)  # a NotAfter in a line equals the certificate's to the second (FIELD 4.1)
ETCD_PROGRAMS = ("etcd", "etcd-manager", "")
# Which of this machine's certificates a program shows, by its part in the handshake. "" stands for every other program.
SHOWN: dict[tuple[str, Role], tuple[str, ...]] = {
    ("etcd", Role.SERVER): ("peer", "server"),
    ("etcd", Role.CLIENT): ("peer",),
    ("etcd-manager", Role.SERVER): ("peer", "server", "manager-server"),
    ("etcd-manager", Role.CLIENT): ("peer", "manager-client"),
    ("kube-apiserver", Role.SERVER): ("apiserver",),
    ("kube-apiserver", Role.CLIENT): ("apiserver-etcd-client", "apiserver-kubelet-client", "front-proxy-client"),
    ("kubelet", Role.SERVER): ("kubelet",),
    ("kubelet", Role.CLIENT): ("kubelet-client",),
    ("kube-controller-manager", Role.SERVER): ("controller-manager",),
    ("kube-controller-manager", Role.CLIENT): ("controller-manager-client",),
    ("kube-scheduler", Role.SERVER): ("scheduler",),
    ("kube-scheduler", Role.CLIENT): ("scheduler-client",),
}
ALERTS = {
    Symptom.EXPIRED_ALERT: (Cause.EXPIRED, Cause.CA_EXPIRED, Cause.NOT_YET_VALID, Cause.CLOCK),
    Symptom.UNKNOWN_CA_ALERT: (Cause.UNKNOWN_AUTHORITY, Cause.CA_EXPIRED),
}
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One sighting among the facts: what the questions below are asked about."""

    sighting: Sighting
    facts: Facts
    group: str  # etcd group of the program that wrote the line; "" where nothing tells

    @property
    def from_here(self) -> bool:
        """Whether the other end of the connection is on this machine."""
        return self.sighting.remote_host in self.facts.addresses or is_loopback(self.sighting.remote_host)


def is_loopback(host: str) -> bool:
    """Whether an address or name always means this machine."""
    return host in ("localhost", "::1") or host.startswith("127.")


def group_of(origin: Origin) -> str:
    """Return the etcd group (main, events, ...) of the program that wrote a line; "" where its origin does not tell."""
    for name in (origin.pod, origin.container):
        match = re.search(r"etcd-manager-(main|events|cilium|leases)\b", name)
        if match:
            return match[1]
    match = re.fullmatch(r".*/etcd(?:-(events|cilium|leases))?\.log(?:\.\d+)?(?:\.gz)?", origin.path)
    # kops writes main's log to etcd.log and no other etcd's; elsewhere the name says nothing, and then no other group exists.
    return (match[1] or "main") if match and origin.path.startswith("/var/log/") else ""


def shown(scene: Scene) -> list[Stored]:
    """Return this machine's certificates that the logging program may have shown to the other side."""
    sighting = scene.sighting
    program = sighting.program if sighting.program not in ETCD_PROGRAMS else (sighting.program or "etcd")
    uses: tuple[str, ...] | None
    if sighting.role is Role.UNKNOWN:
        uses = SHOWN.get((program, Role.SERVER), ()) + SHOWN.get((program, Role.CLIENT), ()) or None
    else:
        uses = SHOWN.get((program, sighting.role))
    endpoint = re.search(r"rejected connection on (client|peer) endpoint", sighting.said)
    if endpoint and uses:
        uses = ("server",) if endpoint[1] == "client" else ("peer",)
    leaves = [stored for stored in scene.facts.stored if not stored.certificate.is_ca and in_group(stored, scene.group)]
    chosen = [stored for stored in leaves if uses is not None and stored.place.use in uses]
    return chosen or [stored for stored in leaves if uses is None or not stored.place.use]


def in_group(stored: Stored, group: str) -> bool:
    """Whether a certificate may belong to an etcd group; those of no group belong to all."""
    return not group or not stored.place.group or stored.place.group == group


def joined(moment: datetime | None, facts: Facts, group: str) -> list[Stored]:
    """Return this machine's certificates whose NotAfter is the time that a line states: own group first, leaves first."""
    if moment is None:
        return []
    same = [stored for stored in facts.stored if abs(stored.certificate.not_after - moment) <= SAME]
    return sorted(same, key=lambda stored: (not in_group(stored, group), stored.certificate.is_ca))


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


def is_gateway(scene: Scene) -> bool:
    """Whether etcd's gateway can be the caller that was refused for its usage.

    It dials by address, so sends no name, and shows the server certificate: not where that is known to be good for clients.
    """
    if scene.sighting.fields.get("server_name", ""):
        return False
    servers = [stored.certificate for stored in scene.facts.stored if stored.place.use == "server"]
    return not servers or any(server.usages and "client" not in server.usages for server in servers)


# ---------------------------------------------------------------- they refused ours


def refused_by_them(scene: Scene) -> Diagnosis:
    """The other side refused a certificate of ours: find the one that deserves it."""
    sighting, facts = scene.sighting, scene.facts
    candidates = shown(scene)
    allowed = ALERTS.get(sighting.symptom)
    findings = [found for stored in candidates if (found := examine(stored, facts)) is not None]
    fitting = [found for found in findings if allowed is None or found.cause in allowed] or findings
    fitting = fitting or unnamed(scene, candidates)
    if fitting:
        ours = own(gravest(fitting), scene, f"a remote side refused this machine's certificate: {quote(sighting)}")
        return replace(ours, neighbours=() if scene.from_here else tuple(filter(None, (sighting.remote_host,))))
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
    return unproven(scene, candidates)


def unnamed(scene: Scene, candidates: Sequence[Stored]) -> list[Finding]:
    """Certificates that hold none of the names by which the other side can have called."""
    if scene.sighting.role is Role.CLIENT:
        return []
    name = scene.sighting.fields.get("server_name", "")
    names = {stored.certificate.path: [name] if name else called_by(stored, scene) for stored in candidates}
    lacking = [
        stored
        for stored in candidates
        if (wanted := names[stored.certificate.path])
        and not any(certificates.covers(stored.certificate, one) for one in wanted)
    ]
    # The line does not say which port was called: where one certificate holds the name, it may be the one that was shown.
    sure = Confidence.LIKELY if len(lacking) == len(candidates) else Confidence.POSSIBLE
    return [
        Finding(
            stored=stored,
            culprit=stored.certificate,
            cause=Cause.NAME_MISMATCH,
            confidence=sure,
            said=f"{stored.certificate.path}: is called as {' or '.join(names[stored.certificate.path])}, but holds only {names_of(stored.certificate)}",
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
        said = "good by date, chain, key and name: " + ", ".join(stored.certificate.path for stored in candidates)
    else:
        cause, certs, said = Cause.UNEXPLAINED, (), "no certificate of the program that wrote this line is known here"
    program = scene.sighting.program or "?"
    return Diagnosis(
        key=f"{cause}|{program}|{scene.group}",
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


# ---------------------------------------------------------------- we refused theirs


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


def is_ours(scene: Scene) -> bool:
    """Whether the refused certificate was shown by this machine."""
    host = scene.sighting.remote_host or scene.sighting.fields.get("endpoint", "")
    if not host:
        return scene.sighting.suspect is Suspect.OWN
    # etcd's clients write "etcd-endpoints://0xc000/host:2379": the last part is whom they called.
    host = re.sub(r"^etcd-endpoints://[^/]*/", "", host).split(",")[0]
    host = re.sub(r"^[a-z]+://", "", host).split("/")[0]
    host = host.rpartition(":")[0].strip("[]") if re.search(r":\d+$", host) else host.strip("[]")
    return is_loopback(host) or host in scene.facts.addresses


def of_etcd_manager(sighting: Sighting) -> bool:
    """Whether the etcd that wrote the line runs under etcd-manager."""
    origin = sighting.entry.origin
    return sighting.program == "etcd-manager" or "etcd-manager" in origin.pod + origin.container + origin.image


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


# ---------------------------------------------------------------- the verdict on our own


def quote(sighting: Sighting) -> str:
    """Return the line for a sentence of evidence, cut to what a person reads."""
    return sighting.said if len(sighting.said) <= 240 else sighting.said[:237] + "..."


def own(findings: Sequence[Finding], scene: Scene, said: str) -> Diagnosis:
    """Build the diagnosis of a fault in this machine's own files."""
    base = verdict(findings, scene.facts)
    return replace(base, evidence=(said, *base.evidence))


def in_memory(scene: Scene, candidates: Sequence[Stored], said: str) -> Diagnosis:
    """The files are good, and a process still uses a certificate that is not."""
    group = scene.group or next((s.place.group for s in candidates if s.place.group), "")
    plane = next(
        (s.place.plane for s in candidates if s.place.plane), "kops" if of_etcd_manager(scene.sighting) else ""
    )
    evidence = [quote(scene.sighting), said]
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
        remedy=remedies.for_memory(plane, group),
        plane=plane,
        group=group,
        since=scene.sighting.not_after,
    )
