"""The containers of etcd-manager and of restartable static pods that containerd runs, from its own ctr or, without the power of its socket, from its files."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from certmedic.core import planes
from certmedic.core.model import Container
from certmedic.core.origin import of_pod
from certmedic.edge.os.readfile import may_access, read_bytes
from certmedic.edge.os.run import OutOfTimeError, RunError, run

DEADLINE = 5.0  # seconds for all calls
MOST_TASKS = 2000
MOST = 4  # containers of one name in a pod, with ended ones that are still there
ADDRESS = "/run/containerd/containerd.sock"

# The kubelet labels a container with its name in the pod; sandboxes of pods have no such label.
_NAMES = ("etcd-manager", "kube-controller-manager", "kube-scheduler")
_WANTED = tuple(f'labels."io.kubernetes.container.name"=={name}' for name in _NAMES)
_STATES = {"RUNNING": "running", "PAUSED": "paused", "CREATED": "created"}


class _UnseenError(Exception):
    pass


def containerd_containers(
    address: str = ADDRESS, *, namespace: str = "k8s.io", static_pods: Collection[str] = ()
) -> tuple[tuple[Container, ...], str]:
    """Return containerd's containers of etcd-manager and of restartable static pods, running or not, and "" or why there are none. Never raises.

    A process that may not use the socket reads the files of the running ones.

    `static_pods` are the names in manifests that only root can write: their containers are trusted.
    """
    try:
        exists = Path(address).is_socket()
    except PermissionError:
        return (), f"only root may look at {address}, so no container was looked at"
    if not exists:
        return (), f"there is no containerd socket at {address}, so no container was looked at"
    if not may_access(address, os.W_OK):
        return _in_files(_home(address, namespace), static_pods)
    ctr = _ctr(address, namespace)
    try:
        numbers = ctr("containers", "list", "--quiet", *_WANTED).split()
        if not numbers:
            return (), ""
        tasks = [line.split() for line in ctr("tasks", "list").splitlines()[1:]]
        states = {words[0]: words[2] for words in tasks if len(words) == 3}
        infos = [json.loads(ctr("containers", "info", number)) for number in numbers]
        return tuple(
            _container(info, states.get(str(info["ID"]), ""), _home(address, namespace), static_pods) for info in infos
        ), ""
    except (_UnseenError, ValueError, KeyError, TypeError, AttributeError) as error:
        return (), f"containerd at {address} does not tell its containers, so none was looked at: {error}"


def containerd_files(
    pod: str, container: str, address: str = ADDRESS, *, namespace: str = "k8s.io"
) -> tuple[tuple[str, str], ...]:
    """Return (use, path on the host) of each certificate file in flags and environment of a pod's container. Never raises."""
    if not re.fullmatch(r"[a-z0-9.-]+", pod) or not re.fullmatch(r"[a-z0-9.-]+", container):
        return ()
    if not may_access(address, os.W_OK):
        named = [
            pair
            for _, spec in _specs(_home(address, namespace))
            if (_annotated(spec, "sandbox-name"), _annotated(spec, "container-name")) == (pod, container)
            for pair in _named(spec)
        ]
        return tuple(dict.fromkeys(named))
    ctr = _ctr(address, namespace)
    name, inner = (f'labels."io.kubernetes.{what}.name"' for what in ("pod", "container"))
    files: dict[tuple[str, str], None] = {}
    try:
        for number in ctr("containers", "list", "--quiet", f"{name}=={pod},{inner}=={container}").split()[:MOST]:
            files |= dict.fromkeys(_named(json.loads(ctr("containers", "info", number))["Spec"]))
    except (_UnseenError, ValueError, KeyError, TypeError, AttributeError):
        return ()  # `containerd_containers` reports the reason
    return tuple(files)


