"""From findings to diagnoses: those of one cause and owner as one, a survey of all files, and several diagnoses joined.

Only files and listeners of trusted origins (`trusted`) are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from certmedic.core import remedies
from certmedic.core.examine import Finding, displaced, examine, healthy
from certmedic.core.model import Cause, Confidence, Diagnosis, Facts, Severity, Suspect, Trust
from certmedic.core.text import count, stamp

GRAVEST = (Cause.CA_EXPIRED, Cause.EXPIRED, Cause.CLOCK, Cause.NOT_YET_VALID)  # before every other cause
MOST_EVIDENCE = 12  # sentences of one diagnosis
MOST_NEIGHBOURS = 8  # names of one diagnosis


def trusted(facts: Facts) -> Facts:
    """Return the facts of trusted origins alone: what a stranger stores, runs or serves is no evidence."""
    return replace(
        facts,
        stored=tuple(one for one in facts.stored if one.trust is Trust.SYSTEM),
        served=tuple(one for one in facts.served if one.trust is Trust.SYSTEM),
        containers=tuple(one for one in facts.containers if one.trust is Trust.SYSTEM),
    )


def vouched(facts: Facts) -> Facts:
    """Return facts as trusted ones: a person named these files, as for the offline commands."""
    return replace(
        facts,
        stored=tuple(replace(one, trust=Trust.SYSTEM) for one in facts.stored),
        served=tuple(replace(one, trust=Trust.SYSTEM) for one in facts.served),
        containers=tuple(replace(one, trust=Trust.SYSTEM) for one in facts.containers),
    )


def gravest(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings of the gravest cause, of one owner: the subject of one message."""
    first = min(findings, key=lambda found: GRAVEST.index(found.cause) if found.cause in GRAVEST else len(GRAVEST))
    owner = (first.stored.place.plane, first.stored.place.group, first.stored.place.renewer)
    return [
        found
        for found in findings
        if found.cause is first.cause
        and (found.stored.place.plane, found.stored.place.group, found.stored.place.renewer) == owner
    ]


def verdict(findings: Sequence[Finding], facts: Facts) -> Diagnosis:
    """Build the diagnosis of findings that have one cause and one owner: of what is in use, if any of it is."""
    idle: list[str] = []
    if findings[0].cause in (Cause.EXPIRED, Cause.EXPIRES_SOON):
        used = [found for found in findings if not displaced(found.stored, facts)]
        idle = [] if used else [displaced(found.stored, facts) for found in findings]
        findings = used or findings
    first = findings[0]
    place = first.stored.place
    culprits = {(found.culprit.path, found.culprit.index): found.culprit for found in findings}
    doubtful = any(found.confidence is not Confidence.PROVEN for found in findings)
    since = [found.since for found in findings if found.since is not None]
    return Diagnosis(
        key=f"own|{place.plane}/{place.group}|{place.renewer}|{first.cause}{'|unused' if idle else ''}",
        cause=first.cause,
        suspect=Suspect.OWN,
        confidence=Confidence.POSSIBLE
        if idle
        else max((found.confidence for found in findings), key=list(Confidence).index)
        if doubtful
        else Confidence.PROVEN,
        certificates=tuple(culprits.values()),
        evidence=tuple(dict.fromkeys((*(found.said for found in findings), *idle))),
        effect="Nothing, as long as it is not in use."
        if idle
        else remedies.effect_of(first.cause, [found.stored.place for found in findings]),
        remedy=remedies.for_unused(idle[0], first.culprit.path)
        if idle
        else remedies.for_own(first.cause, [found.stored for found in findings], facts),
        plane=place.plane,
        group=place.group,
        since=min(since) if since else None,
        is_unused=bool(idle),
    )


