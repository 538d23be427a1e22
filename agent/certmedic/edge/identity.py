"""The name of this machine's cluster: from the configuration, else from a file that only root can write."""

from __future__ import annotations

import time
from collections.abc import Callable

LOOK_AGAIN = 60.0  # seconds between two looks while no name is known: kops and kubeadm may still set up this machine


class Identity:
    """The name of the cluster. `configured` is the operator's word; without it `find` returns the name, or "" while none is known."""

    def __init__(self, configured: str, find: Callable[[], str], *, every: float = LOOK_AGAIN) -> None:
        self.name = configured
        self._find = find
        self._every = every
        self._looked = -every
        self.refresh()

    def refresh(self) -> None:
        """Look for the name while none is known, at most once in `every` seconds."""
        now = time.monotonic()
        if self.name or now - self._looked < self._every:
            return
        self._looked = now
        self.name = self._find()
