"""The data: every kind of certificate file on a master, and the etcd groups of kops.

A path's part after `|` is enough to recognise it, so files that were copied elsewhere are recognised as well. `<volume>` stands for each place
where etcd-manager mounts its volumes. The CA is the file that the certificate's users check it against: beside the
certificate, or from the root of the machine. A use of `?` means that file name and certificate have to tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One etcd cluster of a kops master, and where it listens."""

    client: int
    peer: int
    manager: int  # etcd-manager's own gRPC, between masters


# kops pkg/wellknownports; the same numbers since v1.15.
ETCD_GROUPS: Mapping[str, Group] = {
    "main": Group(client=4001, peer=2380, manager=3996),
    "events": Group(client=4002, peer=2381, manager=3997),
    "cilium": Group(client=4003, peer=2382, manager=3991),
    "leases": Group(client=4004, peer=2383, manager=4006),
}

# The mount point's name depends on the cloud (etcd-manager pkg/volumes); /mnt/disks is used where it exists, as on ContainerOS.
VOLUMES = tuple(
    f"{folder}/{cloud}-*" for folder in ("/mnt", "/mnt/disks") for cloud in ("master", "hcloud", "scw", "linode")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One kind of file."""

    plane: str
    parts: tuple[str, ...]  # of its path from the root, each perhaps with wildcards
    tail: int  # how many of them, from the end, are enough to recognise it
    use: str  # as in Place; "" where file name and certificate have to tell
    renewer: str  # as in Place
    ca: str  # beside the file, or from the root if it starts with "/"; "" where there is none or the table does not know
    ports: tuple[int, ...]  # where it is served; those of etcd on kops are in ETCD_GROUPS

    @property
    def glob(self) -> str:
        """Its path on a master."""
        return "/" + "/".join(self.parts)


# etcd-manager writes its own leaves and copies of the CAs (pkg/etcd/pki.go, pkg/tlsconfig/options.go); nodeup writes the rest
# (nodeup/pkg/model): what kube-apiserver shows to etcd until kops 1.21 under /etc/kubernetes/pki, and since then under
# /srv/kubernetes, which ContainerOS has at /etc/srv/kubernetes.
_KOPS = """
/<volume>/pki/*/|peers/me.crt                                  peer                       etcd-manager  ca.crt                        -
/<volume>/pki/*/|peers/ca.crt                                  ca                         etcd-manager  -                             -
/<volume>/pki/*/|clients/server.crt                            server                     etcd-manager  ca.crt                        -
/<volume>/pki/*/|clients/ca.crt                                ca                         etcd-manager  -                             -
/etc/kubernetes/pki/|etcd-manager-*/etcd-manager-server-*.crt  manager-server             etcd-manager  etcd-manager-ca.crt           -
/etc/kubernetes/pki/|etcd-manager-*/etcd-manager-client-*.crt  manager-client             etcd-manager  etcd-manager-ca.crt           -
/etc/kubernetes/pki/|etcd-manager-*/etcd-*-ca.crt              ca                         nodeup        -                             -
/etc/kubernetes/pki/|kube-apiserver/etcd-client.crt            apiserver-etcd-client      nodeup        etcd-ca.crt                   -
/etc/kubernetes/pki/|kube-apiserver/etcd-ca.crt                ca                         nodeup        -                             -
/etc/kubernetes/pki/|cilium/etcd-client-cilium.crt             cilium-etcd-client         nodeup        etcd-ca.crt                   -
/etc/kubernetes/pki/|cilium/etcd-ca.crt                        ca                         nodeup        -                             -
/<srv>/|kube-apiserver/etcd-client.crt                         apiserver-etcd-client      nodeup        etcd-ca.crt                   -
/<srv>/|kube-apiserver/etcd-ca.crt                             ca                         nodeup        -                             -
/<srv>/|kube-apiserver/server.crt                              apiserver                  nodeup        ../ca.crt                     443
/<srv>/|kube-apiserver/kubelet-api.crt                         apiserver-kubelet-client   nodeup        ../ca.crt                     -
/<srv>/|kube-apiserver/apiserver-aggregator.crt                front-proxy-client         nodeup        apiserver-aggregator-ca.crt   -
/<srv>/|kube-apiserver/apiserver-aggregator-ca.crt             ca                         nodeup        -                             -
/<srv>/|kube-controller-manager/server.crt                     controller-manager         nodeup        ../ca.crt                     10257
/<srv>/|kube-controller-manager/ca.crt                         ca                         nodeup        -                             -
/<srv>/|kube-scheduler/server.crt                              scheduler                  nodeup        ../ca.crt                     10259
/|<srv>/ca.crt                                                 ca                         nodeup        -                             -
/|<srv>/server.crt                                             apiserver                  nodeup        ca.crt                        443
/|<srv>/server.cert                                            apiserver                  nodeup        ca.crt                        443
/|<srv>/kubelet-server.crt                                     kubelet                    nodeup        ca.crt                        10250
/|<srv>/kubelet-api.crt                                        apiserver-kubelet-client   nodeup        ca.crt                        -
/|<srv>/kubelet-api.pem                                        apiserver-kubelet-client   nodeup        ca.crt                        -
/|<srv>/apiserver-aggregator.crt                               front-proxy-client         nodeup        apiserver-aggregator-ca.crt   -
/|<srv>/apiserver-aggregator.cert                              front-proxy-client         nodeup        apiserver-aggregator-ca.cert  -
/|<srv>/apiserver-aggregator-ca.crt                            ca                         nodeup        -                             -
/var/lib/|kubelet/kubeconfig                                   kubelet-client             nodeup        /srv/kubernetes/ca.crt        -
/var/lib/|kube-controller-manager/kubeconfig                   controller-manager-client  nodeup        /srv/kubernetes/ca.crt        -
/var/lib/|kube-scheduler/kubeconfig                            scheduler-client           nodeup        /srv/kubernetes/ca.crt        -
/var/lib/|kube-proxy/kubeconfig                                client                     nodeup        /srv/kubernetes/ca.crt        -
/|<srv>/apiserver-aggregator-ca.cert                           ca                         nodeup        -                             -
"""

# cmd/kubeadm/app/constants; the kubelet renews its own, over the API.
_KUBEADM = """
/etc/kubernetes/|pki/apiserver.crt                 apiserver                  kubeadm   ca.crt                      6443
/etc/kubernetes/|pki/apiserver-kubelet-client.crt  apiserver-kubelet-client   kubeadm   ca.crt                      -
/etc/kubernetes/|pki/apiserver-etcd-client.crt     apiserver-etcd-client      kubeadm   etcd/ca.crt                 -
/etc/kubernetes/|pki/front-proxy-client.crt        front-proxy-client         kubeadm   front-proxy-ca.crt          -
/etc/kubernetes/|pki/etcd/server.crt               server                     kubeadm   ca.crt                      2379
/etc/kubernetes/|pki/etcd/peer.crt                 peer                       kubeadm   ca.crt                      2380
/etc/kubernetes/|pki/etcd/healthcheck-client.crt   client                     kubeadm   ca.crt                      -
/etc/kubernetes/|pki/etcd/ca.crt                   ca                         operator  -                           -
/etc/kubernetes/|pki/ca.crt                        ca                         operator  -                           -
/etc/kubernetes/|pki/front-proxy-ca.crt            ca                         operator  -                           -
/etc/|kubernetes/admin.conf                        admin                      kubeadm   /etc/kubernetes/pki/ca.crt  -
/etc/|kubernetes/super-admin.conf                  admin                      kubeadm   /etc/kubernetes/pki/ca.crt  -
/etc/|kubernetes/controller-manager.conf           controller-manager-client  kubeadm   /etc/kubernetes/pki/ca.crt  -
/etc/|kubernetes/scheduler.conf                    scheduler-client           kubeadm   /etc/kubernetes/pki/ca.crt  -
/etc/|kubernetes/kubelet.conf                      kubelet-client             kubelet   /etc/kubernetes/pki/ca.crt  -
/var/lib/|kubelet/pki/kubelet-client-current.pem   kubelet-client             kubelet   /etc/kubernetes/pki/ca.crt  -
/var/lib/|kubelet/pki/kubelet-server-current.pem   kubelet                    kubelet   /etc/kubernetes/pki/ca.crt  10250
"""

# pkg/daemons/control/deps/deps.go. k3s answers on 6443 with its dynamic certificate and hands on to the API server on 6444;
# with rke2 the dynamic one is on 9345. The leaf's CA follows it in the same file. *-ca.nochain.crt is the CA without its chain,
# for the controller manager. The first of two patterns that fit equally well wins: *-ca.crt and *-ca.nochain.crt stand before
# client-*.crt, or client-ca.crt would be a leaf.
_RANCHER = """
/var/lib/rancher/|<program>/server/tls/etcd/server-client.crt       server                     <program>  server-ca.crt          2379
/var/lib/rancher/|<program>/server/tls/etcd/peer-server-client.crt  peer                       <program>  peer-ca.crt            2380
/var/lib/rancher/|<program>/server/tls/etcd/client.crt              apiserver-etcd-client      <program>  server-ca.crt          -
/var/lib/rancher/|<program>/server/tls/etcd/*-ca.crt                ca                         operator   -                      -
/var/lib/rancher/|<program>/server/tls/serving-kube-apiserver.crt   apiserver                  <program>  server-ca.crt          <api>
/var/lib/rancher/|<program>/server/tls/dynamic-cert.json            dynamic-listener           <program>  server-ca.crt          <dynamic>
/var/lib/rancher/|<program>/server/tls/client-kube-apiserver.crt    apiserver-kubelet-client   <program>  client-ca.crt          -
/var/lib/rancher/|<program>/server/tls/client-auth-proxy.crt        front-proxy-client         <program>  request-header-ca.crt  -
/var/lib/rancher/|<program>/server/tls/client-controller.crt        controller-manager-client  <program>  client-ca.crt          -
/var/lib/rancher/|<program>/server/tls/client-scheduler.crt         scheduler-client           <program>  client-ca.crt          -
/var/lib/rancher/|<program>/server/tls/client-admin.crt             admin                      <program>  client-ca.crt          -
/var/lib/rancher/|<program>/server/tls/*-ca.crt                     ca                         operator   -                      -
/var/lib/rancher/|<program>/server/tls/*-ca.nochain.crt             ca                         operator   -                      -
/var/lib/rancher/|<program>/server/tls/client-*.crt                 client                     <program>  client-ca.crt          -
/var/lib/rancher/|<program>/agent/client-kubelet.crt                kubelet-client             <program>  client-ca.crt          -
/var/lib/rancher/|<program>/agent/serving-kubelet.crt               kubelet                    <program>  server-ca.crt          10250
/var/lib/rancher/|<program>/agent/*-ca.crt                          ca                         operator   -                      -
/var/lib/rancher/|<program>/agent/client-*.crt                      client                     <program>  client-ca.crt          -
"""

# kubespray has one certificate for etcd's clients and its peers (roles/etcd/templates/etcd.env.j2). An etcd that someone set up by
# hand lies anywhere; these are the usual places. With --auto-tls etcd signs for itself in its data directory.
_ETCD = """
/etc/ssl/|etcd/ssl/member-*.pem            peer                   operator  ca.pem  2379,2380
/etc/ssl/|etcd/ssl/admin-*.pem             client                 operator  ca.pem  -
/etc/ssl/|etcd/ssl/node-*.pem              apiserver-etcd-client  operator  ca.pem  -
/etc/ssl/|etcd/ssl/ca.pem                  ca                     operator  -       -
/|etc/<etcd>/*.crt                         ?                      operator  ca.crt  -
/|etc/<etcd>/*.pem                         ?                      operator  ca.pem  -
/var/lib/etcd/|fixtures/client/cert.pem    server                 etcd      -       2379
/var/lib/etcd/|fixtures/peer/cert.pem      peer                   etcd      -       2380
/var/lib/etcd/*/|fixtures/client/cert.pem  server                 etcd      -       2379
/var/lib/etcd/*/|fixtures/peer/cert.pem    peer                   etcd      -       2380
"""

_MICROK8S = """
/var/snap/|microk8s/current/certs/server.crt              apiserver           microk8s  ca.crt              16443
/var/snap/|microk8s/current/certs/front-proxy-client.crt  front-proxy-client  microk8s  front-proxy-ca.crt  -
/var/snap/|microk8s/current/certs/kubelet.crt             kubelet             microk8s  ca.crt              10250
/var/snap/|microk8s/current/certs/ca.crt                  ca                  microk8s  -                   -
/var/snap/|microk8s/current/certs/front-proxy-ca.crt      ca                  microk8s  -                   -
"""

# The CA bundles of OpenShift's etcd lie in config maps beside the secrets.
_OPENSHIFT = """
/etc/kubernetes/static-pod-resources/etcd-certs/secrets/|etcd-all-certs/etcd-serving-metrics-*.crt  metrics  openshift  -                                                       9979
/etc/kubernetes/static-pod-resources/etcd-certs/secrets/|etcd-all-certs/etcd-serving-*.crt          server   openshift  ../../configmaps/etcd-all-bundles/server-ca-bundle.crt  2379
/etc/kubernetes/static-pod-resources/etcd-certs/secrets/|etcd-all-certs/etcd-peer-*.crt             peer     openshift  ../../configmaps/etcd-all-bundles/server-ca-bundle.crt  2380
/etc/kubernetes/static-pod-resources/etcd-certs/|configmaps/etcd-all-bundles/*.crt                  ca       openshift  -                                                       -
"""


def _rows(plane: str, table: str, **choices: tuple[str, ...]) -> Iterator[Pattern]:
    """Read a table; each `<name>` in a path stands for every one of its choices, and elsewhere for the first."""
    for line in table.strip().splitlines():
        path, use, renewer, ca, ports = line.split()
        for name, values in choices.items():
            renewer, ports = (text.replace(f"<{name}>", values[0]) for text in (renewer, ports))
        for chosen in _expanded(path, choices):
            start, _, end = chosen.partition("|")
            yield Pattern(
                plane=plane,
                parts=tuple((start + end).strip("/").split("/")),
                tail=end.count("/") + 1,
                use="" if use == "?" else use,
                renewer=renewer,
                ca="" if ca == "-" else ca,
                ports=() if ports == "-" else tuple(int(port) for port in ports.split(",")),
            )


def _expanded(path: str, choices: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for name, values in choices.items():
        if f"<{name}>" in path:
            for value in values:
                yield from _expanded(path.replace(f"<{name}>", value.strip("/")), choices)
            return
    yield path


PLANES: Mapping[str, tuple[Pattern, ...]] = {
    "kops": tuple(_rows("kops", _KOPS, volume=VOLUMES, srv=("srv/kubernetes", "etc/srv/kubernetes"))),
    "kubeadm": tuple(_rows("kubeadm", _KUBEADM)),
    "k3s": tuple(_rows("k3s", _RANCHER, program=("k3s",), api=("6444",), dynamic=("6443",))),
    "rke2": tuple(_rows("rke2", _RANCHER, program=("rke2",), api=("6443",), dynamic=("9345",))),
    "etcd": tuple(_rows("etcd", _ETCD, etcd=("etcd", "etcd/pki", "etcd/ssl", "etcd/tls", "ssl/etcd"))),
    "microk8s": tuple(_rows("microk8s", _MICROK8S)),
    "openshift": tuple(_rows("openshift", _OPENSHIFT)),
}
