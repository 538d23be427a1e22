"""Docker's containers, and the etcd-managers that static pods name."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from certmedic.core.model import Container, Trust
from certmedic.core.origin import of_pod
from certmedic.core.planes import manager_version, paths_of_container, paths_of_manifest
from certmedic.edge.os import docker, docker_root
from certmedic.edge.os.owners import Judge
from certmedic.edge.os.readfile import may_access
from certmedic.edge.static_pods import manifests

DEADLINE = 5.0  # seconds for all requests
STATIC_PODS = "/etc/kubernetes/manifests"

# For JSON and YAML, without a parser: only one key is needed.
_IMAGE = re.compile(r"""["']?\bimage["']?\s*:\s*["']?([^\s"',}]+)""")
_GROUP = re.compile(r"etcd-([a-z]+)")


def containers(docker_url: str, *, static_pods: Collection[str] = ()) -> tuple[tuple[Container, ...], str]:
    """Return the Docker daemon's containers, running or not, and "" or why there are none. Never raises.

    A process that may not use the socket reads Docker's own files.

    `docker_url` is that of a socket, e.g. unix:///run/docker.sock. Start time and image tag are looked up only for containers
    named etcd-manager; the kubelet starts images by id. `static_pods` are the names in manifests that only root can write:
    their containers are trusted.
    """
    if docker_root.is_closed(docker_url):
        return _in_files(docker_root.data_root(docker_url), static_pods)
    until = time.monotonic() + DEADLINE
    try:
        listed = docker.ask(docker_url, "/containers/json?all=1", deadline=until)
        seen = [_container(docker_url, entry, until, static_pods) for entry in listed]
    except FileNotFoundError:
        path = docker_url.removeprefix("unix://")
        return (), f"there is no Docker socket at {path}, so no container was looked at"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = getattr(error, "strerror", None) or error
        return (), f"Docker at {docker_url} does not answer, so no container was looked at: {why}"
    return tuple(seen), ""


def _container(url: str, entry: Mapping[str, Any], until: float, static_pods: Collection[str]) -> Container:
    name = next(iter(entry.get("Names") or ()), "").lstrip("/")
    image, started = str(entry.get("Image", "")), None
    made = _named(str(entry["Id"]), name, entry.get("Labels") or {}, image, str(entry.get("State", "")), static_pods)
    if made.container_name == "etcd-manager" and time.monotonic() < until:
        image, started = _closely(url, entry, image, until)
    return replace(made, image=image, started_at=started)


def _in_files(root: str, static_pods: Collection[str]) -> tuple[tuple[Container, ...], str]:
    """Return the containers in Docker's own files, and "" or why there are none. A container that is just removed is left out."""
    numbers = docker_root.ids(root)
    if not numbers and not may_access(f"{root}/containers", os.R_OK | os.X_OK):
        return (), f"Docker's files in {root} cannot be read, so no container was looked at"
    seen = []
    for number in numbers:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            details = docker_root.config(root, number)
            config, state = details["Config"], details["State"]
            name, started = str(details["Name"]).lstrip("/"), _moment(str(state["StartedAt"]))
            words = {"Paused": "paused", "Restarting": "restarting", "Running": "running", "Dead": "dead"}
            word = next((word for key, word in words.items() if state.get(key)), "exited" if started else "created")
            image = str(config.get("Image", ""))
            made = _named(number, name, config.get("Labels") or {}, image, word, static_pods)
            if made.container_name == "etcd-manager":
                known = (
                    () if manager_version(image) is not None else docker_root.tags(root, str(details.get("Image", "")))
                )
                image = next((tag for tag in known if manager_version(tag)), image)
                made = replace(made, image=image, started_at=started)
            seen.append(made)
    return tuple(seen), ""


def _named(  # noqa: PLR0913, PLR0917 - what both ways tell of a container
    number: str, name: str, labels: Mapping[str, str], image: str, state: str, static_pods: Collection[str]
) -> Container:
    # k8s_<container>_<pod>_<namespace>_<uid>_<attempt> (dockershim); the labels say the same, without ambiguity.
    parts = name.split("_") if name.startswith("k8s_") else []
    inner = labels.get("io.kubernetes.container.name") or (parts[1] if len(parts) > 1 else "")
    pod = labels.get("io.kubernetes.pod.name") or (parts[2] if len(parts) > 2 else "")
    namespace = labels.get("io.kubernetes.pod.namespace") or (parts[3] if len(parts) > 3 else "")
    # Trust depends on the name alone: an image can set labels, and only the kubelet gives names that begin with k8s_.
    whole = len(parts) > 5 and (parts[1], parts[2], parts[3]) == (inner, pod, namespace)
    return Container(
        id=number,
        name=name,
        image=image,
        pod=pod,
        namespace=namespace,
        container_name=inner,
        state=state,
        trust=of_pod(namespace, pod, parts[4], static_pods) if whole else Trust.STRANGER,
    )


def _closely(url: str, entry: Mapping[str, Any], image: str, until: float) -> tuple[str, datetime | None]:
    """Return the image tag with the version of an etcd-manager, and its start time."""
    try:
        seen = docker.ask(url, f"/containers/{quote(str(entry['Id']), safe='')}/json", deadline=until)
        started = _moment(seen["State"]["StartedAt"])
        if manager_version(image) is None:
            about = docker.ask(url, f"/images/{quote(str(seen['Image']), safe='')}/json", deadline=until)
            tags = [seen["Config"]["Image"], *(about.get("RepoTags") or ())]
            image = next((tag for tag in tags if manager_version(tag)), image)
    except docker.RefusedError:
        # It was removed meanwhile.
        return image, None
    return image, started


def container_files(docker_url: str, number: str) -> tuple[tuple[str, str], ...]:
    """Return (use, path on the host) of each certificate file in a container's flags and environment. Never raises."""
    try:
        path = f"/containers/{quote(number, safe='')}/json"
        if docker_root.is_closed(docker_url):
            details = docker_root.config(docker_root.data_root(docker_url), number)
            mounted = tuple((details.get("MountPoints") or {}).values())
        else:
            details = docker.ask(docker_url, path, deadline=time.monotonic() + DEADLINE)
            mounted = tuple(details.get("Mounts") or ())
        config = details["Config"]
        argv = [str(word) for word in (details.get("Path", ""), *(details.get("Args") or ()))]
        pairs = (str(word).partition("=") for word in config.get("Env") or ())
        mounts = [(str(mount["Destination"]), str(mount["Source"])) for mount in mounted if mount.get("Source")]
        return paths_of_container(argv, {name: value for name, _, value in pairs}, mounts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()  # the container or the daemon is gone; `containers` reports the reason


def _moment(text: str) -> datetime | None:
    """Parse Docker's time, which is in the year 1 for a container that never started."""
    moment = datetime.fromisoformat(text)
    return moment if moment.year > 1 else None


def manifest_files(root: str = "/", *, judge: Judge | None = None) -> dict[str, str]:
    """Return path -> use of the certificate files that static pods name, as they are here below `root`.

    With a `judge`, only of manifests that only root can write.
    """
    base = root.rstrip("/")
    return {
        base + path: use
        for name, text in manifests(base + STATIC_PODS, judge)
        if name.endswith((".manifest", ".yaml", ".yml", ".json"))
        for use, path in paths_of_manifest(text)
    }


def manifest_images(root: str = "/", *, judge: Judge | None = None) -> dict[str, str]:
    """Return etcd group -> image of etcd-manager, from the static pods below `root`; `judge` as in `manifest_files`."""
    images: dict[str, str] = {}
    texts = list(manifests(root.rstrip("/") + STATIC_PODS, judge))
    for end in (".manifest", ".yaml", ".json"):
        for name, text in texts:
            group = _GROUP.match(name)
            image = next((image for image in _IMAGE.findall(text) if "etcd-manager" in image), "")
            if group and image and name.endswith(end):
                images.setdefault(group[1], image)
    return images
