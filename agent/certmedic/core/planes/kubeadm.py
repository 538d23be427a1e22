"""kubeadm: `kubeadm certs renew` renews the certificates; the kubelet renews its two over the API.

Sources: kubernetes/kubernetes@00886ac0, and the page "Certificate Management with kubeadm".
"""

from __future__ import annotations

from collections.abc import Mapping

from certmedic.core.place import Place
from certmedic.core.planes.record import Case, Effect, Plane, Renewer, Subject, always, files
from certmedic.core.planes.uses import USES

# cmd/kubeadm/app/constants
_FILES = """
/etc/kubernetes/|pki/apiserver.crt                 apiserver                  kubeadm   ca.crt                      6443
/etc/kubernetes/|pki/apiserver-kubelet-client.crt  apiserver-kubelet-client   kubeadm   ca.crt                      -
/etc/kubernetes/|pki/apiserver-etcd-client.crt     apiserver-etcd-client      kubeadm   etcd/ca.crt                 -
/etc/kubernetes/|pki/front-proxy-client.crt        front-proxy-client         kubeadm   front-proxy-ca.crt          -
/etc/kubernetes/|pki/etcd/server.crt               server                     kubeadm   ca.crt                      2379
/etc/kubernetes/|pki/etcd/peer.crt                 peer                       kubeadm   ca.crt                      2380
/etc/kubernetes/|pki/etcd/healthcheck-client.crt   etcd-healthcheck-client    kubeadm   ca.crt                      -
/etc/kubernetes/|pki/etcd/ca.crt                   ca                         operator  -                           -
/etc/kubernetes/|pki/ca.crt                        ca                         operator  -                           -
/etc/kubernetes/|pki/front-proxy-ca.crt            ca                         operator  -                           -
/etc/|kubernetes/admin.conf                        kubectl                    kubeadm   /etc/kubernetes/pki/ca.crt  -
/etc/|kubernetes/super-admin.conf                  kubectl                    kubeadm   /etc/kubernetes/pki/ca.crt  -
/etc/|kubernetes/controller-manager.conf           controller-manager-client  kubeadm   /etc/kubernetes/pki/ca.crt  -
/etc/|kubernetes/scheduler.conf                    scheduler-client           kubeadm   /etc/kubernetes/pki/ca.crt  -
/etc/|kubernetes/kubelet.conf                      kubelet-client             kubelet   /etc/kubernetes/pki/ca.crt  -
/var/lib/|kubelet/pki/kubelet-client-current.pem   kubelet-client             kubelet   /etc/kubernetes/pki/ca.crt  -
/var/lib/|kubelet/pki/kubelet-server-current.pem   kubelet                    kubelet   /etc/kubernetes/pki/ca.crt  10250
/var/lib/|kubelet/pki/kubelet.crt                  kubelet                    kubelet-self-signed  -            10250
/etc/|kubernetes/bootstrap-kubelet.conf            bootstrap                  kubeadm   /etc/kubernetes/pki/ca.crt  -
/|root/.kube/config                                kubectl                    person    -                           -
"""

# What `kubeadm certs renew` calls a file, by its use.
_NAMES: Mapping[str, str] = {
    "apiserver": "apiserver",
    "apiserver-kubelet-client": "apiserver-kubelet-client",
    "apiserver-etcd-client": "apiserver-etcd-client",
    "front-proxy-client": "front-proxy-client",
    "server": "etcd-server",
    "peer": "etcd-peer",
    "etcd-healthcheck-client": "etcd-healthcheck-client",
    "kubectl": "admin.conf",
    "controller-manager-client": "controller-manager.conf",
    "scheduler-client": "scheduler.conf",
}


def kubeadm_name(use: str, path: str) -> str:
    """Return what `kubeadm certs renew` calls a file; "" if it does not renew that file."""
    if path.endswith("/super-admin.conf"):
        return "super-admin.conf"
    return _NAMES.get(use, "") if path.endswith((".crt", ".conf")) else ""


