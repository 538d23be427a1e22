"""One sighting among the facts, and the questions that are asked about it: who wrote it, what was shown, from where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from certmedic.core.model import Facts, Origin, Role, Sighting, Stored, Suspect

SAME = timedelta(seconds=1)  # a NotAfter in a line equals the certificate's to the second (FIELD 4.1)
ETCD_PROGRAMS = ("etcd", "etcd-manager", "")
# Which of this machine's certificates a program shows, by its part in the handshake. "" stands for every other program.
SHOWN: dict[tuple[str, Role], tuple[str, ...]] = {
    ("etcd", Role.SERVER): ("peer", "server"),
    ("etcd", Role.CLIENT): ("peer",),
    ("etcd-manager", Role.SERVER): ("peer", "server", "manager-server"),
    ("etcd-manager", Role.CLIENT): ("peer", "manager-client"),
    ("kube-apiserver", Role.SERVER): ("apiserver",),
    ("kube-apiserver", Role.CLIENT): ("apiserver-etcd-client", "apiserver-kubelet-client", "front-proxy-client"),
    ("kubelet", Role.SERVER): ("kubelet",),
    ("kubelet", Role.CLIENT): ("kubelet-client",),
    ("kube-controller-manager", Role.SERVER): ("controller-manager",),
    ("kube-controller-manager", Role.CLIENT): ("controller-manager-client",),
    ("kube-scheduler", Role.SERVER): ("scheduler",),
    ("kube-scheduler", Role.CLIENT): ("scheduler-client",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One sighting among the facts: what the questions below are asked about."""

    sighting: Sighting
    facts: Facts
    group: str  # etcd group of the program that wrote the line; "" where nothing tells

    @property
    def from_here(self) -> bool:
        """Whether the other end of the connection is on this machine."""
        return self.sighting.remote_host in self.facts.addresses or is_loopback(self.sighting.remote_host)


def is_loopback(host: str) -> bool:
    """Whether an address or name always means this machine."""
    return host in ("localhost", "::1") or host.startswith("127.")


def group_of(origin: Origin) -> str:
    """Return the etcd group (main, events, ...) of the program that wrote a line; "" where its origin does not tell."""
    for name in (origin.pod, origin.container):
        match = re.search(r"etcd-manager-(main|events|cilium|leases)\b", name)
        if match:
            return match[1]
    match = re.fullmatch(r".*/etcd(?:-(events|cilium|leases))?\.log(?:\.\d+)?(?:\.gz)?", origin.path)
    # kops writes main's log to etcd.log and no other etcd's; elsewhere the name says nothing, and then no other group exists.
    return (match[1] or "main") if match and origin.path.startswith("/var/log/") else ""


def shown(scene: Scene) -> list[Stored]:
    """Return this machine's certificates that the logging program may have shown to the other side."""
    sighting = scene.sighting
    program = sighting.program if sighting.program not in ETCD_PROGRAMS else (sighting.program or "etcd")
    uses: tuple[str, ...] | None
    if sighting.role is Role.UNKNOWN:
        uses = SHOWN.get((program, Role.SERVER), ()) + SHOWN.get((program, Role.CLIENT), ()) or None
    else:
        uses = SHOWN.get((program, sighting.role))
    endpoint = re.search(r"rejected connection on (client|peer) endpoint", sighting.said)
    if endpoint and uses:
        uses = ("server",) if endpoint[1] == "client" else ("peer",)
    leaves = [stored for stored in scene.facts.stored if not stored.certificate.is_ca and in_group(stored, scene.group)]
    chosen = [stored for stored in leaves if uses is not None and stored.place.use in uses]
    return chosen or [stored for stored in leaves if uses is None or not stored.place.use]


def in_group(stored: Stored, group: str) -> bool:
    """Whether a certificate may belong to an etcd group; those of no group belong to all."""
    return not group or not stored.place.group or stored.place.group == group


def joined(moment: datetime | None, facts: Facts, group: str) -> list[Stored]:
    """Return this machine's certificates whose NotAfter is the time that a line states: own group first, leaves first."""
    if moment is None:
        return []
    same = [stored for stored in facts.stored if abs(stored.certificate.not_after - moment) <= SAME]
    return sorted(same, key=lambda stored: (not in_group(stored, group), stored.certificate.is_ca))


def door(endpoint: str) -> str:
    """Return host and port of whom a program called, of a URL too."""
    # etcd's clients write "etcd-endpoints://0xc000/host:2379": the last part is whom they called.
    called = re.sub(r"^etcd-endpoints://[^/]*/", "", endpoint).split(",")[0]
    return re.sub(r"^[a-z]+://", "", called).split("/")[0]


def is_ours(scene: Scene) -> bool:
    """Whether the refused certificate was shown by this machine."""
    host = scene.sighting.remote_host or scene.sighting.fields.get("endpoint", "")
    if not host:
        return scene.sighting.suspect is Suspect.OWN
    host = door(host)
    host = host.rpartition(":")[0].strip("[]") if re.search(r":\d+$", host) else host.strip("[]")
    return is_loopback(host) or host in scene.facts.addresses


def of_etcd_manager(sighting: Sighting) -> bool:
    """Whether the etcd that wrote the line runs under etcd-manager."""
    origin = sighting.entry.origin
    return sighting.program == "etcd-manager" or "etcd-manager" in origin.pod + origin.container + origin.image


def is_gateway(scene: Scene) -> bool:
    """Whether etcd's gateway can be the caller that was refused for its usage.

    It dials by address, so sends no name, and shows the server certificate: not where that is known to be good for clients.
    """
    if scene.sighting.fields.get("server_name", ""):
        return False
    servers = [stored.certificate for stored in scene.facts.stored if stored.place.use == "server"]
    return not servers or any(server.usages and "client" not in server.usages for server in servers)
