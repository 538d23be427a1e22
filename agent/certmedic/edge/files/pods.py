"""The logs of pods, as a container runtime writes them for the kubelet."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from certmedic.core import origin
from certmedic.core.model import Origin, Trust
from certmedic.edge.files.formats import Cri
from certmedic.edge.files.rotation import Content
from certmedic.edge.files.source import Files
from certmedic.edge.files.tail import Tail
from certmedic.edge.static_pods import StaticPods


class PodSource(Files):
    """Follow the logs of pods: `<root>/<namespace>_<pod>_<uid>/<container>/<restarts>.log`.

    A link out of `root` leads to a log of Docker's, which is read from Docker.
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

    def _log(self, path: str) -> Tail | None:
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

        return Tail(path, f"pod:{path}", writer, Cri(self._needles), self._status.say, judge)
