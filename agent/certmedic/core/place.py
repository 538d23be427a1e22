"""The place of a certificate file on a control plane."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The plane of a certificate file and the purpose that the file has there."""

    plane: str  # kops, kubeadm, k3s, rke2, etcd, ... ; "" for a file that only a configured glob names
    group: str  # etcd group on kops: main, events, cilium, leases; "" elsewhere, or if not known
    use: str  # peer | server | client | manager-server | manager-client | apiserver-etcd-client | kubelet | ca | ...
    renewer: str  # etcd-manager | nodeup | kubelet | kubeadm | k3s | rke2 | operator | unknown
    ca_path: str = ""  # the CA file against which its users check it
    ports: tuple[int, ...] = ()  # on which this machine serves it
