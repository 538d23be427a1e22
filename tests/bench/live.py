"""The whole line on a running journal, by the agent's own parts; notes when each sighting was recorded. Ends at SIGTERM.

FOLDER      prints "READY", and at the end a JSON object: words of a line -> when (seconds since 1970) it was settled
"""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.agent import world
from certmedic import app
from certmedic.config import Config
from certmedic.core.model import Item, LogEntry
from certmedic.edge import inbox, link
from certmedic.edge.store import Store
from certmedic.loop import Loop


def main() -> None:
    """Turn the line as `certmedic run` does."""
    config = Config(mode="observe", state=Path(sys.argv[1]))
    stop, recorded, taken = threading.Event(), dict[str, float](), list[Item]()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    box = inbox.Inbox()

    def take(timeout: float) -> list[Item]:
        taken[:] = box.drain(timeout)
        return taken

    def going() -> bool:
        now = time.time()
        for item in taken:
            if isinstance(item, LogEntry) and (found := re.search(r"SN=(\d+)", item.text)):
                recorded.setdefault(found[1], now)
        taken.clear()
        return not stop.is_set()

    with Store(config.state / "state.sqlite3") as store:
        loop = Loop(config=config, store=store, world=world(config), started_at=datetime.now(UTC), sources={})
        reader = link.Link(link.child, app.watching(config), store.positions(), box, stop)
        reader.start()
        sys.stdout.write("READY\n")
        sys.stdout.flush()
        loop.run(take, lambda: datetime.now(UTC), going)
        reader.join()
    sys.stdout.write(json.dumps(recorded))


main()
