"""What a process and all that it started cost: CPU, memory, wake-ups and bytes to the disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Used:
    """The sums over the processes of a tree."""

    cpu: float  # seconds, user and system, since they started
    pss: float  # MiB: memory shared by n processes counts one n-th in each
    own: float  # MiB of it that no file backs
    wakeups: int  # times that a thread waited and went on, since they started
    written: int  # bytes sent to the disk, since they started
    threads: int
    descriptors: int


def processes(root: int) -> Iterator[int]:
    """Yield a process and all its descendants that still run."""
    yield root
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{root}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from processes(int(child))


def used(root: int) -> Used:
    """Return what the processes of a tree have used so far."""
    everyone = [one for one in map(_of_process, processes(root)) if one is not None]
    return Used(
        cpu=sum(one.cpu for one in everyone),
        pss=sum(one.pss for one in everyone),
        own=sum(one.own for one in everyone),
        wakeups=sum(one.wakeups for one in everyone),
        written=sum(one.written for one in everyone),
        threads=sum(one.threads for one in everyone),
        descriptors=sum(one.descriptors for one in everyone),
    )


def _of_process(pid: int) -> Used | None:
    home = Path(f"/proc/{pid}")
    try:
        stat = (home / "stat").read_text().rpartition(")")[2].split()
        memory, disk = _numbers(home / "smaps_rollup"), _numbers(home / "io")
        threads = [_numbers(thread / "status") for thread in (home / "task").iterdir()]
        descriptors = len(list((home / "fd").iterdir()))
    except OSError:
        return None  # it has ended
    return Used(
        cpu=(int(stat[11]) + int(stat[12])) / TICKS,
        pss=memory["Pss"] / 1024,
        own=memory["Pss_Anon"] / 1024,
        wakeups=sum(thread["voluntary_ctxt_switches"] for thread in threads),
        written=disk["write_bytes"],
        threads=len(threads),
        descriptors=descriptors,
    )


def _numbers(path: Path) -> dict[str, int]:
    """Return the numbers of a file of lines such as "Pss: 1234 kB"."""
    numbers = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        first = rest.split(maxsplit=1)[:1]
        if first and first[0].isdigit():
            numbers[name] = int(first[0])
    return numbers
