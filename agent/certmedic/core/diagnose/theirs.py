"""A program on this machine refused a certificate: usually that of a peer or client, sometimes one of this machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from certmedic.core import holders, planes, remedies
from certmedic.core.diagnose.memory import held_in_memory
from certmedic.core.diagnose.others import PEER_CAUSES, local_caller, neighbour
from certmedic.core.diagnose.owned import in_memory, own, quote
from certmedic.core.diagnose.scene import (
    ETCD_PROGRAMS,
    SAME,
    Scene,
    called_here,
    in_group,
    is_gateway,
    is_here,
    is_ours,
    joined,
    of_etcd_manager,
    other_end,
    shown,
)
from certmedic.core.examine import Finding, authorities, examine
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
from certmedic.core.text import stamp
from certmedic.core.verdict import gravest

DATED = (Cause.EXPIRED, Cause.CA_EXPIRED, Cause.NOT_YET_VALID, Cause.CLOCK)
ISSUED_WITHIN = timedelta(hours=1)  # after the start of the process
# Names of rules (core/symptoms) about the files of the logging program.
RULE_KEY_MISMATCH, RULE_UNUSABLE, RULE_CRL_EXPIRED = "own-key-mismatch", "own-file-unusable", "own-expired-crl"
RULES_OWN_FILE = frozenset(
    {
        *(RULE_KEY_MISMATCH, RULE_UNUSABLE, "own-file-missing"),
        *(RULE_CRL_EXPIRED, "own-future-crl", "own-unusable-crl"),
        *("own-client-certificate-expired", "own-client-certificate-lacking"),
        *("own-certificate-expired", "own-certificate-not-yet-valid", "own-certificate-outside-validity"),
        "own-serving-certificate-lacking",
    }
)


def refused_by_us(scene: Scene) -> Diagnosis:
    """Return the diagnosis of a line that says that the logging program refused a certificate."""
    sighting, facts = scene.sighting, scene.facts
    by_time = joined(sighting.not_after, facts, scene.group)
    expired = sighting.symptom in (Symptom.EXPIRED, Symptom.EXPIRED_OR_NOT_YET_VALID)
    explained = (
        explained_by_serial(scene)
        or explained_by_time(by_time, scene)
        or held_in_memory(scene, by_time)
        or explained_by_port(scene)
    )
    if explained is not None:
        return explained
    if sighting.suspect is Suspect.OWN or (expired and sighting.not_after is None and is_ours(scene)):
        sent = shown(replace_role(scene))
        findings = [finding for stored in sent if (finding := examine(stored, facts)) is not None]
        findings = [finding for finding in findings if not has_another_date(finding, sighting)]
        dated = [finding for finding in findings if finding.cause in DATED]
        if dated or (findings and sighting.suspect is Suspect.OWN):
            return own(
                gravest(dated or findings), scene, f"this machine refused its own certificate: {quote(sighting)}"
            )
    if sighting.symptom is Symptom.UNKNOWN_AUTHORITY and sighting.program in ETCD_PROGRAMS:
        sent = shown(replace_role(scene))
        strange = [finding for stored in sent if (finding := other_ca(stored, facts)) is not None]
        if strange:
            evidence = f"this machine does not trust the CA that signed its certificate: {quote(sighting)}"
            return own(strange, scene, evidence)
        unusable = {stored.place.ca_path for stored in sent} & {fault.path for fault in facts.faults}
        if unusable:
            # The program cannot use that file, whoever calls.
            return replace(ours_unseen(scene, min(unusable)), provokable=False)
    if expired and not by_time and is_ours(scene) and sighting.role is Role.SERVER and of_etcd_manager(sighting):
        if ended_before_start(scene):
            return self_dial(scene)
        # etcd-manager dials its etcd with a client certificate that is in no file.
        why = "the caller is on this machine and sent a certificate that is in no file: etcd-manager has one in memory"
        return in_memory(scene, shown(scene), why, provokable=scene.provokable and not is_of_manager(scene))
    # A caller on this machine that was refused for its usage is etcd's gateway, or else an ordinary client.
    other = sighting.suspect is not Suspect.OWN or (sighting.symptom is Symptom.USAGE and not is_gateway(scene))
    if not other:
        return ours_unseen(scene)
    # Saved logs may be those of several members that ran on one machine.
    is_local = is_here(scene) and (bool(facts.host) or sighting.program not in ("etcd", "etcd-manager"))
    return local_caller(scene) if is_local else neighbour(scene)


def has_another_date(finding: Finding, sighting: Sighting) -> bool:
    """Whether a line states the NotAfter of an expired certificate, and it is not the one of this finding."""
    ends = sighting.not_after
    is_expired = finding.cause in (Cause.EXPIRED, Cause.CA_EXPIRED)
    return is_expired and ends is not None and abs(finding.culprit.not_after - ends) > SAME


def is_of_manager(scene: Scene) -> bool:
    """Whether the age of an etcd-manager proves that the certificate in its memory has expired."""
    ends = scene.sighting.not_after
    return ends is not None and any(
        start is not None and any(abs(ends - start - life) <= ISSUED_WITHIN for life in holders.MANAGER_LIVES)
        for start in starts_of(scene)
    )


def other_ca(stored: Stored, facts: Facts) -> Finding | None:
    """Return the finding that a CA file does not fit the leaf beside it, with the CA as the culprit.

    The peers agree on one CA, and the CA file of this machine differs.
    """
    finding = examine(stored, facts)
    if finding is None or finding.cause is not Cause.UNKNOWN_AUTHORITY:
        return None
    return replace(finding, culprit=authorities(stored, facts)[0])


def ours_unseen(scene: Scene, path: str = "") -> Diagnosis:
    """Return the diagnosis of a fault on this machine that no check explains, in `path`, in a file that the line names, or in none known."""
    sighting, facts = scene.sighting, scene.facts
    mismatch = sighting.rule == RULE_KEY_MISMATCH
    cause = Cause.KEY_MISMATCH if mismatch else PEER_CAUSES.get(sighting.symptom, Cause.UNEXPLAINED)
    named = sighting.fields.get("cert_file", "")
    loaded = being_loaded(scene, named) if mismatch else []
    unusable = unusable_files(scene, path or named)
    about = [f"{fault.path}: {fault.reason}: {fault.detail}" for fault in unusable]
    if loaded:
        where = "one of " * (len(loaded) > 1) + ", ".join(stored.certificate.path for stored in loaded)
        about.insert(0, f"at its start it was loading {where}")
    elif named:
        about.insert(0, f"it names {named}")
    did = (
        "found a fault in one of its files" if is_about_own_file(sighting) else "refused a certificate of this machine"
    )
    culprit = path or named or (unusable[0].path if len(unusable) == 1 else "")
    return Diagnosis(
        key=f"own|{scene.program}|{scene.group}|{cause}",
        cause=cause,
        suspect=Suspect.OWN,
        confidence=Confidence.LIKELY,
        certificates=tuple(stored.certificate for stored in loaded),
        evidence=(
            f"{sighting.program or 'a program'} {did}: {quote(sighting)}",
            *(about or ["no file on this machine explains it"]),
        ),
        effect="The programs that need it cannot make TLS connections.",
        remedy=remedies.for_own(cause, loaded, facts)
        if loaded
        else remedies.for_unseen(
            culprit, is_known=culprit in facts.by_path or any(f.path == culprit for f in facts.faults)
        ),
        group=scene.group,
        since=sighting.not_after,
        provokable=scene.provokable and not is_about_own_file(sighting),
    )


def crl_expired(scene: Scene) -> Diagnosis:
    """Return the diagnosis of a program that refuses callers since a list of revoked certificates has expired."""
    at = scene.sighting.entry.time
    ends = {crl.path: crl.next_update for crl in scene.facts.revocations if crl.next_update is not None}
    passed = {path: end for path, end in ends.items() if end <= at}
    known = [f"{path}: its nextUpdate was {stamp(end)}" for path, end in passed.items()]
    return Diagnosis(
        key=f"own|{scene.program}|{scene.group}|{Cause.CRL_EXPIRED}",
        cause=Cause.CRL_EXPIRED,
        suspect=Suspect.OWN,
        confidence=Confidence.LIKELY,
        certificates=(),
        evidence=(
            f"{scene.sighting.program or 'a program'} refuses callers, whatever they send: {quote(scene.sighting)}",
            *(known or ["no list of revoked certificates that certmedic reads has expired"]),
        ),
        effect="The programs whose certificates it checks against that list cannot connect.",
        remedy=remedies.for_crl(list(passed)),
        group=scene.group,
        since=max(passed.values(), default=None),
    )


def is_about_own_file(sighting: Sighting) -> bool:
    """Whether a program reports a fault in one of its files, not in a caller."""
    return sighting.rule in RULES_OWN_FILE


def unusable_files(scene: Scene, path: str) -> list[FileFault]:
    """Return the faults of the file at `path`; if the line names no file, those of up to three files that it may mean."""
    faults = scene.facts.faults
    if path or scene.sighting.rule != RULE_UNUSABLE:
        return [fault for fault in faults if fault.path == path]
    loaded = [fault for fault in faults if fault.path in scene.facts.used]
    return (loaded or list(faults))[:3]


def being_loaded(scene: Scene, path: str) -> list[Stored]:
    """Return the certificates that a program was loading when it failed: for etcd, those that its start-up lines name.

    etcd names and loads its peer certificate first. If it named only that certificate, it failed on it.
    """
    leaves = [stored for stored in scene.facts.stored if not stored.certificate.is_ca]
    listener = re.search(r"creating (peer|client) listener", scene.sighting.message)
    uses = set(scene.facts.used.values()) & {"peer", "server"}
    if listener:
        uses = {"peer"} if listener[1] == "peer" else {"server"}
    named = [stored for stored in leaves if path and stored.certificate.path == path]
    return named or [stored for stored in leaves if stored.place.use in uses and in_group(stored, scene.group)]


def explained_by_port(scene: Scene) -> Diagnosis | None:
    """Return the diagnosis of the certificates on the port of this machine that a program of Kubernetes called."""
    served = called_here(scene)
    if served is None:
        return None
    findings = [finding for stored in served if (finding := examine(stored, scene.facts)) is not None]
    evidence = f"a program on this machine refused a certificate that is served here: {quote(scene.sighting)}"
    return own(gravest(findings), scene, evidence) if findings else ours_unseen(scene)


def explained_by_serial(scene: Scene) -> Diagnosis | None:
    """Return the diagnosis of the file whose serial the line states, wherever its holder may be."""
    stated = scene.sighting.fields
    known = holders.with_serial(stated.get("serial", ""), scene.facts, stated.get("akid", ""))
    findings = [finding for stored in known if (finding := examine(stored, scene.facts)) is not None]
    if not findings:
        return None
    evidence = f"the serial in the line is that of {findings[0].stored.certificate.path}"
    return own(gravest(findings), scene, evidence)


def explained_by_time(by_time: Sequence[Stored], scene: Scene) -> Diagnosis | None:
    """Return the diagnosis of the file whose NotAfter the line states: a leaf that this machine sent, or a CA."""
    for stored in by_time:
        finding = examine(stored, scene.facts)
        if finding is not None and (
            stored.certificate.is_ca or is_ours(scene) or is_here(scene) or not other_end(scene)
        ):
            evidence = f"the time in the line is the NotAfter of {stored.certificate.path}, to the second"
            return own([finding], scene, evidence)
    return None


def ended_before_start(scene: Scene) -> bool:
    """Whether the certificate had expired when the program started, so that the program did not issue it."""
    ends = scene.sighting.not_after
    return ends is not None and any(start is not None and ends < start for start in starts_of(scene))


def starts_of(scene: Scene) -> list[datetime | None]:
    """Return when the program that logged the line may have started."""
    origin = scene.sighting.entry.origin
    return [
        origin.started_at,
        *(c.started_at for c in scene.facts.containers if origin.container_id and c.id == origin.container_id),
    ]


def self_dial(scene: Scene) -> Diagnosis:
    """Return the diagnosis of a refusal of etcd's gateway, which dials its client port with the server certificate."""
    ends = scene.sighting.not_after
    files = [path for path, use in scene.facts.used.items() if use == "server"]
    evidence = [
        f"etcd refused a caller on this machine: {quote(scene.sighting)}",
        "etcd's gateway calls that port with the server certificate; the certificates of etcd-manager are younger",
        f"etcd logged at its start that the file is {files[0]}; it could not be read here"
        if files
        else "its start-up lines name that file",
    ]
    place = Place(plane=planes.KOPS.name, group=scene.group, use="server", renewer="etcd-manager")
    return Diagnosis(
        key=f"own|{place.plane}/{scene.group}|etcd-manager|{Cause.EXPIRED}",
        cause=Cause.EXPIRED,
        suspect=Suspect.OWN,
        confidence=Confidence.LIKELY,
        certificates=(),
        evidence=tuple(evidence),
        effect=remedies.effect_of(Cause.EXPIRED, [place]),
        remedy=remedies.for_place(place, scene.facts),
        plane=place.plane,
        group=scene.group,
        since=ends,
        provokable=scene.provokable and not files,  # etcd logged that it loaded that file
    )


def replace_role(scene: Scene) -> Scene:
    """Return the scene from the other end, for a program that refused a certificate of its machine."""
    other = Role.CLIENT if scene.sighting.role is Role.SERVER else Role.SERVER
    return replace(
        scene, sighting=replace(scene.sighting, role=other if scene.sighting.program != "etcd" else Role.UNKNOWN)
    )
