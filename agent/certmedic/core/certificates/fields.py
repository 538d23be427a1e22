"""The fields of a certificate, as texts and sets that may stand in a message.

Names and extensions are read here and not by the library, whose objects for them cost more than the rest of a certificate.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from certmedic.core import der

if TYPE_CHECKING:
    from cryptography import x509

# Dates are clamped, so that adding days to a date never overflows: RFC 5280 writes "no end" as 9999-12-31.
EARLIEST = datetime(1950, 1, 1, tzinfo=UTC)
LATEST = datetime(9990, 1, 1, tzinfo=UTC)


def moment_of(cert: x509.Certificate, name: str) -> datetime:
    """Return "not_valid_before" or "not_valid_after" of a certificate, clamped to EARLIEST and LATEST."""
    # cryptography has the aware attribute since version 42 and warns of the naive one since then.
    moment: datetime | None = getattr(cert, f"{name}_utc", None)
    if moment is None:
        naive: datetime = getattr(cert, name)
        moment = naive.replace(tzinfo=UTC)
    return min(max(moment, EARLIEST), LATEST)


def extensions(listed: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
    """Return the fields of `Certificate` that extensions hold, given as (object identifier, value) (RFC 5280, 4.2.1)."""
    fields: dict[str, Any] = {}
    try:
        for name, held in listed:
            read = _READERS.get(name)
            if read is not None:
                fields.update(read(held))
    except (ValueError, IndexError):  # extensions that cannot be read count as absent
        return {}
    return fields


def _alternative_names(held: bytes) -> dict[str, Any]:
    listed = der.inside(held)
    return {
        "dns_names": tuple(printable(name.decode("ascii")) for tag, name in listed if tag == 0x82),
        "ip_addresses": tuple(_address(name) for tag, name in listed if tag == 0x87),
    }


def _address(octets: bytes) -> str:
    return ".".join(map(str, octets)) if len(octets) == 4 else str(ipaddress.ip_address(octets))


def _extended_usage(held: bytes) -> dict[str, Any]:
    usages = frozenset(_USAGES.get(usage, "other") for _, usage in der.inside(held))
    return {"usages": frozenset() if "any" in usages else usages}


_USAGES = {
    bytes.fromhex("2b06010505070301"): "server",
    bytes.fromhex("2b06010505070302"): "client",
    bytes.fromhex("551d2500"): "any",
}
_READERS: Mapping[bytes, Callable[[bytes], dict[str, Any]]] = {
    b"\x55\x1d\x11": _alternative_names,
    b"\x55\x1d\x25": _extended_usage,
    b"\x55\x1d\x13": lambda held: {"is_ca": der.inside(held)[:1] == [(1, b"\xff")]},
    b"\x55\x1d\x0e": lambda held: {"subject_key_id": der.value(held).hex()},
    b"\x55\x1d\x23": lambda held: {
        "authority_key_id": next((part.hex() for tag, part in der.inside(held) if tag == 0x80), "")
    },
}


# A name that consists of a plain common name, as most do: SEQUENCE, SET, SEQUENCE, 2.5.4.3, UTF8String or PrintableString.
_PLAIN_NAME = re.compile(rb"\x30.\x31.\x30.\x06\x03\x55\x04\x03[\x0c\x13].([A-Za-z0-9._:@-]{1,100})", re.DOTALL)


def distinguished_name(element: bytes, read: Callable[[], x509.Name]) -> tuple[str, str]:
    """Return a distinguished name by RFC 4514 and its common name ("" if it has none).

    `element` is its DER, which suffices for a plain name. Otherwise `read` returns the library's object, which is slow to make.
    """
    if match := _PLAIN_NAME.fullmatch(element):
        common = match[1].decode("ascii")
        return f"CN={common}", common
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - see __init__.py

    name = read()
    listed = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return printable(name.rfc4514_string()), printable(str(listed[0].value)) if listed else ""


def printable(text: str) -> str:
    """Return a name with a replacement for each character that is not printable."""
    # Strangers write the names of certificates: they must be harmless on a terminal and in a message.
    return text if text.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in text)
