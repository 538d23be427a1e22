"""Which program wrote a line: by the line itself, else by where it came from."""

from __future__ import annotations

import re
from typing import Final

from certmedic.core import lines
from certmedic.core.model import Origin
from certmedic.core.symptoms.dress import Bare

# Longer names first: the first that a word begins with is taken.
KNOWN: Final = (
    "kube-controller-manager", "kube-apiserver", "kube-scheduler", "kube-proxy", "etcd-manager", "etcdctl", "etcdutl", "etcd",
    "kubelet", "kubeadm", "kubectl", "protokube", "nodeup", "k3s", "rke2", "containerd", "dockerd", "crio",
)  # fmt: skip

# Programs that hold several of the others in one process and are restarted as one.
HOLDERS: Final = ("k3s", "rke2")

_BY_WORDS: Final = (
    ("etcd", re.compile(
        r"\b(?:embed|etcdmain|etcdserver|rafthttp|pkg/transport): |\b(?:embed|rafthttp|etcdserver|etcdmain|etcdhttp)/\w+\.go:"
        r"|\bROUND_TRIPPER_|rejected connection (?:from \"[^\"]{1,300}\" \(|on (?:client|peer) endpoint)|\"rejected connection\""
    )),
    ("kube-apiserver", re.compile(
        r"unable to sync kubernetes service|[Uu]nable to authenticate the request|pkg/(?:master|controlplane|kubeapiserver)/|kube-aggregator"
        r"|apiserver-loopback-client|failed calling webhook"
    )),
    ("etcd-manager", re.compile(r"grpc-ping discovered peer|etcd-manager-(?:ca|server|client)|etcdClusterPeerInfo")),
    ("kubelet", re.compile(r"existing bootstrap client certificate|for the kubelet\b|pkg/kubelet/|\bkubelet\.go:\d")),
    ("kube-controller-manager", re.compile(r"resource lock kube-system/kube-controller-manager")),
    ("kube-scheduler", re.compile(r"resource lock kube-system/kube-scheduler")),
    ("kubeadm", re.compile(r"error execution phase|^\[(?:certs|bootstrap|discovery|check-expiration)\]|could not validate bounds")),
    ("kubectl", re.compile(r"Unable to connect to the server:|Error from server")),
    ("etcdctl", re.compile(r"\"etcd-client\"|etcd cluster is unavailable")),
)  # fmt: skip
_POD_LOG: Final = re.compile(r"/(?:pods|containers)/[^/]*?/?([^/_]+)(?:/\d+\.log|-[0-9a-f]{64}\.log)$")
_FILE: Final = re.compile(r"/([\w.-]+?)(?:\.\d+)?\.log$")


def program_of(line: str, bare: Bare, origin: Origin) -> str:
    """Return the program's name, as it is known on a master; "" where nothing tells."""
    named = _known(bare.program) or _known(origin.program)
    if named in HOLDERS:
        return named
    spoken = _spoken(line)
    if spoken == "etcd" or (spoken and not named):
        return spoken if spoken == "etcd" or not _place(origin) else _place(origin)
    return named or _place(origin) or bare.program[:64] or origin.program[:64]


def _spoken(line: str) -> str:
    for name, pattern in _BY_WORDS:
        if pattern.search(line):
            return name
    return ""


def _place(origin: Origin) -> str:
    """Return the program that a container, a unit, a pod or a file is named after."""
    container = lines.kubelet_name(origin.container)[0] or origin.container
    for word in (container, origin.unit, origin.pod):
        if word and _known(word):
            return _known(word)
    found = _POD_LOG.search(origin.path) or _FILE.search(origin.path)
    return _known(found.group(1)) if found else ""


def _known(word: str) -> str:
    word = word.rpartition("/")[2].lower()
    for name in KNOWN:
        if word.startswith(name) and not word[len(name) : len(name) + 1].isalpha():
            return name
    return ""
