"""Authorities and leaves, as nodeup and etcd-manager issue them: a leaf's NotBefore is its CA's, and its key is kept."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey
TEN_YEARS = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA certificate and its key."""

    certificate: x509.Certificate
    key: Key

    def write(self, directory: Path, name: str) -> None:
        """Write `<name>.crt` and `<name>.key`."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.crt").write_bytes(pem(self.certificate))
        write_key(directory / f"{name}.key", self.key)


def read_authority(directory: Path, name: str) -> Authority:
    """Read what `Authority.write` wrote."""
    certificate = x509.load_pem_x509_certificate((directory / f"{name}.crt").read_bytes())
    return Authority(certificate, read_key(directory / f"{name}.key"))


def new_key() -> Key:
    """Make a key; elliptic, since a drill should not wait for RSA."""
    return ec.generate_private_key(ec.SECP256R1())


def read_key(path: Path) -> Key:
    """Read a private key."""
    return cast("Key", serialization.load_pem_private_key(path.read_bytes(), None))


def write_key(path: Path, key: Key) -> None:
    """Write a private key for its owner alone."""
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )


def pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def name(cn: str) -> x509.Name:
    """Return a name that is a common name only."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])


def _builder(cn: str, issuer: x509.Name, key: Key, begin: datetime, end: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name(cn))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def authority(cn: str) -> Authority:
    """Make a CA as nodeup does: valid from two days ago, for ten years."""
    key, begin = new_key(), datetime.now(UTC).replace(microsecond=0) - timedelta(hours=48)
    certificate = (
        _builder(cn, name(cn), key, begin, begin + TEN_YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def leaf(ca: Authority, cn: str, key: Key, *, life: timedelta, hosts: Sequence[str] = ()) -> x509.Certificate:
    """Issue a leaf that ends `life` from now: for clients, and with `hosts`, names and addresses, for servers too."""
    # Certificates know whole seconds: rounded up, so that it lives at least as long as was asked for.
    end = datetime.now(UTC).replace(microsecond=0) + life + timedelta(seconds=1)
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if hosts:
        usages.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
    builder = (
        _builder(cn, ca.certificate.subject, key, begins(ca.certificate), end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
    return builder.sign(ca.key, hashes.SHA256())


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def hosts(certificate: x509.Certificate) -> set[str]:
    """Return the DNS names and addresses that a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(each.value) for each in names}


def begins(certificate: x509.Certificate) -> datetime:
    """Return NotBefore, by the spelling that this version of the library has."""
    if hasattr(certificate, "not_valid_before_utc"):
        return certificate.not_valid_before_utc
    return certificate.not_valid_before.replace(tzinfo=UTC)


def ends(certificate: x509.Certificate) -> datetime:
    """Return NotAfter, by the spelling that this version of the library has."""
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_after_utc
    return certificate.not_valid_after.replace(tzinfo=UTC)
