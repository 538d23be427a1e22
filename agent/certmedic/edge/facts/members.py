"""The members of the etcd groups of this machine, as they show themselves: by handshakes, never through the API server.

Who they are the etcd here tells itself, as long as its certificate is good, and that is remembered; else its flags and environment,
or the file that k3s and rke2 write, tell who they were when it joined. How they are is known from their peer ports, and from the
client port if it is the same on all, as the control planes set them up.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from certmedic.core import planes
from certmedic.core.certificates import NotACertificate, parse, parse_der
from certmedic.core.examine import chain
from certmedic.core.model import Certificate, Member, Served, Stored, Told, Trust
from certmedic.edge.facts.listeners import Proof, listeners, own_addresses, probe
from certmedic.edge.facts.processes import holders, read_process
from certmedic.edge.facts.roster import Voters, voters
from certmedic.edge.os.readfile import Judge, Tree, read_bytes

DEADLINE = 2.0  # seconds for one handshake, and as all are made at once for all of them
MARGIN = 0.5  # seconds for the threads to be started and heard
MOST_ETCDS = 8
MOST_DOORS = 128  # handshakes at once
MOST_IN_FILE = 200  # certificates of one file
MOST_MEMBERS = 32  # etcd recommends seven at most; the flags of a process are not to start a thousand threads

Trusts = Callable[[int], Trust]  # of a process, by its id


def _nobody(_: int) -> Trust:
    return Trust.STRANGER


_REFUSED = os.strerror(errno.ECONNREFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersSeen:
    """What a look at the members found."""

    members: tuple[Member, ...] = ()
    probes: tuple[tuple[str, int], ...] = ()  # (address, port) of our ends, for what a listener here logs of them
    blind: tuple[str, ...] = ()  # what could not be seen, in sentences


@dataclass(frozen=True, slots=True)
class _Door:
    pid: int  # of the etcd that would dial it
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class _Etcd:
    pid: int
    group: str
    cluster: planes.Cluster
    version: str = ""
    cas: tuple[Certificate, ...] = ()  # that its peers are checked against; empty if nothing trusted tells

    def doors(self, member: tuple[str, str, int]) -> tuple[_Door, _Door | None]:
        """Return where a member takes peers, and where clients."""
        _, host, port = member
        clients = self.cluster.client_port
        return _Door(self.pid, host, port), None if clients is None else _Door(self.pid, host, clients)


def members(
    deadline: float = DEADLINE,
    *,
    told: dict[str, Told] | None = None,
    embedded: Sequence[Stored] = (),
    trusts: Trusts = _nobody,
    tree: Tree = Tree(),  # noqa: B008 - a frozen value
) -> MembersSeen:
    """Return the members of every etcd that runs in this network, each with what it shows. Never raises.

    Takes `deadline` seconds and a little at most, and what it takes to ask the etcds here who their members are. `told` is
    what they said before, and is kept up to date; `embedded` are the peer certificates of those inside other programs.
    """
    blind: list[str] = []
    etcds = meet({} if told is None else told, embedded, blind, trusts=trusts, tree=tree)
    doors = {
        door: None
        for etcd in etcds
        for member in etcd.cluster.members
        for door in etcd.doors(member)
        if door is not None
    }
    seen = _all_at_once(list(doors), deadline)
    found = []
    for etcd in etcds:
        for member in etcd.cluster.members:
            name, host, port = member
            peer_door, client_door = etcd.doors(member)
            peers, proof = seen[peer_door]
            clients = seen[client_door][0] if client_door else None
            found.append(
                Member(
                    name=name,
                    group=etcd.group,
                    address=host,
                    port=port,
                    serves=peers.certificate,
                    serves_clients=clients.certificate if clients else None,
                    clients=(clients.address, clients.port) if clients else None,
                    error=peers.error,
                    refused=peers.error == _REFUSED,
                    is_self=name == etcd.cluster.name,
                    version=etcd.version if name == etcd.cluster.name else "",
                    verified=is_verified(proof, etcd.cas),
                )
            )
    probes = tuple((served.address, served.local_port) for served, _ in seen.values() if served.local_port)
    return MembersSeen(members=tuple(found), probes=probes, blind=tuple(blind))


# ---------------------------------------------------------------- who they are


def peer_addresses(told: Mapping[str, Told], trusts: Trusts) -> frozenset[str]:
    """Return the addresses of the other members of the trusted etcds here, without a connection to any of them. Never raises."""
    doors: dict[_Door, None] = {}
    for etcd in _etcds([], trusts):
        peer = next((path for use, path in read_process(etcd.pid) if use == "peer"), "")
        known = told[peer].voters if peer in told else ()
        for name, host, port in (*etcd.cluster.members, *known):
            if name != etcd.cluster.name:
                doors[_Door(etcd.pid, host, port)] = None
    found = {door.host for door in doors if _is_address(door.host)}
    named = [door for door in doors if not _is_address(door.host)]
    return frozenset(found | {address for door in named if (address := _listed(door))} | _resolved(named))


def _resolved(doors: Sequence[_Door]) -> set[str]:
    """Look names up, all at once: a resolver that hangs has no deadline."""
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def ask(door: _Door) -> None:
        try:
            answers.put(_looked_up(door))
        except OSError:
            answers.put("")

    for door in doors[:MOST_DOORS]:
        threading.Thread(target=ask, args=(door,), daemon=True, name=f"resolve {door.host}").start()
    found: set[str] = set()
    until = time.monotonic() + DEADLINE
    for _ in doors[:MOST_DOORS]:
        try:
            found.add(answers.get(timeout=max(until - time.monotonic(), 0.001)))
        except queue.Empty:
            break
    return found - {""}


def is_verified(proof: Proof, cas: Sequence[Certificate]) -> bool:
    """Whether a listener proved that it has the key of its certificate, which leads to one of these CAs and is for servers."""
    if not proof.proven or not cas:
        return False
    try:
        leaf, *sent = (parse_der(der) for der in proof.chain)
    except NotACertificate:
        return False
    usable = not leaf.is_ca and (not leaf.usages or "server" in leaf.usages)
    return usable and bool(chain(leaf, cas, [one for one in sent if one.is_ca]))


def meet(
    told: dict[str, Told],
    embedded: Sequence[Stored],
    blind: list[str],
    *,
    trusts: Trusts = _nobody,
    tree: Tree = Tree(),  # noqa: B008 - a frozen value
) -> list[_Etcd]:
    """Return the etcds of this network that `trusts` judges SYSTEM, with the members that they tell or told.

    `told` is kept up to date. CA files count only if root alone may write them in the `tree`.
    """
    found = []
    shown = set()  # by processes of their own, which are not looked for inside others
    for etcd in _etcds(blind, trusts):
        own = next((member for member in etcd.cluster.members if member[0] == etcd.cluster.name), None)
        named = read_process(etcd.pid)
        peer = next((path for use, path in named if use == "peer"), "")
        shown.add(peer)
        if own is not None and peer:
            door = _Door(etcd.pid, own[1], own[2])
            host = door.host if _is_address(door.host) else _listed(door)
            files = _trusted_files(peer, [path for use, path in named if use == "ca"], tree)
            etcd = replace(etcd, cas=_certificates_in(files))  # noqa: PLW2901 - the same one, better known
            # The peer key is used only towards the socket of this very process, after its chain was verified.
            asked = bool(host) and _listens(etcd.pid, door.port) and _proves(host, door.port, etcd.cas)
            now = voters(host, door.port, certificate=peer, cas=files) if asked else ()
            voting = _remembered(told, peer, now, _start_of(etcd.pid), etcd.cluster.members)
            if voting:
                etcd = replace(etcd, cluster=replace(etcd.cluster, members=voting))  # noqa: PLW2901 - the same one, better known
        found.append(etcd)
    inside = [_inside(stored, told, trusts, tree) for stored in embedded if stored.certificate.path not in shown]
    return found + [one for one in inside if one is not None]


def _trusted_files(peer: str, files: Sequence[str], tree: Tree) -> list[str]:
    """Return those CA files that only root may write, and one of whose CAs signed a peer certificate."""
    judge = Judge(tree)
    if judge.judge(peer).trust is not Trust.SYSTEM:
        return []
    leaf, *sent = _read(peer) or [None]
    return [
        path
        for path in dict.fromkeys(files)
        if leaf is not None
        and judge.judge(path).trust is Trust.SYSTEM
        and chain(leaf, [ca for ca in _read(path) if ca.is_ca], [one for one in sent if one is not None and one.is_ca])
    ]


def _certificates_in(files: Sequence[str]) -> tuple[Certificate, ...]:
    return tuple(one for path in files for one in _read(path) if one.is_ca)


def _read(path: str) -> tuple[Certificate, ...]:
    try:
        return parse(read_bytes(path), path, most=MOST_IN_FILE)
    except NotACertificate as fault:
        return fault.certificates
    except OSError:
        return ()


def _listens(pid: int, port: int) -> bool:
    """Whether every listener on a port here is a socket of this process, and of nobody else."""
    found = listeners([port])
    held = holders([one.inode for one in found])
    return bool(found) and all(held[one.inode] - {1} == {pid} for one in found)


def _proves(host: str, port: int, cas: Sequence[Certificate]) -> bool:
    return is_verified(probe(host, port, server_name=None, deadline=DEADLINE)[1], cas)


def _remembered(told: dict[str, Told], peer: str, now: Voters, by: str = "", flags: Voters = ()) -> Voters:
    """Return who the members are by what an etcd tells now, else by what it told; nobody where it never did.

    What an earlier start of it told, before an upgrade or a boot, counts with those whom its flags name: too many close the gates, and too few
    could open them.
    """
    if now and len(now) <= MOST_MEMBERS:
        told[peer] = Told(by=by, voters=now)
    if peer not in told:
        return ()
    known = told[peer]
    return known.voters if known.by == by else tuple(sorted({*known.voters, *flags}))


def _start_of(pid: int) -> str:
    """Return a mark of one start of one process, other than that of any before it; "" where it is gone."""
    try:
        started = (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        )  # after the name, which may be anything
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{pid}/{started}"
    except (OSError, IndexError):
        return ""


def _inside(stored: Stored, told: dict[str, Told], trusts: Trusts, tree: Tree) -> _Etcd | None:
    """Return the etcd inside k3s or rke2 whose peer certificate this is; None if no trusted program listens."""
    path, place = stored.certificate.path, stored.place
    found = listeners(place.ports)
    held = holders([one.inode for one in found])
    doors = [
        (one.address, one.port)
        for one in found
        if held[one.inode] and all(trusts(pid) is Trust.SYSTEM for pid in held[one.inode] - {1})
    ]
    if not doors:
        return None
    files = _trusted_files(path, [place.ca_path], tree)
    cas = _certificates_in(files)
    asked = len(doors) == len(found) and _proves(*doors[0], cas)
    voting = _remembered(told, path, voters(*doors[0], certificate=path, cas=files) if asked else ())
    here = own_addresses()
    name = next((name for name, host, port in voting if (host, port) == doors[0] or host in here), "")
    if name:
        return _Etcd(0, place.group, planes.Cluster(name=name, members=voting, client_port=2379), cas=cas)
    try:
        written = Path(planes.etcd_config(place, path)).read_text("utf-8", errors="replace")
    except OSError:
        written = ""
    # Where nothing tells who the others are, nobody is taken for this one: then nothing is restarted.
    unknown = planes.Cluster(name="", members=(("of an unknown name", *doors[0]),), client_port=None)
    return _Etcd(0, place.group, planes.cluster_from_config(written) or unknown, cas=cas)


def _etcds(blind: list[str], trusts: Trusts) -> Iterator[_Etcd]:
    """Yield the trusted etcd processes of this network that tell their cluster; what hides the others goes to `blind`."""
    left = MOST_ETCDS
    for home in sorted(Path("/proc").glob("[0-9]*")):
        try:
            if not _is_etcd(home, trusts):
                continue
            if left <= 0:
                blind.append(f"more than {MOST_ETCDS} etcd processes run here; the others were not looked at")
                return
            left -= 1
            argv = [word.decode(errors="replace") for word in (home / "cmdline").read_bytes().split(b"\0")[:-1]]
        except OSError:
            continue  # it has ended meanwhile
        environ: dict[str, str] = {}
        closed = ""
        try:
            for word in (home / "environ").read_bytes().split(b"\0"):
                name, _, value = word.partition(b"=")
                environ[name.decode(errors="replace")] = value.decode(errors="replace")
        except OSError as error:
            closed = f": its environment is closed to us ({error.strerror}); CAP_SYS_PTRACE would open it"
        cluster = planes.cluster_from_flags(argv, environ)
        if closed:
            # What its environment sets counts more than its flags, and which group it is of would have to be guessed.
            blind.append(f"etcd (process {home.name}) does not tell its members{closed}")
        elif cluster is None:
            blind.append(f"etcd (process {home.name}) does not tell its other members by its flags or its environment")
        elif len(cluster.members) > MOST_MEMBERS:
            blind.append(f"etcd (process {home.name}) names {len(cluster.members)} members, which is more than can be")
        else:
            yield _Etcd(int(home.name), _group(int(home.name)), cluster, planes.etcd_version(_program(home, argv)))


def _is_etcd(home: Path, trusts: Trusts) -> bool:
    """Whether a process is an etcd of this network. Anybody can call a process etcd: its cgroup, executable and uid tell."""
    return (
        (home / "comm").read_text() == "etcd\n"
        and trusts(int(home.name)) is Trust.SYSTEM
        and (_program(home, ()) or "/etcd").rpartition("/")[2].startswith("etcd")  # empty: closed to us
        and _same_network(home)
    )


def _program(home: Path, argv: Sequence[str]) -> str:
    try:
        return str((home / "exe").readlink())  # the file itself: images have old names as links to a later patch
    except OSError:
        return argv[0] if argv else ""


def _same_network(home: Path) -> bool:
    try:
        return (home / "ns/net").readlink() == Path("/proc/self/ns/net").readlink()
    except PermissionError:
        return True


def _group(pid: int) -> str:
    """Return the etcd group of a process, as the inventory tells it of the peer certificate that it uses."""
    for use, path in read_process(pid):
        if use == "peer":
            try:
                return planes.place(path, parse(read_bytes(path), path)[0], use=use).group
            except (OSError, NotACertificate, IndexError):
                return planes.place(path, use=use).group
    return ""


# ---------------------------------------------------------------- how they are


def _all_at_once(doors: list[_Door], deadline: float) -> dict[_Door, tuple[Served, Proof]]:
    """Shake hands at each door, each on a thread of its own: a look-up of a name that hangs has no deadline, and holds up nobody."""
    answers: queue.SimpleQueue[tuple[_Door, tuple[Served, Proof]]] = queue.SimpleQueue()

    def knock(door: _Door) -> None:
        answers.put((door, _knock(door, deadline)))

    for door in doors[:MOST_DOORS]:
        threading.Thread(target=knock, args=(door,), daemon=True, name=f"handshake {door.host}:{door.port}").start()
    seen: dict[_Door, tuple[Served, Proof]] = {}
    until = time.monotonic() + deadline + MARGIN
    while len(seen) < min(len(doors), MOST_DOORS) and (left := until - time.monotonic()) > 0:
        try:
            door, served = answers.get(timeout=left)
        except queue.Empty:
            break
        seen[door] = served
    silent = f"no answer within {deadline:g} s"
    return {
        door: seen.get(door) or (Served(address=door.host, port=door.port, certificate=None, error=silent), Proof())
        for door in doors
    }


def _knock(door: _Door, deadline: float) -> tuple[Served, Proof]:
    name = None if _is_address(door.host) else door.host
    try:
        address = door.host if name is None else _listed(door) or _looked_up(door)
        return probe(address, door.port, server_name=name, deadline=deadline)
    except Exception as error:  # noqa: BLE001 - on a thread nobody else would hear of it
        said = str(error) or type(error).__name__
        error_text = f"could not be tried: {said}"
        return Served(address=door.host, port=door.port, certificate=None, error=error_text), Proof()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _listed(door: _Door) -> str:
    """Return the address of a name in the hosts file of the process that dials it: etcd-manager writes its peers there."""
    try:
        lines = read_bytes(f"/proc/{door.pid}/root/etc/hosts").decode(errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        address, *names = line.partition("#")[0].split() or [""]
        if door.host.lower() in (name.lower() for name in names) and _is_address(address):
            return address
    return ""


def _looked_up(door: _Door) -> str:
    found = socket.getaddrinfo(door.host, door.port, type=socket.SOCK_STREAM)
    return str(found[0][4][0])
