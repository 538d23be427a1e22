"""Which containers run here, and which etcd-manager the static pods say should."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

from certmedic.core.model import Container
from certmedic.core.planes import manager_version, paths_of_container, paths_of_manifest
from certmedic.edge.facts.files import read_bytes

DEADLINE = 5.0  # seconds, for all that is asked of the daemon
MANIFESTS = 64  # static pods of a machine; more are no master's

# JSON or YAML, and no parser for either: one value of one key is wanted.
_IMAGE = re.compile(rb"""["']?\bimage["']?\s*:\s*["']?([^\s"',}]+)""")
_GROUP = re.compile(r"etcd-([a-z]+)")


def containers(docker_url: str) -> tuple[tuple[Container, ...], str]:
    """Return the Docker daemon's containers, running or not, and a sentence on what could not be seen. Never raises.

    `docker_url` is that of a socket, e.g. unix:///run/docker.sock. Only those named etcd-manager are looked at closely:
    when they started, and which tag their image has, since the kubelet starts images by id.
    """
    path = docker_url.removeprefix("unix://")
    until = time.monotonic() + DEADLINE
    try:
        found = [_container(path, told, until) for told in _ask(path, "/containers/json?all=1")]
    except FileNotFoundError:
        return (), f"there is no Docker socket at {path}, so no container was looked at"
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
        why = getattr(error, "strerror", None) or error
        return (), f"Docker at {docker_url} does not answer, so no container was looked at: {why}"
    return tuple(found), ""


class _Socket(HTTPConnection):
    """HTTP over a unix socket: the Docker SDK would cost 17 MB and a third of a second for three requests."""

    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=DEADLINE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _ask(path: str, what: str) -> Any:
    """Return what the daemon behind a socket answers; a HTTPException that says why where it refuses."""
    with contextlib.closing(_Socket(path)) as connection:
        connection.request("GET", what)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        if answer.status != HTTPStatus.OK:
            raise HTTPException(f"{what}: {told['message']}")
        return told


def _container(path: str, told: Mapping[str, Any], until: float) -> Container:
    labels: Mapping[str, str] = told.get("Labels") or {}
    name = next(iter(told.get("Names") or ()), "").lstrip("/")
    # k8s_<container>_<pod>_<namespace>_<uid>_<attempt>, kubelet's dockershim; the labels say the same, more surely.
    parts = name.split("_") if name.startswith("k8s_") else []
    inner = labels.get("io.kubernetes.container.name") or (parts[1] if len(parts) > 1 else "")
    image = str(told.get("Image", ""))
    started = None
    if inner == "etcd-manager" and time.monotonic() < until:
        image, started = _closely(path, told, image)
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


def _closely(path: str, told: Mapping[str, Any], image: str) -> tuple[str, datetime | None]:
    """Return an etcd-manager's image by a tag that tells its version, and when it started."""
    try:
        seen = _ask(path, f"/containers/{told['Id']}/json")
        started = _moment(seen["State"]["StartedAt"])
        if manager_version(image) is None:
            tags = [seen["Config"]["Image"], *(_ask(path, f"/images/{seen['Image']}/json").get("RepoTags") or ())]
            image = next((tag for tag in tags if manager_version(tag)), image)
    except HTTPException:
        # It was removed while we looked at it.
        return image, None
    return image, started


def container_files(docker_url: str, number: str) -> tuple[tuple[str, str], ...]:
    """Return (use, path on the host) for each certificate file that a container, running or not, was told of. Never raises."""
    try:
        told = _ask(docker_url.removeprefix("unix://"), f"/containers/{quote(number, safe='')}/json")
        config = told["Config"]
        argv = [str(word) for word in (told.get("Path", ""), *(told.get("Args") or ()))]
        pairs = (str(word).partition("=") for word in config.get("Env") or ())
        mounts = [
            (str(one["Destination"]), str(one["Source"])) for one in told.get("Mounts") or () if one.get("Source")
        ]
        return paths_of_container(argv, {name: value for name, _, value in pairs}, mounts)
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError):
        return ()  # the container or the daemon is gone; that it is blind the look at all containers says


def _moment(text: str) -> datetime | None:
    """Read Docker's time, which has nanoseconds, and is the year 1 for what never started."""
    moment = datetime.fromisoformat(text)
    return moment if moment.year > 1 else None


def manifest_files(root: str = "/") -> dict[str, str]:
    """Return path -> use of the certificate files that static pods name, as they are here below `root`."""
    found: dict[str, str] = {}
    folder = Path(root) / "etc/kubernetes/manifests"
    for path in sorted(folder.glob("*"))[:MANIFESTS]:
        if path.suffix in (".manifest", ".yaml", ".yml", ".json"):
            try:
                text = read_bytes(str(path)).decode(errors="replace")
            except OSError:
                continue
            found |= {root.rstrip("/") + name: use for use, name in paths_of_manifest(text)}
    return found


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
