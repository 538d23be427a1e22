"""The blocks of PEM text."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

# One pass finds all marker lines: a hostile file of nothing but BEGIN lines must not cost quadratic time.
MARKER = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 #]{1,64})-----")
CERTIFICATE_LABELS = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE"})
_CUT_SHORT = "its BEGIN line has no END line: the file was cut short"


def has_certificate_blocks(data: bytes) -> bool:
    """Whether `certificate_blocks` yields anything, told without decoding a block."""
    return any(match[1] == b"BEGIN" and match[2] in CERTIFICATE_LABELS for match in MARKER.finditer(data))


def certificate_blocks(data: bytes) -> Iterator[bytes | str]:
    """Yield the content of each certificate block, or a sentence on what is wrong with it."""
    label, start = b"", 0
    for match in MARKER.finditer(data):
        if match[1] == b"BEGIN":
            if label in CERTIFICATE_LABELS:
                yield _CUT_SHORT
            label, start = match[2], match.end()
        elif match[2] == label:
            if label in CERTIFICATE_LABELS:
                yield decoded(data[start : match.start()])
            label = b""
    if label in CERTIFICATE_LABELS:
        yield _CUT_SHORT


def contents(data: bytes, ending: bytes) -> Iterator[bytes]:
    """Yield the content of each block whose label ends with `ending`, except blocks that cannot be decoded."""
    start = 0
    for match in MARKER.finditer(data):
        if match[1] == b"BEGIN":
            start = match.end()
        elif match[2].endswith(ending):
            block = decoded(data[start : match.start()])
            if isinstance(block, bytes):
                yield block


def decoded(text: bytes) -> bytes | str:
    """Return the bytes of base64 text, or a sentence on why it cannot be read."""
    try:
        return binascii.a2b_base64(text)
    except binascii.Error as error:
        return f"its base64 cannot be read: {error}"
