"""The lease in etcd by which one master acts at a time: where it can be had, and what it says to whose turn it is.

It is etcd's own, with a time after which it ends by itself. Where etcd cannot be asked, for want of a quorum, of a way or of a
certificate that it accepts, the handshakes with the other members decide alone, as they do anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

from certmedic.core import planes
from certmedic.core.certificates import issued_by
from certmedic.core.decision.quorum import of_group
from certmedic.core.examine import authorities, candidates, served_by_system
from certmedic.core.model import Certificate, Facts, Stored, Trust

# Which certificates may open etcd's door for clients, likeliest first; a member's own only where it is for clients as well.
_KEYS = ("apiserver-etcd-client", "client", "server", "peer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How an etcd may be asked: where it listens for clients, with which certificate and key, and what it is checked against."""

    holder: str  # who would have it: the member's name, other than all others'
    doors: tuple[tuple[str, int], ...] = ()  # this machine's first
    credentials: tuple[tuple[str, str], ...] = ()
    ca_path: str = ""


def access(facts: Facts, group: str) -> Access:
    """Return how the etcd of a group may be asked now; without doors or credentials where it cannot be."""
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
        doors=tuple(dict.fromkeys((*here, *there))),
        credentials=tuple((s.certificate.path, planes.key_beside(s.certificate.path)) for s in accepted),
        ca_path=servers[0].place.ca_path,
    )


def _is_good(shown: Certificate | None, facts: Facts) -> bool:
    return shown is not None and shown.not_before <= facts.at <= shown.not_after


def _opens(stored: Stored, server: Stored, facts: Facts) -> bool:
    """Whether etcd should accept a certificate from a client: of the CA that it checks clients against, in time, for clients, with its key."""
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
