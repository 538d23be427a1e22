"""Renewing a leaf in place: signed anew with the key that it has, by the authority that signed it, and undone if need be.

etcd reads its leaf at every handshake (from 3.2.19 and 3.3.4 on), and so does what else uses its transport, so that a new
file cures without a restart. Nothing is ever half there: a file is written beside the old one, and takes its name in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from certmedic.core import certificates, planes
from certmedic.core.certificates import NotACertificate
from certmedic.core.der import pieces
from certmedic.core.model import Certificate, Stored
from certmedic.edge.renew.files import BLOCK, Content, RenewError, backup_path, leaf_in, read, real_path, told, write

LIFE = timedelta(days=730)  # as etcd-manager's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """What was done, complete enough to be undone, by another process too."""

    path: str  # the file that was replaced: where `Stored` named a link, what it leads to
    backup: str  # what was there before, with its owner and mode
    not_after: datetime  # of the new certificate
    ca_path: str  # certificate of the authority that signed it
    fingerprint: str  # of the new certificate


@dataclass(frozen=True, slots=True)
class _Authority:
    path: str
    certificate: Certificate
    key: Any


# ---------------------------------------------------------------- what is done


def renew(  # noqa: PLR0913 - each is one thing that the new one depends on
    stored: Stored,
    *,
    authorities: Sequence[tuple[str, str]],
    backups: Path,
    now: datetime,
    life: timedelta = LIFE,
    about_to: Callable[[Renewed], None] = lambda _: None,
) -> Renewed:
    """Sign the leaf in a file anew and put it in the old one's place. Raises RenewError, and then the file is as it was.

    `authorities` are the files (certificate, private key) of those that may have signed it: taken is the one that did, is
    valid at `now`, and is in the file that the leaf's users check it against. Public key, subject, names and all other
    extensions stay. As etcd-manager does it, the new one begins with its authority; it ends after `life`, or with its
    authority. Certificates that follow the leaf in its file stay. `backups` is made where it is missing. `about_to` hears what will
    be done before anything is.
    """
    try:
        old = read(real_path(stored.certificate.path))
        leaf = _present_leaf(stored, old)
        _must_have_its_key(leaf, old)
        ca = _signer(leaf, stored.place.ca_path, authorities, now)
        new = _signed(leaf, ca, min((now + life).replace(microsecond=0), ca.certificate.not_after))
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
        write(Path(renewed.backup), old.data, like=old.state)
        write(Path(old.path), BLOCK.sub(lambda _: block, old.data, count=1), like=old.state, instead_of=old)
    except OSError as error:
        raise RenewError(told(error, stored.certificate.path)) from error
    return renewed


def undo(renewed: Renewed) -> None:
    """Put back what was there before. Raises RenewError where that cannot be, or where another has written the file since.

    What is back already stays, so it may be called again after a crash.
    """
    try:
        present, before = read(renewed.path), read(renewed.backup)
        if present.data == before.data:
            return
        shown = leaf_in(present)
        if shown is None or shown.fingerprint != renewed.fingerprint:
            raise RenewError(
                f"{renewed.path}: another has replaced it since, so it is left as it is; the one before is {renewed.backup}"
            )
        write(Path(renewed.path), before.data, like=before.state, instead_of=present)
    except OSError as error:
        raise RenewError(told(error, renewed.path)) from error


# ---------------------------------------------------------------- what must be so


def _present_leaf(stored: Stored, old: Content) -> Certificate:
    """Return the leaf in the file. Raises RenewError where it is not one that can be signed anew, or not the one expected."""
    path, expected = stored.certificate.path, stored.certificate
    if expected.is_ca or stored.place.use == "ca":
        raise RenewError(f"{path}: it is an authority's certificate; only leaves are renewed")
    if expected.index:
        raise RenewError(
            f"{path}: certificate {expected.index + 1} of the file is not its leaf; only the first is renewed"
        )
    leaf = leaf_in(old)
    if leaf is None:
        raise RenewError(f"{path}: it is no file of PEM certificates; only those are renewed in place")
    if leaf.fingerprint != expected.fingerprint:
        raise RenewError(f"{path}: it changed since it was looked at; look again")
    if leaf.is_ca:
        raise RenewError(f"{path}: it is an authority's certificate; only leaves are renewed")
    return leaf


def _must_have_its_key(leaf: Certificate, old: Content) -> None:
    if b"PRIVATE KEY-----" in old.data:
        path, data = old.path, old.data
    else:
        path = planes.key_beside(old.path)
        if not path:
            raise RenewError(
                f"{old.path}: where its private key lies is not known, so it cannot be proven to be in use"
            )
        data = read(path).data
    matches = certificates.key_matches(leaf, data)
    if matches is None:
        raise RenewError(f"{path}: the private key cannot be read; is it encrypted?")
    if not matches:
        raise RenewError(
            f"{path}: the private key does not belong to {leaf.path}; a new certificate for the old key helps nobody"
        )


def _signer(leaf: Certificate, trusted_path: str, authorities: Sequence[tuple[str, str]], now: datetime) -> _Authority:
    """Return the authority that signs anew. Raises RenewError, which says of each that was looked at why it is not the one."""
    if not trusted_path:
        raise RenewError(f"{leaf.path}: against which authority it is checked is not known")
    trusted = _certificates_in(trusted_path)
    found: list[_Authority] = []
    why: list[str] = []
    for certificate_path, key_path in authorities:
        try:
            found.append(_candidate(leaf, (certificate_path, key_path), trusted, now))
        except OSError as error:
            why.append(told(error, certificate_path))
        except RenewError as error:
            why.append(str(error))
    if found:
        return max(found, key=lambda ca: ca.certificate.not_after)
    said = "; ".join(dict.fromkeys(why)) or "none is known for a certificate of this kind"
    raise RenewError(f"{leaf.path}: no authority on this machine can sign it anew: {said}")


def _candidate(leaf: Certificate, files: tuple[str, str], trusted: Sequence[Certificate], now: datetime) -> _Authority:
    """Return the authority of a pair of files, if it may sign. Raises RenewError or OSError, which say why not."""
    path, key_path = files
    signers = [ca for ca in _certificates_in(path) if ca.is_ca and certificates.issued_by(leaf, ca)]
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
    pem = read(key_path).data
    for ca in valid:
        if certificates.key_matches(ca, pem):
            return _Authority(path, ca, _loaded(pem, key_path))
    raise RenewError(f"{key_path} is not the private key of {path}, or cannot be read")


def _certificates_in(path: str) -> tuple[Certificate, ...]:
    try:
        return certificates.parse(read(path).data, path)
    except NotACertificate as error:
        # Of a bundle with one broken certificate the others count, as they do for the programs that load it.
        if error.certificates:
            return error.certificates
        raise RenewError(f"{path}: {error}") from error


def _loaded(pem: bytes, path: str) -> Any:
    try:
        return serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise RenewError(f"{path}: the private key cannot be read: {error}") from error


# ---------------------------------------------------------------- signing


def _signed(leaf: Certificate, ca: _Authority, end: datetime) -> Certificate:
    """Return a certificate like the leaf, signed anew. Raises RenewError where it would not be better, or not alike."""
    if end <= leaf.not_after:
        raise RenewError(f"{leaf.path}: a new one would end {end}, no later than the present one")
    old, signer = x509.load_der_x509_certificate(leaf.der), x509.load_der_x509_certificate(ca.certificate.der)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(signer.subject)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ca.certificate.not_before)
        .not_valid_after(end)
    )
    try:
        for extension in (*_kept(old), *_authority_key_id(old, signer)):
            builder = builder.add_extension(extension.value, critical=extension.critical)
        if not isinstance(ca.key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
            raise RenewError(f"{ca.path}: with a key of its kind nothing is signed here")
        algorithm = None if isinstance(ca.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        der = builder.sign(ca.key, algorithm).public_bytes(serialization.Encoding.DER)
        new = certificates.parse_der(der, leaf.path)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise RenewError(f"{leaf.path}: it cannot be signed anew as it is: {error}") from error
    # Go compares names byte by byte, and the library may spell them otherwise than the program that wrote the old one.
    # Extensions are compared by what they say: which key the authority has may have changed.
    before, after = ((one.issuer, one.subject, one.public_key) for one in map(pieces, (leaf.der, new.der)))
    if before != after or not certificates.issued_by(new, ca.certificate) or _told_by(new) != _told_by(leaf):
        raise RenewError(f"{leaf.path}: what was signed is not like the present certificate, so it was not used")
    return new


def _kept(old: x509.Certificate) -> Iterator[x509.Extension[Any]]:
    return (extension for extension in old.extensions if not isinstance(extension.value, x509.AuthorityKeyIdentifier))


def _authority_key_id(old: x509.Certificate, signer: x509.Certificate) -> Iterator[x509.Extension[Any]]:
    """Yield the identifier of the signer's key, as the signer itself gives it; else what the old certificate has."""
    for extension in signer.extensions:
        if isinstance(extension.value, x509.SubjectKeyIdentifier):
            named = x509.AuthorityKeyIdentifier(extension.value.digest, None, None)
            yield x509.Extension(x509.AuthorityKeyIdentifier.oid, False, named)
            return
    yield from (e for e in old.extensions if isinstance(e.value, x509.AuthorityKeyIdentifier))


def _told_by(certificate: Certificate) -> tuple[object, ...]:
    return (
        certificate.dns_names,
        certificate.ip_addresses,
        certificate.usages,
        certificate.is_ca,
        certificate.subject_key_id,
        certificate.key_fingerprint,
    )
