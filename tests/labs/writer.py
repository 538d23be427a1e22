"""A client that writes all the time, and remembers when it could not."""

from __future__ import annotations

import itertools
import os
import subprocess
import threading
import time
from datetime import timedelta

from certmedic.drill import pki
from labs.masters import Masters


class Writer:
    """Writes through any member that takes it; `gaps` are the seconds between two writes that were taken."""

    def __init__(self, lab: Masters) -> None:
        folder = lab.home / "writer"
        folder.mkdir()
        ca, key = pki.read_authority(lab.home / "authorities", "etcd-clients-ca"), pki.new_key()
        (folder / "client.crt").write_bytes(pki.pem(pki.leaf(ca, "writer", key, life=timedelta(days=1))))
        pki.write_key(folder / "client.key", key)
        master = next(iter(lab.members.values()))
        endpoints = ",".join(f"https://{one.address}:4001" for one in lab.members.values())
        # It does not judge the servers' certificates: what is measured is whether the group can be written to.
        self._command = [
            *["nsenter", f"--net=/run/netns/{master.namespace}", "etcdctl", f"--endpoints={endpoints}"],
            *["--insecure-skip-tls-verify", f"--cert={folder / 'client.crt'}", f"--key={folder / 'client.key'}"],
            *["--dial-timeout=1s", "--command-timeout=1s", "put", "key"],
        ]
        self.taken: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            done = subprocess.run(
                [*self._command, str(number)], env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, check=False
            )
            if done.returncode == 0:
                self.taken.append(time.monotonic())
            else:
                self._stop.wait(0.1)

    def stop(self) -> None:
        """Write no more."""
        self._stop.set()
        self._thread.join()

    def gaps(self, since: float, *, longer_than: float) -> list[float]:
        """Return the times without a write since then, in seconds, that were longer than that."""
        taken = [moment for moment in self.taken if moment >= since]
        return [round(b - a, 1) for a, b in itertools.pairwise(taken) if b - a > longer_than]
