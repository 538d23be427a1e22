"""Whose the other end of a connection is: this machine's, another member's, or neither's."""

from __future__ import annotations

import re

from certmedic.core import certificates, planes
from certmedic.core.diagnose.scene import ETCD_PROGRAMS, Scene, host_and_port, is_loopback, other_end
from certmedic.core.model import Facts, Role, Sighting


def is_of_cluster(scene: Scene) -> bool:
    """Whether the other end, which is not on this machine, is another member of the etcd group or another master's API server."""
    sighting, facts = scene.sighting, scene.facts
    host, fields = other_end(scene), sighting.fields
    known = facts.peers | {member.address for member in facts.members if not member.is_self}
    if host in known or "remote_peer_id" in fields or "prober" in fields:
        return True
    if not sighting.program and fields.get("endpoint", "") and not _calls_a_master(sighting, facts):
        return False
    if not sighting.program and not host and not fields.get("endpoint", ""):
        return False  # neither the program nor the other end is known, so nothing speaks of etcd
    if sighting.program in ETCD_PROGRAMS:
        return not (host and known) and not _calls_client_port(scene)
    if sighting.role is not Role.CLIENT or not host:
        return False
    port = _port(sighting)
    if (
        sighting.program == "kube-apiserver"
    ):  # calls etcds; and webhooks, aggregated APIs and kubelets, which are no peers
        return port in _ports_of("server", facts=facts)
    return sighting.program in planes.holders() and port in _ports_of("apiserver", facts=facts)


def _calls_a_master(sighting: Sighting, facts: Facts) -> bool:
    """Whether a program called a port that only masters have: of etcd, or of an API server, which may also be that of any web service."""
    return _port(sighting) in _ports_of("server", "peer", "apiserver", facts=facts) - {443}


def calls_api(sighting: Sighting, facts: Facts) -> bool:
    """Whether a program called the port of an API server."""
    endpoint = sighting.fields.get("endpoint", "")
    return bool(endpoint) and _port(sighting) in _ports_of("apiserver", facts=facts)


def _port(sighting: Sighting) -> int:
    return host_and_port(sighting.fields.get("endpoint", ""))[1]


def _calls_client_port(scene: Scene) -> bool:
    """Whether a caller of etcd shows that it wanted the port for clients: by the endpoint in the line, or by its SNI."""
    sighting = scene.sighting
    if "on client endpoint" in sighting.message:
        return True
    name = sighting.fields.get("server_name", "")
    if sighting.role is not Role.SERVER or not name:
        return False
    uses = {stored.place.use for stored in scene.facts.stored if certificates.covers(stored.certificate, name)} & {
        "peer",
        "server",
    }
    return uses == {"server"}


_USUAL = {
    "apiserver": frozenset({443, 6443}),
    "server": frozenset({2379, 4001, 4002, 4003, 4004}),
    "peer": frozenset({2380, 2381, 2382, 2383}),
}


def _ports_of(*uses: str, facts: Facts) -> frozenset[int]:
    usual = frozenset(port for use in uses for port in _USUAL[use])
    return usual | {port for stored in facts.stored if stored.place.use in uses for port in stored.place.ports}


def is_api_loopback(scene: Scene) -> bool:
    """Whether kube-apiserver called itself over loopback, which it does with a certificate that is in no file (FIELD 8.2)."""
    sighting = scene.sighting
    endpoint = sighting.fields.get("endpoint", "")
    if sighting.program not in ("kube-apiserver", "") or sighting.role is Role.SERVER or not endpoint:
        return False
    host, port = host_and_port(endpoint)
    return (
        is_loopback(host)
        and port in _ports_of("apiserver", facts=scene.facts)
        and bool(sighting.program or re.search(r"\[::1\]", endpoint))
    )
