"""A unit without systemd: a control group below system.slice, by which journald and the agent recognise its processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def control_groups(unit: str) -> list[Path]:
    """Make the control group of a unit in the hierarchies that systemd uses."""
    points = [Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")]
    groups = []
    for point in points:
        if (point / "cgroup.procs").exists():
            group = point / "system.slice" / unit
            group.mkdir(parents=True, exist_ok=True)
            groups.append(group)
    return groups


def within(groups: Sequence[Path], *command: str) -> list[str]:
    """Return the command line that runs a command in control groups."""
    enter = 'for group in $0; do echo $$ >"$group/cgroup.procs" || exit; done; exec "$@"'
    return ["sh", "-c", enter, " ".join(map(str, groups)), *command]
