"""The cure as commands in order: renew every file of a fault, then restart every program that holds an old certificate.

Pure data for each plane. A command fits the installed version where that is known (`Facts.kubernetes`), and otherwise every version.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from certmedic.core import holders, planes
from certmedic.core.command import Command, fixed, is_plain_path, run
from certmedic.core.model import Facts, Stored

ALPHA_UNTIL = (1, 20)  # before it: `kubeadm alpha certs` (kubernetes/kubernetes cmd/kubeadm, v1.20)
MANIFESTS = "/etc/kubernetes/manifests"
_ENDS = {"kops": ".manifest"}  # of a static pod's manifest; .yaml on the others
# The pod of a program that is a container of another one's pod.
_PODS = {"kube-apiserver-healthcheck": "kube-apiserver"}
_ORDER = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
# Without these kube-apiserver exits again and again, and the kubelet waits up to 5 minutes before it starts it again.
_STOPS_API = frozenset({"server", "peer", "apiserver-etcd-client"})
BACK_OFF = "sudo systemctl restart kubelet"
_CURRENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"
_KUBELET_CONF = "/etc/kubernetes/kubelet.conf"


def version_of(facts: Facts) -> tuple[int, int] | None:
    """Return major and minor of the Kubernetes here; None if that is not known."""
    match = re.match(r"v?(\d+)\.(\d+)", facts.kubernetes)
    return (int(match[1]), int(match[2])) if match else None


def restarts(names: Sequence[str], plane: str) -> tuple[Command, ...]:
    """Return the commands that restart programs of a plane, etcd first; none for a program whose restart is not known."""
    units = {"k3s": "k3s", "rke2": "rke2-server"}
    if plane in units:
        return (run("sudo", "systemctl", "restart", units[plane]),)
    pods = {_PODS.get(name, name) for name in names} - {"kubelet", "etcd-manager", "kops-controller"}
    if plane == "etcd":
        pods -= {"etcd"}
    steps = (
        [*_moves(sorted(pods, key=_rank), _ENDS.get(plane, ".yaml"))] if pods and plane in ("kubeadm", "kops") else []
    )
    if plane == "etcd" and "etcd" in names:
        steps.append(run("sudo", "systemctl", "restart", "etcd"))
    if "kubelet" in names:
        steps.append(run("sudo", "systemctl", "restart", "kubelet"))
    return tuple(steps)


def _rank(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


def _moves(pods: Sequence[str], end: str) -> tuple[Command, ...]:
    """Return the commands that move manifests away and back, so that the kubelet stops and starts the pods."""
    there = [f"{MANIFESTS}/{pod}{end}" for pod in pods]
    back = [f"/root/{pod}{end}" for pod in pods]
    return (
        run("sudo", "mv", *there, "/root/"),
        run("sleep", "20"),
        run("sudo", "mv", *back, f"{MANIFESTS}/"),
    )


def to_restart(files: Sequence[Stored]) -> list[str]:
    """Return the programs that need a restart to take up renewed files of kubeadm, in order."""
    names = {holders.holder_of(stored) for stored in files} - {"", "etcd"}
    return sorted(names, key=_rank)


def of_kubeadm(files: Sequence[Stored], facts: Facts) -> tuple[Command, ...]:
    """Return the commands that renew files of kubeadm and restart their holders.

    `renew all` stands there only if all files need it, since it replaces every certificate.
    """
    renewed = [stored for stored in facts.stored if stored.place.renewer == "kubeadm" and not stored.certificate.is_ca]
    names = list(dict.fromkeys(filter(None, (planes.kubeadm_name(s.place.use, s.certificate.path) for s in files))))
    every = {s.certificate.path for s in renewed if planes.kubeadm_name(s.place.use, s.certificate.path)}
    if len(every) > 1 and every <= {stored.certificate.path for stored in files}:
        names = ["all"]
    version = version_of(facts)
    certs = ("kubeadm", "alpha", "certs") if version is not None and version < ALPHA_UNTIL else ("kubeadm", "certs")
    steps = [run("sudo", *certs, "renew", name) for name in names]
    if not steps:
        return ()
    steps += restarts(to_restart(files), "kubeadm")
    if any(stored.place.use in _STOPS_API for stored in files):
        steps += fixed(BACK_OFF)
    return tuple(steps)


def is_only_embedded(files: Sequence[Stored], facts: Facts) -> bool:
    """Whether only the certificate inside kubelet.conf is old, and the one that the kubelet renewed itself is good."""
    paths = {stored.certificate.path for stored in files}
    good = [c for c in facts.by_path.get(_CURRENT, ()) if c.not_before <= facts.at <= c.not_after and not c.is_ca]
    return paths == {_KUBELET_CONF} and bool(good)


def of_kubelet(files: Sequence[Stored], facts: Facts) -> tuple[Command, ...]:
    """Return the commands that give the kubelet of a control-plane node a client certificate again, on every version."""
    if any(stored.certificate.path not in (_CURRENT, _KUBELET_CONF) for stored in files):
        return ()
    point = f"sudo sed -i -e 's#client-certificate-data:.*#client-certificate: {_CURRENT}#' -e 's#client-key-data:.*#client-key: {_CURRENT}#' {_KUBELET_CONF}"
    restart = run("sudo", "systemctl", "restart", "kubelet")
    if is_only_embedded(files, facts):
        return (*fixed(point), restart)
    return (
        run("sudo", "mv", _KUBELET_CONF, f"{_KUBELET_CONF}.expired"),
        run("sudo", "mv", _CURRENT, f"{_CURRENT}.expired"),
        run("sudo", "kubeadm", "init", "phase", "kubeconfig", "kubelet"),
        restart,
    )


def of_nodeup(files: Sequence[Stored]) -> tuple[Command, ...]:
    """Return the commands that run nodeup again and restart the programs that read its files only when they start."""
    late = {holders.holder_of(s) for s in files if planes.reads_at_start(s.place)} - {""}
    again = run("sudo", "systemctl", "restart", "kops-configuration")
    return (again, *restarts(sorted(late, key=_rank), "kops"))


# Who reads the CA files of kubeadm only when it starts, by the path of the CA; and the kubeconfigs that embed the cluster's CA.
_OF_CA = {
    "/etc/kubernetes/pki/ca.crt": _ORDER[1:],
    "/etc/kubernetes/pki/etcd/ca.crt": _ORDER[:2],
    "/etc/kubernetes/pki/front-proxy-ca.crt": _ORDER[1:2],
}
_CLUSTER_CA = "/etc/kubernetes/pki/ca.crt"
_EMBED = (
    'sudo sed -i "s#certificate-authority-data:.*#certificate-authority-data: $(sudo base64 -w0 /etc/kubernetes/pki/ca.crt)#"'
    " /etc/kubernetes/admin.conf /etc/kubernetes/controller-manager.conf /etc/kubernetes/scheduler.conf /etc/kubernetes/kubelet.conf"
)


def of_ca(path: str, plane: str) -> tuple[Command, ...]:
    """Return the commands that sign a CA again and, on kubeadm, hand it to the kubeconfigs and holders of this machine."""
    signed = sign_ca_again(path)
    names = _OF_CA.get(path, ()) if plane == "kubeadm" else ()
    if not signed or not names:
        return signed
    embedded = fixed(_EMBED) if path == _CLUSTER_CA else ()
    return (*signed, *embedded, *restarts(names, plane), *fixed(BACK_OFF))


def sign_ca_again(path: str) -> tuple[Command, ...]:
    """Return the commands that sign a CA again with its own key, so that every certificate that it signed stays valid (FIELD 8.4)."""
    stem = path.removesuffix(".crt")
    if not is_plain_path(path) or stem == path:
        return ()
    return (
        run("sudo", "cp", path, f"{path}.expired"),
        run(
            "sudo",
            "openssl",
            "x509",
            "-in",
            f"{path}.expired",
            "-signkey",
            f"{stem}.key",
            "-days",
            "3650",
            "-out",
            path,
        ),
    )
