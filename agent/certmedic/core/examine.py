"""Checks of certificates without a log line: is a file good, and if not, which file is to blame and since when.

`examine` checks one certificate against the CA file of its users. `healthy` asks, after a fix, whether files are good. Both answer
for the moment of the facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from certmedic.core import certificates, issuers, planes
from certmedic.core.model import Cause, Certificate, Confidence, Facts, Served, Stored, Trust
from certmedic.core.text import count
from certmedic.core.text import stamp as stamp  # noqa: PLC0414 - importers of examine.stamp

LONGEST_CHAIN = 8  # CAs that are read from the file of a leaf
MOST_CANDIDATES = 8  # signatures that are verified to find the signer of one certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The fault of one stored certificate. `culprit` is the certificate to blame, perhaps that of its CA."""

    stored: Stored
    culprit: Certificate
    cause: Cause
    confidence: Confidence
    evidence: str  # one sentence
    since: datetime | None = None


def names_of(certificate: Certificate) -> str:
    """Return the names in a certificate, for a sentence."""
    held = ", ".join((*certificate.dns_names, *certificate.ip_addresses))
    return f"only {held}" if held else "no name at all"


def authorities(stored: Stored, facts: Facts) -> tuple[Certificate, ...]:
    """Return the certificates in the CA file of a certificate; none if the file was not read."""
    path = stored.place.ca_path
    return facts.by_path.get(path, ()) if path else ()


def links(stored: Stored, facts: Facts) -> tuple[Certificate, ...]:
    """Return the intermediate CAs in the file of a leaf, which its holder sends along."""
    leaf = stored.certificate
    beside = facts.by_path.get(leaf.path, ())
    return tuple(other for other in beside if other.is_ca and other.index != leaf.index)


def chain(leaf: Certificate, known: Sequence[Certificate], sent: Sequence[Certificate]) -> list[Certificate]:
    """Return the CAs from a leaf up to one of the `known` CAs, through CAs `sent` along; empty if no chain leads there.

    Of several chains the one that is valid longest is taken, because every TLS library takes a valid one.
    """
    ways = {ca.fingerprint: [ca] for ca in sorted(known, key=lambda ca: ca.not_after, reverse=True)}
    waiting = list(sent[:LONGEST_CHAIN])
    while waiting:
        step = next(((link, way) for link in waiting for way in _signing(link, ways)), None)
        if step is None:
            break
        link, way = step
        waiting.remove(link)
        ways.setdefault(link.fingerprint, [link, *way])
    return max(_signing(leaf, ways), key=lambda way: min(ca.not_after for ca in way), default=[])


def _signing(certificate: Certificate, ways: Mapping[str, list[Certificate]]) -> Iterator[list[Certificate]]:
    """Yield the chains whose first CA signed a certificate."""
    for ca in candidates(certificate, [way[0] for way in ways.values()]):
        if certificates.issued_by(certificate, ca):
            yield ways[ca.fingerprint]


def candidates(certificate: Certificate, cas: Iterable[Certificate]) -> list[Certificate]:
    """Return the CAs whose name is the issuer of a certificate, likeliest first, at most MOST_CANDIDATES.

    A file may hold hundreds of CAs of one name, and each verification costs time.
    """
    named = [ca for ca in cas if ca.subject == certificate.issuer]
    wanted = certificate.authority_key_id
    if wanted and len(named) > 1:
        named.sort(key=lambda ca: (ca.subject_key_id != wanted, bool(ca.subject_key_id)))
    return named[:MOST_CANDIDATES]


def is_unverifiable(leaf: Certificate, cas: Sequence[Certificate]) -> bool:
    """Whether a CA has the right name, but the library cannot verify this kind of signature."""
    return any(certificates.signature(leaf, ca) == "unverifiable" for ca in candidates(leaf, cas))


def examine(stored: Stored, facts: Facts) -> Finding | None:
    """Return the gravest fault of a certificate in dates, chain, key and usage; None if it has none."""
    leaf = stored.certificate
    if replaced(stored, facts):
        return None
    if leaf.is_ca:
        return dated(stored, leaf, f"{leaf.path}: the CA {leaf.subject_cn}", facts)
    known = authorities(stored, facts)
    way = chain(leaf, known, links(stored, facts))
    # The CA comes first: while it is expired, a new leaf is worth nothing.
    for ca in way:
        finding = dated(stored, ca, f"{ca.path}: the CA {ca.subject_cn}, which signed {leaf.path},", facts)
        if finding is not None:
            return finding
    finding = dated(stored, leaf, f"{leaf.path}:", facts)
    if finding is None and known and not way and is_unverifiable(leaf, known):
        return Finding(
            stored=stored,
            culprit=leaf,
            cause=Cause.UNKNOWN_AUTHORITY,
            confidence=Confidence.POSSIBLE,
            evidence=f"{leaf.path}: its kind of signature cannot be verified here, so its CA in {stored.place.ca_path} is not known",
        )
    return finding or unfit(stored, known if not way else ())


def replaced(stored: Stored, facts: Facts) -> bool:
    """Whether a CA is an old copy: those who check against it also know a valid one of the same name and key.

    k3s and rke2 keep the CA in the files of their leaves, and kops keeps all CAs of a keyset in one file (FIELD 8.4).
    """
    old = stored.certificate
    beside = facts.by_path.get(old.path, ()) if old.is_ca else ()
    if len(beside) < 2:
        return False
    # Whoever reads a kubeconfig knows only the CA in it.
    path = "" if old.embedded_kind else planes.place(old.path).ca_path
    known = facts.by_path.get(path, ())
    return any(
        (ca.subject, ca.key_fingerprint) == (old.subject, old.key_fingerprint)
        and ca.not_before <= facts.at <= ca.not_after
        and ca.not_after > old.not_after
        for ca in (*known, *beside)
        if ca.is_ca and ca.embedded_key in ("", old.embedded_key)
    )


