"""kops: etcd-manager and nodeup issue the certificates; one etcd cluster for each etcd group.

Sources: etcd-manager in kopeio/etcd-manager@17729ad954e3, kubernetes-sigs/etcdadm@34425651ae0b and
kubernetes-sigs/etcd-manager@ad35ed6691d8; kops in kubernetes/kops@268927e26409 and its tags back to v1.15.2.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from certmedic.core.planes.record import Case, Effect, FileKind, Group, Plane, Renewer, Subject, Use, always, files
from certmedic.core.vocabulary import Role

if TYPE_CHECKING:
    from certmedic.core.evidence import Certificate
    from certmedic.core.place import Place

# The first etcd-manager whose every start reissues all its certificates (commit f4b782c2). Earlier versions compare names only and
# keep a certificate that has expired.
REISSUES_SINCE = "20200428"

# pkg/wellknownports; the same numbers since v1.15.
_GROUPS: Mapping[str, Group] = {
    "main": Group(client=4001, peer=2380, manager=3996),
    "events": Group(client=4002, peer=2381, manager=3997),
    "cilium": Group(client=4003, peer=2382, manager=3991),
    "leases": Group(client=4004, peer=2383, manager=4006),
}

# The mount point's name depends on the cloud (etcd-manager pkg/volumes); /mnt/disks is used where it exists, as on ContainerOS.
_VOLUMES = tuple(
    f"{folder}/{cloud}-*" for folder in ("/mnt", "/mnt/disks") for cloud in ("master", "hcloud", "scw", "linode")
)

_SRV = ("srv/kubernetes", "etc/srv/kubernetes")

# etcd-manager writes its own leaves and copies of the CAs (pkg/etcd/pki.go, pkg/tlsconfig/options.go); nodeup writes the rest
# (nodeup/pkg/model): the client certificate of kube-apiserver for etcd lies under /etc/kubernetes/pki until kops 1.21, since
# then under /srv/kubernetes, which ContainerOS has at /etc/srv/kubernetes.
_FILES = """
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
/<srv>/|node-authorizer/tls.pem                                node-authorizer            nodeup        ca.pem                        -
/<srv>/|node-authorizer/ca.pem                                 ca                         nodeup        -                             -
/|<srv>/etcd.pem                                               server                     nodeup        ca.crt                        4001
/|<srv>/etcd-peer.pem                                          peer                       nodeup        ca.crt                        2380
/|<srv>/etcd-client.pem                                        apiserver-etcd-client      nodeup        ca.crt                        -
/<srv>/|calico/calico-client.pem                               client                     nodeup        ca.pem                        -
/<srv>/|calico/ca.pem                                          ca                         nodeup        -                             -
/<srv>/|aws-iam-authenticator/cert.pem                         authenticator              nodeup        ../ca.crt                     21362
/etc/kubernetes/|kube-apiserver-healthcheck/secrets/client.crt  apiserver-healthcheck     nodeup        ca.crt                        -
/etc/kubernetes/|kube-apiserver-healthcheck/secrets/ca.crt     ca                         nodeup        -                             -
/etc/kubernetes/|kops-controller/kops-controller.crt           kops-controller            nodeup        kubernetes-ca.crt             3988
/etc/kubernetes/|kops-controller/kubernetes-ca.crt             ca                         nodeup        -                             -
/etc/kubernetes/|kops-controller/etcd-clients-ca-cilium.crt    ca                         nodeup        -                             -
/var/lib/|kubectl/kubeconfig                                   kubectl                    nodeup        /srv/kubernetes/ca.crt        -
/var/lib/|kops/kubeconfig                                      client                     nodeup        /srv/kubernetes/ca.crt        -
/var/lib/|kube-router/kubeconfig                               client                     nodeup        /srv/kubernetes/ca.crt        -
"""


def manager_version(image: str) -> str | None:
    """Return the date in an etcd-manager image's tag, e.g. "20200428" of 3.0.20200428; None if it has none."""
    match = re.search(r"etcd-manager(?:-slim)?(?:-[a-z0-9]+)?:v?3\.0\.(\d{8})(?!\d)", image)
    return match[1] if match else None


