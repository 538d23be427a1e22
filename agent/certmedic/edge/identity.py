"""The name of this machine's cluster: from the configuration, else from a file that only root can write."""

from __future__ import annotations

import contextlib
import time

from certmedic.core import planes
from certmedic.core.origin import ROOT, Trust
from certmedic.edge.os.owners import Judge, Tree
from certmedic.edge.os.readfile import read_bytes
from certmedic.edge.static_pods import FOLDERS, manifests

LOOK_AGAIN = 60.0  # seconds between two looks while no name is known: kops and kubeadm may still set up this machine
MOST_BYTES = 256 * 1024  # of kops' file, which has a few hundred


class Identity:
    """The name of the cluster. `configured` is the operator's word; without it the files below `root` give the name.

    `owner` is the uid of root in that tree; None believes every owner, for a copy of another master's files.
    """

    def __init__(self, configured: str = "", *, root: str = "/", owner: int | None = ROOT) -> None:
        self.name = configured
        self._root = root
        self._owner = owner
        self._looked = -LOOK_AGAIN
        self.refresh()

    def refresh(self) -> None:
        """Look for the name while none is known, at most once a minute. Reads files."""
        now = time.monotonic()
        if self.name or now - self._looked < LOOK_AGAIN:
            return
        self._looked = now
        judge = None if self._owner is None else Judge(Tree(root=self._root, owner=self._owner))
        self.name = find(self._root, judge)


def find(root: str, judge: Judge | None) -> str:
    """Return the name that kops or kubeadm gave this cluster; "" if neither did. Without a `judge`, any owner is believed."""
    base = root.rstrip("/")
    path = base + planes.KOPS_FILE
    with contextlib.suppress(OSError):
        if judge is None or judge.judge(path).trust is Trust.SYSTEM:
            name = planes.name_in_kops(read_bytes(path, MOST_BYTES).decode(errors="replace"))
            if name:
                return name
    for folder in FOLDERS:
        for file, text in manifests(base + folder, judge):
            if file.startswith(planes.MANIFEST) and (name := planes.name_in_manifest(text)):
                return name
    return ""
