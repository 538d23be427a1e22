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
    """Writes through any member that takes it; `taken` is when, on the clock of `time.monotonic`."""

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
            self._stop.wait(0.1)

    def stop(self) -> None:
        """Write no more."""
        self._stop.set()
        self._thread.join()

    def pauses(self) -> list[tuple[float, float]]:
        """Return (before, after) of every two writes that followed one another."""
        return list(itertools.pairwise(self.taken))
