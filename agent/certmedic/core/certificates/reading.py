"""Bytes to certificates: PEM bundles, DER, kubeconfigs and Kubernetes secrets with certificates inside, PKCS#12.

Bytes that cannot be read raise an error that says why, and that keeps the certificates that could be read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from certmedic.core import kubeconfig
from certmedic.core.certificates.fields import distinguished_name, extensions, moment_of
from certmedic.core.der import is_pkcs12, pieces
from certmedic.core.kubeconfig import EMBEDDED, KUBECONFIG, Entry
from certmedic.core.model import Certificate
from certmedic.core.pem import certificate_blocks, decoded

LARGEST = 32 * 1024  # bytes of one certificate's DER; real ones have one to four KiB

_LOOKS_LIKE: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda data: b"PRIVATE KEY-----" in data, "it holds a private key and no certificate"),
    (lambda data: b"CERTIFICATE REQUEST-----" in data, "it is a certificate request, which no CA has signed yet"),
    (lambda data: b"-----BEGIN " in data, "it is PEM, but holds no CERTIFICATE block"),
    (lambda data: data.startswith(b"\xfe\xed\xfe\xed"), "it is a Java keystore"),
    (lambda data: data.startswith(b"\x1f\x8b"), "it is compressed with gzip"),
    (lambda data: data.startswith((b"\xff\xfe", b"\xfe\xff")), "it is text in UTF-16; PEM is ASCII"),
    (lambda data: data.lstrip()[:1] == b"<", "it is HTML or XML, perhaps the error page of a download"),
    (lambda data: not data.strip(b"\0"), "it holds only zero bytes, perhaps after a crash of the machine"),
    (lambda data: b"\0" in data, "it is binary, and neither DER nor PKCS#12"),
)


class NotACertificate(ValueError):  # noqa: N818 - the name says what is so
    """The bytes hold no certificate, or one that cannot be read; the message says what they look like.

    `reason` is one of `FileFault`'s; `certificates` are those that could be read all the same.
    """

    def __init__(self, message: str, *, reason: str, certificates: tuple[Certificate, ...] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.certificates = certificates


def parse(data: bytes, path: str, password: bytes | None = None, *, most: int | None = None) -> tuple[Certificate, ...]:
    """Return every certificate in the bytes of a file, in order, at most `most`; `password` opens PKCS#12.

    A kubeconfig that only names files gives an empty tuple. Raises NotACertificate and nothing else.
    """
    if not data.strip():
        raise NotACertificate("the file is empty", reason="empty")
    if data[:1] == b"\x30":
        return _parse_binary(data, path, password)
    blocks = list(certificate_blocks(data))
    if blocks:
        return _parse_all(((block, Entry()) for block in blocks), path, most)
    if EMBEDDED.search(data):
        return _parse_all(_embedded_blocks(data), path, most)
    if KUBECONFIG.search(data):
        return ()
    for looks, what in _LOOKS_LIKE:
        if looks(data):
            raise NotACertificate(what, reason="not_a_certificate")
    raise NotACertificate("it is text without a certificate", reason="not_a_certificate")


def parse_der(data: bytes, path: str = "", index: int = 0) -> Certificate:
    """Return the certificate in DER. Raises NotACertificate and nothing else.

    Extensions that cannot be read count as absent: the dates matter most.
    """
    from cryptography import x509  # noqa: PLC0415 - see __init__.py

    if len(data) > LARGEST:
        raise NotACertificate(f"its DER has {len(data)} bytes, more than {LARGEST}", reason="broken")
    try:
        cert = x509.load_der_x509_certificate(data)
        cut = pieces(data)
        subject, subject_cn = distinguished_name(cut.subject, lambda: cert.subject)
        issuer, issuer_cn = distinguished_name(cut.issuer, lambda: cert.issuer)
        return Certificate(
            path=path,
            index=index,
            subject=subject,
            subject_cn=subject_cn,
            issuer=issuer,
            issuer_cn=issuer_cn,
            serial=f"{cert.serial_number:x}",
            not_before=moment_of(cert, "not_valid_before"),
            not_after=moment_of(cert, "not_valid_after"),
            fingerprint=hashlib.sha256(data).hexdigest(),
            key_fingerprint=hashlib.sha256(cut.public_key).hexdigest(),
            der=data,
            **extensions(cut.extensions),
        )
    except Exception as error:
        # The exceptions for malformed input differ from version to version of the library; some are bare `Exception`s.
        raise NotACertificate(f"its DER cannot be read: {error}", reason="broken") from error


def unpacked(data: bytes, password: bytes | None) -> tuple[bytes, ...]:
    """Return the DER of each certificate in a PKCS#12 archive. Raises NotACertificate and nothing else."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - see __init__.py
    from cryptography.hazmat.primitives.serialization import pkcs12  # noqa: PLC0415 - as above

    try:
        bundle = pkcs12.load_pkcs12(data, password)
    except Exception as error:
        why = "the password does not open it" if password is not None else "it needs a password"
        raise NotACertificate(f"it is a PKCS#12 archive, and {why}", reason="password") from error
    held = [item.certificate for item in (bundle.cert, *bundle.additional_certs) if item is not None]
    if not held:
        raise NotACertificate("it is a PKCS#12 archive without a certificate", reason="not_a_certificate")
    return tuple(cert.public_bytes(serialization.Encoding.DER) for cert in held)


def _parse_binary(data: bytes, path: str, password: bytes | None) -> tuple[Certificate, ...]:
    if not is_pkcs12(data):
        return (parse_der(data, path),)
    return tuple(parse_der(der, path, index) for index, der in enumerate(unpacked(data, password)))


def _parse_all(blocks: Iterable[tuple[bytes | str, Entry]], path: str, most: int | None) -> tuple[Certificate, ...]:
    """Read each block, which is DER or a sentence on what is wrong with it, and comes with the entry that holds it."""
    certificates: list[Certificate] = []
    faults: list[str] = []
    for index, (block, entry) in enumerate(blocks):
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
            certificate = parse_der(block, path, index)
            if entry.kind:
                certificate = replace(certificate, embedded_kind=entry.kind, embedded_key=entry.name)
            certificates.append(certificate)
        except NotACertificate as fault:
            faults.append(f"certificate {index + 1}: {fault}")
    if faults:
        more = f" (and {len(faults) - 1} more like it)" if len(faults) > 1 else ""
        raise NotACertificate(faults[0] + more, reason="broken", certificates=tuple(certificates))
    return tuple(certificates)


def _embedded_blocks(data: bytes) -> Iterator[tuple[bytes | str, Entry]]:
    names = kubeconfig.names(data)
    for match in EMBEDDED.finditer(data):
        entry = kubeconfig.entry_of(match[1], names.get(match.start(1), ""))
        block = decoded(match[2])
        if isinstance(block, str) or block[:1] == b"\x30":
            yield block, entry
        else:
            yield from ((part, entry) for part in certificate_blocks(block))