# The CA that signs the certificates of a use, and their subjects (cmd/kubeadm/app/phases/certs/certlist.go, phases/kubeconfig).
_ETCD_CA, _CA, _PROXY_CA = (f"/etc/kubernetes/pki/{stem}" for stem in ("etcd/ca", "ca", "front-proxy-ca"))
_SIGNED_BY: Mapping[str, str] = {
    **dict.fromkeys(("server", "peer", "apiserver-etcd-client", "etcd-healthcheck-client"), _ETCD_CA),
    **dict.fromkeys(("apiserver", "apiserver-kubelet-client", "kubectl"), _CA),
    **dict.fromkeys(("controller-manager-client", "scheduler-client"), _CA),
    "front-proxy-client": _PROXY_CA,
}
_MASTERS, _ADMINS = "system:masters", "kubeadm:cluster-admins"  # the second from v1.29 on
_SUBJECTS: Mapping[str, tuple[Subject, ...]] = {
    "apiserver": (Subject(common_name="kube-apiserver"),),
    "apiserver-kubelet-client": tuple(
        Subject(common_name="kube-apiserver-kubelet-client", organisation=group) for group in (_MASTERS, _ADMINS)
    ),
    **{
        f"{user}-client": tuple(
            Subject(common_name=f"kube-{user}-client", organisation=group) for group in ("", _MASTERS)
        )
        for user in ("apiserver-etcd", "etcd-healthcheck")
    },
    "front-proxy-client": (Subject(common_name="front-proxy-client"),),
    "controller-manager-client": (Subject(common_name="system:kube-controller-manager"),),
    "scheduler-client": (Subject(common_name="system:kube-scheduler"),),
    "kubectl": (
        *(Subject(common_name="kubernetes-admin", organisation=group) for group in (_MASTERS, _ADMINS)),
        Subject(common_name="kubernetes-super-admin", organisation=_MASTERS),
    ),
}


def _authorities(place: Place) -> tuple[str, ...]:
    stem = _SIGNED_BY.get(place.use, "") if place.renewer == "kubeadm" else ""
    return (stem,) if stem else ()


# Static pods that read these certificates at their start only, by use.
_HOLDERS = {use.name: use.holder for use in USES if use.holder.startswith("kube-")}


def _of_kubeadm(case: Case) -> Effect:
    use = case.place.use
    name = kubeadm_name(use, case.path) or _NAMES.get(use, "all")
    renew = f"sudo kubeadm certs renew {name}"
    nothing = (
        "A restart renews nothing: kubeadm renews certificates on command or in an upgrade, on each control-plane node."
    )
    holder = _HOLDERS.get(use)
    if holder is None:
        # etcd reads its server and peer certificates at every handshake since v3.2.19 (client/pkg/transport).
        after = "" if use == "kubectl" else " etcd serves the new file from its next handshake on."
        return Effect(kind="rereads", why=nothing + after, command=renew)
    manifest = f"/etc/kubernetes/manifests/{holder}.yaml"
    return Effect(
        kind="rereads",
        why=f"{nothing} Then restart {holder}: move its manifest away for 20 seconds (before v1.20: kubeadm alpha certs renew).",
        command=f"{renew} && sudo mv {manifest} /root/ && sleep 20 && sudo mv /root/{holder}.yaml {manifest}",
    )


# The API refuses an expired client certificate, so the kubelet cannot ask for the next one (page "Troubleshooting kubeadm").
_OF_KUBELET = Effect(
    kind="nothing",
    why="kubelet renews its certificates over the API while they are valid. Once its client certificate has expired, no restart helps:"
    " make a new kubelet.conf on a control-plane node that works.",
    command='sudo kubeadm kubeconfig user --org system:nodes --client-name "system:node:$(hostname)" > kubelet.conf',
)

# Without a certificate for its port the kubelet signs one for a year, and keeps the file over a restart
# (pkg/kubelet/certificate/bootstrap, cmd/kubelet/app/server.go).
_SELF_SIGNED = Effect(
    kind="nothing",
    why="kubelet signed this certificate itself and keeps the file over a restart. Move the file away, and its restart signs a new one."
    " By default kube-apiserver does not verify it; other clients may.",
    command="sudo mv /var/lib/kubelet/pki/kubelet.crt /var/lib/kubelet/pki/kubelet.crt.expired"
    " && sudo mv /var/lib/kubelet/pki/kubelet.key /var/lib/kubelet/pki/kubelet.key.expired && sudo systemctl restart kubelet",
)
_OF_PERSON = Effect(
    kind="nothing",
    why="No program renews this copy. Only kubectl uses it. Copy a valid admin.conf over it.",
    command="sudo cp /etc/kubernetes/admin.conf /root/.kube/config",
)

KUBEADM = Plane(
    name="kubeadm",
    files=files(_FILES),
    renewers=(
        Renewer(name="kubeadm", effect=_of_kubeadm),
        Renewer(name="kubelet", effect=always(_OF_KUBELET), restartable=False, renews_running=frozenset({"*"})),
        Renewer(name="kubelet-self-signed", effect=always(_SELF_SIGNED), restartable=False),
        Renewer(name="person", effect=always(_OF_PERSON), restartable=False),
    ),
    authorities=_authorities,
    subjects=_SUBJECTS,
    manifests=("/etc/kubernetes/manifests",),
    programs=("kubeadm",),
    units=(r"kubeadm(?:-[\w-]+)?",),
)
