"""Bytes without secrets: they are parsed to the same certificates and faults, and hold no private key."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from certmedic.core.certificates import NotACertificate, parse, revocations
from certmedic.core.redact import is_certificate, redacted

NOW = datetime(2026, 11, 24, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
CERT = x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 1, NOW, NOW + timedelta(days=1)).sign(KEY, hashes.SHA256())
DER = CERT.public_bytes(serialization.Encoding.DER)
PEM = CERT.public_bytes(serialization.Encoding.PEM)
KEY_DER = KEY.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
OLD_DER = KEY.private_bytes(
    serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
SEALED_DER = KEY.private_bytes(
    serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x" * 8)
)
KEY_PEM = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
SECRET = "token-9f8e7d"


def b64(data):
    return base64.b64encode(data).decode()


YAML = f"""apiVersion: v1
kind: Config
current-context: default
clusters:
- cluster:
    certificate-authority-data: {b64(PEM)}
    server: https://10.0.0.1
  name: main
users:
- name: "admin"
  user:
    client-certificate-data: {b64(PEM)}
    client-key-data: {b64(KEY_PEM)}
    token: {SECRET}
- user: {{client-certificate-data: {b64(DER)}, client-key-data: {b64(KEY_PEM)}, token: {SECRET}}}
  name: flow
  password: |
    {SECRET}
"""
JSON = json.dumps(
    {
        "users": [
            {
                "name": "a",
                "user": {"client-certificate-data": b64(PEM), "client-key-data": b64(KEY_PEM), "token": SECRET},
            }
        ]
    }
)
SECRET_OBJECT = json.dumps(
    {"data": {"tls.crt": b64(PEM + KEY_PEM), "tls.key": b64(KEY_PEM), "other": SECRET}}, indent=1
)
BODY = KEY_PEM.replace(b"PRIVATE KEY", b"CERTIFICATE")

CRL = (
    x509.CertificateRevocationListBuilder(NAME, NOW, NOW + timedelta(days=1))
    .sign(KEY, hashes.SHA256())
    .public_bytes(serialization.Encoding.PEM)
)

FILES = {
    "list of revoked certificates": CRL,
    "certificate and list": PEM + CRL + KEY_PEM,
    "list and key": CRL + KEY_PEM,
    "other PEM with a marker": b"-----BEGIN NONSENSE-----\nAAAA\n-----END NONSENSE-----\n",
    "certificate": PEM,
    "certificate in DER": DER,
    "chain with its key": PEM + KEY_PEM + PEM,
    "key first": KEY_PEM + PEM,
    "text around": f"subject=a {SECRET}\n".encode() + PEM + SECRET.encode(),
    "cut short": PEM[:200],
    "cut short before a key": PEM[:200] + KEY_PEM,
    "broken base64": b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n" + PEM,
    "kubeconfig in YAML": YAML.encode(),
    "kubeconfig in JSON": JSON.encode(),
    "secret object": SECRET_OBJECT.encode(),
    "broken base64 in a kubeconfig": b"users:\n- name: a\n  user:\n    client-certificate-data: QUJDR\n",
    "kubeconfig with nothing in it": b"users:\n- name: a\n  user:\n    client-certificate-data: QUJD\n",
    "kubeconfig with files": f"users:\n- name: a\n  user:\n    client-key: /k\n    token: {SECRET}\n".encode(),
    "empty": b" \n",
    "key": KEY_PEM,
    "request": b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
    "other PEM": b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    "Java keystore": b"\xfe\xed\xfe\xed\0\0\0\2" + SECRET.encode(),
    "gzip": b"\x1f\x8b\x08" + SECRET.encode(),
    "UTF-16": SECRET.encode("utf-16"),
    "HTML": b"<html>" + SECRET.encode(),
    "zeros": b"\0" * 64,
    "binary": b"\0\1" + SECRET.encode(),
    "text": SECRET.encode(),
}
LIES = {
    "key under the label of a list": KEY_PEM.replace(b"PRIVATE KEY", b"X509 CRL"),
    "key in DER": KEY_DER,
    "old key in DER": OLD_DER,
    "encrypted key in DER": SEALED_DER,
    "key under the label of a certificate": BODY,
    "key in a kubeconfig as a certificate": f"client-certificate-data: {b64(KEY_DER)}\n".encode(),
    "cut DER": b"\x30",
}


def parsed(data):
    """Return the certificates, the reason and the message of a file."""
    try:
        return parse(data, "/f"), "", ""
    except NotACertificate as error:
        return error.certificates, error.reason, str(error)


@pytest.mark.parametrize("name", FILES)
def test_redacted_file_is_parsed_like_the_file(name):
    assert parsed(redacted(FILES[name]))[:2] == parsed(FILES[name])[:2]
    assert revocations(redacted(FILES[name]), "/f") == revocations(FILES[name], "/f")


@pytest.mark.parametrize("name", [name for name in FILES if "base64" not in name and "nothing" not in name])
def test_redacted_file_has_the_same_message(name):
    assert parsed(redacted(FILES[name]))[2] == parsed(FILES[name])[2]


@pytest.mark.parametrize("name", {**FILES, **LIES})
def test_redacted_file_holds_no_secret(name):
    kept = redacted({**FILES, **LIES}[name])
    secret = KEY.private_numbers().private_value.to_bytes(32, "big")
    pieces = [kept, *(base64.b64decode(word + b"===") for word in kept.split() if len(word) > 100)]
    pieces += [base64.b64decode(word + b"===") for piece in pieces for word in piece.split() if len(word) > 100]
    assert not any(secret in piece or SECRET.encode() in piece for piece in pieces)
    assert not any(line in kept for line in KEY_PEM.splitlines()[1:-1])
    assert b64(KEY_PEM).encode() not in kept


@pytest.mark.parametrize("name", [name for name in LIES if "list" not in name])
def test_key_in_the_place_of_a_certificate_is_a_broken_certificate(name):
    assert parsed(redacted(LIES[name]))[:2] == ((), "broken")


def test_certificate_is_told_from_keys_by_its_outer_form():
    assert is_certificate(DER)
    assert not any(map(is_certificate, (KEY_DER, OLD_DER, SEALED_DER, b"\x30", b"", b"\x30\x02\x30\x00")))