def dated(stored: Stored, culprit: Certificate, what: str, facts: Facts) -> Finding | None:
    """Return the fault in the dates of `culprit`, a certificate or a CA above it; `what` begins the sentence."""
    cause, evidence, since = Cause.NOT_YET_VALID, f"{what} is valid only from {stamp(culprit.not_before)}", None
    if culprit.not_after < facts.at:
        cause = Cause.CA_EXPIRED if culprit.is_ca else Cause.EXPIRED
        evidence, since = f"{what} expired {stamp(culprit.not_after)}", culprit.not_after
    elif culprit.not_before <= facts.at:
        return None
    elif facts.clock_synchronised is False:
        cause, evidence = Cause.CLOCK, f"{evidence}, and this machine's clock is not synchronised"
    return Finding(
        stored=stored, culprit=culprit, cause=cause, confidence=Confidence.PROVEN, evidence=evidence, since=since
    )


def unfit(stored: Stored, strange: Sequence[Certificate]) -> Finding | None:
    """Return the fault of a leaf within its dates: key, usage, or that none of the CAs in its CA file (`strange`) signed it."""
    leaf = stored.certificate
    if strange:
        cause = Cause.UNKNOWN_AUTHORITY
        named = issuers.apart(leaf, strange) or f"it names {leaf.issuer_cn}"
        evidence = f"{leaf.path}: no CA in {stored.place.ca_path} signed it ({named})"
    elif stored.key_matches is False:
        cause, evidence = Cause.KEY_MISMATCH, f"{leaf.path}: does not belong to the private key beside it"
    elif lacking := lacking_usages(stored):
        cause, evidence = Cause.USAGE, f"{leaf.path}: may not be used as {lacking} certificate"
    else:
        return None
    return Finding(stored=stored, culprit=leaf, cause=cause, confidence=Confidence.PROVEN, evidence=evidence)


def lacking_usages(stored: Stored) -> str:
    """Return the usages that the place of a certificate needs and that it lacks, for a sentence."""
    usages = stored.certificate.usages
    return " and ".join(sorted(planes.use_of(stored.place.use).needs - usages)) if usages else ""


def served_by_system(facts: Facts) -> list[tuple[Served, Certificate]]:
    """Return the certificates that trusted listeners serve. Anybody can listen on a port, so others prove nothing."""
    return [(s, s.certificate) for s in facts.served if s.certificate is not None and s.trust is Trust.SYSTEM]


def displaced(stored: Stored, facts: Facts) -> str:
    """Return why a certificate is not in use, in a sentence: every trusted listener serves another; "" if it may be in use.

    An expired file on an old volume, or a copy under a glob of the operator, harms nobody.
    """
    leaf, use = stored.certificate, stored.place.use
    seen = [(s, shown) for s, shown in served_by_system(facts) if s.port in stored.place.ports]
    if any(shown.fingerprint == leaf.fingerprint for _, shown in seen):
        return ""
    of_etcd = use in ("peer", "server", "manager-server")
    # A proxy with another certificate may stand before the others: there only another file of the same use shows it.
    filed = {
        other.certificate.fingerprint
        for other in facts.stored
        if other.trust is Trust.SYSTEM and (of_etcd or other.place.use == use)
    }
    if not seen or not all(
        shown.fingerprint in filed or (of_etcd and shown.not_before <= facts.at <= shown.not_after) for _, shown in seen
    ):
        return ""
    place, shown = seen[0]
    return f"{leaf.path} is not in use: {place.address}:{place.port} serves another certificate, which expires {stamp(shown.not_after)}"


def rivalled(stored: Stored, facts: Facts) -> str:
    """Return why it is not known whether a certificate is in use, in a sentence; "" if it is known.

    etcd-manager has one certificate of each use in an etcd group. A second one is a copy or lies on an old volume.
    """
    leaf, place = stored.certificate, stored.place
    if not planes.renewer_of(place.renewer).is_grouped:
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
    return f"it is not known which is in use: {leaf.path} or {rivals[0].path}"


def healthy(files: Iterable[str], facts: Facts) -> tuple[bool, str]:
    """Whether all these certificate files are good now, on disk and on their ports; and why."""
    reasons = []
    for path in files:
        here = [stored for stored in facts.stored if stored.certificate.path == path]
        if not here:
            fault = next(
                (f"{f.path}: {f.reason}: {f.detail}" for f in facts.faults if f.path == path), f"{path} does not exist"
            )
            return False, fault
        for stored in here:
            finding = examine(stored, facts)
            if finding is not None:
                return False, finding.evidence
        # A kubeconfig holds its CA too.
        used = [item for item in here if not replaced(item, facts)] or here
        stored = min(used, key=lambda item: (item.certificate.is_ca, item.certificate.not_after))
        is_bare = stored.certificate.embedded_kind == "cluster"  # only the CA of a kubeconfig is left
        until = f"is valid until {stamp(stored.certificate.not_after)}"
        reasons.append(f"{path} {'holds no client certificate any more' if is_bare else until}")
        for seen, shown in served_by_system(facts):
            if seen.port in stored.place.ports and shown.not_after < facts.at:
                return (
                    False,
                    f"{seen.address}:{seen.port} still serves a certificate that expired {stamp(shown.not_after)}",
                )
    if len(reasons) > 3:
        reasons = [*reasons[:2], f"{count(len(reasons) - 2, 'more file')} are valid too"]
    return True, "; ".join(reasons)
