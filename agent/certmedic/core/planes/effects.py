"""What a restart does to a certificate, and what a person would type."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from certmedic.core.model import Place

# The first etcd-manager whose every start issues all its certificates anew (commit f4b782c2). Earlier ones look at names only and
# keep a certificate that has expired.
REISSUES_SINCE = "20200428"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a restart of the program that holds a certificate does to the file.

    * `renews`: it is issued anew at the start
    * `keeps_expired`: it would be issued anew only if the file were missing
    * `rereads`: nothing is issued; once the file is renewed, the program takes it up as `why` says
    * `nothing`: another program issues it, or nobody does
    * `unknown`: it cannot be told
    """

    kind: Literal["renews", "keeps_expired", "rereads", "nothing", "unknown"]
    why: str  # one or two sentences
    command: str  # what cures it, as a person would type it; "" where there is nothing to type


def manager_version(image: str) -> str | None:
    """Return the date in an etcd-manager image's tag, e.g. "20200428" of 3.0.20200428; None where it has none."""
    match = re.search(r"etcd-manager(?:-slim)?(?:-[a-z0-9]+)?:v?3\.0\.(\d{8})(?!\d)", image)
    return match[1] if match else None


def etcd_manager_pod_prefix(group: str) -> str:
    """Return how the name of the pod begins that runs a group's etcd-manager; the node's name follows."""
    return f"etcd-manager-{group}-"


def restart_command(group: str, runtime: str = "docker") -> str:
    """Return what restarts one group's etcd-manager, and no other: the container has the same name in all of them.

    It is stopped, and kubelet starts it again: after `docker restart` kubelet may start a second copy
    (kubernetes/kubernetes#31092), which is why kops' own documents prefer stop.
    """
    pod = etcd_manager_pod_prefix(group or "main")
    if runtime != "docker":
        return f"sudo crictl stop $(sudo crictl ps -q --name '^etcd-manager$' --pod $(sudo crictl pods -q --state ready --namespace kube-system --name '^{pod}'))"
    return (
        "sudo docker stop $(sudo docker ps -q --filter label=io.kubernetes.container.name=etcd-manager"
        " --filter label=io.kubernetes.pod.namespace=kube-system"
        f" --filter name=_{pod})"
    )


_UNITS: Mapping[str, str] = {"k3s": "k3s.service", "rke2": "rke2-server.service"}


def unit_of(renewer: str) -> str:
    """Return the systemd unit whose start issues a renewer's certificates; "" where that is no unit."""
    return _UNITS.get(renewer, "")


def restart_effect(
    place: Place, image: str | None, *, path: str = "", residual: timedelta | None = None, runtime: str = "docker"
) -> Effect:
    """Return what a restart does to the certificate at `place`.

    `image` is the etcd-manager's, where one holds it; `path` the file, for the command; `residual` how long it is still
    valid, which for k3s and rke2 decides.
    """
    if place.use == "ca":
        return _OF_CA.get(place.plane, _ANY_CA)
    if place.renewer == "etcd-manager":
        return _etcd_manager(place, image, path, runtime)
    if place.renewer in ("k3s", "rke2"):
        return _rancher(place, residual)
    if place.renewer == "kubeadm":
        return _kubeadm(place, path)
    if place.renewer == "microk8s":
        return _microk8s(place)
    if place.renewer == "etcd":
        return _auto_tls(path)
    return _BY_RENEWER.get(place.renewer, _UNKNOWN)


