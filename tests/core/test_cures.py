"""The commands of a cure: all files, all holders, in order, for the installed version."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from certmedic.core import cures, planes, remedies
from certmedic.core.command import shell
from certmedic.core.model import Cause, Stored
from labs import pki
from labs.held import CA, LEAF
from labs.values import DAY, NOW, facts, stored

PKI = "/etc/kubernetes/pki"
CURRENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"
KUBELET_CONF = "/etc/kubernetes/kubelet.conf"
EXPIRED = CA.leaf("x", not_before=NOW - 400 * DAY, not_after=NOW - DAY)


def at(path: str, leaf=EXPIRED) -> Stored:
    return replace(stored(leaf, path), place=planes.place(path))


def cure(paths, *, others=(), version="v1.32.1"):
    files = [at(path) for path in paths]
    here = facts((*files, *(at(path, LEAF) for path in others)), kubernetes=version)
    return remedies.for_own(Cause.EXPIRED, files, here)


ETCD = (f"{PKI}/etcd/server.crt", f"{PKI}/etcd/peer.crt")
CONFS = tuple(f"/etc/kubernetes/{name}.conf" for name in ("admin", "controller-manager", "scheduler"))
REST = (f"{PKI}/apiserver.crt",)


@pytest.mark.parametrize(
    ("paths", "steps"),
    [
        (
            (f"{PKI}/apiserver.crt",),
            (
                "sudo kubeadm certs renew apiserver && sudo mv /etc/kubernetes/manifests/kube-apiserver.yaml /root/"
                " && sleep 20 && { for p in kube-apiserver; do sudo pkill -x $p; done; true; } && sudo mv /root/kube-apiserver.yaml /etc/kubernetes/manifests/"
            ),
        ),
        (
            ETCD,
            "sudo kubeadm certs renew etcd-server && sudo kubeadm certs renew etcd-peer && sudo systemctl restart kubelet",
        ),
        (
            (f"{PKI}/apiserver-kubelet-client.crt", f"{PKI}/front-proxy-client.crt"),
            (
                "sudo kubeadm certs renew apiserver-kubelet-client && sudo kubeadm certs renew front-proxy-client"
                " && sudo mv /etc/kubernetes/manifests/kube-apiserver.yaml /root/ && sleep 20 && { for p in kube-apiserver; do sudo pkill -x $p; done; true; }"
                " && sudo mv /root/kube-apiserver.yaml /etc/kubernetes/manifests/"
            ),
        ),
        (
            CONFS,
            (
                "sudo kubeadm certs renew admin.conf && sudo kubeadm certs renew controller-manager.conf"
                " && sudo kubeadm certs renew scheduler.conf"
                " && sudo mv /etc/kubernetes/manifests/kube-controller-manager.yaml"
                " /etc/kubernetes/manifests/kube-scheduler.yaml /root/ && sleep 20"
                " && { for p in kube-controller kube-scheduler; do sudo pkill -x $p; done; true; }"
                " && sudo mv /root/kube-controller-manager.yaml /root/kube-scheduler.yaml /etc/kubernetes/manifests/"
            ),
        ),
        (("/etc/kubernetes/super-admin.conf",), "sudo kubeadm certs renew super-admin.conf"),
    ],
)
def test_kubeadm_renews_each_file_and_restarts_each_holder(paths, steps):
    others = [path for path in (*ETCD, *CONFS, *REST) if path not in paths]
    assert cure(paths, others=others).command == steps


def test_pod_of_an_unknown_program_is_moved_and_ended_by_the_kubelet_alone():
    command = shell(cures.restarts(["kube-proxy"], "kubeadm"))
    assert ("manifests/kube-proxy.yaml" in command, "pkill" in command) == (True, False)


def test_all_are_renewed_at_once_only_if_all_need_it():
    remedy = cure((*ETCD, *CONFS, *REST))
    assert remedy.command.startswith(
        "sudo kubeadm certs renew all && sudo mv /etc/kubernetes/manifests/kube-apiserver.yaml"
    )
    assert remedy.command.endswith("&& sudo systemctl restart kubelet")
    assert "restart the kubelet, which ends its back-off" in remedy.why
    assert "renew all" not in cure((*ETCD, *CONFS), others=REST).command


@pytest.mark.parametrize(
    ("version", "command"),
    [
        ("v1.15.0", "kubeadm alpha certs renew apiserver"),
        ("v1.19.16", "kubeadm alpha certs renew apiserver"),
        ("v1.20.2", "kubeadm certs renew apiserver"),
        ("v1.36.0", "kubeadm certs renew apiserver"),
        ("", "kubeadm certs renew apiserver"),
    ],
)
def test_command_fits_the_installed_kubeadm(version, command):
    assert command in cure((f"{PKI}/apiserver.crt",), version=version).command
    assert ("alpha" in cure((f"{PKI}/apiserver.crt",), version=version).command) is ("alpha" in command)


@pytest.mark.parametrize(
    ("path", "kind", "why"),
    [
        (f"{PKI}/ca.crt", "manual", "The CA itself expires"),
        (f"{PKI}/etcd/ca.crt", "manual", "The CA itself expires"),
        (f"{PKI}/apiserver.crt", "renew", "kubeadm renews only on command"),
    ],
)
def test_no_command_of_kubeadm_is_shown_for_a_ca(path, kind, why):
    file = at(path, EXPIRED if kind == "renew" else CA)
    remedy = remedies.for_own(Cause.EXPIRES_SOON, [file], facts((file,)))

    assert (remedy.kind, remedy.target) == (kind, "kubeadm")
    assert remedy.why.startswith(why)
    assert ("kubeadm certs renew" in remedy.command) is (kind == "renew")


def test_ca_in_the_file_of_the_kubelet_is_not_moved_aside():
    files = [at(CURRENT), at(CURRENT, CA)]

    assert f"sudo mv {CURRENT}" in remedies.for_own(Cause.EXPIRED, files[:1], facts(tuple(files))).command
    assert "sudo mv" not in remedies.for_own(Cause.EXPIRED, files, facts(tuple(files))).command


def test_healthcheck_client_of_etcd_needs_no_restart():
    remedy = cure((f"{PKI}/etcd/healthcheck-client.crt",), others=REST)
    assert remedy.command == "sudo kubeadm certs renew etcd-healthcheck-client"
    assert "No program needs a restart" in remedy.why


def test_kubelet_gets_a_new_kubeconfig_in_the_way_of_every_version():
    remedy = cure((KUBELET_CONF, CURRENT))
    assert remedy.command == (
        f"sudo mv {KUBELET_CONF} {KUBELET_CONF}.expired && sudo mv {CURRENT} {CURRENT}.expired"
        " && sudo kubeadm init phase kubeconfig kubelet && sudo systemctl restart kubelet"
    )


def test_kubelet_conf_with_the_first_certificate_only_needs_to_name_the_renewed_file():
    remedy = cure((KUBELET_CONF,), others=(CURRENT,))
    assert f"client-certificate: {CURRENT}" in remedy.command
    assert remedy.command.endswith("sudo systemctl restart kubelet")
    assert "kubeadm" not in remedy.command
    assert "No new certificate is needed" in remedy.why
    here = facts((at(KUBELET_CONF), at(CURRENT, LEAF)))
    assert remedies.effect_of_files(Cause.EXPIRED, here.stored[:1], here).startswith(
        "The next start of the kubelet fails."
    )
    assert "NotReady" in remedies.effect_of_files(Cause.EXPIRED, here.stored[:1], facts(here.stored[:1]))


def test_serving_certificate_of_the_kubelet_is_no_case_for_kubeadm():
    remedy = cure(("/var/lib/kubelet/pki/kubelet-server-current.pem",))
    assert cures.of_kubelet([at("/var/lib/kubelet/pki/kubelet-server-current.pem")], facts(())) == ()
    assert "init phase" not in remedy.command


@pytest.mark.parametrize(
    ("path", "ends"),
    [
        ("/srv/kubernetes/kube-apiserver/etcd-client.crt", "restart kops-configuration"),
        (
            "/etc/kubernetes/kube-apiserver-healthcheck/secrets/client.crt",
            "sudo mv /root/kube-apiserver.manifest /etc/kubernetes/manifests/",
        ),
        ("/var/lib/kube-scheduler/kubeconfig", "sudo mv /root/kube-scheduler.manifest /etc/kubernetes/manifests/"),
        ("/etc/kubernetes/kops-controller/kops-controller.crt", "restart kops-configuration"),
    ],
)
def test_nodeup_runs_again_before_programs_that_read_only_at_their_start(path, ends):
    command = cure((path,)).command
    assert command.startswith("sudo systemctl restart kops-configuration")
    assert command.endswith(ends)


@pytest.mark.parametrize(
    ("names", "plane", "command"),
    [
        (["kube-scheduler"], "k3s", "sudo systemctl restart k3s"),
        (["kube-apiserver"], "rke2", "sudo systemctl restart rke2-server"),
        (["etcd"], "etcd", "sudo systemctl restart etcd"),
        (["kubelet"], "kops", "sudo systemctl restart kubelet"),
        (["x"], "", ""),
        (["kube-scheduler"], "etcd", ""),
        (
            ["kube-scheduler", "etcd"],
            "kubeadm",
            (
                "sudo mv /etc/kubernetes/manifests/etcd.yaml /etc/kubernetes/manifests/kube-scheduler.yaml /root/ && sleep 20"
                " && { for p in etcd kube-scheduler; do sudo pkill -x $p; done; true; }"
                " && sudo mv /root/etcd.yaml /root/kube-scheduler.yaml /etc/kubernetes/manifests/"
            ),
        ),
    ],
)
def test_restart_of_a_holder_depends_on_the_plane(names, plane, command):
    assert remedies.for_holders(names, plane).command == command


@pytest.mark.parametrize(
    ("ca", "restarted", "kubeconfigs"),
    [
        ("ca", ("kube-apiserver", "kube-controller-manager", "kube-scheduler"), True),
        ("etcd/ca", ("etcd", "kube-apiserver"), False),
        ("front-proxy-ca", ("kube-apiserver",), False),
    ],
)
def test_signed_ca_is_handed_to_all_that_hold_it(ca, restarted, kubeconfigs):
    file = at(f"{PKI}/{ca}.crt", CA)
    command = remedies.for_own(Cause.CA_EXPIRED, [file], facts((file,))).command

    assert command.startswith(f"sudo cp {PKI}/{ca}.crt {PKI}/{ca}.crt.expired && sudo openssl x509 ")
    moved = " ".join(f"/etc/kubernetes/manifests/{name}.yaml" for name in restarted)
    assert f"&& sudo mv {moved} /root/ && sleep 20" in command
    assert ("certificate-authority-data" in command) is kubeconfigs
    assert command.endswith("&& sudo systemctl restart kubelet")


def test_ca_of_another_place_or_plane_is_only_signed_again():
    assert cures.of_cas([(f"{PKI}/ca.crt", "")], "etcd") == cures.sign_ca_again(f"{PKI}/ca.crt")
    assert cures.of_cas([("/a b/ca.crt", "")], "kubeadm") == ()


@pytest.mark.parametrize(
    ("plane", "path", "name", "handed"),
    [
        (
            "kops",
            "/mnt/master-vol-1/pki/etcd-cluster-token-etcd/peers/ca.crt",
            "etcd-peers-ca-main",
            "--primary && kops update",
        ),
        ("kops", "/srv/kubernetes/ca.crt", "kubernetes-ca", "kops create keypair kubernetes-ca --cert"),
        (
            "k3s",
            "/var/lib/rancher/k3s/agent/server-ca.crt",
            "k3s-server-ca@1",
            "k3s certificate rotate-ca --path=/opt/k3s/server",
        ),
        (
            "rke2",
            "/var/lib/rancher/rke2/server/tls/etcd/peer-ca.crt",
            "etcd-peer-ca@1",
            "systemctl restart rke2-server",
        ),
    ],
)
def test_ca_of_each_plane_is_signed_again_and_handed_on_in_its_way(plane, path, name, handed):
    command = shell(cures.of_cas([(path, name)], plane))
    assert " -signkey /" in command
    assert handed in command
    assert command.index("-signkey") < command.index(handed)


def test_cas_that_expire_together_are_all_signed_before_one_restart_of_each_holder():
    paths = [(f"{PKI}/{name}.crt", "") for name in ("ca", "etcd/ca", "front-proxy-ca")]
    command = shell(cures.of_cas(paths, "kubeadm"))
    assert command.count("-signkey") == 3
    assert command.count("sleep 20") == command.count("systemctl restart") == 1
    moved = "etcd.yaml", "kube-apiserver.yaml", "kube-controller-manager.yaml", "kube-scheduler.yaml"
    assert all(command.count(f"/root/{name}") == 1 for name in moved)
    twice = [("/var/lib/rancher/k3s/agent/client-ca.crt", ""), ("/var/lib/rancher/k3s/server/tls/client-ca.crt", "")]
    assert shell(cures.of_cas(twice, "k3s")).count("-signkey") == 1


@pytest.mark.parametrize("plane", ["k3s", "rke2"])
def test_supervisor_takes_an_expired_ca_only_with_the_clock_set_back(plane):
    expired = pki.authority("k3s-server-ca@1", not_before=NOW - 400 * DAY, not_after=NOW - DAY)
    ending = pki.authority("k3s-server-ca@1", not_before=NOW - 400 * DAY, not_after=NOW + DAY)
    path = f"/var/lib/rancher/{plane}/server/tls/server-ca.crt"
    files = [at(path, expired)]
    remedy = remedies.for_own(Cause.CA_EXPIRED, files, facts(tuple(files)))
    signed, past = remedy.command.split(" && { past=$(($(date +%s) - ")
    assert "-signkey" in signed  # with the clock of today
    assert past.startswith(f"{int((NOW - DAY).timestamp()) - 3600}))")
    order = ["set-ntp false", "-$past seconds", "rotate-ca", "+$past seconds", "set-ntp true", "test $failed = 0"]
    assert [past.index(step) for step in order] == sorted(past.index(step) for step in order)
    assert "sets the clock back" in remedy.why
    soon = remedies.for_own(Cause.EXPIRES_SOON, [at(path, ending)], facts((at(path, ending),)))
    assert "rotate-ca" in soon.command
    assert "date" not in soon.command
    assert "clock" not in soon.why


@pytest.mark.parametrize(
    ("plane", "path", "name"),
    [
        ("kops", "/srv/kubernetes/ca.crt", "an operator's own CA"),
        ("k3s", "/var/lib/rancher/k3s/server/tls/client-ca.nochain.crt", "k3s-client-ca@1"),
    ],
)
def test_ca_whose_key_has_no_known_place_is_not_signed_again(plane, path, name):
    assert cures.of_cas([(path, name)], plane) == ()


@pytest.mark.parametrize(
    ("path", "name", "command"),
    [
        ("/srv/kubernetes/ca.crt", "kubernetes-ca", "kops create keypair kubernetes-ca"),
        ("/srv/kubernetes/ca.crt", "mine", "kops get keypairs"),
        ("/var/snap/microk8s/current/certs/ca.crt", "10.152.183.1", "microk8s refresh-certs --cert ca.crt"),
    ],
)
def test_expired_ca_has_a_recipe_on_each_plane(path, name, command):
    file = at(path, pki.authority(name, not_before=NOW - 400 * DAY, not_after=NOW - DAY))
    remedy = remedies.for_own(Cause.CA_EXPIRED, [file], facts((file,)))
    assert (remedy.helps, command in remedy.command) == ("no", True)


@pytest.mark.parametrize("cause", [Cause.CA_EXPIRED, Cause.EXPIRES_SOON])
def test_all_cas_that_expire_together_are_signed_before_one_restart(cause):
    paths = [f"{PKI}/{name}.crt" for name in ("etcd/ca", "ca", "front-proxy-ca")]
    files = [at(path, CA) for path in paths]
    remedy = remedies.for_own(cause, files, facts(tuple(files)))

    assert [path for path in paths if f"-signkey {path.removesuffix('.crt')}.key" not in remedy.command] == []
    assert remedy.command.count("sleep 20") == 1
    assert "etcd.yaml" in remedy.command
    assert remedy.why.startswith("The CA itself has expired" if cause is Cause.CA_EXPIRED else "The CA itself expires")


def test_ca_is_signed_again_with_its_own_key():
    steps = cures.sign_ca_again(f"{PKI}/ca.crt")
    assert [step.argv[1] for step in steps] == ["cp", "openssl"]
    assert cures.sign_ca_again("/etc/etcd/ca.pem") == ()
    assert cures.sign_ca_again("/a b/ca.crt") == ()


def test_each_process_is_ended_by_a_name_that_pkill_takes():
    """Of a longer pattern that matches nothing, pkill says that it never can, and what to try instead (procps-ng 4.0.2)."""
    programs = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    typed = shell(cures.restarts(programs, "kubeadm"))
    (names,) = re.findall("for p in ([^;]*); do sudo pkill -x [$]p; done", typed)
    assert names.split() == [name[:15] for name in programs]
