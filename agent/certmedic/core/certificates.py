"""Bytes to certificates, and the checks that a TLS library makes on them.

Whatever a file on a master may hold goes in: PEM bundles, DER, kubeconfigs and Kubernetes secrets with certificates inside,
PKCS#12. What comes out are `Certificate` values; what cannot be read says why, and keeps what could be read.

Times come from the certificate alone; whether they have passed is asked with `now`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from certmedic.core import der
from certmedic.core.der import is_pkcs12, pieces, public_numbers, rsa_numbers
from certmedic.core.model import Certificate

Status = Literal["ok", "expiring", "expired", "not_yet_valid"]
Signature = Literal["verified", "wrong", "unverifiable"]

# Dates are clamped, so that adding some days to one never overflows: RFC 5280 writes "no end" as 9999-12-31.
EARLIEST = datetime(1950, 1, 1, tzinfo=UTC)
LATEST = datetime(9990, 1, 1, tzinfo=UTC)
LARGEST = 32 * 1024  # bytes of one certificate's DER; real ones have one to four KiB
REMEMBERED = 2048  # pairs of certificates whose signature was verified

# The marker lines of PEM are found in one pass: a hostile file of nothing but BEGIN lines must not cost quadratic time.
_MARKER = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 #]{1,64})-----")
_CERTIFICATE_LABELS = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE"})

# Base64 under the keys of kubeconfigs (YAML or JSON), and of the Secret that k3s keeps in tls/dynamic-cert.json.
_EMBEDDED = re.compile(
    rb"""["']?(?:client-certificate-data|certificate-authority-data|tls\.crt|ca\.crt)["']?[ \t]*:"""
    rb"""[ \t]*["']?([A-Za-z0-9+/=]{1,1048576})"""
)
_KUBECONFIG = re.compile(rb"""(?m)^[ \t{,]*["']?(?:clusters|users|current-context)["']?[ \t]*:""")

_LOOKS_LIKE: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda data: b"PRIVATE KEY-----" in data, "it holds a private key and no certificate"),
    (lambda data: b"CERTIFICATE REQUEST-----" in data, "it is a certificate request, not yet signed by an authority"),
    (lambda data: b"-----BEGIN " in data, "it is PEM, but holds no CERTIFICATE block"),
    (lambda data: data.startswith(b"\xfe\xed\xfe\xed"), "it is a Java keystore"),
    (lambda data: data.startswith(b"\x1f\x8b"), "it is compressed with gzip"),
    (lambda data: data.startswith((b"\xff\xfe", b"\xfe\xff")), "it is text in UTF-16; PEM is ASCII"),
    (lambda data: data.lstrip()[:1] == b"<", "it is HTML or XML, perhaps the error page of a download"),
    (lambda data: not data.strip(b"\0"), "it holds nothing but zero bytes, as a crash of the machine leaves"),
    (lambda data: b"\0" in data, "it is binary, and neither DER nor PKCS#12"),
)


