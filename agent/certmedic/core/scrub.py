"""Text without keys, passwords and tokens, for a file that a person hands to a colleague."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
_USER = re.compile(r"(://)[^/\s@\"']+@")
_NAMED = re.compile(
    r"(?i)((?:bearer|basic)\s+|\b[\w-]*(?:password|passwd|secret|token|authorization|api_?key)[\"'\\]*\s*[=:]\s*)"
    r"(?:(?:bearer|basic)\s+)?[\"'\\]*[^\s\"',;&\\]+"
)
_LONG = re.compile(r"[A-Za-z0-9+/]{48,}={0,2}")  # base64 of a key has more; so have the lines of a key in PEM
_HEX = re.compile(r"[0-9a-fA-F]+")
_GONE = "(removed)"


def scrubbed(text: str) -> str:
    """Return a text without private keys, passwords, tokens, users in URLs and long base64. Digests in hexadecimal stay."""
    text = _KEY.sub(_GONE, text)
    text = _JWT.sub(_GONE, text)
    text = _USER.sub(rf"\1{_GONE}@", text)
    text = _NAMED.sub(rf"\1{_GONE}", text)
    return _LONG.sub(lambda match: match[0] if _HEX.fullmatch(match[0]) else _GONE, text)


def scrubbed_all(value: Any) -> Any:
    """Return a value of JSON in which every string is scrubbed; keys of objects stay."""
    if isinstance(value, str):
        return scrubbed(value)
    if isinstance(value, Mapping):
        return {key: scrubbed_all(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrubbed_all(item) for item in value]
    return value
