"""Log files: plain ones by glob, and those that container runtimes write for the kubelet.

One thread follows them all. The kernel tells what changed (inotify): folders in which files come and go, and every file that
is open. What is read is a whole block, and lines are cut out only around needles. Rotations are followed by content, see
`rotation`; what they took away for good is said.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from certmedic.core.model import Origin
from certmedic.edge.files.follow import Files
from certmedic.edge.files.log import Log
from certmedic.edge.files.shapes import Cri, Plain

__all__ = ["FileSource", "PodSource"]


class FileSource(Files):
    """Follow plain files that match `globs`.

    A file that leads into one of `elsewhere` is another source's, and is left to it.
    """

    name = "files"

    def __init__(
        self,
        needles: tuple[bytes, ...],
        globs: Sequence[str],
        *,
        elsewhere: Sequence[str] = ("/var/log/pods", "/var/lib/docker/containers"),
        required: bool = False,
    ) -> None:
        super().__init__(needles, globs, required=required)
        self._elsewhere = tuple(elsewhere)

    def _log(self, path: str) -> Log | None:
        if any(Path(path).resolve().is_relative_to(folder) for folder in self._elsewhere):
            return None
        return Log(path, f"file:{path}", Origin(path=path), Plain(self._needles), self._say)


class PodSource(Files):
    """Follow the logs of pods: `<root>/<namespace>_<pod>_<uid>/<container>/<restarts>.log`.

    A link that leads out of `root` is Docker's log of a container, which is read from Docker.
    """

    name = "pods"

    def __init__(
        self, needles: tuple[bytes, ...], root: str | os.PathLike[str] = "/var/log/pods", *, required: bool = False
    ) -> None:
        self._root = Path(root)
        super().__init__(needles, [f"{glob.escape(str(self._root))}/*_*_*/*/*.log"], required=required)

    def _log(self, path: str) -> Log | None:
        if not Path(path).resolve().is_relative_to(self._root.resolve()):
            return None
        pod_folder, container, _ = Path(path).relative_to(self._root).parts
        if container == "certmedic":
            return None
        origin = Origin(pod=pod_folder.split("_")[1], container=container, path=path)
        return Log(path, f"pod:{path}", origin, Cri(self._needles), self._say)
