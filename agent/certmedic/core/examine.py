"""Checks of certificates that need no log line: is this file good, and if not, which file is the culprit and since when.

`examine` looks at one certificate and the CA file that its users check it against; `healthy` is the question asked
after a cure. Both are pure and answer for the moment of the facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from certmedic.core import certificates, planes
from certmedic.core.model import Cause, Certificate, Confidence, Facts, Stored
from certmedic.core.text import stamp as stamp  # noqa: PLC0414 - importers of examine.stamp

LONGEST_CHAIN = 8  # authorities that are looked at in a leaf's own file; strangers may have filled it

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


def names_of(certificate: Certificate) -> str:
    """Return the names that a certificate holds, for a sentence."""
    held = ", ".join((*certificate.dns_names, *certificate.ip_addresses))
    return f"only {held}" if held else "no name at all"


def authorities(stored: Stored, facts: Facts) -> tuple[Certificate, ...]:
    """Return the certificates of the CA file that this certificate is checked against; none where it was not read."""
    path = stored.place.ca_path
    return facts.by_path.get(path, ()) if path else ()


def links(stored: Stored, facts: Facts) -> tuple[Certificate, ...]:
    """Return the authorities in between that follow a leaf in its own file, and are sent along with it."""
    leaf = stored.certificate
    beside = facts.by_path.get(leaf.path, ())
    return tuple(other for other in beside if other.is_ca and other.index != leaf.index)


def chain(leaf: Certificate, known: Sequence[Certificate], sent: Sequence[Certificate]) -> list[Certificate]:
    """Return the authorities from a leaf up to one of the `known` ones, by way of those `sent` along; empty where none leads there.

    Of several ways the one that holds longest is taken, as every TLS library takes one that is still good.
    """
    ways = [[ca] for ca in sorted(known, key=lambda ca: ca.not_after, reverse=True)]
    waiting = list(sent[:LONGEST_CHAIN])
    while found := next(
        ((link, way) for link in waiting for way in ways if certificates.issued_by(link, way[0])), None
    ):
        link, way = found
        waiting.remove(link)
        ways.append([link, *way])
    whole = [way for way in ways if certificates.issued_by(leaf, way[0])]
    return max(whole, key=lambda way: min(ca.not_after for ca in way), default=[])


def examine(stored: Stored, facts: Facts) -> Finding | None:
    """Return the gravest thing that is wrong with a certificate by date, chain, key and usage; None: nothing is."""
    leaf = stored.certificate
    if leaf.is_ca:
        return dated(stored, leaf, f"{leaf.path}: the CA {leaf.subject_cn}", facts)
    known = authorities(stored, facts)
    way = chain(leaf, known, links(stored, facts))
    # Before the leaf's own dates: while the CA is expired no new leaf is worth anything.
    for ca in way:
        found = dated(stored, ca, f"{ca.path}: the CA {ca.subject_cn}, which signed {leaf.path},", facts)
        if found is not None:
            return found
    return dated(stored, leaf, f"{leaf.path}:", facts) or unfit(stored, is_strange=bool(known) and not way)


def dated(stored: Stored, culprit: Certificate, what: str, facts: Facts) -> Finding | None:
    """Return what is wrong with the dates of a certificate, or of an authority above it, which a sentence calls `what`."""
    cause, said, since = Cause.NOT_YET_VALID, f"{what} is valid only from {stamp(culprit.not_before)}", None
    if culprit.not_after < facts.at:
        cause = Cause.CA_EXPIRED if culprit.is_ca else Cause.EXPIRED
        said, since = f"{what} expired {stamp(culprit.not_after)}", culprit.not_after
    elif culprit.not_before <= facts.at:
        return None
    elif facts.clock_synchronised is False:
        cause, said = Cause.CLOCK, f"{said}, and this machine's clock is not synchronised"
    return Finding(stored=stored, culprit=culprit, cause=cause, confidence=Confidence.PROVEN, said=said, since=since)


def unfit(stored: Stored, *, is_strange: bool) -> Finding | None:
    """Return why a leaf within its dates is of no use: `is_strange` (no CA of its file signed it), key, usage."""
    leaf = stored.certificate
    if is_strange:
        cause = Cause.UNKNOWN_AUTHORITY
        said = f"{leaf.path}: was not signed by any CA in {stored.place.ca_path} (it names {leaf.issuer_cn})"
    elif stored.key_matches is False:
        cause, said = Cause.KEY_MISMATCH, f"{leaf.path}: does not belong to the private key beside it"
    elif lacking := lacking_usages(stored):
        cause, said = Cause.USAGE, f"{leaf.path}: may not be used as {lacking} certificate"
    else:
        return None
    return Finding(stored=stored, culprit=leaf, cause=cause, confidence=Confidence.PROVEN, said=said)


def lacking_usages(stored: Stored) -> str:
    """Return the usages that a certificate needs for its place and does not have, for a sentence."""
    usages = stored.certificate.usages
    return " and ".join(sorted(NEEDED_USAGES.get(stored.place.use, frozenset()) - usages)) if usages else ""


def displaced(stored: Stored, facts: Facts) -> str:
    """Return why a certificate is not the one in use, in a sentence: where it would be shown, another one is; "" where nothing says so.

    An old volume that is still mounted, or a copy under a glob of the operator's, holds what has expired and harms nobody.
    """
    leaf = stored.certificate
    if stored.place.use not in ("peer", "server", "manager-server"):
        return ""  # before others there may stand a proxy, which shows its own
    seen = [(s, s.certificate) for s in facts.served if s.port in stored.place.ports and s.certificate is not None]
    if any(shown.fingerprint == leaf.fingerprint for _, shown in seen):
        return ""
    filed = {one.certificate.fingerprint for one in facts.stored}
    for place, shown in seen:
        if shown.fingerprint in filed or shown.not_before <= facts.at <= shown.not_after:
            return f"{leaf.path} is not in use: {place.address}:{place.port} shows another one, which ends {stamp(shown.not_after)}"
    return ""


def rivalled(stored: Stored, facts: Facts) -> str:
    """Return why it cannot be told whether a certificate is in use, in a sentence; "" where it can.

    Of each kind etcd-manager has one for a group, where it belongs. A second is an old volume, or a copy of the first.
    """
    leaf, place = stored.certificate, stored.place
    if place.renewer != "etcd-manager":
        return ""
    rivals = [
        other.certificate
        for other in facts.stored
        if other.certificate.path != leaf.path
        and (other.place.plane, other.place.group, other.place.use, other.place.renewer)
        == (place.plane, place.group, place.use, place.renewer)
    ]
    shown = {seen.certificate.fingerprint for seen in facts.served if seen.certificate is not None}
    if not rivals or (leaf.fingerprint in shown and all(rival.fingerprint not in shown for rival in rivals)):
        return ""
    if planes.in_its_place(leaf.path) and not any(planes.in_its_place(rival.path) for rival in rivals):
        return ""
    return f"which of {leaf.path} and {rivals[0].path} is in use cannot be told"


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
