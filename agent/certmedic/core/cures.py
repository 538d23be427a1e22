"""The cure as commands in order: renew every file of a fault, then restart every program that holds an old certificate.

Pure data for each plane. A command fits the installed version where that is known (`Facts.kubernetes`), and otherwise every version.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from certmedic.core import holders, planes
from certmedic.core.command import Command, fixed, is_plain_path, run, shell
from certmedic.core.model import Facts, Stored

ALPHA_UNTIL = (1, 20)  # before it: `kubeadm alpha certs` (kubernetes/kubernetes cmd/kubeadm, v1.20)
MANIFESTS = "/etc/kubernetes/manifests"
COMM = 15  # characters of a process's name, comm(5)
_ENDS = {"kops": ".manifest"}  # of a static pod's manifest; .yaml on the others
# The pod of a program that is a container of another one's pod.
_PODS = {"kube-apiserver-healthcheck": "kube-apiserver"}
_ORDER = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
# Without these kube-apiserver exits again and again, and the kubelet waits up to 5 minutes before it starts it again.
_STOPS_API = frozenset({"server", "peer", "apiserver-etcd-client"})
_UNITS = {"k3s": "k3s", "rke2": "rke2-server"}
BACK_OFF = "sudo systemctl restart kubelet"
_CURRENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"
_KUBELET_CONF = "/etc/kubernetes/kubelet.conf"


def version_of(facts: Facts) -> tuple[int, int] | None:
    """Return major and minor of the Kubernetes here; None if that is not known."""
    match = re.match(r"v?(\d+)\.(\d+)", facts.kubernetes)
    return (int(match[1]), int(match[2])) if match else None


def restarts(names: Sequence[str], plane: str) -> tuple[Command, ...]:
    """Return the commands that restart programs of a plane, etcd first; none for a program whose restart is not known."""
    if plane in _UNITS:
        return (run("sudo", "systemctl", "restart", _UNITS[plane]),)
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
    """Return the commands that move manifests away and back, so that the kubelet stops and starts the pods.

    A kubelet that started while the API was down stops nothing ("sources aren't ready yet"), so that what still runs is ended:
    one pkill for each name, since pkill warns of a pattern over 15 characters that matches nothing.
    """
    ended = " ".join(pod[:COMM] for pod in _ORDER if pod in pods)
    there = [f"{MANIFESTS}/{pod}{end}" for pod in pods]
    back = [f"/root/{pod}{end}" for pod in pods]
    return (
        run("sudo", "mv", *there, "/root/"),
        run("sleep", "20"),
        *(fixed(f"{{ for p in {ended}; do sudo pkill -x $p; done; true; }}") if ended else ()),
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


def readers_of_ca(stored: Stored) -> tuple[str, ...]:
    """Return the programs of kubeadm that a CA is handed to by their restart; none for a leaf or another file."""
    return _OF_CA.get(stored.certificate.path, ()) if stored.certificate.is_ca else ()


def of_cas(cas: Sequence[tuple[str, str]], plane: str, *, ended: datetime | None = None) -> tuple[Command, ...]:
    """Return the commands that sign CAs again with their own keys and hand them to those who hold them, as far as the plane has a way.

    Each CA is (path, common name); several files may hold the same one. `ended` is when the first of them expired.
    """
    paths = list(dict.fromkeys(path for path, _ in cas))
    if plane == "kops":
        signed = [step for name in dict.fromkeys(name for _, name in cas) for step in _ca_of_kops(name)]
        rolled = run("kops", "rolling-update", "cluster", "--cloudonly", "--yes")
        return (*signed, run("kops", "update", "cluster", "--yes"), rolled) if signed else ()
    if plane in _UNITS:
        staged = dict.fromkeys(step for path in paths for step in _ca_of_rancher(path, plane))
        rotate = run("sudo", plane, "certificate", "rotate-ca", f"--path=/opt/{plane}/server", "--force")
        restart = restarts((), plane)
        handed = (
            (rotate, *restart)
            if ended is None
            else fixed(_in_the_past(ended, shell((*restart, rotate)), shell(restart)))
        )
        return (*staged, *handed) if staged else ()
    signed = [step for path in paths for step in sign_ca_again(path)]
    names = dict.fromkeys(name for path in paths for name in _OF_CA.get(path, ()) if plane == "kubeadm")
    if not signed or not names:
        return tuple(signed)
    embedded = fixed(_EMBED) if _CLUSTER_CA in paths else ()
    return (*signed, *embedded, *restarts(list(names), plane), *fixed(BACK_OFF))


def _ca_of_kops(common_name: str) -> tuple[Command, ...]:
    """Return the commands for one keyset of kops 1.22 and later (docs/cli/kops_create_keypair.md, docs/operations/rotate-secrets.md)."""
    match = re.fullmatch(r"(etcd-(?:peers|clients|manager)-ca)(?:-([a-z]+))?|kubernetes-ca", common_name)
    if match is None:
        return ()
    where = f"/etc/kubernetes/pki/etcd-manager-{match[2] or 'main'}/{match[1]}"
    stem = where if match[1] else "/srv/kubernetes/kube-controller-manager/ca"
    new, key = (f"/root/{common_name}.{end}" for end in ("crt", "key"))
    return (
        _sign(f"{stem}.crt", f"{stem}.key", new),
        run("sudo", "cp", f"{stem}.key", key),
        run("kops", "create", "keypair", common_name, "--cert", new, "--key", key, "--primary"),
    )


def _ca_of_rancher(path: str, plane: str) -> tuple[Command, ...]:
    """Return the commands that stage one CA beside the folder in use, where k3s and rke2 take it from (k3s-io/docs@01f91e0b, docs/cli/certificate.md)."""
    match = re.fullmatch(r".*/(?:server/tls|agent)/((?:etcd/)?[a-z-]+-ca)\.crt", path)
    if match is None:
        return ()
    used, staged = (f"{folder}/server/tls/{match[1]}" for folder in (f"/var/lib/rancher/{plane}", f"/opt/{plane}"))
    return (
        run("sudo", "mkdir", "-p", staged.rpartition("/")[0]),
        run("sudo", "cp", f"{used}.key", f"{staged}.key"),
        _sign(f"{used}.crt", f"{used}.key", f"{staged}.crt"),
    )


def _in_the_past(ended: datetime, steps: str, last: str) -> str:
    """Return a line that takes steps with the clock set to an hour before `ended`, sets it right whatever they return, and takes the last."""
    return (
        f"{{ past=$(($(date +%s) - {int(ended.timestamp()) - 3600})); sudo timedatectl set-ntp false;"
        f' sudo date --set="-$past seconds"; {steps}; failed=$?; sudo date --set="+$past seconds";'
        f" sudo timedatectl set-ntp true; test $failed = 0 && {last}; }}"
    )


def _sign(old: str, key: str, new: str) -> Command:
    return run("sudo", "openssl", "x509", "-in", old, "-signkey", key, "-days", "3650", "-out", new)


def sign_ca_again(path: str) -> tuple[Command, ...]:
    """Return the commands that sign a CA again with its own key, so that every certificate that it signed stays valid (FIELD 8.4)."""
    stem = path.removesuffix(".crt")
    if not is_plain_path(path) or stem == path:
        return ()
    return (
        run("sudo", "cp", path, f"{path}.expired"),
        _sign(f"{path}.expired", f"{stem}.key", path),
    )