def _etcd_manager(place: Place, image: str | None, path: str, runtime: str) -> Effect:
    restart = restart_command(place.group, runtime)
    found = manager_version(image or "")
    if found is None:
        told = f"the image is {image}" if image else "its image is not known"
        return Effect(
            kind="unknown",
            why=f"etcd-manager issues this certificate at its start, but versions before 3.0.{REISSUES_SINCE} keep an expired one,"
            f" and which version runs here cannot be told: {told}.",
            command="grep -h image: /etc/kubernetes/manifests/etcd-*.manifest",
        )
    if found < REISSUES_SINCE:
        # kops#8959 and the hack in its advisory (836545d5d3), which removed all of pki; a missing .crt is enough (pkg/pki/fs.go).
        aside = f"sudo mv {shlex.quote(path)} {shlex.quote(path + '.expired')} && " if path else ""
        first = "" if path else " First move the expired .crt aside."
        return Effect(
            kind="keeps_expired",
            why=f"etcd-manager 3.0.{found} keeps an expired certificate over a restart: it looks at names only. It issues a new one, with the"
            f" same key, if the .crt is missing.{first} 3.0.{REISSUES_SINCE} is the first that reissues at every start.",
            command=aside + restart,
        )
    return Effect(
        kind="renews",
        why=f"etcd-manager 3.0.{found} issues this certificate anew at every start, and only then.",
        command=restart,
    )


def _rancher(place: Place, residual: timedelta | None) -> Effect:
    restart = f"sudo systemctl restart {_UNITS[place.renewer].removesuffix('.service')}"
    home = f"/var/lib/rancher/{place.plane}/server/tls"
    if place.use == "dynamic-listener":
        # k3s#3144, #5163, #12476, rke2#8318: it is kept in the cluster as well, and comes back from there.
        return Effect(
            kind="unknown",
            why=f"{place.plane} renews its listener's certificate while it runs, but an expired one sometimes comes back from the secret"
            f" {place.plane}-serving; then both copies have to go before the restart.",
            command=f"sudo {place.plane} kubectl -n kube-system delete secret {place.plane}-serving;"
            f" sudo rm {home}/dynamic-cert.json; {restart}",
        )
    # 120 days since v1.33.1, 1.32.5, 1.31.9 and 1.30.13 (k3s#12171), 90 before.
    if residual is not None and residual > timedelta(days=120):
        return Effect(
            kind="nothing",
            why=f"{place.plane} issues a certificate anew at its start only in its last 90 days (120 since May 2025); this one has longer.",
            command=f"sudo {place.plane} certificate rotate",
        )
    if residual is not None and residual > timedelta(days=90):
        return Effect(
            kind="unknown",
            why=f"{place.plane} issues a certificate anew at its start in its last 90 days, releases since May 2025 in its last 120; this one is"
            " between the two, and which release runs here is not known.",
            command=restart,
        )
    return Effect(
        kind="renews",
        why=f"{place.plane} issues anew at its start whatever has expired or is in its last 90 days (120 since May 2025)."
        " Restart the servers one after the other, then the agents.",
        command=restart,
    )


# What `kubeadm certs renew` calls a file.
_KUBEADM_NAMES: Mapping[str, str] = {
    "apiserver": "apiserver",
    "apiserver-kubelet-client": "apiserver-kubelet-client",
    "apiserver-etcd-client": "apiserver-etcd-client",
    "front-proxy-client": "front-proxy-client",
    "server": "etcd-server",
    "peer": "etcd-peer",
    "client": "etcd-healthcheck-client",
    "admin": "admin.conf",
    "controller-manager-client": "controller-manager.conf",
    "scheduler-client": "scheduler.conf",
}
_KUBEADM_HOLDERS: Mapping[str, str] = {
    "apiserver": "kube-apiserver",
    "apiserver-kubelet-client": "kube-apiserver",
    "apiserver-etcd-client": "kube-apiserver",
    "front-proxy-client": "kube-apiserver",
    "controller-manager-client": "kube-controller-manager",
    "scheduler-client": "kube-scheduler",
}


def _kubeadm(place: Place, path: str) -> Effect:
    name = "super-admin.conf" if path.endswith("/super-admin.conf") else _KUBEADM_NAMES.get(place.use, "all")
    renew = f"sudo kubeadm certs renew {name}"
    nothing = "A restart issues nothing: with kubeadm certificates are renewed by hand or by an upgrade, on each control-plane node."
    holder = _KUBEADM_HOLDERS.get(place.use)
    if holder is None:
        # etcd reads server and peer certificate at every handshake since v3.2.19 (client/pkg/transport).
        after = "" if place.use == "admin" else " etcd takes the new file up at its next handshake."
        return Effect(kind="rereads", why=nothing + after, command=renew)
    manifest = f"/etc/kubernetes/manifests/{holder}.yaml"
    return Effect(
        kind="rereads",
        why=f"{nothing} Afterwards {holder} is restarted by taking its manifest away for 20 seconds (before v1.20: kubeadm alpha certs renew).",
        command=f"{renew} && sudo mv {manifest} /root/ && sleep 20 && sudo mv /root/{holder}.yaml {manifest}",
    )


