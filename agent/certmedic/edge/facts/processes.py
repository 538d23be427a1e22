"""Evidence from a process: which certificate files it was started with. And whether the clock is kept right."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

from certmedic.core import planes

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
        asked = subprocess.run(
            ["timedatectl", "show", "--property=NTPSynchronized", "--value"], capture_output=True, timeout=2, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {b"yes": True, b"no": False}.get(asked.stdout.strip())
