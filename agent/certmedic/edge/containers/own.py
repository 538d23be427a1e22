"""Which container this process runs in."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path


def own_ids(mountinfo: Path, cgroup: Path) -> frozenset[str]:
    """Return the ids of the container that this process runs in, and of its pod; empty on a plain machine.

    The mountinfo of a machine names its containers too, but none of their files is mounted over /etc/hostname there.
    """
    ids = set()
    with contextlib.suppress(OSError):
        for line in mountinfo.read_text(errors="replace").splitlines():
            parts = line.split()
            if len(parts) > 4 and parts[4] == "/etc/hostname":
                ids.update(re.findall(r"/containers/([0-9a-f]{64})/", parts[3]))
    with contextlib.suppress(OSError):
        ids.update(re.findall(r"[/-]([0-9a-f]{64})(?:\.scope)?$", cgroup.read_text(errors="replace"), re.MULTILINE))
    return frozenset(ids)
