"""A static pod as the kubelet lays it out: manifest, log folder, and names, labels and cgroup of its containers.

certmedic trusts a container only if all of these agree, so a lab with a trusted container makes all of them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

NAMESPACE = "kube-system"
MANIFESTS = "etc/kubernetes/manifests"
LOGS = "var/log/pods"


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticPod:
    """One static pod of a node, e.g. StaticPod(name="etcd-manager-main", node="a", container="etcd-manager")."""

    name: str  # name in the manifest
    node: str
    container: str
    file: str = ""  # name of the manifest without its suffix; `name` if empty
    image: str = ""

    @property
    def pod(self) -> str:
        return f"{self.name}-{self.node}"

    @property
    def uid(self) -> str:
        """The kubelet's hash of the manifest: 32 hexadecimal digits, unlike the UUIDs of the API server."""
        return hashlib.md5(self.pod.encode(), usedforsecurity=False).hexdigest()

    @property
    def container_name(self) -> str:
        """The name of the container as Docker lists it."""
        return f"k8s_{self.container}_{self.pod}_{NAMESPACE}_{self.uid}_0"

    @property
    def labels(self) -> dict[str, str]:
        return {
            "io.kubernetes.container.name": self.container,
            "io.kubernetes.pod.name": self.pod,
            "io.kubernetes.pod.namespace": NAMESPACE,
            "io.kubernetes.pod.uid": self.uid,
        }

    @property
    def label_options(self) -> list[str]:
        """The labels as options of `docker run` and `ctr run`."""
        return [f"--label={key}={value}" for key, value in self.labels.items()]

    @property
    def log_folder(self) -> str:
        """The name of the folder below /var/log/pods."""
        return f"{NAMESPACE}_{self.pod}_{self.uid}"

    @property
    def manifest(self) -> str:
        container = {"name": self.container, "image": self.image or "example.invalid/none"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": self.name, "namespace": NAMESPACE}}
        return json.dumps({**pod, "spec": {"hostNetwork": True, "containers": [container]}})

    @property
    def manifest_path(self) -> str:
        return f"{MANIFESTS}/{self.file or self.name}.manifest"

    def cgroup(self, driver: str = "cgroupfs") -> str:
        """Return the parent cgroup of its containers for a cgroup driver of the runtime."""
        return f"kubepods-pod{self.uid}.slice" if driver == "systemd" else f"/kubepods/pod{self.uid}"

    def lay(self, root: Path) -> None:
        """Write the manifest and make the log folder below `root`."""
        manifest = root / self.manifest_path
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(self.manifest)
        manifest.chmod(0o600)
        (root / LOGS / self.log_folder / self.container).mkdir(parents=True, exist_ok=True)
