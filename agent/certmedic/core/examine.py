"""Checks of certificates that need no log line: is this file good, and if not, which file is the culprit and since when.

`examine` looks at one certificate and the CA file that its users check it against; `healthy` is the question asked
after a cure. Both are pure and answer for the moment of the facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from certmedic.core import certificates, planes
from certmedic.core.model import Cause, Certificate, Confidence, Facts, Served, Stored, Trust
from certmedic.core.text import stamp as stamp  # noqa: PLC0414 - importers of examine.stamp

LONGEST_CHAIN = 8  # authorities that are looked at in a leaf's own file
MOST_CANDIDATES = 8  # signatures that are verified to find who signed one certificate


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
    """Return the authorities from a leaf up to one of the `known` ones, by way of those `sent` along; empty if none leads there.

    Of several ways the one that holds longest is taken, as every TLS library takes one that is still good.
    """
    ways = {ca.fingerprint: [ca] for ca in sorted(known, key=lambda ca: ca.not_after, reverse=True)}
    waiting = list(sent[:LONGEST_CHAIN])
    while waiting:
        found = next(((link, way) for link in waiting for way in _signing(link, ways)), None)
        if found is None:
            break
        link, way = found
        waiting.remove(link)
        ways.setdefault(link.fingerprint, [link, *way])
    return max(_signing(leaf, ways), key=lambda way: min(ca.not_after for ca in way), default=[])


def _signing(certificate: Certificate, ways: Mapping[str, list[Certificate]]) -> Iterator[list[Certificate]]:
    """Yield the ways whose first authority signed a certificate."""
    for ca in candidates(certificate, [way[0] for way in ways.values()]):
        if certificates.issued_by(certificate, ca):
            yield ways[ca.fingerprint]


def candidates(certificate: Certificate, cas: Iterable[Certificate]) -> list[Certificate]:
    """Return the authorities that may have signed a certificate, by name and likeliest first, and a bounded number of them.

    A file may hold hundreds of CAs of one name. Each verification costs, so that the cost stays linear in the certificates.
    """
    named = [ca for ca in cas if ca.subject == certificate.issuer]
    wanted = certificate.authority_key_id
    if wanted and len(named) > 1:
        named.sort(key=lambda ca: (ca.subject_key_id != wanted, bool(ca.subject_key_id)))
    return named[:MOST_CANDIDATES]


def is_unverifiable(leaf: Certificate, cas: Sequence[Certificate]) -> bool:
    """Whether a CA of the right name is there, and the leaf's signature is of a kind that cannot be verified here."""
    return any(certificates.signature(leaf, ca) == "unverifiable" for ca in candidates(leaf, cas))


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
    found = dated(stored, leaf, f"{leaf.path}:", facts)
    if found is None and known and not way and is_unverifiable(leaf, known):
        return Finding(
            stored=stored,
            culprit=leaf,
            cause=Cause.UNKNOWN_AUTHORITY,
            confidence=Confidence.POSSIBLE,
            said=f"{leaf.path}: its signature cannot be verified here, so whether a CA in {stored.place.ca_path} signed it is not known",
        )
    return found or unfit(stored, is_strange=bool(known) and not way)


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
    return " and ".join(sorted(planes.use_of(stored.place.use).needs - usages)) if usages else ""


def served_by_system(facts: Facts) -> list[tuple[Served, Certificate]]:
    """Return what trusted listeners serve. Anybody can listen on a port; only the machine's own programs tell what is in use."""
    return [(s, s.certificate) for s in facts.served if s.certificate is not None and s.trust is Trust.SYSTEM]


def displaced(stored: Stored, facts: Facts) -> str:
    """Return why a certificate is not in use, in a sentence: every trusted listener serves another one; "" if nothing says so.

    An old volume that is still mounted, or a copy under a glob of the operator's, may have expired and harms nobody.
    """
    leaf = stored.certificate
    if stored.place.use not in ("peer", "server", "manager-server"):
        return ""  # a proxy may stand before the others, and serve its own
    seen = [(s, shown) for s, shown in served_by_system(facts) if s.port in stored.place.ports]
    if any(shown.fingerprint == leaf.fingerprint for _, shown in seen):
        return ""
    filed = {one.certificate.fingerprint for one in facts.stored if one.trust is Trust.SYSTEM}
    if not seen or not all(
        shown.fingerprint in filed or shown.not_before <= facts.at <= shown.not_after for _, shown in seen
    ):
        return ""
    place, shown = seen[0]
    return f"{leaf.path} is not in use: {place.address}:{place.port} serves another certificate, which expires {stamp(shown.not_after)}"


def rivalled(stored: Stored, facts: Facts) -> str:
    """Return why it is not known whether a certificate is in use, in a sentence; "" if it is known.

    etcd-manager has one certificate of each kind for a group, in its place. A second is an old volume, or a copy.
    """
    leaf, place = stored.certificate, stored.place
    if not planes.is_grouped(place.renewer):
        return ""
    rivals = [
        other.certificate
        for other in facts.stored
        if other.certificate.path != leaf.path
        and other.trust is Trust.SYSTEM
        and (other.place.plane, other.place.group, other.place.use, other.place.renewer)
        == (place.plane, place.group, place.use, place.renewer)
    ]
    shown = {certificate.fingerprint for _, certificate in served_by_system(facts)}
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
        for seen, shown in served_by_system(facts):
            if seen.port in stored.place.ports and shown.not_after < facts.at:
                return (
                    False,
                    f"{seen.address}:{seen.port} still serves a certificate that expired {stamp(shown.not_after)}",
                )
    return True, "; ".join(told)
