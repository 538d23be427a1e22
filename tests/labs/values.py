"""Model values for tests of the pure core: really signed certificates, and facts about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from certmedic.core import certificates
from certmedic.core.model import Container, Facts, LogEntry, Origin, Place, Stored, Trust
from labs import pki

NOW = datetime(2026, 11, 24, 15, 40, tzinfo=UTC)
NEW_IMAGE = "registry.k8s.io/etcdadm/etcd-manager:3.0.20210228"
OLD_IMAGE = "kopeio/etcd-manager:3.0.20200307"
DAY = timedelta(days=1)

PEERS_CA = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY)
CLIENTS_CA = pki.authority("etcd-clients-ca", not_before=NOW - 400 * DAY)
VOLUME = "/mnt/master-vol-01/pki/etcd-cluster-token-etcd"


class Signed(Protocol):
    """A certificate in DER, of any kind."""

    @property
    def der(self) -> bytes:
        """The certificate."""


def stored(
    leaf: Signed,
    path: str,
    use: str = "peer",
    *,
    ca_path: str = "",
    renewer: str = "etcd-manager",
    group: str = "main",
    plane: str = "kops",
    ports: tuple[int, ...] = (),
    index: int = 0,
    **more: Any,
) -> Stored:
    """Return a certificate as read from a file."""
    return Stored(
        certificate=certificates.parse_der(leaf.der, path, index),
        place=Place(plane=plane, group=group, use=use, renewer=renewer, ca_path=ca_path, ports=ports),
        modified=NOW,
        **{"trust": Trust.SYSTEM, "authorised": True, **more},
    )


def member(
    *,
    peer_ends: datetime = NOW + 300 * DAY,
    server_ends: datetime = NOW + 300 * DAY,
    peer: Signed | None = None,
    server: Signed | None = None,
) -> tuple[Stored, ...]:
    """Return the files of one etcd member under kops; pass a faulty leaf as `peer` or `server`."""
    names: dict[str, Any] = {"dns": ("etcd-a", "etcd-a.internal.example"), "ips": ("127.0.0.1",)}
    peer = peer or PEERS_CA.leaf("etcd-a", not_before=NOW - 400 * DAY, not_after=peer_ends, **names)
    server = server or CLIENTS_CA.leaf("etcd-a", not_before=NOW - 400 * DAY, not_after=server_ends, **names)
    return (
        stored(peer, f"{VOLUME}/peers/me.crt", "peer", ca_path=f"{VOLUME}/peers/ca.crt", ports=(2380,)),
        stored(PEERS_CA, f"{VOLUME}/peers/ca.crt", "ca"),
        stored(server, f"{VOLUME}/clients/server.crt", "server", ca_path=f"{VOLUME}/clients/ca.crt", ports=(4001,)),
        stored(CLIENTS_CA, f"{VOLUME}/clients/ca.crt", "ca"),
    )


def container(
    group: str = "main",
    image: str = NEW_IMAGE,
    number: str = "c1",
    *,
    started_at: datetime = NOW - DAY,
    state: str = "running",
    trust: Trust = Trust.SYSTEM,
) -> Container:
    """Return the container of an etcd-manager with its kubelet name."""
    pod = f"etcd-manager-{group}-ip-10-0-0-1"
    return Container(
        id=number,
        name=f"k8s_etcd-manager_{pod}_kube-system_0123_0",
        image=image,
        pod=pod,
        namespace="kube-system",
        container_name="etcd-manager",
        state=state,
        started_at=started_at,
        trust=trust,
    )


def unit(name: str = "k3s.service", invocation: str = "i1", state: str = "active") -> Container:
    """Return a systemd unit as the facts hold it."""
    return Container(
        id=name, name=name, image="", state=state, runtime="systemd", invocation=invocation, trust=Trust.SYSTEM
    )


K3S = "/var/lib/rancher/k3s/server/tls"
K3S_CA = pki.authority("k3s-client-ca", not_before=NOW - 400 * DAY)


def k3s(ends: datetime = NOW - DAY) -> tuple[Stored, ...]:
    """Return a certificate that k3s renews, and its CA."""
    leaf = K3S_CA.leaf("system:admin", not_before=NOW - 365 * DAY, not_after=ends, server=False)
    more: dict[str, Any] = {"plane": "k3s", "group": "", "renewer": "k3s"}
    return (
        stored(leaf, f"{K3S}/client-admin.crt", "admin", ca_path=f"{K3S}/client-ca.crt", **more),
        stored(K3S_CA, f"{K3S}/client-ca.crt", "ca", **{**more, "renewer": "operator"}),
    )


def kubeadm(ends: datetime = NOW - DAY) -> tuple[Stored, ...]:
    """Return the files of one etcd member under kubeadm."""
    names: dict[str, Any] = {"plane": "kubeadm", "group": "", "renewer": "kubeadm"}
    return tuple(replace(file, place=replace(file.place, **names)) for file in member(peer_ends=ends))


def facts(
    files: tuple[Stored, ...] | None = None,
    *,
    containers: tuple[Container, ...] | None = None,
    at: datetime = NOW,
    **more: Any,
) -> Facts:
    """Return the facts of one master."""
    return Facts(
        at=at,
        host="master-a",
        addresses=frozenset({"127.0.0.1", "10.0.0.1"}),
        stored=member() if files is None else files,
        containers=(container(),) if containers is None else containers,
        **more,
    )


def entry(
    text: str, *, at: datetime = NOW, stream: str = "journal", trust: Trust = Trust.SYSTEM, **origin: Any
) -> LogEntry:
    """Return a log entry, by default of a trusted program."""
    return LogEntry(stream=stream, position="1", time=at, text=text, origin=Origin(trust=trust, **origin))
