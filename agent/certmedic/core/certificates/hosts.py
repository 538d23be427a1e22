"""The names of a certificate: which hosts it covers."""

from __future__ import annotations

import ipaddress

from certmedic.core.model import Certificate


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
