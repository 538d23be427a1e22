"""Watch the folders of certificates, to keep the inventory current without polling."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from certmedic.core.model import Item, Recheck, SourceStatus
from certmedic.edge.files import inotify
from certmedic.edge.files.globs import expand
from certmedic.edge.files.inotify import Inotify

TICK = 5.0  # the longest wait, in seconds
SETTLE = 0.5  # seconds from a change to the report: certificate and key are written one after the other
LOOK_EVERY = 30.0  # seconds between two searches for folders: a mount raises no event
REPORT_EVERY = 60.0


class CertificateSource:
    """Ask for an inventory when a file comes, goes or is written where `globs` look for certificates."""

    name = "certificates"
    required = False  # the inventory is taken every few minutes as well

    def __init__(self, globs: Sequence[str]) -> None:
        self._globs = tuple(globs)

    def follow(self, resume: Callable[[str], str | None], put: Callable[[Item], None], stop: threading.Event) -> None:  # noqa: ARG002 - there is nothing to resume: the first inventory finds what changed before
        """Watch until `stop` is set. Raises OSError if the kernel refuses watches."""
        kernel, watched = Inotify(), dict[str, int]()
        reported, look, changes = 0.0, 0.0, 0
        try:
            while not stop.is_set():
                if time.monotonic() >= look:
                    look = time.monotonic() + LOOK_EVERY
                    for folder in expand(self._globs)[1] - watched.keys():
                        with contextlib.suppress(FileNotFoundError):  # it is gone again; the next search finds that
                            watched[folder] = kernel.watch(folder, inotify.FOLDER | inotify.CLOSE_WRITE)
                            look = 0.0  # rescan: files created before the watch existed raised no event
                if not reported or time.monotonic() - reported > REPORT_EVERY:
                    reported = time.monotonic()
                    where = f"{len(watched)} folders"
                    put(SourceStatus(source=self.name, seen=changes, matched=0, lag_seconds=0.0, position=where))
                if not self._changed(kernel, watched, stop):
                    continue
                changes, look = changes + 1, 0.0
                put(Recheck(kind="inventory", incident=None, due=datetime.now(UTC)))
        finally:
            kernel.close()

    def _changed(self, kernel: Inotify, watched: dict[str, int], stop: threading.Event) -> bool:
        """Wait for changes, then until they have settled; return whether there were any."""
        events = list(kernel.events(TICK))
        if not events:
            return False
        stop.wait(SETTLE)
        events += kernel.events(0)
        gone = {number for number, mask in events if mask & inotify.IGNORED}
        for folder in [folder for folder, number in watched.items() if number in gone]:
            del watched[folder]
        return True
