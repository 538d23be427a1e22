"""Evidence from a process: which certificate files it was started with. And whether the clock is kept right."""

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

# As systemd's timedatectl judges: the kernel lets the error grow to 16 s where nobody disciplines the clock.
LINKS = 40  # that are followed, as the kernel does
_UNDISCIPLINED = 16_000_000  # µs


def read_process(pid: int) -> tuple[tuple[str, str], ...]:
    """Return (use, path) for each certificate file that a process was started with; none where it is gone or closed to us.

    The path is one that can be opened here: where the process lives in a container, and the host does not have the same
    file under the same name, it begins with /proc/PID/root.
    """
    home = Path(f"/proc/{pid}")
    try:
        argv = [word.decode(errors="replace") for word in (home / "cmdline").read_bytes().split(b"\0")[:-1]]
        pairs = (word.partition(b"=") for word in (home / "environ").read_bytes().split(b"\0"))
        environ = {name.decode(errors="replace"): value.decode(errors="replace") for name, _, value in pairs}
        folder = (home / "cwd").readlink()
    except OSError:
        return ()
    named = planes.paths_from_flags(argv, environ)
    return tuple((use, _openable(pid, os.path.normpath(folder / path))) for use, path in named)


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
    """Return a path below another root with every link followed as that root's own programs do, so never out of it.

    Opened as it is, an absolute link in a container would lead into this machine's files.
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
            target = os.readlink("/".join([root, *done, part]))  # noqa: PTH115 - it is a string that is wanted
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


def identify(pid: int) -> Process | None:
    """Return a process by what it cannot choose; None if it has gone."""
    home = Path(f"/proc/{pid}")
    try:
        uid = home.stat().st_uid
        found = [line.split(":", 2) for line in (home / "cgroup").read_text(errors="replace").splitlines()]
    except OSError:
        return None
    try:
        exe = str((home / "exe").readlink())
    except OSError:
        exe = ""
    groups = {name: path for _, name, path in (parts for parts in found if len(parts) == 3)}
    unified = groups.get("", "/")
    return Process(uid=uid, exe=exe, cgroup=unified if unified != "/" else groups.get("name=systemd", "/"))


def static_uids(static_pods: Collection[str], folder: str = "/var/log/pods") -> frozenset[str]:
    """Return the uids of this machine's static pods, from the names of the kubelet's folders of logs."""
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except OSError:
        return frozenset()
    return origin.static_uids(names, static_pods)


def holders(inodes: Collection[int]) -> dict[int, set[int]]:
    """Return socket inode -> processes that have it open, as far as they may be looked at."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, set[int]] = {inode: set() for inode in inodes}
    if not wanted:
        return found
    for home in Path("/proc").glob("[0-9]*"):
        try:
            handles = os.listdir(home / "fd")  # noqa: PTH208 - there may be thousands
        except OSError:
            continue
        for handle in handles:
            with contextlib.suppress(OSError):
                inode = wanted.get(os.readlink(f"{home}/fd/{handle}"))  # noqa: PTH115 - as above
                if inode is not None:
                    found[inode].add(int(home.name))
    return found


class _Timex(ctypes.Structure):
    """The beginning of struct timex, and room for the rest of it (adjtimex(2))."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_char * 512),
    )


def clock_synchronised() -> bool | None:
    """Whether something keeps this machine's clock right; None where that cannot be told.

    The kernel is asked first; a unit with ProtectClock= may not, and asks timedatectl.
    """
    timex = _Timex()
    if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) >= 0:
        return bool(timex.maxerror < _UNDISCIPLINED)
    try:
        asked = run(["timedatectl", "show", "--property=NTPSynchronized", "--value"], deadline=time.monotonic() + 2)
    except RunError:
        return None
    return {"yes": True, "no": False}.get(asked.out.strip()) if asked.code == 0 else None
