"""The programs of the control plane that run here, and since when."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from certmedic.core import planes
from certmedic.core.model import Program, Trust

_TICKS = os.sysconf("SC_CLK_TCK")  # a second
_START = 19  # the field of /proc/PID/stat with the start, counted after the name in parentheses


def programs(trusts: Callable[[int], Trust], *, proc: str = "/proc") -> tuple[Program, ...]:
    """Return the running programs whose certificates are known, by the name of their executable as they were called."""
    try:
        booted = _booted(Path(f"{proc}/stat").read_text("ascii"))
        pids = [int(name) for name in os.listdir(proc) if name.isdigit()]  # noqa: PTH208 - there may be thousands
    except (OSError, ValueError):
        return ()
    known = planes.watched_programs()
    running = []
    for pid in pids:
        try:
            argv = Path(f"{proc}/{pid}/cmdline").read_bytes().split(b"\0")
            name = name_of([word.decode(errors="replace") for word in argv[:2]], known)
            if not name:
                continue
            stat = Path(f"{proc}/{pid}/stat").read_text(errors="replace")
            started = booted + int(stat.rpartition(")")[2].split()[_START]) / _TICKS
        except (OSError, ValueError, IndexError):
            continue  # it has just ended
        at = datetime.fromtimestamp(int(started), UTC)
        running.append(Program(name=name, pid=pid, started_at=at, trust=trusts(pid)))
    return tuple(running)


def name_of(argv: list[str], known: frozenset[str]) -> str:
    """Return the known program of a command line; "" if it is none. hyperkube takes the program as its first argument."""
    names = [word.rpartition("/")[2] for word in " ".join(argv).split()[:2]]
    if names and names[0] in known:
        return names[0]
    if names and names[0] == "hyperkube" and len(names) > 1:
        return next((name for name in (names[1], f"kube-{names[1]}") if name in known), "")
    return ""


def _booted(stat: str) -> int:
    return next(int(line.split()[1]) for line in stat.splitlines() if line.startswith("btime "))
