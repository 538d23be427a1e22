"""The manifests of this machine's static pods that only root can write, and the names of the pods and of the cluster."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Final

from certmedic.core import origin, planes
from certmedic.core.origin import ROOT, Trust
from certmedic.edge.os.owners import Judge, Tree
from certmedic.edge.os.readfile import read_bytes

FOLDERS: Final = planes.every(lambda plane: plane.manifests)
_LOOK_EVERY: Final = 1.0  # seconds between two checks whether a folder has changed
_READ_EVERY: Final = 60.0  # seconds until manifests are read again in unchanged folders
_MOST_FILES: Final = 64  # of a folder
_MOST_BYTES: Final = 256 * 1024  # of a manifest


def manifests(folder: str, judge: Judge | None) -> Iterator[tuple[str, str]]:
    """Yield file name and text of each manifest in a folder. With a `judge`, only of those that only root can write."""
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder))[:_MOST_FILES]:  # noqa: PTH208 - names are all that is needed
            path = f"{folder}/{name}"
            if name.startswith("."):  # the kubelet ignores these too
                continue
            with contextlib.suppress(OSError):
                if judge is None or judge.judge(path).trust is Trust.SYSTEM:
                    yield name, read_bytes(path, _MOST_BYTES).decode(errors="replace")


def cluster_name(root: str, judge: Judge | None) -> str:
    """Return the name that kops or kubeadm gave this cluster; "" if neither did. Without a `judge`, any owner is believed."""
    base = root.rstrip("/")
    path = base + planes.KOPS_FILE
    with contextlib.suppress(OSError):
        if judge is None or judge.judge(path).trust is Trust.SYSTEM:
            name = planes.name_in_kops(read_bytes(path, _MOST_BYTES).decode(errors="replace"))
            if name:
                return name
    for folder in FOLDERS:
        for file, text in manifests(base + folder, judge):
            if file.startswith(planes.MANIFEST) and (name := planes.name_in_manifest(text)):
                return name
    return ""


class StaticPods:
    """The static pods of this machine. Their manifests are read again when a folder changes, and every minute.

    `folders` are paths as they are here, below the root of the `tree` if that is a scratch master's.
    """

    def __init__(self, folders: tuple[str, ...] = FOLDERS, *, tree: Tree | None = None) -> None:
        self._folders = folders
        self._tree = tree or Tree(owner=ROOT if folders is FOLDERS else os.geteuid())
        self._names: frozenset[str] = frozenset()
        self._marks: tuple[int, ...] = ()
        self._looked = self._read = -_READ_EVERY

    @property
    def names(self) -> frozenset[str]:
        """The names in the manifests of the control plane's namespaces."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_EVERY:
            self._looked = now
            marks = tuple(map(_mark, self._folders))
            if marks != self._marks or now - self._read >= _READ_EVERY:
                self._marks, self._read = marks, now
                self._names = self._read_names()
        return self._names

    def _read_names(self) -> frozenset[str]:
        judge = Judge(self._tree)
        texts = (text for folder in self._folders for _, text in manifests(folder, judge))
        pods = map(origin.pod_of_manifest, texts)
        return frozenset(name for namespace, name in pods if namespace in origin.STATIC_NAMESPACES)


def _mark(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - Path costs as much as the call
    except OSError:
        return 0
