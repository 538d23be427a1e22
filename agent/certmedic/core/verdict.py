"""From findings to diagnoses: one for each cause and owner, a survey of all files, and diagnoses merged.

Only facts of trusted origins count (`trusted`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from certmedic.core import planes, remedies, stale
from certmedic.core.examine import Finding, displaced, examine, healthy, replaced
from certmedic.core.model import Cause, Confidence, Diagnosis, Facts, Severity, Suspect, Trust
from certmedic.core.text import stamp

GRAVEST = (Cause.CA_EXPIRED, Cause.EXPIRED, Cause.CLOCK, Cause.NOT_YET_VALID)  # before every other cause
MOST_EVIDENCE = 12  # sentences of one diagnosis
MOST_NEIGHBOURS = 8  # names of one diagnosis


def trusted(facts: Facts) -> Facts:
    """Return only the facts of trusted origins: the files, programs and listeners of strangers are no evidence."""
    return replace(
        facts,
        stored=tuple(stored for stored in facts.stored if stored.trust is Trust.SYSTEM),
        served=tuple(served for served in facts.served if served.trust is Trust.SYSTEM),
        containers=tuple(container for container in facts.containers if container.trust is Trust.SYSTEM),
        revocations=tuple(crl for crl in facts.revocations if crl.trust is Trust.SYSTEM),
    )


def vouched(facts: Facts) -> Facts:
    """Return the facts as trusted, because a person named the files, as for the offline commands."""
    return replace(
        facts,
        stored=tuple(replace(stored, trust=Trust.SYSTEM) for stored in facts.stored),
        served=tuple(replace(served, trust=Trust.SYSTEM) for served in facts.served),
        containers=tuple(replace(container, trust=Trust.SYSTEM) for container in facts.containers),
        revocations=tuple(replace(crl, trust=Trust.SYSTEM) for crl in facts.revocations),
    )


def gravest(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings of the gravest cause and one owner, which make one message."""
    first = min(
        findings, key=lambda finding: GRAVEST.index(finding.cause) if finding.cause in GRAVEST else len(GRAVEST)
    )
    owner = owner_of(first)
    return [finding for finding in findings if finding.cause is first.cause and owner_of(finding) == owner]


def owner_of(finding: Finding) -> tuple[str, str, str]:
    """Return plane, etcd group and renewer, whose faults of one cause are one incident.

    CAs that expire on one day are one owner: copies of one CA, wherever they lie, and those that a plane made together.
    """
    place = finding.stored.place
    if finding.culprit.is_ca:
        return (place.plane, "", f"CA {finding.culprit.not_after:%Y-%m-%d}")
    return (place.plane, place.group, place.renewer)


def verdict(findings: Sequence[Finding], facts: Facts) -> Diagnosis:
    """Return the diagnosis of findings of one cause and one owner; files not in use count only if no other does."""
    idle: list[str] = []
    if findings[0].cause in (Cause.EXPIRED, Cause.EXPIRES_SOON):
        used = [finding for finding in findings if not displaced(finding.stored, facts)]
        idle = [] if used else [displaced(finding.stored, facts) for finding in findings]
        findings = used or findings
    first = findings[0]
    place, (plane, group, renewer) = first.stored.place, owner_of(first)
    culprits = {(finding.culprit.path, finding.culprit.index): finding.culprit for finding in findings}
    doubtful = any(finding.confidence is not Confidence.PROVEN for finding in findings)
    since = [finding.since for finding in findings if finding.since is not None]
    return Diagnosis(
        key=f"own|{plane}/{group}|{renewer}|{first.cause}{'|unused' if idle else ''}",
        cause=first.cause,
        suspect=Suspect.OWN,
        confidence=Confidence.POSSIBLE
        if idle
        else max((finding.confidence for finding in findings), key=list(Confidence).index)
        if doubtful
        else Confidence.PROVEN,
        certificates=tuple(culprits.values()),
        evidence=tuple(dict.fromkeys((*(finding.evidence for finding in findings), *idle))),
        effect="Nothing, as long as it is not in use."
        if idle
        else remedies.effect_of_files(first.cause, [finding.stored for finding in findings], facts),
        remedy=remedies.for_unused(idle[0], first.culprit.path)
        if idle
        else remedies.for_own(first.cause, [finding.stored for finding in findings], facts),
        plane=place.plane,
        group=place.group if len({finding.stored.place.group for finding in findings}) == 1 else "",
        since=min(since) if since else None,
        is_unused=bool(idle),
        is_idle=all(planes.use_of(finding.stored.place.use).is_idle for finding in findings),
    )


def is_over(diagnosis: Diagnosis, facts: Facts) -> tuple[bool, str] | None:
    """Whether the files of a diagnosis are good now, and why; None if files cannot show it and only silence ends the incident.

    A fault that the file did not prove (a name, a revocation) is not disproved by the same file.
    """
    facts = trusted(facts)
    paths = tuple(dict.fromkeys(leaf.path for leaf in diagnosis.certificates if leaf.path))
    if diagnosis.key.startswith(UNUSABLE):
        return is_usable(diagnosis, facts)
    if diagnosis.cause is Cause.STALE_IN_MEMORY:
        return stale.is_over(diagnosis, facts)
    if diagnosis.suspect is not Suspect.OWN or not paths:
        return None
    before = {leaf.fingerprint for leaf in diagnosis.certificates}
    is_same = any(leaf.fingerprint in before for path in paths for leaf in facts.by_path.get(path, ()))
    if is_same and diagnosis.confidence is not Confidence.PROVEN and not diagnosis.is_unused:
        return None
    good, why = healthy(paths, facts)
    late = stale.still_held(paths, facts) if good else ""
    return (False, late) if late else (good, why)


