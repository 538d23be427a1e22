"""The parts of DER (X.690) that are read without the library: pieces of a certificate, as bytes.

The library would make objects of them, which on Debian 12 costs more than the rest of the certificate. The library has parsed
the whole certificate before. Malformed bytes raise IndexError all the same.
"""

from __future__ import annotations

from typing import NamedTuple


class Pieces(NamedTuple):
    """Pieces of a certificate, each a whole DER element (RFC 5280, 4.1)."""

    issuer: bytes
    subject: bytes
    public_key: bytes  # SubjectPublicKeyInfo
    extensions: tuple[tuple[bytes, bytes], ...]  # (object identifier without its head, the value in its octet string)


def pieces(certificate: bytes) -> Pieces:
    """Return the pieces of a certificate. Raises IndexError if it is cut short."""
    ends, end = _ends(certificate)
    extensions: list[tuple[bytes, bytes]] = []
    at = ends[-1]
    while at < end:  # the unique numbers of issuer and subject, which nobody uses, and the extensions
        if certificate[at] == 0xA3:
            listed = inside(certificate, at)[0][1]
            for _, extension in _elements(listed, 0, len(listed)):
                (_, name), *_, (_, held) = _elements(extension, 0, len(extension))
                extensions.append((name, held))
        at = _end(certificate, at)
    return Pieces(
        certificate[ends[2] : ends[3]],
        certificate[ends[4] : ends[5]],
        certificate[ends[5] : ends[6]],
        tuple(extensions),
    )


def _ends(certificate: bytes) -> tuple[list[int], int]:
    """Return where serial, signature, issuer, validity, subject and subjectPublicKeyInfo start, and where the last and all ends."""
    at, _ = _content(certificate, 0)
    at, end = _content(certificate, at)
    if certificate[at] == 0xA0:  # [0] version
        at = _end(certificate, at)
    ends = [at]
    for _ in range(6):
        length, start = certificate[at + 1], at + 2
        if length >= 0x80:  # as in _content, whose call would cost more than this
            start += length & 0x7F
            length = int.from_bytes(certificate[at + 2 : start], "big")
        at = start + length
        ends.append(at)
    if ends[-1] > len(certificate):
        raise IndexError("the certificate is cut short")
    return ends, end


def inside(data: bytes, at: int = 0) -> list[tuple[int, bytes]]:
    """Return the elements inside the element at `at`, as (tag, content). Raises IndexError if one is longer than the outer element."""
    return _elements(data, *_content(data, at))


def _elements(data: bytes, at: int, end: int) -> list[tuple[int, bytes]]:
    """Return the elements between two places, as (tag, content)."""
    elements = []
    while at < end:
        tag, length, start = data[at], data[at + 1], at + 2
        if length >= 0x80:  # as in _content, whose call would cost more than this
            start += length & 0x7F
            length = int.from_bytes(data[at + 2 : start], "big")
        at = start + length
        if at > end:
            raise IndexError("an element is longer than the element around it")
        elements.append((tag, data[start:at]))
    return elements


def value(element: bytes) -> bytes:
    """Return the content of an element."""
    start, end = _content(element, 0)
    return element[start:end]


def public_numbers(certificate: bytes) -> bytes:
    """Return the public numbers that a private key repeats: modulus and exponent, or the point on the curve."""
    ends, _ = _ends(certificate)
    info = certificate[ends[5] : ends[6]]
    algorithm, _ = _content(info, 0)
    start, end = _content(info, _end(info, algorithm))
    key = info[start + 1 : end]  # the first octet of a BIT STRING counts its unused bits
    if key[0] == 0x30:
        start, end = _content(key, 0)
        return key[start:end]
    return key


_RSA = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"  # rsaEncryption


def rsa_numbers(private_key: bytes) -> bytes | None:
    """Return the bytes after the version of an RSA private key, which begin with the public numbers; None for any other key.

    The key is in PKCS#1 (RFC 8017, A.1.2), or that in PKCS#8 (RFC 5958).
    """
    try:
        start, end = _content(private_key, 0)
        if private_key[:1] != b"\x30" or end != len(private_key) or private_key[start : start + 3] != b"\x02\x01\x00":
            return None
        start += 3
        if private_key[start] == 0x30:
            algorithm, _ = _content(private_key, start)
            if not private_key.startswith(_RSA, algorithm):
                return None
            inner, _ = _content(private_key, _end(private_key, start))
            return rsa_numbers(private_key[inner : _end(private_key, inner)])
        return private_key[start:end] if private_key[start] == 0x02 else None
    except IndexError:
        return None


def is_pkcs12(data: bytes) -> bool:
    """Whether the bytes are a PKCS#12 archive: it begins with version 3, a certificate with a sequence."""
    try:
        start, _ = _content(data, 0)
    except IndexError:
        return False
    return data[start : start + 3] == b"\x02\x01\x03"


def _content(data: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the element at `at` starts and ends."""
    length = data[at + 1]
    if length < 0x80:
        return at + 2, at + 2 + length
    start = at + 2 + (length & 0x7F)
    return start, start + int.from_bytes(data[at + 2 : start], "big")


def _end(data: bytes, at: int) -> int:
    return _content(data, at)[1]
