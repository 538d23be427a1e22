"""The certificate files that a static pod's manifest or a container's description names, as paths on the host."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from certmedic.core.planes.lookup import host_path
from certmedic.core.planes.startup import is_path, paths_from_flags

Mounts = Sequence[tuple[str, str]]  # (path in the container, path on the host)

_FLAG = re.compile(r"""--[a-z][a-z0-9-]*=[^\s"',\]]+""")
_VARIABLE = re.compile(r"""name:\s*["']?(ETCD_[A-Z_]+)["']?\s+value:\s*["']?([^\s"']+)""")
# One item of a list in YAML; the items that matter contain no lists.
_ITEM = re.compile(r"(?m)^[ \t]*-[ \t]")
_NAME = re.compile(r"""(?m)^[ \t]*name:[ \t]*["']?([\w.-]+)""")
_MOUNT = re.compile(r"""\bmountPath:[ \t]*["']?([^\s"']+)""")
LONGEST_MANIFEST = 256 * 1024  # characters; kops' and kubeadm's have under 10,000
MOST_MOUNTS = 256
_HOST = re.compile(r"""\bhostPath:\s{1,200}path:[ \t]*["']?([^\s"']+)""")


def on_host(path: str, mounts: Mounts) -> str:
    """Return the path on the host of a path in a container, by the deepest mount; "" if no mount holds it."""
    path = posixpath.normpath(path)
    for inside, host in sorted(mounts, key=lambda mount: len(mount[0]), reverse=True):
        folder = inside.rstrip("/")
        if path == folder or path.startswith(f"{folder}/"):
            return posixpath.normpath(host.rstrip("/") + path[len(folder) :] or "/")
    return ""


def paths_of_container(argv: Sequence[str], environ: Mapping[str, str], mounts: Mounts) -> tuple[tuple[str, str], ...]:
    """Return (use, path on the host) of each certificate file that the flags of a container name and that a mount holds."""
    named = paths_from_flags(argv, environ)
    mounts = mounts[:MOST_MOUNTS]
    on_machine = ((use, host_path(on_host(path, mounts))) for use, path in named if path.startswith("/"))
    return tuple((use, path) for use, path in on_machine if is_path(path))


def paths_of_manifest(text: str) -> tuple[tuple[str, str], ...]:
    """Return (use, path on the host) of each certificate file that the flags in a manifest name, in JSON or YAML.

    No YAML is parsed: regular expressions find flags, mounts and volumes. Empty if the text is too long or is no manifest.
    """
    if len(text) > LONGEST_MANIFEST:
        return ()
    flags = _FLAG.findall(text)
    if text.lstrip().startswith("{"):
        try:
            spec = json.loads(text)["spec"]
            mounted = {m["name"]: m["mountPath"] for c in spec["containers"] for m in c.get("volumeMounts") or ()}
            volumes = {v["name"]: v["hostPath"]["path"] for v in spec.get("volumes") or () if "hostPath" in v}
            environ = _strings((e["name"], e.get("value")) for c in spec["containers"] for e in c.get("env") or ())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return ()
    else:
        items = _ITEM.split(text)
        mounted = dict(_named(items, _MOUNT))
        volumes = dict(_named(items, _HOST))
        environ = dict(_VARIABLE.findall(text))
    mounts = [
        (mounted[name], volumes[name])
        for name in mounted
        if isinstance(mounted[name], str) and isinstance(volumes.get(name), str)
    ]
    return paths_of_container(flags, environ, mounts)


def _named(items: Iterable[str], wanted: re.Pattern[str]) -> Iterable[tuple[str, str]]:
    for item in items:
        path, name = wanted.search(item), _NAME.search(item)
        if path and name:
            yield name[1], path[1]


def _strings(pairs: Iterable[tuple[Any, Any]]) -> dict[str, str]:
    return {name: value for name, value in pairs if isinstance(name, str) and isinstance(value, str)}