def _microk8s(place: Place) -> Effect:
    files = {"apiserver": "server.crt", "front-proxy-client": "front-proxy-client.crt"}
    command = f"sudo microk8s refresh-certs --cert {files[place.use]}" if place.use in files else ""
    return Effect(
        kind="nothing",
        why="A restart issues nothing; MicroK8s renews on command, and restarts itself then.",
        command=command,
    )


def _auto_tls(path: str) -> Effect:
    # Seen with etcd 3.4.23: made once, for a year, and found again at each start (etcd-io/etcd#12427).
    folder = shlex.quote(posixpath.dirname(posixpath.dirname(path)) or "/var/lib/etcd/fixtures")
    return Effect(
        kind="keeps_expired",
        why="etcd --auto-tls signs this certificate once and keeps it over a restart; it makes a new one if the folder is missing.",
        command=f"sudo mv {folder} {folder}.expired && sudo systemctl restart etcd",
    )


_ANY_CA = Effect(
    kind="nothing",
    why="No restart issues an authority anew. A new one has to be made and given to every master, and then all leaves be issued again.",
    command="",
)
_OF_CA: Mapping[str, Effect] = {
    "kops": Effect(
        kind="nothing",
        why="The authority comes from kops' state store. etcd-manager only copies what nodeup wrote, so a restart brings the same one.",
        command="kops get keypairs",
    ),
    "k3s": Effect(
        kind="nothing",
        why="k3s keeps its authorities over a restart; they are changed on command, on one server.",
        command="sudo k3s certificate rotate-ca --path=/opt/k3s/server",
    ),
    "rke2": Effect(
        kind="nothing",
        why="rke2 keeps its authorities over a restart; they are changed on command, on one server.",
        command="sudo rke2 certificate rotate-ca --path=/opt/rke2/server",
    ),
    "microk8s": Effect(
        kind="nothing",
        why="No restart issues the authority anew. A new one means that every node has to join again.",
        command="sudo microk8s refresh-certs --cert ca.crt",
    ),
}
_UNKNOWN = Effect(kind="unknown", why="Who renews this file is not known.", command="")
_BY_RENEWER: Mapping[str, Effect] = {
    # IssueCert signs anew at each run of nodeup (kops nodetasks/issue_cert.go), and etcd-manager never touches these files.
    "nodeup": Effect(
        kind="nothing",
        why="nodeup issues this certificate, when the instance boots, and no restart of etcd-manager or kube-apiserver does. Running nodeup"
        " again also writes the manifests anew and may restart services; to replace the instance is the other way.",
        command="sudo systemctl restart kops-configuration",
    ),
    # An expired client certificate cannot ask for its successor; so says the page "Troubleshooting kubeadm".
    "kubelet": Effect(
        kind="nothing",
        why="kubelet renews its certificates over the API while they are valid; once its client certificate has expired a restart does not help, and"
        " it needs a new kubelet.conf, made on a control-plane node that works.",
        command='sudo kubeadm kubeconfig user --org system:nodes --client-name "system:node:$(hostname)" > kubelet.conf',
    ),
    "operator": Effect(
        kind="rereads",
        why="A restart issues nothing: whoever set this up renews it. etcd since 3.2.19 takes a new file up at its next handshake,"
        " without a restart; a new CA file needs one.",
        command="",
    ),
    "openshift": Effect(
        kind="nothing",
        why="OpenShift's operators renew this certificate; where they did not, follow Red Hat's recovery procedure for expired"
        " control plane certificates.",
        command="oc get csr; oc adm ocp-certificates -h",
    ),
}
