"""Whether a private key is that of a certificate, with and without the library."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from certmedic.core.keys import key_fits
from labs import pki

NOW = datetime(2026, 11, 24, tzinfo=UTC)
KINDS = ("rsa", "ec", "ed25519")
FORMS = [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL]


def key_of(kind, number=0):
    return ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else pki.kept_key(number, kind=kind)


def certificate(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1))
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return made.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


def pem(key, form=serialization.PrivateFormat.PKCS8, password=None):
    secret = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, secret)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS, ids=("pkcs8", "traditional"))
def test_key_fits_its_certificate_and_no_other(kind, form):
    mine, other = key_of(kind), key_of(kind, 1)
    if kind == "ed25519":
        form = serialization.PrivateFormat.PKCS8
    assert key_fits(certificate(mine), pem(mine, form)) is True
    assert key_fits(certificate(other), pem(mine, form)) is False


def test_key_that_cannot_be_read_is_neither():
    key = key_of("ec")
    assert key_fits(certificate(key), pem(key, password=b"secret")) is None
    assert key_fits(certificate(key), b"") is None
    assert key_fits(b"\x30", pem(key)) is None
