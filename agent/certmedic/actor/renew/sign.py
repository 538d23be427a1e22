"""Reissue a leaf in place, for its own key and by the CA that signed it, and undo that.

etcd from 3.2.19 and 3.3.4 on, and other programs with its transport, read their leaf at every handshake, so that a new file
cures without a restart. The new file is written beside the old one and takes its name in one step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from certmedic.actor.ports import Renewed
from certmedic.actor.renew import allowed
from certmedic.actor.renew.embedded import client_key, is_kubeconfig
from certmedic.actor.renew.files import (
    Content,
    RenewError,
    backup_path,
    block_in,
    keep,
    leaf_in,
    must_be_roots,
    prune,
    read,
    reason_of,
    with_block,
    write,
)
from certmedic.core import certificates, planes
from certmedic.core.certificates import NotACertificate
from certmedic.core.der import pieces
from certmedic.core.model import Certificate, Place, Stored
from certmedic.edge.os.owners import Tree

MOST_IN_FILE = 200  # certificates of one file
LIFE = timedelta(days=730)  # as etcd-manager's own


@dataclass(frozen=True, slots=True)
class _Authority:
    path: str
    certificate: Certificate
    key: Any


# ---------------------------------------------------------------- renew and undo


def renew(  # noqa: PLR0913 - the new certificate depends on each
    stored: Stored,
    *,
    authorities: Sequence[tuple[str, str]],
    backups: Path,
    now: datetime,
    life: timedelta = LIFE,
    tree: Tree = Tree(),  # noqa: B008 - a frozen value
    about_to: Callable[[Renewed], None] = lambda _: None,
) -> Renewed:
    """Reissue the leaf in a file, in place. Raises RenewError; the file is then unchanged.

    Only an authorised file is renewed. `authorities` are pairs of files (certificate, private key) of CAs. The CA that signs
    must have signed the old leaf, be valid at `now`, belong to root alone in the `tree`, and be in the file against which the
    leaf is checked. Key and subject stay; names, usages and other extensions follow allowed.py. Validity begins with that of the
    CA, as etcd-manager does it, and lasts no longer than that of the old leaf, than `life`, or than the CA. Certificates that
    follow the leaf in its file stay. The folder `backups` is created if missing. `about_to` is called before anything is done.
    """
    if not stored.authorised:
        raise RenewError(f"{stored.certificate.path}: it is not renewed: {stored.doubt or 'it is not authorised'}")
    try:
        must_be_roots(stored.certificate.path, tree)
        old = read(stored.certificate.path)
        leaf = _present_leaf(stored, old)
        _must_have_its_key(leaf, old, tree)
        ca = _signer(leaf, stored.place.ca_path, authorities, now, tree)
        life = min(life, leaf.not_after - leaf.not_before)
        end = min((now + life).replace(microsecond=0), ca.certificate.not_after)
        new = _signed(leaf, ca, end, stored.place)
        renewed = Renewed(
            path=old.path,
            backup=str(backup_path(stored, backups)),
            not_after=new.not_after,
            ca_path=ca.path,
            fingerprint=new.fingerprint,
        )
        about_to(renewed)
        block = x509.load_der_x509_certificate(new.der).public_bytes(serialization.Encoding.PEM)
        backups.mkdir(mode=0o700, parents=True, exist_ok=True)
        prune(backups, now.timestamp())
        keep(Path(renewed.backup), old)
        write(Path(old.path), with_block(old.data, block), like=old.state, instead_of=old)
    except OSError as error:
        raise RenewError(reason_of(error, stored.certificate.path)) from error
    return renewed


def undo(renewed: Renewed) -> None:
    """Put the old leaf back. Raises RenewError, also if another program has replaced the file since.

    May be called again after a crash: a leaf that is back already stays.
    """
    try:
        present, before = read(renewed.path), read(renewed.backup)
        shown, former = leaf_in(present), block_in(before.data)
        known = leaf_in(before)
        if former is None or known is None:
            raise RenewError(f"{renewed.backup}: it holds no certificate, so nothing can be put back")
        if shown is not None and shown.fingerprint == known.fingerprint:
            return
        if shown is None or shown.fingerprint != renewed.fingerprint:
            raise RenewError(
                f"{renewed.path}: another has replaced it since, so it is left as it is; the one before is {renewed.backup}"
            )
        # Only the certificate: a backup holds no key, and the rest of the file stays.
        write(Path(renewed.path), with_block(present.data, former), like=present.state, instead_of=present)
    except OSError as error:
        raise RenewError(reason_of(error, renewed.path)) from error


# ---------------------------------------------------------------- conditions


def _present_leaf(stored: Stored, old: Content) -> Certificate:
    """Return the leaf in the file. Raises RenewError if it cannot be reissued or is not the expected one."""
    path, expected = stored.certificate.path, stored.certificate
    if expected.is_ca or stored.place.use == "ca":
        raise RenewError(f"{path}: it is an authority's certificate; only leaves are renewed")
    if expected.index and expected.embedded_kind != "user":
        raise RenewError(
            f"{path}: certificate {expected.index + 1} of the file is not its leaf; only the first is renewed"
        )
    leaf = leaf_in(old)
    if leaf is None:
        raise RenewError(
            f"{path}: it is no file of PEM certificates and no kubeconfig of one user; only those are renewed in place"
        )
    if leaf.fingerprint != expected.fingerprint:
        raise RenewError(f"{path}: it changed since it was looked at; look again")
    if leaf.is_ca:
        raise RenewError(f"{path}: it is an authority's certificate; only leaves are renewed")
    return leaf


def _must_have_its_key(leaf: Certificate, old: Content, tree: Tree) -> None:
    if b"PRIVATE KEY-----" in old.data:
        path, data = old.path, old.data
    elif is_kubeconfig(old.data):
        path, data = old.path, client_key(old.data) or b""
    else:
        path = planes.key_beside(old.path)
        if not path:
            raise RenewError(
                f"{old.path}: where its private key lies is not known, so it cannot be proven to be in use"
            )
        data = _of_root(path, tree).data
    matches = certificates.key_matches(leaf, data)
    if matches is None:
        raise RenewError(f"{path}: the private key cannot be read; is it encrypted?")
    if not matches:
        raise RenewError(
            f"{path}: the private key does not belong to {leaf.path}; a new certificate for the old key helps nobody"
        )


def _of_root(path: str, tree: Tree) -> Content:
    """Read a file that only root may change. Raises OSError or RenewError."""
    os.lstat(path)  # so that a missing file is reported as missing
    must_be_roots(path, tree)
    return read(path)


def _signer(
    leaf: Certificate, trusted_path: str, authorities: Sequence[tuple[str, str]], now: datetime, tree: Tree
) -> _Authority:
    """Return the CA that can reissue the leaf. Raises RenewError with the reason against each candidate."""
    if not trusted_path:
        raise RenewError(f"{leaf.path}: against which authority it is checked is not known")
    trusted = _certificates_in(trusted_path, tree)
    able: list[_Authority] = []
    why: list[str] = []
    for certificate_path, key_path in authorities:
        try:
            able.append(_candidate(leaf, (certificate_path, key_path), trusted, now, tree))
        except OSError as error:
            why.append(reason_of(error, certificate_path))
        except RenewError as error:
            why.append(str(error))
    if able:
        return max(able, key=lambda ca: ca.certificate.not_after)
    reasons = "; ".join(dict.fromkeys(why)) or "none is known for a certificate of this kind"
    raise RenewError(f"{leaf.path}: no authority on this machine can renew it: {reasons}")


def _candidate(
    leaf: Certificate, files: tuple[str, str], trusted: Sequence[Certificate], now: datetime, tree: Tree
) -> _Authority:
    """Return the CA in a pair of files. Raises RenewError or OSError if it must not sign."""
    path, key_path = files
    signers = [ca for ca in _certificates_in(path, tree) if ca.is_ca and certificates.issued_by(leaf, ca)]
    if not signers:
        raise RenewError(f"{path} did not sign it")
    known = {ca.fingerprint for ca in trusted}
    agreed = [ca for ca in signers if ca.fingerprint in known]
    if not agreed:
        raise RenewError(
            f"{path} signed it, but is not what others check it against, so they would not trust a new one"
        )
    valid = [ca for ca in agreed if ca.not_before <= now < ca.not_after]
    if not valid:
        raise RenewError(f"{path} signed it, but is valid only from {agreed[0].not_before} to {agreed[0].not_after}")
    pem = _of_root(key_path, tree).data
    for ca in valid:
        if certificates.key_matches(ca, pem):
            return _Authority(path, ca, _loaded(pem, key_path))
    raise RenewError(f"{key_path} is not the private key of {path}, or cannot be read")


def _certificates_in(path: str, tree: Tree) -> tuple[Certificate, ...]:
    try:
        return certificates.parse(_of_root(path, tree).data, path, most=MOST_IN_FILE)
    except NotACertificate as error:
        # A broken certificate in a bundle does not hide the others: programs that load the bundle skip it too.
        if error.certificates:
            return error.certificates
        raise RenewError(f"{path}: {error}") from error


def _loaded(pem: bytes, path: str) -> Any:
    try:
        return serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise RenewError(f"{path}: the private key cannot be read: {error}") from error


# ---------------------------------------------------------------- signing


def _signed(leaf: Certificate, ca: _Authority, end: datetime, place: Place) -> Certificate:
    """Return a new certificate like the leaf. Raises RenewError if it would not expire later or would differ."""
    if end <= leaf.not_after:
        raise RenewError(f"{leaf.path}: a new one would end {end}, no later than the present one")
    old, signer = x509.load_der_x509_certificate(leaf.der), x509.load_der_x509_certificate(ca.certificate.der)
    builder = (
        x509.CertificateBuilder()
        .subject_name(allowed.subject(old, place, leaf.path))
        .issuer_name(signer.subject)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ca.certificate.not_before)
        .not_valid_after(end)
    )
    try:
        for value, critical in (*allowed.extensions(old, place.use, leaf.path), (_authority_key_id(signer), False)):
            builder = builder.add_extension(value, critical=critical)
        if not isinstance(ca.key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
            raise RenewError(f"{ca.path}: with a key of its kind nothing is signed here")
        algorithm = None if isinstance(ca.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        der = builder.sign(ca.key, algorithm).public_bytes(serialization.Encoding.DER)
        new = certificates.parse_der(der, leaf.path)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise RenewError(f"{leaf.path}: it cannot be renewed as it is: {error}") from error
    # Compare names byte by byte, as Go does: the library may encode them differently from the program that wrote the old leaf.
    # Compare extensions by their meaning: the key of the CA may have changed.
    before, after = ((parsed.issuer, parsed.subject, parsed.public_key) for parsed in map(pieces, (leaf.der, new.der)))
    if before != after or not certificates.issued_by(new, ca.certificate) or _told_by(new) != _told_by(leaf):
        raise RenewError(f"{leaf.path}: what was signed is not like the present certificate, so it was not used")
    return new


def _authority_key_id(signer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the key identifier in the signer's certificate, or compute it."""
    for extension in signer.extensions:
        if isinstance(extension.value, x509.SubjectKeyIdentifier):
            return x509.AuthorityKeyIdentifier(extension.value.digest, None, None)
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())  # type: ignore[arg-type]  # as in allowed.py


def _told_by(certificate: Certificate) -> tuple[object, ...]:
    return certificate.dns_names, certificate.ip_addresses, certificate.is_ca, certificate.key_fingerprint
