"""Checks of certificates that need no log line: is this file good, and if not, which file is the culprit and since when.

`examine` looks at one certificate and the CA file that its users check it against; `healthy` is the question asked
after a cure. Both are pure and answer for the moment of the facts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from certmedic.core import certificates
from certmedic.core.model import Cause, Certificate, Confidence, Facts, Stored

NEEDED_USAGES = {
    "peer": frozenset({"server", "client"}),
    "server": frozenset({"server"}),
    "client": frozenset({"client"}),
    "manager-server": frozenset({"server"}),
    "manager-client": frozenset({"client"}),
    "apiserver-etcd-client": frozenset({"client"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong with one stored certificate. `culprit` is the file to blame, which may be its CA's."""

    stored: Stored
    culprit: Certificate
    cause: Cause
    confidence: Confidence
    said: str  # one sentence of evidence
    since: datetime | None = None


def stamp(moment: datetime) -> str:
    """Return a time as people and logs write it."""
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def names_of(certificate: Certificate) -> str:
    """Return the names that a certificate holds, for a sentence."""
    return ", ".join((*certificate.dns_names, *certificate.ip_addresses)) or "no name at all"


def authorities(stored: Stored, facts: Facts) -> tuple[Certificate, ...]:
    """Return the certificates of the CA file that this certificate is checked against; none where it was not read."""
    path = stored.place.ca_path
    return tuple(other.certificate for other in facts.stored if path and other.certificate.path == path)


def examine(stored: Stored, facts: Facts) -> Finding | None:
    """Return the gravest thing that is wrong with a certificate by date, chain, key and usage; None: nothing is."""
    leaf, now = stored.certificate, facts.at

    def finding(cause: Cause, said: str, culprit: Certificate = leaf, since: datetime | None = None) -> Finding:
        return Finding(
            stored=stored, culprit=culprit, cause=cause, confidence=Confidence.PROVEN, said=said, since=since
        )

    if leaf.is_ca:
        if leaf.not_after < now:
            said = f"{leaf.path}: the CA {leaf.subject_cn} expired {stamp(leaf.not_after)}"
            return finding(Cause.CA_EXPIRED, said, since=leaf.not_after)
        return None
    known = authorities(stored, facts)
    issuers = [ca for ca in known if certificates.issued_by(leaf, ca)]
    dead = [ca for ca in issuers if ca.not_after < now]
    if dead and len(dead) == len(issuers):
        # Before the leaf's own dates: while the CA is expired no new leaf is worth anything.
        last = max(dead, key=lambda ca: ca.not_after)
        said = f"{last.path}: the CA {last.subject_cn}, which signed {leaf.path}, expired {stamp(last.not_after)}"
        return finding(Cause.CA_EXPIRED, said, last, last.not_after)
    if leaf.not_after < now:
        return finding(Cause.EXPIRED, f"{leaf.path}: expired {stamp(leaf.not_after)}", since=leaf.not_after)
    if leaf.not_before > now:
        said = f"{leaf.path}: is valid only from {stamp(leaf.not_before)}"
        if facts.clock_synchronised is False:
            return finding(Cause.CLOCK, said + ", and this machine's clock is not synchronised")
        return finding(Cause.NOT_YET_VALID, said)
    if known and not issuers:
        said = f"{leaf.path}: was not signed by any CA in {stored.place.ca_path} (it names {leaf.issuer_cn})"
        return finding(Cause.UNKNOWN_AUTHORITY, said)
    if stored.key_matches is False:
        return finding(Cause.KEY_MISMATCH, f"{leaf.path}: does not belong to the private key beside it")
    lacking = lacking_usages(stored)
    return finding(Cause.USAGE, f"{leaf.path}: may not be used as {lacking} certificate") if lacking else None


def lacking_usages(stored: Stored) -> str:
    """Return the usages that a certificate needs for its place and does not have, for a sentence."""
    usages = stored.certificate.usages
    return " and ".join(sorted(NEEDED_USAGES.get(stored.place.use, frozenset()) - usages)) if usages else ""


def healthy(files: Iterable[str], facts: Facts) -> tuple[bool, str]:
    """Whether every one of these certificate files is good now, on disk and where it is served, and why."""
    told = []
    for path in files:
        here = [stored for stored in facts.stored if stored.certificate.path == path]
        if not here:
            fault = next(
                (f"{f.path}: {f.reason}: {f.detail}" for f in facts.faults if f.path == path), f"{path}: is not there"
            )
            return False, fault
        for stored in here:
            found = examine(stored, facts)
            if found is not None:
                return False, found.said
        stored = here[0]
        told.append(f"{path} is valid until {stamp(stored.certificate.not_after)}")
        for seen in facts.served:
            if (
                seen.port in stored.place.ports
                and seen.certificate is not None
                and seen.certificate.not_after < facts.at
            ):
                return (
                    False,
                    f"{seen.address}:{seen.port} still serves a certificate that expired {stamp(seen.certificate.not_after)}",
                )
    return True, "; ".join(told)
