"""The etcd-manager containers that containerd runs, from its own ctr."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from certmedic.core import planes
from certmedic.core.model import Container
from certmedic.core.origin import of_pod
from certmedic.edge.os.run import OutOfTimeError, RunError, run

DEADLINE = 5.0  # seconds for all calls
MOST = 4  # containers of one name in a pod, with ended ones that are still there
ADDRESS = "/run/containerd/containerd.sock"

# The kubelet labels a container with its name in the pod; sandboxes of pods have no such label.
_WANTED = 'labels."io.kubernetes.container.name"==etcd-manager'
_STATES = {"RUNNING": "running", "PAUSED": "paused", "CREATED": "created"}


class _UnseenError(Exception):
    pass


def containerd_containers(
    address: str = ADDRESS, *, namespace: str = "k8s.io", static_pods: Collection[str] = ()
) -> tuple[tuple[Container, ...], str]:
    """Return containerd's etcd-manager containers, running or not, and "" or why there are none. Never raises.

    `static_pods` are the names in manifests that only root can write: their containers are trusted.
    """
    try:
        exists = Path(address).is_socket()
    except PermissionError:
        return (), f"only root may look at {address}, so no container was looked at"
    if not exists:
        return (), f"there is no containerd socket at {address}, so no container was looked at"
    ctr = _ctr(address, namespace)
    try:
        numbers = ctr("containers", "list", "--quiet", _WANTED).split()
        if not numbers:
            return (), ""
        tasks = [line.split() for line in ctr("tasks", "list").splitlines()[1:]]
        states = {words[0]: words[2] for words in tasks if len(words) == 3}
        home = Path(address).parent / "io.containerd.runtime.v2.task" / namespace
        infos = [json.loads(ctr("containers", "info", number)) for number in numbers]
        return tuple(_container(info, states.get(str(info["ID"]), ""), home, static_pods) for info in infos), ""
    except (_UnseenError, ValueError, KeyError, TypeError, AttributeError) as error:
        return (), f"containerd at {address} does not tell its containers, so none was looked at: {error}"


def containerd_files(
    pod: str, container: str, address: str = ADDRESS, *, namespace: str = "k8s.io"
) -> tuple[tuple[str, str], ...]:
    """Return (use, path on the host) of each certificate file in flags and environment of a pod's container. Never raises."""
    if not re.fullmatch(r"[a-z0-9.-]+", pod) or not re.fullmatch(r"[a-z0-9.-]+", container):
        return ()
    ctr = _ctr(address, namespace)
    name, inner = (f'labels."io.kubernetes.{what}.name"' for what in ("pod", "container"))
    files: dict[tuple[str, str], None] = {}
    try:
        for number in ctr("containers", "list", "--quiet", f"{name}=={pod},{inner}=={container}").split()[:MOST]:
            spec = json.loads(ctr("containers", "info", number))["Spec"]
            pairs = (str(word).partition("=") for word in spec["process"].get("env") or ())
            mounts = [
                (str(m["destination"]), str(m["source"])) for m in spec.get("mounts") or () if m["type"] == "bind"
            ]
            argv = [str(word) for word in spec["process"]["args"]]
            environ = {name: value for name, _, value in pairs}
            files |= dict.fromkeys(planes.paths_of_container(argv, environ, mounts))
    except (_UnseenError, ValueError, KeyError, TypeError, AttributeError):
        return ()  # `containerd_containers` reports the reason
    return tuple(files)


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
