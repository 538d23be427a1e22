"""Watch the folders of certificates, to keep the inventory current without polling."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from certmedic.core.model import Item, Recheck, SourceStatus
from certmedic.edge.files import inotify
from certmedic.edge.files.globs import expand
from certmedic.edge.files.inotify import Inotify
from certmedic.edge.source import AT_ONCE, Pause, Reads

SETTLE = 0.5  # seconds from a change to the report: certificate and key are written one after the other
LOOK_EVERY = 30.0  # seconds between two searches for folders: a mount raises no event
REPORT_EVERY = 60.0


class CertificateSource:
    """Ask for an inventory when a file comes, goes or is written where `globs` look for certificates."""

    name = "certificates"
    required = False  # the inventory is taken every few minutes as well

    def __init__(self, globs: Sequence[str]) -> None:
        self._globs = tuple(globs)

    def reads(self, resume: Callable[[str], str | None], put: Callable[[Item], None]) -> Reads:  # noqa: ARG002 - there is nothing to resume: the first inventory finds what changed before
        """Watch. Raises OSError if the kernel refuses watches."""
        kernel, watched = Inotify(), dict[str, int]()
        reported, look, changes, changed = 0.0, 0.0, 0, 0.0
        try:
            while True:
                now = time.monotonic()
                if now >= look:
                    look = now + LOOK_EVERY
                    for folder in expand(self._globs)[1] - watched.keys():
                        with contextlib.suppress(FileNotFoundError):  # it is gone again; the next search finds that
                            watched[folder] = kernel.watch(folder, inotify.FOLDER | inotify.CLOSE_WRITE)
                            look = 0.0  # rescan: files created before the watch existed raised no event
                if not reported or now - reported > REPORT_EVERY:
                    reported = now
                    where = f"{len(watched)} folders"
                    put(SourceStatus(source=self.name, seen=changes, matched=0, lag_seconds=0.0, position=where))
                for number, mask in kernel.events():
                    changed = changed or now
                    if mask & inotify.IGNORED:
                        watched = {folder: other for folder, other in watched.items() if other != number}
                if changed and now - changed >= SETTLE:
                    changes, changed, look = changes + 1, 0.0, 0.0
                    put(Recheck(kind="inventory", incident=None, due=datetime.now(UTC)))
                    continue
                yield Pause(SETTLE) if changed else Pause(look - now, kernel.look) if look else AT_ONCE
        finally:
            kernel.close()
