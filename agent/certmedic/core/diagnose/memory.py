"""Diagnoses of certificates that only the memory of a process holds: the file was replaced, or there never was one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from certmedic.core import holders, planes, remedies, stale
from certmedic.core.diagnose.owned import quote
from certmedic.core.diagnose.scene import Scene, is_here, other_end
from certmedic.core.diagnose.whose import is_api_loopback
from certmedic.core.examine import Finding
from certmedic.core.model import Cause, Confidence, Diagnosis, RejectedBy, Replaced, Role, Stored, Suspect, Symptom
from certmedic.core.text import stamp
from certmedic.core.verdict import verdict

LOOPBACK_LIFE = timedelta(days=365)  # from the start of kube-apiserver; longer in newer releases (FIELD 8.2)
TAKEN_UP = timedelta(minutes=2)
RENEWED_WITHIN = timedelta(days=60)  # of an expiry: a file that changed then was probably renewed because of it
# Clients of the API on a master that read their certificate only when they start.
_OF_API = frozenset({"controller-manager-client", "scheduler-client", "apiserver-healthcheck"})
_DATED = (Symptom.EXPIRED, Symptom.EXPIRED_OR_NOT_YET_VALID)


def held_in_memory(scene: Scene, by_time: Sequence[Stored]) -> Diagnosis | None:
    """Return the diagnosis if a process of this machine uses what its file held before; None if nothing shows that."""
    sighting = scene.sighting
    if sighting.symptom is Symptom.UNKNOWN_AUTHORITY:
        return old_pool(scene)
    if sighting.symptom not in _DATED or by_time or sighting.not_after is None:
        return None
    if is_api_loopback(scene):
        return loopback(scene)
    return old_leaf(scene)


def old_leaf(scene: Scene) -> Diagnosis | None:
    """Return the diagnosis if the refused certificate is one that a file here held before, or probably did."""
    sighting, facts = scene.sighting, scene.facts
    if other_end(scene) and not is_here(scene):
        return None
    serial, ends = sighting.fields.get("serial", ""), sighting.not_after
    old = {entry.path: entry for entry in holders.replaced_by(ends, serial, facts)}
    known = [s for s in facts.stored if s.certificate.path in old and not s.certificate.is_ca]
    late = holders.late_files(known, facts)
    if not late and holders.serials(serial):  # a program may start in the second in which its file is renewed
        late = [s for s in known if planes.reads_at_start(s.place) and sighting.entry.time > old[s.certificate.path].at]
    if late:
        why = [f"{s.certificate.path} held that certificate until {stamp(old[s.certificate.path].at)}" for s in late]
        return stale.of_files(late, facts, [quote(sighting), *why], Confidence.PROVEN, ends)
    return being_taken_up(scene, known, old) if known else old_client(scene)


def being_taken_up(scene: Scene, files: Sequence[Stored], old: Mapping[str, Replaced]) -> Diagnosis | None:
    """Return the diagnosis of the expiry that the renewal of these files has just cured; None if it was not just now.

    Their program takes a new file up while it runs, within a minute. Until then it logs what the old one causes.
    """
    at, facts = scene.sighting.entry.time, scene.facts
    findings = []
    for stored in files:
        use, entry = planes.use_of(stored.place.use), old[stored.certificate.path]
        if (use.rereads or use.reloads_since) and at - entry.at < TAKEN_UP:
            leaf = replace(
                stored.certificate, not_after=entry.not_after, serial=entry.serial, fingerprint=entry.fingerprint
            )
            findings.append(
                Finding(
                    stored=replace(stored, certificate=leaf),
                    culprit=leaf,
                    cause=Cause.EXPIRED,
                    confidence=Confidence.PROVEN,
                    evidence=f"{leaf.path} held the certificate of the line until {stamp(entry.at)}",
                    since=entry.not_after,
                )
            )
    return verdict(findings, replace(facts, served=())) if findings else None


def old_client(scene: Scene) -> Diagnosis | None:
    """Return the diagnosis if kube-apiserver refused a client, and clients here started before their files were renewed."""
    sighting, facts = scene.sighting, scene.facts
    ends = sighting.not_after
    if sighting.program != "kube-apiserver" or sighting.role is Role.CLIENT or ends is None:
        return None
    if holders.with_serial(sighting.fields.get("serial", ""), facts):
        return None  # that file is good, so the clock of one side is wrong
    callers = [
        s
        for s in facts.stored
        if s.place.use in _OF_API and not s.certificate.is_ca and s.certificate.not_after > facts.at
    ]
    if facts.programs:
        late = holders.late_files(callers, facts)
    else:  # no process can be seen, as in saved logs: the time of the file must do
        late = [s for s in callers if ends - RENEWED_WITHIN <= s.modified <= facts.at]
    if not late:
        return None
    why = "no file here has that date or serial, and these files were renewed while their programs ran"
    return stale.of_files(late, facts, [quote(sighting), why], Confidence.LIKELY, ends)


def old_pool(scene: Scene) -> Diagnosis | None:
    """Return the diagnosis if the logging program started before the CA file changed against which it checks."""
    sighting, facts = scene.sighting, scene.facts
    if sighting.rejected_by is RejectedBy.REMOTE or not sighting.program:
        return None
    if sighting.program == "kube-apiserver" and "transport: authentication handshake failed" not in sighting.message:
        return None  # it calls only etcd over gRPC, and rereads its other CA files
    pools = holders.with_old_pool(sighting.program, facts)
    if not pools:
        return None
    changed = max(holders.moment_of(pool, facts) for pool in pools)
    paths = ", ".join(dict.fromkeys(pool.certificate.path for pool in pools))
    programs = holders.named(sighting.program, facts)
    place = pools[0].place
    return Diagnosis(
        key=f"own|{place.plane}/{scene.group}|{sighting.program}|{Cause.STALE_IN_MEMORY}|ca",
        cause=Cause.STALE_IN_MEMORY,
        suspect=Suspect.OWN,
        confidence=Confidence.LIKELY,
        certificates=tuple(pool.certificate for pool in pools),
        evidence=(
            f"{sighting.program} refused a certificate: {quote(sighting)}",
            f"{paths} changed {stamp(changed)}, after {sighting.program} started; CA files are read only then",
        ),
        effect=f"{sighting.program} refuses every certificate of the new CA.",
        remedy=remedies.for_old_pool(sighting.program, place, facts, pids=[p.pid for p in programs]),
        plane=place.plane,
        group=scene.group,
        since=changed,
        holders=(sighting.program,),
    )


def loopback(scene: Scene) -> Diagnosis:
    """Return the diagnosis of kube-apiserver's certificate for calls to itself."""
    sighting, facts = scene.sighting, scene.facts
    started = [program.started_at for program in holders.named("kube-apiserver", facts)]
    ends = sighting.not_after
    fits = any(ends is not None and abs(ends - start - LOOPBACK_LIFE) <= timedelta(hours=2) for start in started)
    plane = next((s.place.plane for s in facts.stored if s.place.use == "apiserver"), "")
    return Diagnosis(
        key=f"own|{plane}/|kube-apiserver|{Cause.STALE_IN_MEMORY}|loopback",
        cause=Cause.STALE_IN_MEMORY,
        suspect=Suspect.OWN,
        confidence=Confidence.PROVEN if fits else Confidence.LIKELY,
        certificates=(),
        evidence=(
            f"kube-apiserver refused its own certificate: {quote(sighting)}",
            "it is that for calls to itself, which only its memory holds: no file has that date",
            *([f"kube-apiserver started {stamp(started[0])}, a year before it expired"] if fits else []),
        ),
        effect="kube-apiserver cannot call itself: admission fails, so that most writes are refused.",
        remedy=remedies.for_holders(
            ["kube-apiserver"], plane, why="kube-apiserver signs a new one whenever it starts."
        ),
        plane=plane,
        since=ends,
        holders=("kube-apiserver",),
    )
