"""A client that writes all the time, and remembers when it could not."""

from __future__ import annotations

import itertools
import os
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta

from labs import pki
from labs.masters import Masters


class Writer:
    """Writes through every member at once, and a write counts that any of them takes: whether the group can be written to.

    `taken` is when, on the clock of `time.monotonic`.
    """

    def __init__(self, lab: Masters) -> None:
        folder = lab.home / "writer"
        ca = pki.read_authority(lab.home / "authorities/etcd-clients-ca.crt")
        client = ca.leaf("writer", server=False, not_after=datetime.now(UTC) + timedelta(days=1))
        client.write(folder / "client.crt")
        master = next(iter(lab.members.values()))
        # It does not judge the servers' certificates: what is measured is whether the group can be written to.
        self._command = [
            *["nsenter", f"--net=/run/netns/{master.namespace}", "etcdctl", "put", "key", "value"],
            *["--insecure-skip-tls-verify", f"--cert={folder / 'client.crt'}", f"--key={folder / 'client.key'}"],
            *["--dial-timeout=1s", "--command-timeout=1s"],
        ]
        self.taken: list[float] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(one.address,)) for one in lab.members.values()]
        for thread in self._threads:
            thread.start()

    def _write(self, address: str) -> None:
        while not self._stop.wait(0.3):
            command = [*self._command, f"--endpoints=https://{address}:4001"]
            done = subprocess.run(command, env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, check=False)
            if done.returncode == 0:
                self.taken.append(time.monotonic())

    def stop(self) -> None:
        """Write no more."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def pauses(self) -> list[tuple[float, float]]:
        """Return (before, after) of every two writes that followed one another."""
        return list(itertools.pairwise(sorted(self.taken)))
