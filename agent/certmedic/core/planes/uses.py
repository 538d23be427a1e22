"""The uses of certificates that more than one plane has."""

from __future__ import annotations

from certmedic.core.model import Role
from certmedic.core.planes.record import Use

_SERVER, _CLIENT = frozenset({Role.SERVER}), frozenset({Role.CLIENT})
_SERVES, _CALLS = frozenset({"server"}), frozenset({"client"})

USES = (
    Use(
        name="peer",
        holder="etcd",
        roles=_SERVER | _CLIENT,
        needs=_SERVES | _CALLS,
        renewable=True,
        rereads=True,
        refused="This member has left the etcd cluster, or will at its next restart.",
    ),
    Use(
        name="server",
        holder="etcd",
        roles=_SERVER,
        needs=_SERVES,
        may_have=_CALLS,
        renewable=True,
        rereads=True,
        refused="Clients of this etcd, kube-apiserver first, cannot connect to it. The API stops when quorum is lost.",
    ),
    Use(name="client", needs=_CALLS),
    Use(
        name="apiserver-etcd-client",
        holder="kube-apiserver",
        roles=_CLIENT,
        needs=_CALLS,
        renewable=True,
        rereads=True,
        refused="kube-apiserver on this master cannot reach etcd: the API is down here.",
    ),
    Use(
        name="apiserver",
        holder="kube-apiserver",
        roles=_SERVER,
        refused="Every client of this API server, kubectl and kubelets too, refuses it.",
    ),
    Use(name="apiserver-kubelet-client", holder="kube-apiserver", roles=_CLIENT),
    Use(name="front-proxy-client", holder="kube-apiserver", roles=_CLIENT),
    Use(name="kubelet", holder="kubelet", roles=_SERVER),
    Use(
        name="kubelet-client",
        holder="kubelet",
        roles=_CLIENT,
        refused="This node's kubelet cannot reach the API: the node goes NotReady.",
    ),
    Use(name="controller-manager", holder="kube-controller-manager", roles=_SERVER),
    Use(name="controller-manager-client", holder="kube-controller-manager", roles=_CLIENT),
    Use(name="scheduler", holder="kube-scheduler", roles=_SERVER),
    Use(name="scheduler-client", holder="kube-scheduler", roles=_CLIENT),
    Use(name="ca", refused="Every certificate that this CA signed is refused, on every master."),
)
