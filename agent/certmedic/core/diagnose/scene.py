"""One sighting with the facts, and questions about it: which program wrote it, which certificate it sent, who called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from certmedic.core import certificates, planes
from certmedic.core.model import Facts, Origin, Role, Sighting, Stored, Suspect, Trust

SAME = timedelta(seconds=1)  # precision of a NotAfter in a line
ETCD_PROGRAMS = ("etcd", "etcd-manager", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One sighting with the facts, all of trusted origins."""

    sighting: Sighting
    facts: Facts
    group: str  # etcd group of the program that wrote the line; "" if not known

    @property
    def from_here(self) -> bool:
        """Whether the other end of the connection is on this machine."""
        host = self.sighting.remote_host
        return bool(host) and (is_loopback(host) or host in own_names(self.facts))

    @property
    def by_member(self) -> bool:
        """Whether the other end is the address of another member of this etcd group."""
        members = {
            member.address for member in self.facts.members if not member.is_self and member.group in ("", self.group)
        }
        return bool(self.sighting.remote_host) and self.sighting.remote_host in members | self.facts.peers

    @property
    def provokable(self) -> bool:
        """Whether any caller could have caused the line: it is about a connection to this machine, not from it."""
        called_us = self.sighting.role is Role.SERVER or (
            self.sighting.role is Role.UNKNOWN and bool(self.sighting.remote_host)
        )
        return called_us and not self.by_member

    @property
    def program(self) -> str:
        """The name of the program, for a key: a known name, else the name of its origin. The text of a line cannot invent names."""
        origin = self.sighting.entry.origin
        known = self.sighting.program if self.sighting.program in planes.holders() else ""
        return known or origin.unit or origin.pod or origin.container or origin.program or origin.path


def is_loopback(host: str) -> bool:
    """Whether an address or name always means this machine."""
    return host in ("localhost", "::1") or host.startswith("127.")


def group_of(origin: Origin) -> str:
    """Return the etcd group (main, events, ...) of the program that wrote a line; "" if its origin does not show it."""
    for name in (origin.pod, origin.container):
        match = re.search(r"etcd-manager-(main|events|cilium|leases)\b", name)
        if match:
            return match[1]
    match = re.fullmatch(r".*/etcd(?:-(events|cilium|leases))?\.log(?:\.\d+)?(?:\.gz)?", origin.path)
    # On kops etcd.log is the log of main. On other planes there is only one etcd.
    return (match[1] or "main") if match and origin.path.startswith("/var/log/") else ""


def shown(scene: Scene) -> list[Stored]:
    """Return the certificates of this machine that the logging program may have sent to the other side."""
    sighting = scene.sighting
    program = sighting.program if sighting.program not in ETCD_PROGRAMS else (sighting.program or "etcd")
    uses = planes.uses_sent(program, sighting.role)
    endpoint = re.search(r"rejected connection on (client|peer) endpoint", sighting.message)
    if endpoint and uses:
        uses = frozenset({"server" if endpoint[1] == "client" else "peer"})
    elif program == "etcd" and sighting.role is Role.CLIENT and "grpc: addrConn" in sighting.message:
        # etcd calls its peers over HTTP. Over gRPC its gateway calls its own client port, see is_gateway().
        uses = frozenset({"server"})
    leaves = [stored for stored in scene.facts.stored if not stored.certificate.is_ca and in_group(stored, scene.group)]
    name = sighting.fields.get("server_name", "")
    if name and not scene.group and sighting.role is Role.SERVER:
        # Of two etcd groups, the one whose certificate holds the called name.
        called = {stored.place.group for stored in leaves if certificates.covers(stored.certificate, name)}
        leaves = [stored for stored in leaves if not stored.place.group or not called or stored.place.group in called]
    chosen = [stored for stored in leaves if stored.place.use in uses]
    return chosen or [stored for stored in leaves if not uses or not stored.place.use]


def in_group(stored: Stored, group: str) -> bool:
    """Whether a certificate may belong to an etcd group; a certificate of no group may belong to all."""
    return not group or not stored.place.group or stored.place.group == group


