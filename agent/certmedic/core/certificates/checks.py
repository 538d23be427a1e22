"""Checks of a certificate against a moment and against a name."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from typing import Literal

from certmedic.core.model import Certificate

Status = Literal["ok", "expiring", "expired", "not_yet_valid"]


def status(certificate: Certificate, now: datetime, warn_days: int = 30) -> Status:
    """Return the state of a certificate; as in Go, it is valid at NotBefore and at NotAfter themselves."""
    if now > certificate.not_after:
        return "expired"
    if now < certificate.not_before:
        return "not_yet_valid"
    return "expiring" if residual(certificate, now) <= timedelta(days=warn_days) else "ok"


def residual(certificate: Certificate, now: datetime) -> timedelta:
    """Return how long a certificate is still valid; negative once it has expired."""
    return certificate.not_after - now


def names(certificate: Certificate) -> tuple[str, ...]:
    """Return DNS names, then addresses. Since Go 1.15 the common name does not count."""
    return certificate.dns_names + certificate.ip_addresses


def covers(certificate: Certificate, name_or_ip: str) -> bool:
    """Whether a client that dials `name_or_ip` accepts the certificate, by the rules of Go's crypto/x509.

    Only subject alternative names count. An address (also `[::1]`) must be listed. A wildcard stands for the whole first label.
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