def restart_command(group: str, runtime: str = "docker") -> str:
    """Return the command that restarts the etcd-manager of one group; its container has the same name in every group.

    The command stops the container, and the kubelet starts it again. After `docker restart` the kubelet may start a second copy
    (kubernetes/kubernetes#31092), so kops' documents prefer stop.
    """
    pod = f"etcd-manager-{group or 'main'}-"
    if runtime != "docker":
        # ctr comes with containerd; nodeup installs crictl only since kops 1.29. Without a match, grep -x lets nothing through.
        about = (
            'labels."io.kubernetes.container.name"==etcd-manager,labels."io.kubernetes.pod.namespace"==kube-system,'
            f'labels."io.kubernetes.pod.name"~="^{pod}"'
        )
        return (
            f"sudo ctr -n k8s.io tasks ls -q | grep -Fx \"$(sudo ctr -n k8s.io containers ls -q '{about}')\""
            " | xargs -r sudo ctr -n k8s.io tasks kill"
        )
    return (
        "sudo docker stop $(sudo docker ps -q --filter label=io.kubernetes.container.name=etcd-manager"
        " --filter label=io.kubernetes.pod.namespace=kube-system"
        f" --filter name=_{pod})"
    )


def _of_etcd_manager(case: Case) -> Effect:
    restart = restart_command(case.place.group, case.runtime)
    version = manager_version(case.image)
    if version is None:
        which = f"the image is {case.image}" if case.image else "no etcd-manager container was found"
        return Effect(
            kind="unknown",
            why=f"etcd-manager reissues this certificate at its start, but versions before 3.0.{REISSUES_SINCE} keep an expired one."
            f" Its version is unknown: {which}.",
            command="grep -h image: /etc/kubernetes/manifests/etcd-*.manifest",
        )
    if version < REISSUES_SINCE:
        # The advisory of kops#8959 (836545d5d3) removes all of pki; a missing .crt is enough (pkg/pki/fs.go).
        aside = f"sudo mv {shlex.quote(case.path)} {shlex.quote(case.path + '.expired')} && " if case.path else ""
        first = "" if case.path else " First move the expired .crt aside."
        return Effect(
            kind="keeps_expired",
            why=f"etcd-manager 3.0.{version} keeps an expired certificate over a restart: it compares names only. If the .crt is missing, it issues a"
            f" new one with the same key.{first} 3.0.{REISSUES_SINCE} is the first version that reissues at every start.",
            command=aside + restart,
        )
    return Effect(
        kind="renews",
        why=f"etcd-manager 3.0.{version} reissues this certificate at every start, and only then.",
        command=restart,
    )


# IssueCert signs again at each run of nodeup (kops nodetasks/issue_cert.go); etcd-manager never touches these files.
_OF_NODEUP = Effect(
    kind="nothing",
    why="nodeup issues this certificate when the instance boots. A restart of etcd-manager or kube-apiserver does not renew it. Run nodeup"
    " again, which also rewrites the manifests and may restart services; or replace the instance.",
    command="sudo systemctl restart kops-configuration",
)

_OF_FOLDER = re.compile(r"/etcd-manager-([a-z0-9]+)/[^/]+$")
_OF_TOKEN = re.compile(r"/pki/etcd-cluster-token-etcd(?:-([a-z0-9]+))?/(?:peers|clients)/")
_OF_ISSUER = re.compile(r"etcd-(?:peers|manager|clients)-ca-([a-z0-9-]+)")
_OF_MEMBER = re.compile(r"(?:etcd-manager-(?:server|client)-)?etcd-(?:(events|cilium|leases)-)?.+")


def _group_of(path: str, kind: FileKind, certificate: Certificate | None, siblings: Iterable[Certificate]) -> str:
    if "cilium" in kind.parts:
        return "cilium"
    if match := _OF_FOLDER.search(path) or _OF_TOKEN.search(path):
        return match[1] or "main"
    if "peers" not in kind.parts and "clients" not in kind.parts:
        return ""
    for known in (certificate, *siblings):
        if known is None:
            continue
        if match := _OF_ISSUER.fullmatch(known.subject_cn if known.is_ca else known.issuer_cn):
            return match[1]
        # All groups but cilium share one CA for clients, so only the member's name tells the group.
        if not known.is_ca and (match := _OF_MEMBER.fullmatch(known.subject_cn)):
            return match[1] or "main"
    return ""


