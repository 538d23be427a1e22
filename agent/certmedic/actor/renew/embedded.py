"""The client certificate and the key inside a kubeconfig, as kubeadm writes one: YAML in block style, with one user."""

from __future__ import annotations

import base64
import binascii
import re

_CERTIFICATE = re.compile(rb"(?m)^([ \t]+client-certificate-data:[ \t]+)([A-Za-z0-9+/=]+)(?=[ \t]*\r?$)")
_KEY = re.compile(rb"(?m)^[ \t]+client-key-data:[ \t]+([A-Za-z0-9+/=]+)[ \t]*\r?$")
_WORDS = b"client-certificate-data", b"client-key-data"


def is_kubeconfig(data: bytes) -> bool:
    """Whether the content of a file holds a certificate as a kubeconfig does."""
    return _WORDS[0] in data and b"-----BEGIN " not in data


def client_certificate(data: bytes) -> bytes | None:
    """Return the PEM in the only `client-certificate-data`; None if there are several, if it holds a chain, or if it cannot be read."""
    held = _only(_CERTIFICATE, data, _WORDS[0], 2)
    return held if held is not None and held.count(b"-----BEGIN ") == 1 else None


def client_key(data: bytes) -> bytes | None:
    """Return the PEM in the only `client-key-data`; None if there are several, or if it cannot be read."""
    return _only(_KEY, data, _WORDS[1], 1)


def with_client_certificate(data: bytes, block: bytes) -> bytes:
    """Return a kubeconfig with another PEM as the client certificate; all else stays, byte by byte."""
    return _CERTIFICATE.sub(lambda match: match[1] + base64.b64encode(block), data, count=1)


def only_certificate(data: bytes) -> bytes:
    """Return a kubeconfig with nothing but the client certificate of another one."""
    match = _CERTIFICATE.search(data)
    return b"users:\n- user:\n%b\n" % (match[0] if match else b"    {}")


def _only(pattern: re.Pattern[bytes], data: bytes, word: bytes, group: int) -> bytes | None:
    matches = list(pattern.finditer(data))
    if len(matches) != 1 or data.count(word) != 1:
        return None
    try:
        return base64.b64decode(matches[0][group], validate=True)
    except binascii.Error:
        return None
