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

from certmedic.core import origin
from certmedic.core.model import Origin, Trust
from certmedic.edge.files.follow import Files
from certmedic.edge.files.log import Log
from certmedic.edge.files.rotation import Content
from certmedic.edge.files.shapes import Cri, Plain
from certmedic.edge.static_pods import StaticPods

__all__ = ["FileSource", "PodSource"]


class FileSource(Files):
    """Follow plain files that match `globs`. Their lines are believed as their owners are.

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
        return Log(path, f"file:{path}", Origin(path=path), Plain(self._needles), self._say, self._judge)

    def _judge(self, content: Content) -> Trust:
        trust, doubt = self._owned(content)
        if doubt:
            self._say(f"the lines of {content.path} are recorded and not believed: {doubt}")
        return trust


class PodSource(Files):
    """Follow the logs of pods: `<root>/<namespace>_<pod>_<uid>/<container>/<restarts>.log`.

    A link that leads out of `root` is Docker's log of a container, which is read from Docker.
    """

    name = "pods"

    def __init__(
        self,
        needles: tuple[bytes, ...],
        root: str | os.PathLike[str] = "/var/log/pods",
        *,
        static_pods: StaticPods | None = None,
        required: bool = False,
    ) -> None:
        self._root = Path(root)
        self._static_pods = static_pods or StaticPods()
        super().__init__(needles, [f"{glob.escape(str(self._root))}/*_*_*/*/*.log"], required=required)

    def _log(self, path: str) -> Log | None:
        if not Path(path).resolve().is_relative_to(self._root.resolve()):
            return None
        pod_folder, container, _ = Path(path).relative_to(self._root).parts
        pod = origin.pod_of_folder(pod_folder)
        if pod.namespace == origin.KUBE_SYSTEM and container == "certmedic":
            return None  # our own lines quote others; elsewhere anybody can use the name
        writer = Origin(namespace=pod.namespace, pod=pod.pod, container=container, path=path)

        def judge(content: Content) -> Trust:
            by_name = origin.of_pod(pod.namespace, pod.pod, pod.uid, self._static_pods.names)
            return origin.least((by_name, self._owned(content)[0]))

        return Log(path, f"pod:{path}", writer, Cri(self._needles), self._say, judge)
