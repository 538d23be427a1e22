"""A storm through the real line: N failing lines of twenty kinds into Loop and Store. Prints a JSON object.

COUNT FOLDER
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import lines
from bench.agent import world
from certmedic.config import Config
from certmedic.core.model import LogEntry, Origin, Trust
from certmedic.edge import inbox
from certmedic.edge.store import Store
from certmedic.loop import Loop


def resident() -> float:
    """Return the MiB that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    """Send it through."""
    count, folder = int(sys.argv[1]), Path(sys.argv[2])
    config = Config(mode="observe", state=folder)
    origins = {
        program: Origin(program=program, unit=f"{program}.service", trust=Trust.SYSTEM) for program, _ in lines.KINDS
    }
    dice, start = random.Random(3), datetime.now(UTC)  # noqa: S311 - the same storm each time

    def batch(first: int, size: int) -> list[LogEntry]:
        entries = []
        for number in range(first, first + size):
            program, template = lines.KINDS[number % len(lines.KINDS)]
            at = start + timedelta(microseconds=20 * number)
            text = lines.written(template, at, dice)
            entries.append(
                LogEntry(stream="journal", position=str(number), time=at, text=text, origin=origins[program])
            )
        return entries

    with Store(folder / "state.sqlite3") as store:
        loop = Loop(config=config, store=store, world=world(config), started_at=start, sources={})
        loop.step([], start)  # the first inventory
        loop.step(batch(0, inbox.BATCH), datetime.now(UTC))  # the first diagnoses
        before, done, wall, cpu = resident(), inbox.BATCH, 0.0, 0.0
        while done < count:
            items = batch(done, min(inbox.BATCH, count - done))
            began, used = time.perf_counter(), time.process_time()
            loop.step(items, datetime.now(UTC))
            wall += time.perf_counter() - began
            cpu += time.process_time() - used
            done += len(items)
        incidents = store.incidents()
        told = {
            "lines": count,
            "counted": sum(one.count for one in incidents),
            "incidents": len(incidents),
            "kinds": len(lines.KINDS),
            "wall": wall,
            "cpu": cpu,
            "lines_per_second": (count - inbox.BATCH) / wall,
            "lines_per_cpu_second": (count - inbox.BATCH) / cpu,
            "growth_mib": resident() - before,
        }
    sys.stdout.write(json.dumps(told))


main()