UNUSABLE = "own|file|"  # how the key of a file begins that should hold a certificate and holds none


def unusable(facts: Facts) -> tuple[Diagnosis, ...]:
    """Return the diagnoses of files at the places of certificates that hold none: their programs fail at their next start."""
    return tuple(
        Diagnosis(
            key=f"{UNUSABLE}{fault.path}",
            cause=Cause.UNEXPLAINED,
            suspect=Suspect.OWN,
            confidence=Confidence.PROVEN,
            certificates=(),
            evidence=(f"{fault.path}: {fault.reason}: {fault.detail}",),
            effect="The program that uses this file fails at its next start, if not before.",
            remedy=remedies.for_unseen(fault.path, is_known=True),
            plane=place.plane,
            group=place.group,
        )
        for fault in facts.faults
        if fault.trust is Trust.SYSTEM
        and fault.reason in ("empty", "broken", "not_a_certificate")
        and fault.path.endswith((".crt", ".pem"))  # a kubeconfig need hold no certificate
        and planes.in_its_place(fault.path)
        and (place := planes.place(fault.path)).use
    )


def is_usable(diagnosis: Diagnosis, facts: Facts) -> tuple[bool, str]:
    """Whether a file that held no certificate is good or gone now, and why."""
    path = diagnosis.key.removeprefix(UNUSABLE)
    still = next((fault for fault in facts.faults if fault.path == path), None)
    if still is not None:
        return False, f"{path}: {still.reason}: {still.detail}"
    return healthy([path], facts) if path in facts.by_path else (True, f"{path} does not exist any more")


def survey(
    facts: Facts, *, warn_within: timedelta, of_plane: Mapping[str, timedelta] | None = None
) -> tuple[Diagnosis, ...]:
    """Return the diagnoses of all files that have a fault or expire soon, whether or not a line reports it.

    `warn_within` is how long before its expiry a certificate is reported; `of_plane` overrides it for single planes.
    """
    facts = trusted(facts)
    within = of_plane or {}
    faults: dict[tuple[str, str, str, Cause], list[Finding]] = {}
    for stored in facts.stored:
        leaf = stored.certificate
        finding = examine(stored, facts)
        if finding is not None and finding.cause not in (
            Cause.EXPIRED,
            Cause.CA_EXPIRED,
            Cause.NOT_YET_VALID,
            Cause.CLOCK,
        ):
            continue  # copies and unused files often differ in chain, key and usage; only a line makes that a fault
        ends_soon = leaf.not_after - facts.at <= within.get(stored.place.plane, warn_within)
        if finding is None and ends_soon and not replaced(stored, facts):
            finding = Finding(
                stored=stored,
                culprit=leaf,
                cause=Cause.EXPIRES_SOON,
                confidence=Confidence.PROVEN,
                evidence=f"{leaf.path}: expires {stamp(leaf.not_after)}",
                since=leaf.not_after,
            )
        if finding is not None:
            faults.setdefault((*owner_of(finding), finding.cause), []).append(finding)
    return (
        *(verdict(findings, facts) for findings in faults.values()),
        *unusable(facts),
        *stale.survey(facts),
        *stale.survey_memory(facts, warn_within),
    )


def merge(diagnoses: Iterable[Diagnosis]) -> tuple[Diagnosis, ...]:
    """Return one diagnosis for each key, most serious first."""
    together: dict[str, Diagnosis] = {}
    for diagnosis in diagnoses:
        other = together.get(diagnosis.key)
        together[diagnosis.key] = diagnosis if other is None else joined_diagnosis(other, diagnosis)
    severity, suspects, causes = list(Severity), list(Suspect), list(Cause)
    return tuple(
        sorted(
            together.values(),
            key=lambda d: (
                severity.index(d.severity),
                suspects.index(d.suspect),
                causes.index(d.cause),
                -d.count,
                d.key,
            ),
        )
    )


def distinct(sentences: Iterable[str]) -> tuple[str, ...]:
    """Return the sentences that differ in more than a port, which changes with each connection."""
    kept: dict[str, str] = {}
    for sentence in sentences:
        kept.setdefault(re.sub(r"(?<=[\w\]]):\d{4,5}\b", "", sentence), sentence)
    return tuple(kept.values())


def joined_diagnosis(a: Diagnosis, b: Diagnosis) -> Diagnosis:
    """Merge two diagnoses of one fault; the more certain, the more trusted and then the more complete of them counts."""
    # A later reading of a file replaces an earlier one.
    certs = {(c.path, c.index, "" if c.path else c.fingerprint): c for c in (*a.certificates, *b.certificates)}
    times = [t for t in (a.first_seen, b.first_seen) if t is not None]
    lasts = [t for t in (a.last_seen, b.last_seen) if t is not None]
    trusts = list(Trust)
    # Of two that are equal the one with more files counts: its remedy covers them all.
    better = min(
        (a, b), key=lambda d: (list(Confidence).index(d.confidence), trusts.index(d.trust), -len(d.certificates))
    )
    return replace(
        better,
        holders=tuple(dict.fromkeys((*a.holders, *b.holders))),
        certificates=tuple(certs.values()),
        evidence=distinct((*a.evidence, *b.evidence))[:MOST_EVIDENCE],
        neighbours=tuple(dict.fromkeys((*a.neighbours, *b.neighbours)))[:MOST_NEIGHBOURS],
        whom=better.whom or a.whom or b.whom,
        count=a.count + b.count,
        first_seen=min(times) if times else None,
        last_seen=max(lasts) if lasts else None,
        trust=min(a.trust, b.trust, key=trusts.index),
        provokable=a.provokable and b.provokable,
    )
