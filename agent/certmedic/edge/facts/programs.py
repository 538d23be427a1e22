"""The programs of the control plane that run here, since when, and what their flags and environment name."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from certmedic.core import origin, planes
from certmedic.core.model import Program, Trust
from certmedic.core.origin import Process
from certmedic.edge.facts import processes
from certmedic.edge.os.readfile import read_bytes

MOST = 10_000  # programs
MOST_READ = 4096  # bytes of a file of /proc; the kernel fills so much at once
MOST_HOSTS = 256  # names of a hosts file
_UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)
_TICKS = os.sysconf("SC_CLK_TCK")  # a second
_START = 19  # the field of /proc/PID/stat with the start, counted after the name in parentheses


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSeen:
    """A process, by what it cannot choose, and the known program that it says it is."""

    pid: int
    process: Process
    name: str = ""  # by the executable as it was called; "" if it is no program whose certificates are known
    is_etcd: bool = False  # by its name for the kernel
    started_at: datetime = _UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """The files, cluster and namespaces of a process, by its flags and environment."""

    seen: ProcessSeen
    named: tuple[
        tuple[str, str], ...
    ] = ()  # (use, path) of certificate files, as `processes.read_process` returns them
    start: str = ""  # an id of this process instance: boot, pid and start time
    network: str = ""  # its network namespace; "" if that is closed to us
    cluster: planes.Cluster | None = None  # of an etcd
    closed: str = ""  # why the environment, which overrides the flags and names the cluster, cannot be read
    hosts: Mapping[str, str] = field(default_factory=dict)  # name in its hosts file -> address
    version: str = ""  # of an etcd


def seen_programs(*, proc: str = "/proc") -> tuple[ProcessSeen, ...]:
    """Return the running programs whose certificates are known, and every etcd."""
    try:
        booted = _booted(Path(f"{proc}/stat").read_text("ascii"))
        pids = sorted(int(name) for name in os.listdir(proc) if name.isdigit())  # noqa: PTH208 - there may be thousands
    except (OSError, ValueError):
        return ()
    known = planes.watched_programs()
    return tuple(_seen(pids, known, booted, proc))


def _seen(pids: Sequence[int], known: frozenset[str], booted: int, proc: str) -> Iterator[ProcessSeen]:
    left = MOST
    for pid in pids:
        try:
            cmdline = _read(f"{proc}/{pid}/cmdline")
            if not cmdline:
                continue  # it is a thread of the kernel, or has ended
            name = name_of([word.decode(errors="replace") for word in cmdline.split(b"\0", 2)[:2]], known)
            is_etcd = _read(f"{proc}/{pid}/comm") == b"etcd\n"
            if not (name or is_etcd):
                continue
            stat = _read(f"{proc}/{pid}/stat").decode(errors="replace")
            started = booted + int(stat.rpartition(")")[2].split()[_START]) / _TICKS
        except (OSError, ValueError, IndexError):
            continue  # it has just ended
        if left and (process := processes.identify(pid, proc)) is not None:
            left -= 1
            at = datetime.fromtimestamp(int(started), UTC)
            yield ProcessSeen(pid=pid, process=process, name=name, is_etcd=is_etcd, started_at=at)


def _read(path: str) -> bytes:
    """Return the beginning of a file of /proc: each look reads two files of every process, and open() would cost thrice as much."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, MOST_READ)
    finally:
        os.close(file)


def details(pids: Sequence[int]) -> tuple[Details, ...]:
    """Return the details of each process that still runs."""
    known = []
    for pid in pids:
        process = processes.identify(pid)
        if process is None:
            continue
        home, closed, cluster, version = Path(f"/proc/{pid}"), "", None, ""
        try:
            argv = processes.argv_of(home)
            version = planes.etcd_version(process.exe or (argv[0] if argv else ""))
            cluster = planes.cluster_from_flags(argv, processes.environ_of(home))
        except OSError as error:
            closed = error.strerror or str(error)
        known.append(
            Details(
                seen=ProcessSeen(pid=pid, process=process),
                named=processes.read_process(pid),
                start=processes.start_of(pid),
                network=processes.network_of(pid),
                cluster=cluster,
                closed=closed,
                hosts=_hosts(pid),
                version=version,
            )
        )
    return tuple(known)


def holders(inodes: Collection[int]) -> tuple[tuple[int, tuple[ProcessSeen, ...]], ...]:
    """Return (socket inode, processes that have it open, as far as we may see them)."""
    held = processes.holders(inodes)
    known = {pid: processes.identify(pid) for pid in set().union(*held.values())}
    return tuple(
        (
            inode,
            tuple(ProcessSeen(pid=pid, process=at) for pid in sorted(pids)[:MOST] if (at := known[pid]) is not None),
        )
        for inode, pids in held.items()
    )


def programs(seen: Sequence[ProcessSeen], trusts: Callable[[ProcessSeen], Trust]) -> tuple[Program, ...]:
    """Return the programs whose certificates are known, each with its trust."""

    def trust_of(at: ProcessSeen) -> Trust:
        return Trust.SYSTEM if at.name in planes.TOOLS and origin.is_of_root(at.process) else trusts(at)

    return tuple(
        Program(name=at.name, pid=at.pid, started_at=at.started_at, trust=trust_of(at)) for at in seen if at.name
    )


def name_of(argv: list[str], known: frozenset[str]) -> str:
    """Return the known program of a command line; "" if it is none. hyperkube takes the program as its first argument."""
    names = [word.rpartition("/")[2] for word in " ".join(argv).split()[:2]]
    if names and names[0] in known:
        return names[0]
    if names and names[0] == "hyperkube" and len(names) > 1:
        return next((name for name in (names[1], f"kube-{names[1]}") if name in known), "")
    return ""


def _hosts(pid: int) -> dict[str, str]:
    """Return name -> address in the hosts file of a process: etcd-manager writes its peers there."""
    try:
        lines = read_bytes(f"/proc/{pid}/root/etc/hosts").decode(errors="replace").splitlines()
    except OSError:
        return {}
    named: dict[str, str] = {}
    for line in lines:
        address, *names = line.partition("#")[0].split() or [""]
        for name in names:
            if len(named) < MOST_HOSTS:
                named.setdefault(name.lower(), address)
    return named


def _booted(stat: str) -> int:
    return next(int(line.split()[1]) for line in stat.splitlines() if line.startswith("btime "))
