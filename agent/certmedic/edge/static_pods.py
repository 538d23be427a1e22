"""The names of this machine's static pods, from manifests that only root can write."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Final

from certmedic.core import origin, planes
from certmedic.core.origin import Trust
from certmedic.edge import owners

_LOOK_EVERY: Final = 1.0  # seconds between two looks whether a folder has changed
_READ_EVERY: Final = 60.0  # seconds until manifests are read again though no folder has changed
_MOST_FILES: Final = 64
_MOST_BYTES: Final = 256 * 1024


class StaticPods:
    """The static pods of this machine, read again when their folders change."""

    def __init__(self, folders: tuple[str, ...] = planes.MANIFEST_FOLDERS) -> None:
        self._folders = folders
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
                self._names = frozenset().union(*map(_names, self._folders))
        return self._names


def _mark(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - Path costs as much as the call
    except OSError:
        return 0


def _names(folder: str) -> frozenset[str]:
    try:
        entries = sorted(os.listdir(folder))[:_MOST_FILES]  # noqa: PTH208 - names are all that is needed
    except OSError:
        return frozenset()
    found = set()
    for entry in entries:
        if entry.startswith("."):  # the kubelet passes these over too
            continue
        with contextlib.suppress(OSError):
            namespace, name = origin.pod_of_manifest(_text(f"{folder}/{entry}"))
            if namespace in origin.STATIC_NAMESPACES:
                found.add(name)
    return frozenset(found)


def _text(path: str) -> str:
    """Return a manifest of root's; "" if others may write to it. Raises OSError."""
    handle, resolved = owners.open_file(path)
    with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor
        trust, _ = origin.of_file(resolved.chain, owners=owners.OWNERS)
        if trust is not Trust.SYSTEM or any(link.uid not in owners.OWNERS for link in resolved.links):
            return ""
        raw = file.read(_MOST_BYTES + 1)
    return raw.decode(errors="replace") if len(raw) <= _MOST_BYTES else ""
