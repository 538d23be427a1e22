"""The uses of certificates that more than one plane has."""

from __future__ import annotations

from dataclasses import dataclass

from certmedic.core.planes.record import Use
from certmedic.core.vocabulary import Role

_SERVER, _CLIENT = frozenset({Role.SERVER}), frozenset({Role.CLIENT})
_SERVES, _CALLS = frozenset({"server"}), frozenset({"client"})


_RELOADS = (1, 18)  # of kube-apiserver


@dataclass(frozen=True, slots=True, kw_only=True)
class InMemory:
    """A certificate that a program signs for itself at its start and keeps in memory only (FIELD 8.2)."""

    program: str
    ports: tuple[int, ...]
    use: str = ""  # whose ports count, if such a file is here, instead of `ports`
    server_name: str = ""  # SNI that shows it; "" if it is served without
    subject: str = ""  # how its CN begins
    refused: str  # what stops working when it has expired, for people


IN_MEMORY = (
    InMemory(
        program="kube-apiserver",
        ports=(6443,),
        use="apiserver",
        server_name="apiserver-loopback-client",
        subject="apiserver-loopback-client",
        refused="kube-apiserver cannot call itself: admission fails, so that most writes are refused.",
    ),
    InMemory(
        program="kube-controller-manager",
        ports=(10257,),
        refused="Probes and metrics of kube-controller-manager that verify its certificate fail.",
    ),
    InMemory(
        program="kube-scheduler",
        ports=(10259,),
        refused="Probes and metrics of kube-scheduler that verify its certificate fail.",
    ),
)

USES = (
    Use(
        name="peer",
        holder="etcd",
        roles=_SERVER | _CLIENT,
        needs=_SERVES | _CALLS,
        renewable=True,
        rereads=True,
        refused="This member has left the etcd cluster, or will at its next restart.",
        will_break="This member leaves the etcd cluster, then or at its next restart after that.",
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
        name="etcd-healthcheck-client",
        needs=_CALLS,
        renewable=True,
        rereads=True,  # whoever calls with it starts for that call
        refused="kubeadm cannot check etcd, so upgrades and new masters fail.",
    ),
    Use(
        name="kubectl",
        roles=_CLIENT,
        needs=_CALLS,
        renewable=True,
        is_idle=True,
        refused="kubectl with this file is refused.",
    ),
    Use(name="bootstrap", roles=_CLIENT, is_idle=True, refused="A kubelet that bootstraps with this file is refused."),
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
        needs=_SERVES,
        renewable=True,
        reloads_since=_RELOADS,
        refused="Every client of this API server, kubectl and kubelets too, refuses it.",
    ),
    Use(
        name="apiserver-kubelet-client",
        holder="kube-apiserver",
        roles=_CLIENT,
        needs=_CALLS,
        renewable=True,
        reloads_since=_RELOADS,
        refused="kube-apiserver cannot reach kubelets: kubectl logs and kubectl exec fail.",
    ),
    Use(
        name="front-proxy-client",
        holder="kube-apiserver",
        roles=_CLIENT,
        needs=_CALLS,
        renewable=True,
        reloads_since=_RELOADS,
        refused="Aggregated APIs such as metrics refuse kube-apiserver.",
    ),
    Use(
        name="kubelet",
        holder="kubelet",
        roles=_SERVER,
        refused="Clients that verify the kubelet's certificate refuse it: metrics, perhaps kubectl logs and exec.",
    ),
    Use(
        name="kubelet-client",
        holder="kubelet",
        roles=_CLIENT,
        refused="This node's kubelet cannot reach the API: the node goes NotReady.",
    ),
    Use(
        name="controller-manager",
        holder="kube-controller-manager",
        roles=_SERVER,
        refused="Probes and metrics of kube-controller-manager that verify its certificate fail.",
    ),
    Use(
        name="controller-manager-client",
        at_start=True,
        needs=_CALLS,
        renewable=True,
        holder="kube-controller-manager",
        roles=_CLIENT,
        refused="The API refuses kube-controller-manager: nothing is repaired, scaled or rolled out.",
    ),
    Use(
        name="scheduler",
        holder="kube-scheduler",
        roles=_SERVER,
        refused="Probes and metrics of kube-scheduler that verify its certificate fail.",
    ),
    Use(
        name="scheduler-client",
        at_start=True,
        needs=_CALLS,
        renewable=True,
        holder="kube-scheduler",
        roles=_CLIENT,
        refused="The API refuses kube-scheduler: no new pod is placed on a node.",
    ),
    Use(
        name="dynamic-listener",
        roles=_SERVER,
        refused="Nodes cannot join, and the supervisor cannot verify itself when it starts.",
    ),
    Use(name="ca", refused="Every certificate that this CA signed is refused, on every master."),
)
