"""The little of DER (X.690) that is read here without the library: pieces of a certificate, cut out as they are.

The library would make objects of them first, which on Debian 12 costs more than all the rest of a certificate together. It
has parsed the whole before, so nothing malformed comes here; what does anyway ends in IndexError.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class Pieces(NamedTuple):
    """Pieces of a certificate, each a whole DER element (RFC 5280, 4.1)."""

    issuer: bytes
    subject: bytes
    public_key: bytes  # SubjectPublicKeyInfo
    extensions: tuple[tuple[bytes, bytes], ...]  # (object identifier without its head, the value in its octet string)


@lru_cache(maxsize=1)
def pieces(certificate: bytes) -> Pieces:
    """Cut a certificate into the pieces that are wanted. Raises IndexError where it is cut short."""
    at, _ = _content(certificate, 0)
    at, end = _content(certificate, at)
    if certificate[at] == 0xA0:  # [0] version
        at = _end(certificate, at)
    ends = [at]
    for _ in range(6):  # serial, signature, issuer, validity, subject, subjectPublicKeyInfo
        ends.append(_end(certificate, ends[-1]))
    if ends[-1] > len(certificate):
        raise IndexError("the certificate is cut short")
    found: list[tuple[bytes, bytes]] = []
    at = ends[-1]
    while at < end:  # the issuer's and the subject's unique numbers, which nobody uses, and the extensions
        if certificate[at] == 0xA3:
            for one in inside(inside(certificate[at:end])[0]):
                name, *_, held = inside(one)
                found.append((value(name), value(held)))
        at = _end(certificate, at)
    return Pieces(
        certificate[ends[2] : ends[3]], certificate[ends[4] : ends[5]], certificate[ends[5] : ends[6]], tuple(found)
    )


def inside(element: bytes) -> list[bytes]:
    """Return the elements that an element is made of, each whole. Raises IndexError where one is longer than it."""
    at, end = _content(element, 0)
    parts = []
    while at < end:
        start, at = at, _end(element, at)
        if at > end:
            raise IndexError("an element is longer than what holds it")
        parts.append(element[start:at])
    return parts


def value(element: bytes) -> bytes:
    """Return the content of an element."""
    start, end = _content(element, 0)
    return element[start:end]


def public_numbers(certificate: bytes) -> bytes:
    """Cut out what a private key repeats of its public one: modulus and exponent, or the point on the curve."""
    info = pieces(certificate).public_key
    algorithm, _ = _content(info, 0)
    start, end = _content(info, _end(info, algorithm))
    key = info[start + 1 : end]  # the first octet of a BIT STRING counts its unused bits
    if key[0] == 0x30:
        start, end = _content(key, 0)
        return key[start:end]
    return key


_RSA = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"  # rsaEncryption


def rsa_numbers(private_key: bytes) -> bytes | None:
    """Return what an RSA private key holds after its version, which is the public numbers first; None for any other key.

    In PKCS#1 (RFC 8017, A.1.2), or that in PKCS#8 (RFC 5958).
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
    """Tell a PKCS#12 archive, which begins with its version 3, from a certificate, which begins with a sequence."""
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