def _named(spec: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return (use, path on the host) of each certificate file in an OCI specification. Raises KeyError, TypeError."""
    pairs = (str(word).partition("=") for word in spec["process"].get("env") or ())
    mounts = [(str(m["destination"]), str(m["source"])) for m in spec.get("mounts") or () if m["type"] == "bind"]
    argv = [str(word) for word in spec["process"]["args"]]
    return planes.paths_of_container(argv, {name: value for name, _, value in pairs}, mounts)


def _home(address: str, namespace: str) -> Path:
    return Path(address).parent / "io.containerd.runtime.v2.task" / namespace


def _specs(home: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield id and OCI specification of each container with a task."""
    with contextlib.suppress(OSError):
        for number in sorted(os.listdir(home))[:MOST_TASKS]:  # noqa: PTH208 - names are all that is needed
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                spec = json.loads(read_bytes(str(home / number / "config.json")))
                if isinstance(spec.get("annotations"), dict) and spec["process"]["args"]:
                    yield number, spec


def _annotated(spec: Mapping[str, Any], name: str) -> str:
    """Return what containerd's CRI wrote about a container; the kubelet gives it the values."""
    return str(spec["annotations"].get(f"io.kubernetes.cri.{name}", ""))


def _in_files(home: Path, static_pods: Collection[str]) -> tuple[tuple[Container, ...], str]:
    """Return the containers of `_NAMES` with a task, by containerd's own files, and "" or why there are none."""
    try:
        home.stat()
    except FileNotFoundError:
        return (), ""  # no container ever ran
    except OSError as error:
        return (), f"containerd's files in {home} cannot be read, so no container was looked at: {error.strerror}"
    seen = []
    for number, spec in _specs(home):
        inner = _annotated(spec, "container-name")
        if inner not in _NAMES:
            continue
        labels = {
            f"io.kubernetes.pod.{what}": _annotated(spec, f"sandbox-{what}") for what in ("name", "namespace", "uid")
        }
        labels["io.kubernetes.container.name"] = inner
        try:
            pid = int((home / number / "init.pid").read_text("ascii"))
            state = "RUNNING" if Path(f"/proc/{pid}").exists() else ""
        except (OSError, ValueError):
            state = ""
        info = {"ID": number, "Labels": labels, "Image": _annotated(spec, "image-name")}
        seen.append(_container(info, state, home, static_pods))
    return tuple(seen), ""


def _container(info: dict[str, Any], state: str, home: Path, static_pods: Collection[str]) -> Container:
    labels = info.get("Labels") or {}
    number, inner = str(info["ID"]), str(labels.get("io.kubernetes.container.name", ""))
    pod, namespace = (str(labels.get(f"io.kubernetes.pod.{what}", "")) for what in ("name", "namespace"))
    return Container(
        id=number,
        name=f"{inner}-{number[:13]}",
        image=str(info.get("Image", "")),
        pod=pod,
        namespace=namespace,
        container_name=inner,
        state=_STATES.get(state, "exited"),
        started_at=_started(home / number / "config.json") if state in _STATES else None,
        runtime="containerd",
        trust=of_pod(namespace, pod, str(labels.get("io.kubernetes.pod.uid", "")), static_pods),
    )


def _started(bundle: Path) -> datetime | None:
    """Return when a task was created: only the mtime of its bundle tells."""
    try:
        return datetime.fromtimestamp(bundle.stat().st_mtime, UTC)
    except OSError:
        return None


def _ctr(address: str, namespace: str) -> Callable[..., str]:
    """Return a function that runs ctr and returns its output, with one deadline for all calls. It raises _UnseenError."""
    until = time.monotonic() + DEADLINE

    def ctr(*words: str) -> str:
        try:
            done = run(["ctr", f"--address={address}", f"--namespace={namespace}", *words], deadline=until)
        except OutOfTimeError:
            raise _UnseenError(f"no answer within {DEADLINE:g} s") from None
        except RunError as error:
            raise _UnseenError(str(error)) from error
        if done.code:
            raise _UnseenError(done.err.strip()[-300:] or f"ctr failed with {done.code}")
        return done.out

    return ctr
