"""Processes: their certificate files, origin and sockets. And whether the clock is synchronised."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Collection
from pathlib import Path

from certmedic.core import origin, planes
from certmedic.core.origin import Process
from certmedic.edge.os.run import RunError, run

LINKS = 40  # in one path, as in the kernel
# The kernel lets the error grow to 16 s if nothing synchronises the clock; timedatectl judges by that too.
_UNDISCIPLINED = 16_000_000  # µs
_LIBC = ctypes.CDLL(None)  # once: each is a cycle of a dozen objects, which waits for a full collection


def read_process(pid: int) -> tuple[tuple[str, str], ...]:
    """Return (use, path) of each certificate file in flags and environment of a process; none if it has ended or is closed to us.

    The path can be opened here: it begins with /proc/PID/root if the process is in a container, unless the host has the same
    file under the same name.
    """
    home = Path(f"/proc/{pid}")
    try:
        named, folder = planes.paths_from_flags(argv_of(home), environ_of(home)), (home / "cwd").readlink()
    except OSError:
        return ()
    return tuple((use, _openable(pid, os.path.normpath(folder / path))) for use, path in named)


def argv_of(home: Path) -> list[str]:
    """Return the command line of the process at `home`, a folder of /proc. Raises OSError."""
    return (home / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]


def environ_of(home: Path) -> dict[str, str]:
    """Return the environment of the process at `home`, a folder of /proc. Raises OSError."""
    pairs = (word.partition("=") for word in (home / "environ").read_bytes().decode(errors="replace").split("\0"))
    return {name: value for name, _, value in pairs}


def _openable(pid: int, path: str) -> str:
    inside = f"/proc/{pid}/root{path}"
    within = resolved(f"/proc/{pid}/root", path)
    try:
        if not Path(inside).samefile(within):
            inside = within
    except OSError:
        inside = within
    for host in (path, planes.host_path(path)):
        try:
            if Path(host).samefile(inside):
                return host
        except OSError:
            continue
    return inside


def resolved(root: str, path: str) -> str:
    """Return a path below another root, with links followed as in a chroot, so that none leads out of it.

    The kernel would follow an absolute link in a container into this machine's files.
    """
    done: list[str] = []
    waiting = path.split("/")[::-1]
    links = 0
    while waiting:
        part = waiting.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = done[:-1]
            continue
        try:
            target = os.readlink("/".join([root, *done, part]))  # noqa: PTH115 - a string is needed
        except OSError:
            done.append(part)
            continue
        links += 1
        if links > LINKS:
            return root  # which is no file
        if target.startswith("/"):
            done = []
        waiting += target.split("/")[::-1]
    return "/".join([root, *done])


def identify(pid: int, proc: str = "/proc") -> Process | None:
    """Return the properties of a process that it cannot choose; None if it has ended."""
    home = Path(f"{proc}/{pid}")
    try:
        uid = home.stat().st_uid
        lines = [line.split(":", 2) for line in (home / "cgroup").read_text(errors="replace").splitlines()]
    except OSError:
        return None
    try:
        exe = str((home / "exe").readlink())
    except OSError:
        exe = ""
    groups = {name: path for _, name, path in (parts for parts in lines if len(parts) == 3)}
    unified = groups.get("", "/")
    return Process(uid=uid, exe=exe, cgroup=unified if unified != "/" else groups.get("name=systemd", "/"))


def start_of(pid: int) -> str:
    """Return an id of this process instance: boot, pid and start time; "" if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # the name may hold blanks and ")"
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{pid}/{fields[19]}"
    except (OSError, IndexError):
        return ""


def network_of(pid: int | str) -> str:
    """Return the network namespace of a process, or with "self" of this one; "" if it has ended or is closed to us."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def static_uids(static_pods: Collection[str], folder: str = "/var/log/pods") -> frozenset[str]:
    """Return the uids of this machine's static pods, from the names of the log folders that the kubelet creates."""
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except OSError:
        return frozenset()
    return origin.static_uids(names, static_pods)


def holders(inodes: Collection[int]) -> dict[int, set[int]]:
    """Return socket inode -> processes that have it open, as far as we may see them."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    pids: dict[int, set[int]] = {inode: set() for inode in inodes}
    if not wanted:
        return pids
    for home in Path("/proc").glob("[0-9]*"):
        try:
            handles = os.listdir(home / "fd")  # noqa: PTH208 - there may be thousands
        except OSError:
            continue
        for handle in handles:
            with contextlib.suppress(OSError):
                inode = wanted.get(os.readlink(f"{home}/fd/{handle}"))  # noqa: PTH115 - as above
                if inode is not None:
                    pids[inode].add(int(home.name))
    return pids


class _Timex(ctypes.Structure):
    """The beginning of struct timex (adjtimex(2)), and space for its rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_char * 512),
    )


def clock_synchronised() -> bool | None:
    """Whether this machine's clock is synchronised; None if unknown.

    Ask the kernel, or timedatectl if ProtectClock= forbids that.
    """
    timex = _Timex()
    if _LIBC.adjtimex(ctypes.byref(timex)) >= 0:
        return bool(timex.maxerror < _UNDISCIPLINED)
    try:
        asked = run(["timedatectl", "show", "--property=NTPSynchronized", "--value"], deadline=time.monotonic() + 2)
    except RunError:
        return None
    return {"yes": True, "no": False}.get(asked.out.strip()) if asked.code == 0 else None
