"""Name, address and version of a master, by its own files."""

from __future__ import annotations

import re
from dataclasses import dataclass

from certmedic.edge.facts.containers import STATIC_PODS
from certmedic.edge.facts.processes import resolved
from certmedic.edge.os.owners import Judge
from certmedic.edge.os.readfile import read_bytes
from certmedic.edge.static_pods import manifests

_VERSION = re.compile(r"kube-apiserver[\w.-]*:(v\d+\.\d+\.\d+)")
_ADDRESS = re.compile(r"--(?:advertise-address|bind-address)=([0-9a-fA-F.:]+)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Master:
    """Name, address and version of a master; empty where its files do not say."""

    host: str = ""
    addresses: frozenset[str] = frozenset()
    kubernetes: str = ""  # e.g. v1.20.2


def read_master(root: str = "/", *, judge: Judge | None = None) -> Master:
    """Return what the manifest of kube-apiserver and /etc/hostname below `root` say; `judge` as in `manifests`."""
    folder = resolved(root.rstrip("/"), STATIC_PODS)
    texts = [text for name, text in manifests(folder, judge) if name.startswith("kube-apiserver.")]
    addresses = {address for text in texts for address in _ADDRESS.findall(text)} - {"0.0.0.0", "::"}
    versions = [version for text in texts for version in _VERSION.findall(text)]
    try:
        name = read_bytes(resolved(root.rstrip("/"), "/etc/hostname")).decode(errors="replace").strip()
    except OSError:
        name = ""
    return Master(
        host=name if _NAME.fullmatch(name) else "",
        addresses=frozenset(addresses),
        kubernetes=versions[0] if versions else "",
    )