def joined(moment: datetime | None, facts: Facts, group: str) -> list[Stored]:
    """Return the certificates of this machine with this NotAfter, to the second: first those of the group, leaves before CAs."""
    if moment is None:
        return []
    same = [stored for stored in facts.stored if abs(stored.certificate.not_after - moment) <= SAME]
    return sorted(same, key=lambda stored: (not in_group(stored, group), stored.certificate.is_ca))


def door(endpoint: str) -> str:
    """Return host and port of an endpoint or URL."""
    # etcd's clients write "endpoint://client-8b81f6/host:2379" and "etcd-endpoints://0xc000/host:2379".
    called = re.sub(r"^(?:etcd-endpoints|endpoint)://[^/]*/", "", endpoint).split(",")[0]
    return re.sub(r"^[a-z]+://", "", called).split("/")[0]


# Certificates whose names are those of one machine. Those of an API server also hold the names of all API servers together.
_OF_ONE_MACHINE = ("peer", "server", "kubelet", "manager-server")
_RENEWERS = ("etcd-manager", "nodeup", "kubeadm", "kubelet", "kubelet-self-signed")  # others may list all machines


def own_names(facts: Facts) -> frozenset[str]:
    """Return the names and addresses of this machine: its interfaces, its host name and those in its own certificates."""
    others = facts.peers | {member.address for member in facts.members if not member.is_self}
    names = {
        name
        for stored in facts.stored
        if stored.trust is Trust.SYSTEM
        and not stored.certificate.is_ca
        and stored.place.use in _OF_ONE_MACHINE
        and stored.place.renewer in _RENEWERS
        for name in certificates.names(stored.certificate)
        if "*" not in name
    }
    return frozenset({facts.host, *facts.addresses, *names} - others - {""})


def other_end(scene: Scene) -> str:
    """Return the host at the other end of the connection; "" if the line names none."""
    endpoint = scene.sighting.fields.get("endpoint", "")
    return scene.sighting.remote_host or (host_and_port(endpoint)[0] if endpoint else "")


def is_here(scene: Scene) -> bool:
    """Whether the other end of the connection is on this machine."""
    host = other_end(scene)
    return bool(host) and (is_loopback(host) or host in own_names(scene.facts))


def is_ours(scene: Scene) -> bool:
    """Whether this machine sent the refused certificate."""
    return is_here(scene) if other_end(scene) else scene.sighting.suspect is Suspect.OWN


def host_and_port(endpoint: str) -> tuple[str, int]:
    """Return host and port of an endpoint or URL; port 443 if it has none."""
    host, _, port = door(endpoint).rpartition(":")
    if not (host and port.isdigit()):
        host, port = door(endpoint), "443"
    return host.strip("[]"), int(port)


def called_here(scene: Scene) -> list[Stored] | None:
    """Return the certificates of the port that a program of Kubernetes called on this machine; None if it called elsewhere.

    Calls between etcd members do not count, because they may use any of the addresses of a member.
    """
    sighting = scene.sighting
    endpoint = sighting.fields.get("endpoint", "")
    if not (sighting.role is Role.CLIENT and sighting.program.startswith("kube") and endpoint and is_ours(scene)):
        return None
    port = host_and_port(endpoint)[1]
    return [stored for stored in scene.facts.stored if port in stored.place.ports and not stored.certificate.is_ca]


def of_etcd_manager(sighting: Sighting) -> bool:
    """Whether the etcd that wrote the line runs under etcd-manager."""
    origin = sighting.entry.origin
    return sighting.program == "etcd-manager" or "etcd-manager" in origin.pod + origin.container + origin.image


def is_gateway(scene: Scene) -> bool:
    """Whether etcd's gateway may be the caller that was refused for its usage.

    The gateway dials an address, so it sends no SNI, and sends the server certificate, which is then not for clients.
    """
    if scene.sighting.fields.get("server_name", ""):
        return False
    servers = [stored.certificate for stored in scene.facts.stored if stored.place.use == "server"]
    return not servers or any(server.usages and "client" not in server.usages for server in servers)