class NotACertificate(ValueError):  # noqa: N818  (the name is a contract of the house: it says what is so)
    """The bytes are no certificate, or not wholly; the message says what they look like.

    `reason` is one of `FileFault`'s; `certificates` are those that could be read beside the fault.
    """

    def __init__(self, message: str, *, reason: str, certificates: tuple[Certificate, ...] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.certificates = certificates


# ---------------------------------------------------------------- reading


def parse(data: bytes, path: str, password: bytes | None = None, *, most: int | None = None) -> tuple[Certificate, ...]:
    """Read every certificate in a file's bytes, in their order; `password` opens PKCS#12, `most` is how many are read.

    A kubeconfig that only names files gives an empty tuple. Raises NotACertificate, and nothing else.
    """
    if not data.strip():
        raise NotACertificate("the file is empty", reason="empty")
    if data[:1] == b"\x30":
        return _parse_binary(data, path, password)
    blocks = list(_pem_blocks(data))
    if blocks:
        return _parse_all(blocks, path, most)
    embedded = [match[1] for match in _EMBEDDED.finditer(data)]
    if embedded:
        return _parse_all(_embedded_blocks(embedded), path, most)
    if _KUBECONFIG.search(data):
        return ()
    for looks, what in _LOOKS_LIKE:
        if looks(data):
            raise NotACertificate(what, reason="not_a_certificate")
    raise NotACertificate("it is text without a certificate", reason="not_a_certificate")


def parse_der(data: bytes, path: str = "", index: int = 0) -> Certificate:
    """Read one certificate in DER. Raises NotACertificate, and nothing else.

    Extensions that cannot be read count as absent: the dates are what matters most, and they come first.
    """
    if len(data) > LARGEST:
        raise NotACertificate(f"its DER has {len(data)} bytes, more than {LARGEST}", reason="broken")
    try:
        cert = x509.load_der_x509_certificate(data)
        found = pieces(data)
        subject, subject_cn = _plain_name(found.subject) or _any_name(cert.subject)
        issuer, issuer_cn = _plain_name(found.issuer) or _any_name(cert.issuer)
        return Certificate(
            path=path,
            index=index,
            subject=subject,
            subject_cn=subject_cn,
            issuer=issuer,
            issuer_cn=issuer_cn,
            serial=f"{cert.serial_number:x}",
            not_before=_aware(cert, "not_valid_before"),
            not_after=_aware(cert, "not_valid_after"),
            fingerprint=hashlib.sha256(data).hexdigest(),
            key_fingerprint=hashlib.sha256(found.public_key).hexdigest(),
            der=data,
            **_extensions(found.extensions),
        )
    except Exception as error:
        # Every version of the library has its own set of exceptions for malformed input, some of them bare `Exception`s.
        raise NotACertificate(f"its DER cannot be read: {error}", reason="broken") from error


def _parse_binary(data: bytes, path: str, password: bytes | None) -> tuple[Certificate, ...]:
    if not is_pkcs12(data):
        return (parse_der(data, path),)
    try:
        bundle = pkcs12.load_pkcs12(data, password)
    except Exception as error:
        told = "the password does not open it" if password is not None else "it needs a password"
        raise NotACertificate(f"it is a PKCS#12 archive, and {told}", reason="unreadable") from error
    found = [item.certificate for item in (bundle.cert, *bundle.additional_certs) if item is not None]
    if not found:
        raise NotACertificate("it is a PKCS#12 archive without a certificate", reason="not_a_certificate")
    return tuple(
        parse_der(cert.public_bytes(serialization.Encoding.DER), path, index) for index, cert in enumerate(found)
    )


def _parse_all(blocks: Iterable[bytes | str], path: str, most: int | None) -> tuple[Certificate, ...]:
    """Read each block: DER, or a sentence that says what is wrong with it."""
    certificates: list[Certificate] = []
    faults: list[str] = []
    for index, block in enumerate(blocks):
        if most is not None and index >= most:
            raise NotACertificate(
                f"it holds more than {most} certificates; the others were not read",
                reason="too_large",
                certificates=tuple(certificates),
            )
        if isinstance(block, str):
            faults.append(f"certificate {index + 1}: {block}")
            continue
        try:
            certificates.append(parse_der(block, path, index))
        except NotACertificate as fault:
            faults.append(f"certificate {index + 1}: {fault}")
    if faults:
        more = f" (and {len(faults) - 1} more like it)" if len(faults) > 1 else ""
        raise NotACertificate(faults[0] + more, reason="broken", certificates=tuple(certificates))
    return tuple(certificates)


def _pem_blocks(data: bytes) -> Iterator[bytes | str]:
    label, start = b"", 0
    for match in _MARKER.finditer(data):
        if match[1] == b"BEGIN":
            if label in _CERTIFICATE_LABELS:
                yield "its BEGIN line has no END line: the file was cut short"
            label, start = match[2], match.end()
        elif match[2] == label:
            if label in _CERTIFICATE_LABELS:
                yield _decoded(data[start : match.start()])
            label = b""
    if label in _CERTIFICATE_LABELS:
        yield "its BEGIN line has no END line: the file was cut short"


def _pem_contents(data: bytes, ending: bytes) -> Iterator[bytes]:
    """Decode each block whose label ends so; those that cannot be decoded are left out."""
    start = 0
    for match in _MARKER.finditer(data):
        if match[1] == b"BEGIN":
            start = match.end()
        elif match[2].endswith(ending):
            content = _decoded(data[start : match.start()])
            if isinstance(content, bytes):
                yield content


def _embedded_blocks(found: list[bytes]) -> Iterator[bytes | str]:
    for text in found:
        data = _decoded(text)
        if isinstance(data, str) or data[:1] == b"\x30":
            yield data
        else:
            yield from _pem_blocks(data)


def _decoded(text: bytes) -> bytes | str:
    try:
        return base64.b64decode(text)
    except binascii.Error as error:
        return f"its base64 cannot be read: {error}"


def _aware(cert: x509.Certificate, name: str) -> datetime:
    # The aware spelling came with cryptography 42, and the naive one warns since then.
    moment: datetime | None = getattr(cert, f"{name}_utc", None)
    if moment is None:
        naive: datetime = getattr(cert, name)
        moment = naive.replace(tzinfo=UTC)
    return min(max(moment, EARLIEST), LATEST)


def _extensions(found: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
    """Return what the extensions tell, by the names of `Certificate`'s fields (RFC 5280, 4.2.1).

    Read here and not by the library, whose objects for them cost more than all the rest of a certificate.
    """
    told: dict[str, Any] = {}
    try:
        for name, held in found:
            read = _READERS.get(name)
            if read is not None:
                told.update(read(held))
    except (ValueError, IndexError):  # see parse_der: what cannot be read counts as absent
        return {}
    return told


def _alternative_names(held: bytes) -> dict[str, Any]:
    listed = [(one[0], der.value(one)) for one in der.inside(held)]
    return {
        "dns_names": tuple(_printable(name.decode("ascii")) for tag, name in listed if tag == 0x82),
        "ip_addresses": tuple(str(ipaddress.ip_address(name)) for tag, name in listed if tag == 0x87),
    }


def _extended_usage(held: bytes) -> dict[str, Any]:
    usages = frozenset(_USAGES.get(der.value(usage), "other") for usage in der.inside(held))
    return {"usages": frozenset() if "any" in usages else usages}


_USAGES = {
    bytes.fromhex("2b06010505070301"): "server",
    bytes.fromhex("2b06010505070302"): "client",
    bytes.fromhex("551d2500"): "any",
}
_READERS: Mapping[bytes, Callable[[bytes], dict[str, Any]]] = {
    b"\x55\x1d\x11": _alternative_names,
    b"\x55\x1d\x25": _extended_usage,
    b"\x55\x1d\x13": lambda held: {"is_ca": der.inside(held)[:1] == [b"\x01\x01\xff"]},
    b"\x55\x1d\x0e": lambda held: {"subject_key_id": der.value(held).hex()},
    b"\x55\x1d\x23": lambda held: {
        "authority_key_id": next((der.value(one).hex() for one in der.inside(held) if one[0] == 0x80), "")
    },
}


# A name of one common name in plain letters, as most are: SEQUENCE, SET, SEQUENCE, 2.5.4.3, UTF8String or PrintableString.
_PLAIN_NAME = re.compile(rb"\x30.\x31.\x30.\x06\x03\x55\x04\x03[\x0c\x13].([A-Za-z0-9._:@-]{1,100})", re.DOTALL)


def _plain_name(der: bytes) -> tuple[str, str] | None:
    """Return what `_any_name` does, if it is a plain name: the library takes its time over what these do not need."""
    match = _PLAIN_NAME.fullmatch(der)
    if match is None:
        return None
    common = match[1].decode("ascii")
    return f"CN={common}", common


def _any_name(name: x509.Name) -> tuple[str, str]:
    """Return a distinguished name by RFC 4514, and its common name ("" where it has none)."""
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return _printable(name.rfc4514_string()), _printable(str(common[0].value)) if common else ""


def _printable(text: str) -> str:
    """Text as it may stand in a message or on a terminal: a certificate's names are written by strangers."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in text)


# ---------------------------------------------------------------- checks


def status(certificate: Certificate, now: datetime, warn_days: int = 30) -> Status:
    """Judge the dates as Go does: NotBefore and NotAfter themselves are still inside."""
    if now > certificate.not_after:
        return "expired"
    if now < certificate.not_before:
        return "not_yet_valid"
    return "expiring" if residual(certificate, now) <= timedelta(days=warn_days) else "ok"


def residual(certificate: Certificate, now: datetime) -> timedelta:
    """How long it is still valid; negative once expired."""
    return certificate.not_after - now


def names(certificate: Certificate) -> tuple[str, ...]:
    """Return what it may be served as: DNS names, then addresses. The common name has not counted since Go 1.15."""
    return certificate.dns_names + certificate.ip_addresses


def covers(certificate: Certificate, name_or_ip: str) -> bool:
    """Whether a client that dials `name_or_ip` accepts the certificate's names, by the rules of Go's crypto/x509.

    Only subject alternative names count. An address (also `[::1]`) must be listed as it is. A wildcard stands for exactly the
    first label.
    """
    wanted = name_or_ip.strip()
    address = _address(wanted[1:-1] if wanted.startswith("[") and wanted.endswith("]") else wanted)
    if address is not None:
        return any(_address(listed) == address for listed in certificate.ip_addresses)
    labels = wanted.lower().removesuffix(".").split(".")
    return bool(all(labels)) and any(_name_matches(pattern, labels) for pattern in certificate.dns_names)


def _name_matches(pattern: str, labels: list[str]) -> bool:
    parts = pattern.lower().removesuffix(".").split(".")
    if parts[0] == "*":
        return len(parts) == len(labels) and parts[1:] == labels[1:]
    return parts == labels


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def issued_by(leaf: Certificate, ca: Certificate) -> bool:
    """Whether `ca` signed `leaf`: its subject is the leaf's issuer, and the signature verifies with its key.

    The name alone proves nothing: a reissued CA keeps its name. Nor do key identifiers: anybody can write them.
    """
    return signature(leaf, ca) == "verified"


def signature(leaf: Certificate, ca: Certificate) -> Signature:
    """Verify the signature on `leaf` with the key of `ca`; `unverifiable` if the library does not know its algorithm."""
    return _remembered_signature(_Bytes(leaf), _Bytes(ca)) if leaf.issuer == ca.subject else "wrong"


class _Bytes:
    """A certificate's DER as half of a key by which a verified signature is remembered."""

    __slots__ = ("der", "mark")

    def __init__(self, certificate: Certificate) -> None:
        self.der = certificate.der
        self.mark = hashlib.sha256(certificate.der).digest()  # not the fingerprint field, which a caller may have set

    def __hash__(self) -> int:
        return hash(self.mark)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bytes) and self.mark == other.mark


@lru_cache(maxsize=REMEMBERED)
def _remembered_signature(leaf: _Bytes, ca: _Bytes) -> Signature:
    try:
        signed = x509.load_der_x509_certificate(leaf.der)
        signer = x509.load_der_x509_certificate(ca.der)
        if signed.issuer != signer.subject:
            return "wrong"
        return "verified" if _signature_verifies(signed, signer) else "wrong"
    except InvalidSignature:
        return "wrong"
    except UnsupportedAlgorithm:
        return "unverifiable"
    except ValueError:
        # A key that the library refuses to load (a broken point, a tiny modulus) verifies nothing.
        return "wrong"


def _signature_verifies(signed: x509.Certificate, signer: x509.Certificate) -> bool:
    # The library's own verify_directly_issued_by came with version 40.
    key = signer.public_key()
    signature, body = signed.signature, signed.tbs_certificate_bytes
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        key.verify(signature, body)
        return True
    algorithm = signed.signature_hash_algorithm
    if algorithm is None:
        return False
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, body, ec.ECDSA(algorithm))
        return True
    if isinstance(key, rsa.RSAPublicKey):
        if signed.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS:
            pss = padding.PSS(mgf=padding.MGF1(algorithm), salt_length=padding.PSS.AUTO)
            key.verify(signature, body, pss, algorithm)
        else:
            key.verify(signature, body, padding.PKCS1v15(), algorithm)
        return True
    raise UnsupportedAlgorithm(f"keys of type {type(key).__name__}")


def key_matches(certificate: Certificate, private_key_pem: bytes) -> bool | None:
    """Whether the private key belongs to the certificate; None where the key cannot be read (encrypted, broken)."""
    try:
        numbers = public_numbers(certificate.der)
        # Private keys hold their public one. To let the library load an RSA key takes it 45 ms of checks on its primes, so it is
        # asked only where the plain comparison does not already tell.
        for key in _pem_contents(private_key_pem, b"PRIVATE KEY"):
            held = rsa_numbers(key)
            if held is not None:
                return held.startswith(numbers)
            if numbers in key:
                return True
        mine = serialization.load_pem_private_key(private_key_pem, None).public_key()
        theirs = x509.load_der_x509_certificate(certificate.der).public_key()
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm):
        return None
    encoding, shape = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return mine.public_bytes(encoding, shape) == theirs.public_bytes(encoding, shape)
