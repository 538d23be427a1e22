"""The etcd processes of this machine, and the cluster that the flags or the environment of each name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from certmedic.core import planes
from certmedic.core.certificates import NotACertificate, parse
from certmedic.core.model import Certificate, Trust
from certmedic.edge.facts.processes import argv_of, environ_of, read_process
from certmedic.edge.os.readfile import read_bytes

MOST_ETCDS = 8
MOST_MEMBERS = 32  # etcd recommends seven at most; flags must not be able to start a thousand threads

Trusts = Callable[[int], Trust]  # judges a process by its id


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a member listens, as the etcd process `pid` dials it; `host` is a name or an address."""

    pid: int
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Etcd:
    """An etcd here, and its cluster."""

    pid: int  # 0 for an etcd inside another program
    group: str
    cluster: planes.Cluster
    version: str = ""
    cas: tuple[Certificate, ...] = ()  # that its peers are checked against; empty if nothing trusted tells

    def endpoints(self, member: tuple[str, str, int]) -> tuple[Endpoint, Endpoint | None]:
        """Return where a member serves peers, and where clients."""
        _, host, port = member
        clients = self.cluster.client_port
        return Endpoint(self.pid, host, port), None if clients is None else Endpoint(self.pid, host, clients)


def etcds(blind: list[str], trusts: Trusts) -> Iterator[Etcd]:
    """Yield the trusted etcd processes of this network whose cluster is known; for each other one, add a sentence to `blind`."""
    left = MOST_ETCDS
    for home in sorted(Path("/proc").glob("[0-9]*")):
        try:
            if not _is_etcd(home, trusts):
                continue
            if left <= 0:
                blind.append(f"more than {MOST_ETCDS} etcd processes run here; the others were not looked at")
                return
            left -= 1
            argv = argv_of(home)
        except OSError:
            continue  # it has ended meanwhile
        try:
            cluster = planes.cluster_from_flags(argv, environ_of(home))
        except OSError as error:
            # The environment overrides the flags, and names the group.
            blind.append(
                f"etcd (process {home.name}) does not tell its members: its environment is closed to us ({error.strerror}); "
                "CAP_SYS_PTRACE would open it"
            )
            continue
        if cluster is None:
            blind.append(f"etcd (process {home.name}) does not tell its other members by its flags or its environment")
        elif len(cluster.members) > MOST_MEMBERS:
            blind.append(f"etcd (process {home.name}) names {len(cluster.members)} members, which is more than can be")
        else:
            yield Etcd(int(home.name), _group(int(home.name)), cluster, planes.etcd_version(_program(home, argv)))


def start_of(pid: int) -> str:
    """Return an id of this process instance: boot, pid and start time; "" if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # the name may hold blanks and ")"
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{pid}/{fields[19]}"
    except (OSError, IndexError):
        return ""


def _is_etcd(home: Path, trusts: Trusts) -> bool:
    """Whether a process is an etcd of this network, by cgroup, executable and uid: any process can name itself etcd."""
    return (
        (home / "comm").read_text() == "etcd\n"
        and trusts(int(home.name)) is Trust.SYSTEM
        and (_program(home, ()) or "/etcd").rpartition("/")[2].startswith("etcd")  # "": closed to us
        and _same_network(home)
    )


def _program(home: Path, argv: Sequence[str]) -> str:
    try:
        return str((home / "exe").readlink())  # the file itself: in images, old names link to later patches
    except OSError:
        return argv[0] if argv else ""


def _same_network(home: Path) -> bool:
    try:
        return (home / "ns/net").readlink() == Path("/proc/self/ns/net").readlink()
    except PermissionError:
        return True


def _group(pid: int) -> str:
    """Return the etcd group of a process by its peer certificate, as the inventory does."""
    peer = next((path for use, path in read_process(pid) if use == "peer"), "")
    if not peer:
        return ""
    try:
        return planes.place(peer, parse(read_bytes(peer), peer)[0], use="peer").group
    except (OSError, NotACertificate, IndexError):
        return planes.place(peer, use="peer").group