# Files of nodeup that the cluster's CA signs, and their subjects (nodeup/pkg/model, pkg/model/pki.go; kops 1.17 to 1.35).
_SUBJECTS: Mapping[str, tuple[Subject, ...]] = {
    "apiserver": (Subject(common_name="kubernetes-master"),),
    "apiserver-kubelet-client": (Subject(common_name="kubelet-api"),),
    "controller-manager-client": (Subject(common_name="system:kube-controller-manager"),),
    "scheduler-client": (Subject(common_name="system:kube-scheduler"),),
    "kubectl": (Subject(common_name="kubecfg", organisation="system:masters"),),
}
# Its key is there for kube-controller-manager, which signs certificates of nodes; until kops 1.21 in the folder above.
_CLUSTER_CA = tuple(f"/{srv}/{name}" for srv in _SRV for name in ("kube-controller-manager/ca", "ca"))
# All groups but cilium share one CA for clients: the folder of each group holds a copy (nodeup, etcd_manager_tls.go).
_SHARING = ("main", "events", "leases")


def _authorities(place: Place) -> tuple[str, ...]:
    if place.use in _SUBJECTS:
        return _CLUSTER_CA
    name = "etcd-clients-ca"
    groups: tuple[str, ...] = ()
    if place.use == "peer" and place.group:
        name, groups = "etcd-peers-ca", (place.group,)
    elif place.use == "server" and place.group:
        others = _SHARING if place.group in _SHARING else ()
        groups = tuple(dict.fromkeys((place.group, *others)))
    elif place.use == "apiserver-etcd-client":
        groups = _SHARING
    elif place.use in ("manager-server", "manager-client") and place.group:
        name, groups = "etcd-manager-ca", (place.group,)
    return tuple(f"/etc/kubernetes/pki/etcd-manager-{group}/{name}" for group in groups)


KOPS = Plane(
    name="kops",
    files=files(_FILES, volume=_VOLUMES, srv=_SRV),
    renewers=(
        Renewer(name="etcd-manager", effect=_of_etcd_manager, container="etcd-manager", issues_missing=True),
        Renewer(name="nodeup", effect=always(_OF_NODEUP)),
    ),
    uses=(
        Use(
            name="manager-server",
            at_start=True,
            holder="etcd-manager",
            roles=frozenset({Role.SERVER}),
            needs=frozenset({"server"}),
            renewable=True,
            refused="The etcd-managers of the other masters cannot reach this one.",
        ),
        Use(
            name="manager-client",
            at_start=True,
            holder="etcd-manager",
            roles=frozenset({Role.CLIENT}),
            needs=frozenset({"client"}),
            renewable=True,
            refused="This etcd-manager cannot reach those of the other masters.",
        ),
        # The liveness probe of kube-apiserver goes through this sidecar (pkg/model/components/kubeapiserver; FIELD 8.3).
        Use(
            name="apiserver-healthcheck",
            at_start=True,
            holder="kube-apiserver-healthcheck",
            roles=frozenset({Role.CLIENT}),
            needs=frozenset({"client"}),
            refused="The liveness probe of kube-apiserver fails: the kubelet restarts kube-apiserver again and again.",
        ),
        Use(
            name="kops-controller",
            at_start=True,
            holder="kops-controller",
            roles=frozenset({Role.SERVER}),
            needs=frozenset({"server"}),
            refused="New nodes cannot join the cluster through this master.",
        ),
        Use(
            name="node-authorizer",
            holder="node-authorizer",
            roles=frozenset({Role.SERVER}),
            refused="New nodes get no bootstrap token through this master.",
        ),
        Use(
            name="authenticator",
            holder="aws-iam-authenticator",
            roles=frozenset({Role.SERVER}),
            refused="Users who log in with AWS IAM are refused by the API server of this master.",
        ),
    ),
    ca=Effect(
        kind="nothing",
        why="The CA comes from kops' state store. etcd-manager only copies the files of nodeup, so a restart brings the same CA.",
        command="kops get keypairs",
    ),
    groups=_GROUPS,
    group_of=_group_of,
    authorities=_authorities,
    subjects=_SUBJECTS,
    manifests=("/etc/kubernetes/manifests",),
    logs=("/var/log/etcd*.log",),
    accounts=(10000, 10011, 10012, 10013),  # pkg/wellknownusers
    programs=("etcd-manager", "protokube", "nodeup"),
    units=(r"etcd-manager-(?:main|events)", "protokube", "nodeup", "kops-configuration"),
)
