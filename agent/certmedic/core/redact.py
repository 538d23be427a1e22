"""The bytes of a file without its secrets, which are parsed to the same certificates and the same faults.

The reader may not parse certificates, and the agent may not see keys. So of PEM the certificates and the lists of revoked ones are left with
all marker lines, of a kubeconfig its certificates and the names of its entries, and of any other file a substitute of a few
bytes that tells its kind. PKCS#12 is not for this module: it must be unpacked where its password is.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from certmedic.core.der import value
from certmedic.core.kubeconfig import EMBEDDED, KUBECONFIG, LINE
from certmedic.core.pem import CERTIFICATE_LABELS, MARKER, decoded, has_certificate_blocks

_KEPT = (b"\xfe\xed\xfe\xed", b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff")  # the first bytes of other kinds of files
_NO_DER = b"\x30\x00"  # an empty sequence, which is no certificate
_NO_CERTIFICATE = b"MAA="  # the same in base64
_CRL = b"X509 CRL"
_CRL_BEGINS = b"-----BEGIN X509 CRL-----"
_NO_BASE64 = b"AAA"


def redacted(data: bytes) -> bytes:
    """Return the bytes without secrets. For a key in DER it is an empty sequence, which is no certificate."""
    if not data.strip():
        return b""
    if data[:1] == b"\x30":
        return data if is_certificate(data) else _NO_DER
    if has_certificate_blocks(data):
        return _of_pem(data)
    if _CRL_BEGINS in data and not EMBEDDED.search(data):
        return _of_pem(data)
    if EMBEDDED.search(data):
        return b"\n".join(map(_of_line, data.split(b"\n")))
    if KUBECONFIG.search(data):
        return b"users:\n"
    return _stand_in(data)


def is_certificate(der: bytes) -> bool:
    """Whether DER has the outer form of a certificate, which no private key has (RFC 5280, 4.1)."""
    return _begins(der) in (b"\xa0", b"\x02")


def _is_crl(der: bytes) -> bool:
    """The same for a list of revoked certificates (RFC 5280, 5.1)."""
    return _begins(der) in (b"\x30", b"\x02")


def _begins(der: bytes) -> bytes:
    """Return the tag of the first element in the first element; b"" if they are not two sequences."""
    try:
        body = value(der)
        inner = value(body)
        return inner[:1] if der[:1] == b"\x30" == body[:1] else b""
    except IndexError:
        return b""


def _of_pem(data: bytes) -> bytes:
    kept, label, start = [], b"", 0
    for match in MARKER.finditer(data):
        if label in CERTIFICATE_LABELS:
            kept.append(_body(data[start : match.start()]))
        elif label == _CRL:
            kept.append(_body(data[start : match.start()], _is_crl))
        kept.append(match[0])
        label, start = (match[2], match.end()) if match[1] == b"BEGIN" else (b"", 0)
    return b"\n".join(kept)


def _body(text: bytes, is_public: Callable[[bytes], bool] = is_certificate) -> bytes:
    block = decoded(text)
    if isinstance(block, str):
        return _NO_BASE64
    return text if is_public(block) else _NO_CERTIFICATE


def _of_line(line: bytes) -> bytes:
    """Keep of a line of YAML its key, of the key `name` also the value, and everywhere the certificates."""
    match = LINE.match(line)
    indent, dash, key, text = match.groups() if match else (b"", None, None, None)
    certificates = b" ".join(f.group(1) + b": " + _embedded(f[2]) for f in EMBEDDED.finditer(line))
    start = indent + (dash or b"")
    if key is None or certificates.startswith(key + b":"):
        return start + certificates
    return start + key + b": " + (text or b"" if key == b"name" else b"") + certificates


def _embedded(text: bytes) -> bytes:
    """Return base64 of DER or of PEM without secrets."""
    try:
        held = base64.b64decode(text)
    except binascii.Error:
        return _NO_BASE64
    if held[:1] == b"\x30":
        return text if is_certificate(held) else _NO_CERTIFICATE
    return base64.b64encode(_of_pem(held)) or b"AA=="


def _stand_in(data: bytes) -> bytes:
    """Return a few bytes for which the parser reports the same fault as for the file."""
    for words in (b"PRIVATE KEY-----", b"CERTIFICATE REQUEST-----", b"-----BEGIN "):
        if words in data:
            return words
    for begins in _KEPT:
        if data.startswith(begins):
            return begins
    if data.lstrip()[:1] == b"<":
        return b"<"
    if not data.strip(b"\0"):
        return b"\0"
    return b"x\0" if b"\0" in data else b"x"
