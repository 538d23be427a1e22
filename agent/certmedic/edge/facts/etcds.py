"""The etcd processes of this machine, and the cluster that the flags or the environment of each names."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from certmedic.core import planes
from certmedic.core.certificates import NotACertificate, parse
from certmedic.core.model import Certificate, Trust
from certmedic.edge.facts.processes import network_of
from certmedic.edge.facts.programs import ProcessSeen
from certmedic.edge.facts.sight import Named, Sight
from certmedic.edge.os.network import OWN, Network

MOST_ETCDS = 8
MOST_MEMBERS = 32  # etcd recommends seven at most; flags must not be able to start a thousand threads
MOST_IN_FILE = 200  # certificates of one file

Trusts = Callable[[ProcessSeen], Trust]  # judges a process


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a member listens, as an etcd dials it; `host` is a name or an address, and `address` "" if only DNS tells."""

    host: str
    port: int
    address: str = ""


@dataclass(frozen=True, slots=True)
class Etcd:
    """An etcd here, and its cluster."""

    pid: int  # 0 for an etcd inside another program
    group: str
    cluster: planes.Cluster
    version: str = ""
    cas: tuple[Certificate, ...] = ()  # that its peers are checked against; empty if nothing trusted tells
    hosts: Mapping[str, str] = field(default_factory=dict)  # name in its hosts file -> address
    named: Named = ()  # its certificate files
    start: str = ""  # an id of its process instance

    def endpoint(self, host: str, port: int) -> Endpoint:
        """Return an endpoint, with its address if that is written or in the hosts file of the process."""
        if is_address(host):
            return Endpoint(host, port, host)
        known = self.hosts.get(host.lower(), "")
        return Endpoint(host, port, known if is_address(known) else "")

    def endpoints(self, member: tuple[str, str, int]) -> tuple[Endpoint, Endpoint | None]:
        """Return where a member serves peers, and where clients."""
        _, host, port = member
        clients = self.cluster.client_port
        return self.endpoint(host, port), None if clients is None else self.endpoint(host, clients)


def is_address(host: str) -> bool:
    """Whether a host is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def etcds(blind: list[str], trusts: Trusts, sight: Sight, network: Network = OWN) -> Iterator[Etcd]:
    """Yield the trusted etcd processes of a network whose cluster is known; for each other one, add a sentence to `blind`."""
    likely = [seen.pid for seen in sight.programs() if seen.is_etcd and _is_etcd(seen, trusts)]
    namespace, left = network_of(network.process), MOST_ETCDS
    # More than are read: etcds of other networks do not count.
    for known in sight.details(likely[: 4 * MOST_ETCDS]):
        if namespace and known.network not in ("", namespace):
            continue
        pid = known.seen.pid
        if left <= 0:
            blind.append(f"more than {MOST_ETCDS} etcd processes run here; the others were not looked at")
            return
        left -= 1
        if known.closed:
            # The environment overrides the flags, and names the group.
            blind.append(
                f"etcd (process {pid}) does not tell its members: its environment is closed to us ({known.closed}); "
                "CAP_SYS_PTRACE would open it"
            )
        elif known.cluster is None:
            blind.append(f"etcd (process {pid}) does not tell its other members by its flags or its environment")
        elif len(known.cluster.members) > MOST_MEMBERS:
            blind.append(f"etcd (process {pid}) names {len(known.cluster.members)} members, which is more than can be")
        else:
            group = _group(known.named, sight)
            yield Etcd(
                pid,
                group,
                known.cluster,
                known.version,
                hosts=known.hosts,
                named=known.named,
                start=known.start,
            )


def _is_etcd(seen: ProcessSeen, trusts: Trusts) -> bool:
    """Whether a process is an etcd, by cgroup, executable and uid: any process can name itself etcd."""
    exe = seen.process.exe or "/etcd"  # "": closed to us
    return trusts(seen) is Trust.SYSTEM and exe.rpartition("/")[2].startswith("etcd")


def _group(named: Named, sight: Sight) -> str:
    """Return the etcd group of a process by its peer certificate, as the inventory does."""
    peer = next((path for use, path in named if use == "peer"), "")
    if not peer:
        return ""
    (content,) = sight.contents([peer])
    try:
        return planes.place(peer, parse(content.data, peer, most=MOST_IN_FILE)[0], use="peer").group
    except (NotACertificate, IndexError):
        return planes.place(peer, use="peer").group
