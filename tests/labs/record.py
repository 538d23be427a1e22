"""Record a drill's etcd anew, for machines that have none: `PYTHONPATH=agent:tests python3 -m labs.record`.

Writes agent/certmedic/drill/recorded/: what a sick member and a neighbour logged from their start until the sick one was cured, and
the certificates before and after. Paths are written as they would be on a master, with its root at "/".
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

from certmedic.drill import etcd, master, recorded

LIFE = 20.0
GOES_ON = 25.0  # seconds after the expiry: by then the probers have spoken, too (FIELD 3.2)


def record(folder: Path) -> None:
    """Run one drill without an agent and keep its output."""
    os.environ["TZ"] = "UTC"
    shutil.rmtree(folder / "before", ignore_errors=True)
    shutil.rmtree(folder / "after", ignore_errors=True)
    program = etcd.find()
    times = {"started": datetime.now(UTC)}
    with master.scratch_master(program, life=LIFE, logger="capnslog") as scratch:
        sick, neighbour = scratch.members["a"], scratch.members["b"]
        assert scratch.wait_healthy()
        times["healthy"] = datetime.now(UTC)
        keep(folder / "before", {"a": sick, "b": neighbour})
        until = sick.ends.timestamp() + GOES_ON
        while time.time() < until:
            time.sleep(0.2)
        times["restarted"] = datetime.now(UTC)
        sick.restart()
        assert scratch.wait_healthy()
        times["cured"] = datetime.now(UTC)
        keep(folder / "after", {"a": sick})
        for key, member in (("a", sick), ("b", neighbour)):
            (folder / f"{key}.log").write_text(
                re.sub(rf"{scratch.root}(?:/neighbours/\w)?", "", member.log.read_text())
            )
    about = {
        "etcd": etcd.version(program),
        **{name: f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}" for name, moment in times.items()},
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")


def keep(folder: Path, members: dict[str, master.Member]) -> None:
    """Copy the members' certificates, and no key."""
    for key, member in members.items():
        for path in sorted(member.volume.glob("pki/**/*.crt")):
            target = folder / key / path.relative_to(member.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


if __name__ == "__main__":
    record(recorded.FOLDER)
