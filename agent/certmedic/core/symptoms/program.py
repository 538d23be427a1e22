"""Which program wrote a line: by where it came from, by the line itself, by both.

Where a container or a unit runs several programs (etcd-manager starts etcd, and both write into one stream), the line's
own words tell them apart; k3s and rke2 hold all of them in one process and are restarted as one, so they are named.
"""

from __future__ import annotations

import re
from typing import Final

from certmedic.core.model import Origin
from certmedic.core.origin import pod_of_container

# Longer names first: the first that a word begins with is taken.
KNOWN: Final = (
    "kube-controller-manager",
    "kube-apiserver",
    "kube-scheduler",
    "kube-proxy",
    "etcd-manager",
    "etcdctl",
    "etcd",
    "kubelet",
    "kubeadm",
    "kubectl",
    "protokube",
    "nodeup",
    "k3s",
    "rke2",
    "containerd",
    "dockerd",
)
HOLDERS: Final = ("k3s", "rke2")

# Package names, source files and sentences that one program alone writes; the first that is in a line counts.
ETCD_WORDS: Final = (
    "embed: ",
    "rafthttp: ",
    "etcdmain: ",
    "etcdserver: ",
    "embed/",
    "rafthttp/",
    "etcdserver/",
    "etcdmain/",
    "ROUND_TRIPPER_",
    "rejected connection",
)
OTHER_WORDS: Final = (
    ("existing bootstrap client certificate", "kubelet"),
    ("for the kubelet", "kubelet"),
    ("kubelet.go:", "kubelet"),
    ("grpc-ping discovered peer", "etcd-manager"),
    ("/etcd-manager", "etcd-manager"),
    ("etcdClusterPeerInfo", "etcd-manager"),
    ("could not validate bounds", "kubeadm"),
    ("error execution phase", "kubeadm"),
    ("[certs] ", "kubeadm"),
    ("[bootstrap] ", "kubeadm"),
    ("[discovery] ", "kubeadm"),
    ("Unable to connect to the server:", "kubectl"),
    ("Error from server", "kubectl"),
    ("resource lock kube-system/kube-controller-manager", "kube-controller-manager"),
    ("resource lock kube-system/kube-scheduler", "kube-scheduler"),
    ("leases/kube-controller-manager", "kube-controller-manager"),
    ("leases/kube-scheduler", "kube-scheduler"),
    ("nable to authenticate the request", "kube-apiserver"),
    ("unable to sync kubernetes service", "kube-apiserver"),
    ("pkg/controlplane/", "kube-apiserver"),
    ("pkg/master/", "kube-apiserver"),
    ("kube-aggregator", "kube-apiserver"),
    ("apiextensions-apiserver", "kube-apiserver"),
    ("informers_generated/internalversion", "kube-apiserver"),
    ("*v1.APIService:", "kube-apiserver"),
    ("WebhookConfiguration:", "kube-apiserver"),
    ("apiserver-loopback-client", "kube-apiserver"),
    ("failed calling webhook", "kube-apiserver"),
)

_POD_LOG: Final = re.compile(r"/([^/_]{1,253})/\d+\.log$")
_CONTAINER_LOG: Final = re.compile(r"_([^/_]{1,253})-[0-9a-f]{64}\.log$")
_PLAIN_LOG: Final = re.compile(r"/([\w.-]{1,253}?)(?:\.log|\.\d+)*$")


def program_of(line: str, ident: str, origin: Origin) -> str:
    """Return the name of the program that wrote a line, as a master knows it; "" where nothing tells.

    `ident` is what the line's own dress names, e.g. the identifier in a line of syslog.
    """
    place = _known(ident) or _known(origin.program) or _place(origin)
    if place in HOLDERS:
        return place
    for words in ETCD_WORDS:
        if words in line:
            return "etcd"
    if place:
        return place
    for words, name in OTHER_WORDS:
        if words in line:
            return name
    return (ident or origin.program)[:64]


def _place(origin: Origin) -> str:
    """Return the program that a container, a unit, a pod or a file is named after."""
    for word in (pod_of_container(origin.container).container or origin.container, origin.unit, origin.pod):
        known = _known(word)
        if known:
            return known
    if not origin.path:
        return ""
    found = _POD_LOG.search(origin.path) or _CONTAINER_LOG.search(origin.path) or _PLAIN_LOG.search(origin.path)
    return _known(found.group(1)) if found else ""


def _known(word: str) -> str:
    if not word:
        return ""
    word = word.rpartition("/")[2]
    for name in KNOWN:
        if word.startswith(name) and not word[len(name) : len(name) + 1].isalnum():
            return name
    return ""
