"""Which containers run here, and which etcd-manager the static pods say should."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from certmedic.core.model import Container
from certmedic.core.planes import manager_version
from certmedic.edge.facts.files import read_bytes

DEADLINE = 5.0  # seconds, for all that is asked of the daemon

# JSON or YAML, and no parser for either: one value of one key is wanted.
_IMAGE = re.compile(rb"""["']?\bimage["']?\s*:\s*["']?([^\s"',}]+)""")
_GROUP = re.compile(r"etcd-([a-z]+)")


def containers(docker_url: str) -> tuple[tuple[Container, ...], str]:
    """Return the Docker daemon's containers, running or not, and a sentence on what could not be seen. Never raises.

    `docker_url` is as the SDK takes it, e.g. unix:///run/docker.sock. Only those named etcd-manager are looked at closely:
    when they started, and which tag their image has, since the kubelet starts images by id.
    """
    unseen = _unreachable(docker_url)
    if unseen:
        return (), f"{unseen}, so no container was looked at"
    import docker  # noqa: PLC0415 - heavy, and many masters have no Docker

    until = time.monotonic() + DEADLINE
    try:
        client: Any = docker.APIClient(base_url=docker_url, timeout=DEADLINE, version="auto")
        try:
            found = [_container(client, told, until) for told in client.containers(all=True)]
        finally:
            client.close()
    except Exception as error:  # noqa: BLE001 - the SDK lets errors of requests, urllib3 and http.client through as they are
        return (), f"Docker at {docker_url} does not answer, so no container was looked at: {error}"
    return tuple(found), ""


def _unreachable(docker_url: str) -> str:
    """Return why nobody answers at a socket's URL; the SDK is loaded only if somebody may, and leaks a socket if not."""
    if not docker_url.startswith("unix://"):
        return ""
    path = docker_url.removeprefix("unix://")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        try:
            sock.connect(path)
        except FileNotFoundError:
            return f"there is no Docker socket at {path}"
        except OSError as error:
            return f"the Docker socket {path} cannot be opened ({error.strerror or error})"
    return ""


def _container(client: Any, told: Mapping[str, Any], until: float) -> Container:
    labels: Mapping[str, str] = told.get("Labels") or {}
    name = next(iter(told.get("Names") or ()), "").lstrip("/")
    # k8s_<container>_<pod>_<namespace>_<uid>_<attempt>, kubelet's dockershim; the labels say the same, more surely.
    parts = name.split("_") if name.startswith("k8s_") else []
    inner = labels.get("io.kubernetes.container.name") or (parts[1] if len(parts) > 1 else "")
    image = str(told.get("Image", ""))
    started = None
    if inner == "etcd-manager" and time.monotonic() < until:
        image, started = _closely(client, told, image)
    return Container(
        id=str(told["Id"]),
        name=name,
        image=image,
        pod=labels.get("io.kubernetes.pod.name") or (parts[2] if len(parts) > 2 else ""),
        namespace=labels.get("io.kubernetes.pod.namespace") or (parts[3] if len(parts) > 3 else ""),
        container_name=inner,
        state=str(told.get("State", "")),
        started_at=started,
    )


def _closely(client: Any, told: Mapping[str, Any], image: str) -> tuple[str, datetime | None]:
    """Return an etcd-manager's image by a tag that tells its version, and when it started."""
    from docker.errors import APIError  # noqa: PLC0415 - see containers

    try:
        seen = client.inspect_container(told["Id"])
        started = _moment(seen["State"]["StartedAt"])
        if manager_version(image) is None:
            tags = [seen["Config"]["Image"], *(client.inspect_image(seen["Image"]).get("RepoTags") or ())]
            image = next((tag for tag in tags if manager_version(tag)), image)
    except APIError:
        # It was removed while we looked at it.
        return image, None
    return image, started


def _moment(text: str) -> datetime | None:
    """Read Docker's time, which has nanoseconds, and is the year 1 for what never started."""
    moment = datetime.fromisoformat(text)
    return moment if moment.year > 1 else None


def manifest_images(root: str = "/") -> dict[str, str]:
    """Return etcd group -> image of etcd-manager, from the static pods of a machine whose root is at `root`."""
    found: dict[str, str] = {}
    folder = Path(root) / "etc/kubernetes/manifests"
    for end in ("manifest", "yaml", "json"):
        for path in sorted(folder.glob(f"etcd*.{end}")):
            group = _GROUP.match(path.name)
            try:
                images = _IMAGE.findall(read_bytes(str(path)))
            except OSError:
                continue
            image = next((i.decode(errors="replace") for i in images if b"etcd-manager" in i), "")
            if group and image:
                found.setdefault(group[1], image)
    return found
