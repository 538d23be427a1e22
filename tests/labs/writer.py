"""A client that writes all the time and records when it could."""

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
    """Writes through every member at once; a write succeeds if any member accepts it. Shows whether the group is writable.

    `taken` holds the times of successful writes, on the clock of `time.monotonic`.
    """

    def __init__(self, lab: Masters) -> None:
        folder = lab.home / "writer"
        ca = pki.read_authority(lab.home / "authorities/etcd-clients-ca.crt")
        client = ca.leaf("writer", server=False, not_after=datetime.now(UTC) + timedelta(days=1))
        client.write(folder / "client.crt")
        master = next(iter(lab.members.values()))
        # It accepts any server certificate, since it only measures whether the group is writable.
        self._command = [
            *["nsenter", f"--net=/run/netns/{master.namespace}", "etcdctl", "put", "key", "value"],
            *["--insecure-skip-tls-verify", f"--cert={folder / 'client.crt'}", f"--key={folder / 'client.key'}"],
            *["--dial-timeout=1s", "--command-timeout=1s"],
        ]
        self.taken: list[float] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(master.address,)) for master in lab.members.values()
        ]
        for thread in self._threads:
            thread.start()

    def _write(self, address: str) -> None:
        while not self._stop.wait(0.3):
            command = [*self._command, f"--endpoints=https://{address}:4001"]
            done = subprocess.run(command, env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, check=False)
            if done.returncode == 0:
                self.taken.append(time.monotonic())

    def stop(self) -> None:
        """Stop writing."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def pauses(self) -> list[tuple[float, float]]:
        """Return (before, after) of every pair of consecutive writes."""
        return list(itertools.pairwise(sorted(self.taken)))
