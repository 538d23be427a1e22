"""The little of DER (X.690) that is read here without the library: pieces of a certificate, cut out as they are.

The library would make objects of them first, which on Debian 12 costs more than all the rest of a certificate together. It
has parsed the whole before, so nothing malformed comes here; what does anyway ends in IndexError.
"""

from __future__ import annotations

from typing import NamedTuple


class Pieces(NamedTuple):
    """Pieces of a certificate, each a whole DER element (RFC 5280, 4.1)."""

    issuer: bytes
    subject: bytes
    public_key: bytes  # SubjectPublicKeyInfo


def pieces(certificate: bytes) -> Pieces:
    """Cut a certificate into the pieces that are wanted. Raises IndexError where it is cut short."""
    at, _ = _content(certificate, 0)
    at, _ = _content(certificate, at)
    if certificate[at] == 0xA0:  # [0] version
        at = _end(certificate, at)
    ends = [at]
    for _ in range(6):  # serial, signature, issuer, validity, subject, subjectPublicKeyInfo
        ends.append(_end(certificate, ends[-1]))
    if ends[-1] > len(certificate):
        raise IndexError("the certificate is cut short")
    return Pieces(certificate[ends[2] : ends[3]], certificate[ends[4] : ends[5]], certificate[ends[5] : ends[6]])


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
