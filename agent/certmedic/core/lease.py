"""The lease in etcd by which one master acts at a time: how to reach that etcd, and with which certificate.

It is a lease of etcd's, which expires by itself. If etcd cannot be reached (no quorum, no endpoint, no certificate that it accepts),
only the handshakes with the other members decide, which always decide too.
"""

from __future__ import annotations

from dataclasses import dataclass

from certmedic.core import planes
from certmedic.core.certificates import issued_by
from certmedic.core.decision.quorum import of_group
from certmedic.core.examine import authorities, candidates, served_by_system
from certmedic.core.model import Certificate, Facts, Stored, Trust

# Uses of certificates that etcd may accept from a client, likeliest first.
_KEYS = ("apiserver-etcd-client", "etcd-healthcheck-client", "client", "server", "peer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach an etcd: its client endpoints, the certificates with their keys to call with, and the CA file to check it by."""

    holder: str  # who takes the lease: the name of this member, unique in the group
    endpoints: tuple[tuple[str, int], ...] = ()  # this machine's first
    credentials: tuple[tuple[str, str], ...] = ()
    ca_path: str = ""


def access(facts: Facts, group: str) -> Access:
    """Return how to reach the etcd of a group now; without endpoints or credentials if there is no way."""
    members = of_group(facts.members, group)
    holder = next((member.name for member in members if member.is_self), facts.host)
    trusted = [s for s in facts.stored if s.trust is Trust.SYSTEM]
    servers = [s for s in trusted if s.place.use == "server" and s.place.group == group and s.place.ca_path]
    if not servers:
        return Access(holder=holder)
    ports = {port for server in servers for port in server.place.ports}
    here = [
        (seen.address, seen.port)
        for seen, shown in served_by_system(facts)
        if seen.port in ports and _is_good(shown, facts)
    ]
    members.sort(key=lambda member: not member.is_self)
    there = [m.clients for m in members if m.verified and m.clients and _is_good(m.serves_clients, facts)]
    accepted = [stored for stored in trusted if _opens(stored, servers[0], facts)]
    accepted.sort(key=lambda stored: _KEYS.index(stored.place.use))
    return Access(
        holder=holder,
        endpoints=tuple(dict.fromkeys((*here, *there))),
        credentials=tuple((s.certificate.path, planes.key_beside(s.certificate.path)) for s in accepted),
        ca_path=servers[0].place.ca_path,
    )


def _is_good(shown: Certificate | None, facts: Facts) -> bool:
    return shown is not None and shown.not_before <= facts.at <= shown.not_after


def _opens(stored: Stored, server: Stored, facts: Facts) -> bool:
    """Whether etcd should accept a certificate from a client: CA, dates, usage and key are right."""
    leaf = stored.certificate
    return (
        stored.place.use in _KEYS
        and not leaf.is_ca
        and leaf.not_before <= facts.at <= leaf.not_after
        and (not leaf.usages or "client" in leaf.usages)
        and stored.key_matches is not False
        and bool(planes.key_beside(leaf.path))
        and any(issued_by(leaf, ca) for ca in candidates(leaf, authorities(server, facts)))
    )
