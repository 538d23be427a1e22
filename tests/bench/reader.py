"""Catch up with one source, to all matches found and understood: what the agent's reader and its parser do, as one process.

reader.py files PATH | pods FOLDER | journal FOLDER | docker URL       prints how many failures were found
reader.py certificates FOLDER                                          prints how many were read, and judged
"""

# ruff: noqa: PLC0415 - each run loads what its source needs, as its start-up is a part of what is measured

from __future__ import annotations

import os
import sys
import time

from bench import lines
from certmedic.core import symptoms
from certmedic.core.model import Item, LogEntry, SourceStatus
from certmedic.edge.roundrobin import RoundRobin


def source(kind: str, what: str):
    """Return the agent's own source, and the name and position under which it is told to begin at the beginning."""
    if kind == "journal":
        from certmedic.edge.journal import JournalSource

        return JournalSource(symptoms.NEEDLES, path=what, lookback=time.time()), {}
    if kind == "docker":
        from certmedic.edge.files.docker import DockerFiles as Source
    elif kind == "files":
        from certmedic.edge.files import FileSource as Source
    else:
        from certmedic.edge.files import PodSource as Source
    from certmedic.edge.files.globs import Watch

    made = Source(symptoms.NEEDLES, [what] if kind == "files" else what)
    return made, {made.name: str(Watch(time=0.0, globs=tuple(made._globs)))}


def inventory(folder: str) -> int:
    """Take inventory of a folder, and judge what is in it; return how many certificates were found good."""
    from datetime import UTC, datetime

    from certmedic.core.examine import examine
    from certmedic.core.model import Facts
    from certmedic.edge.facts.inventory import Inventory

    stored, faults = Inventory([f"{folder}/**/*.crt"]).look()
    facts = Facts(at=datetime.now(UTC), host="", stored=stored, faults=faults)
    return sum(examine(one, facts) is None and one.key_matches is True for one in stored)


def main() -> None:
    """Read until the last line of the input, or of one that is empty until all is read."""
    if sys.argv[1] == "certificates":
        sys.stdout.write(f"{inventory(sys.argv[2])}\n")
        return
    memo, found = symptoms.ParseCache(), 0
    reads, positions = source(sys.argv[1], sys.argv[2])

    def put(item: Item) -> None:
        nonlocal found
        if isinstance(item, LogEntry):
            found += memo.parse(item) is not None
            if lines.LAST in item.text:
                done()
        elif isinstance(item, SourceStatus) and not item.seen and not item.lag_seconds:
            done()

    def done() -> None:
        sys.stdout.write(f"{found}\n")
        sys.stdout.flush()
        os._exit(0)

    rounds = RoundRobin([reads], positions, put)
    while True:
        if wait := rounds.go_round():
            time.sleep(wait)


main()