def is_over(diagnosis: Diagnosis, facts: Facts) -> tuple[bool, str] | None:
    """Whether the files of a diagnosis are good now, and why; None if files cannot tell, so that only silence ends it.

    A fault that looking at the file did not prove (a name, a revocation) is not disproved by looking at the same file again.
    """
    facts = trusted(facts)
    paths = tuple(dict.fromkeys(one.path for one in diagnosis.certificates if one.path))
    if diagnosis.suspect is not Suspect.OWN or not paths or diagnosis.cause is Cause.STALE_IN_MEMORY:
        return None
    before = {one.fingerprint for one in diagnosis.certificates}
    is_same = any(one.fingerprint in before for path in paths for one in facts.by_path.get(path, ()))
    if is_same and diagnosis.confidence is not Confidence.PROVEN and not diagnosis.is_unused:
        return None
    return healthy(paths, facts)


def survey(
    facts: Facts, *, warn_within: timedelta, of_plane: Mapping[str, timedelta] | None = None
) -> tuple[Diagnosis, ...]:
    """Return what is wrong, or soon will be, with this machine's files, though nothing has logged it yet.

    `warn_within` is how long before its expiry a certificate is reported; `of_plane` the same for single planes.
    """
    facts = trusted(facts)
    within = of_plane or {}
    faults: dict[tuple[str, str, str, Cause], list[Finding]] = {}
    for stored in facts.stored:
        leaf = stored.certificate
        found = examine(stored, facts)
        if found is not None and found.cause not in (Cause.EXPIRED, Cause.CA_EXPIRED, Cause.NOT_YET_VALID, Cause.CLOCK):
            continue  # chain, key and usage are judged where a line points at them: copies and unused files differ
        if found is None and leaf.not_after - facts.at <= within.get(stored.place.plane, warn_within):
            found = Finding(
                stored=stored,
                culprit=leaf,
                cause=Cause.EXPIRES_SOON,
                confidence=Confidence.PROVEN,
                said=f"{leaf.path}: expires {stamp(leaf.not_after)}, in {count((leaf.not_after - facts.at).days, 'day')}",
                since=leaf.not_after,
            )
        if found is not None:
            place = stored.place
            faults.setdefault((place.plane, place.group, place.renewer, found.cause), []).append(found)
    return tuple(verdict(findings, facts) for findings in faults.values())


def merge(diagnoses: Iterable[Diagnosis]) -> tuple[Diagnosis, ...]:
    """Return one diagnosis for each fault, most serious first."""
    together: dict[str, Diagnosis] = {}
    for one in diagnoses:
        other = together.get(one.key)
        together[one.key] = one if other is None else joined_diagnosis(other, one)
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
    """Return the sentences that differ in more than the port of an address, which changes with each connection."""
    kept: dict[str, str] = {}
    for sentence in sentences:
        kept.setdefault(re.sub(r"(?<=[\w\]]):\d{4,5}\b", "", sentence), sentence)
    return tuple(kept.values())


def joined_diagnosis(a: Diagnosis, b: Diagnosis) -> Diagnosis:
    """Return two diagnoses of the same fault as one. It rests on the more trusted of the two."""
    # If a file was read twice, the later reading counts.
    certs = {(c.path, c.index, "" if c.path else c.fingerprint): c for c in (*a.certificates, *b.certificates)}
    times = [t for t in (a.first_seen, b.first_seen) if t is not None]
    lasts = [t for t in (a.last_seen, b.last_seen) if t is not None]
    trusts = list(Trust)
    better = min((a, b), key=lambda d: (list(Confidence).index(d.confidence), trusts.index(d.trust)))
    return replace(
        better,
        certificates=tuple(certs.values()),
        evidence=distinct((*a.evidence, *b.evidence))[:MOST_EVIDENCE],
        neighbours=tuple(dict.fromkeys((*a.neighbours, *b.neighbours)))[:MOST_NEIGHBOURS],
        count=a.count + b.count,
        first_seen=min(times) if times else None,
        last_seen=max(lasts) if lasts else None,
        trust=min(a.trust, b.trust, key=trusts.index),
        provokable=a.provokable and b.provokable,
    )
