"""The tables of files against what nodeup, kubeadm, k3s and rke2 write, by their own sources."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from certmedic.core import planes

# kubernetes/kops@268927e26409, nodeup/pkg/model: each IssueCert, BuildCertificatePairTask and BuildIssuedKubeconfig of a
# control-plane machine (kube_apiserver.go, kube_apiserver_healthcheck.go, kops_controller.go, kube_controller_manager.go,
# kube_scheduler.go, kubelet.go, kubectl.go, channels.go, kube_proxy.go, secrets.go, etcd_manager_tls.go, networking/).
NODEUP = {
    "kops": (
        "/srv/kubernetes/ca.crt",
        "/srv/kubernetes/aws-iam-authenticator/cert.pem",
        "/srv/kubernetes/kube-apiserver/apiserver-aggregator-ca.crt",
        "/srv/kubernetes/kube-apiserver/apiserver-aggregator.crt",
        "/srv/kubernetes/kube-apiserver/etcd-ca.crt",
        "/srv/kubernetes/kube-apiserver/etcd-client.crt",
        "/srv/kubernetes/kube-apiserver/kubelet-api.crt",
        "/srv/kubernetes/kube-apiserver/server.crt",
        "/srv/kubernetes/kube-controller-manager/ca.crt",
        "/srv/kubernetes/kube-controller-manager/server.crt",
        "/srv/kubernetes/kube-scheduler/server.crt",
        "/srv/kubernetes/kubelet-server.crt",
        "/etc/kubernetes/kube-apiserver-healthcheck/secrets/ca.crt",
        "/etc/kubernetes/kube-apiserver-healthcheck/secrets/client.crt",
        "/etc/kubernetes/kops-controller/etcd-clients-ca-cilium.crt",
        "/etc/kubernetes/kops-controller/kops-controller.crt",
        "/etc/kubernetes/kops-controller/kubernetes-ca.crt",
        "/etc/kubernetes/pki/cilium/etcd-ca.crt",
        "/etc/kubernetes/pki/cilium/etcd-client-cilium.crt",
        "/etc/kubernetes/pki/etcd-manager-main/etcd-clients-ca.crt",
        "/etc/kubernetes/pki/etcd-manager-main/etcd-manager-ca.crt",
        "/etc/kubernetes/pki/etcd-manager-main/etcd-peers-ca.crt",
        "/etc/kubernetes/pki/etcd-manager-events/etcd-peers-ca.crt",
        "/var/lib/kops/kubeconfig",
        "/var/lib/kube-controller-manager/kubeconfig",
        "/var/lib/kube-proxy/kubeconfig",
        "/var/lib/kube-router/kubeconfig",
        "/var/lib/kube-scheduler/kubeconfig",
        "/var/lib/kubectl/kubeconfig",
        "/var/lib/kubelet/kubeconfig",
    )
}
# Files that only older nodeups write, at the tags v1.15.3 (298c2fce80bc), v1.18.3 (11ec695516cc), v1.20.3 (6995b1255925) and v1.24.1
# (0e1f09cd3023) of the same repository, beside most of the above. The three etcd*.pem and calico's are those of masters without
# etcd-manager (protokube.go, etcd_tls.go). No program reads proxy-client.cert, which secrets.go wrote until v1.18.
OLD_NODEUP = {
    "kops": (
        "/srv/kubernetes/server.cert",
        "/srv/kubernetes/server.crt",
        "/srv/kubernetes/apiserver-aggregator.cert",
        "/srv/kubernetes/apiserver-aggregator.crt",
        "/srv/kubernetes/apiserver-aggregator-ca.cert",
        "/srv/kubernetes/apiserver-aggregator-ca.crt",
        "/srv/kubernetes/kubelet-api.pem",
        "/srv/kubernetes/kubelet-api.crt",
        "/srv/kubernetes/node-authorizer/tls.pem",
        "/srv/kubernetes/node-authorizer/ca.pem",
        "/srv/kubernetes/etcd.pem",
        "/srv/kubernetes/etcd-peer.pem",
        "/srv/kubernetes/etcd-client.pem",
        "/srv/kubernetes/calico/calico-client.pem",
        "/srv/kubernetes/calico/ca.pem",
        "/etc/kubernetes/pki/kube-apiserver/etcd-client.crt",
        "/etc/kubernetes/pki/kube-apiserver/etcd-ca.crt",
        "/etc/srv/kubernetes/ca.crt",
        "/etc/srv/kubernetes/server.cert",
    )
}
# kubernetes/kubernetes@00886ac0, cmd/kubeadm/app/constants/constants.go; kubelet.crt is the kubelet's serving certificate without
# serverTLSBootstrap. /root/.kube/config is the copy that `kubeadm init` tells its user to make.
KUBEADM = {
    "kubeadm": (
        "/etc/kubernetes/pki/ca.crt",
        "/etc/kubernetes/pki/apiserver.crt",
        "/etc/kubernetes/pki/apiserver-kubelet-client.crt",
        "/etc/kubernetes/pki/apiserver-etcd-client.crt",
        "/etc/kubernetes/pki/front-proxy-ca.crt",
        "/etc/kubernetes/pki/front-proxy-client.crt",
        "/etc/kubernetes/pki/etcd/ca.crt",
        "/etc/kubernetes/pki/etcd/server.crt",
        "/etc/kubernetes/pki/etcd/peer.crt",
        "/etc/kubernetes/pki/etcd/healthcheck-client.crt",
        "/etc/kubernetes/admin.conf",
        "/etc/kubernetes/super-admin.conf",
        "/etc/kubernetes/bootstrap-kubelet.conf",
        "/etc/kubernetes/kubelet.conf",
        "/etc/kubernetes/controller-manager.conf",
        "/etc/kubernetes/scheduler.conf",
        "/var/lib/kubelet/pki/kubelet-client-current.pem",
        "/var/lib/kubelet/pki/kubelet-server-current.pem",
        "/var/lib/kubelet/pki/kubelet.crt",
        "/root/.kube/config",
    )
}
# k3s-io/k3s@09ac65a68f11, pkg/daemons/control/deps/deps.go and pkg/util/services; the folders of the controller manager and the
# scheduler: rancher/rancher#41125. The *.kubeconfig files beside them hold no certificate.
RANCHER = {
    program: (
        *(
            f"/var/lib/rancher/{program}/server/tls/{name}"
            for name in (
                "client-ca.crt", "client-ca.nochain.crt", "server-ca.crt", "server-ca.nochain.crt", "request-header-ca.crt",
                "client-admin.crt", "client-supervisor.crt", "client-controller.crt", f"client-{program}-cloud-controller.crt",
                "client-scheduler.crt", "client-kube-apiserver.crt", "client-kube-proxy.crt", f"client-{program}-controller.crt",
                "serving-kube-apiserver.crt", "client-auth-proxy.crt", "dynamic-cert.json",
                "etcd/server-ca.crt", "etcd/peer-ca.crt", "etcd/server-client.crt", "etcd/peer-server-client.crt", "etcd/client.crt",
                "kube-controller-manager/kube-controller-manager.crt", "kube-scheduler/kube-scheduler.crt",
            )
        ),
        *(
            f"/var/lib/rancher/{program}/agent/{name}"
            for name in (
                "client-ca.crt", "server-ca.crt", "client-kubelet.crt", "serving-kubelet.crt", "client-kube-proxy.crt",
                f"client-{program}-controller.crt",
            )
        ),
        f"/etc/rancher/{program}/{program}.yaml",
    )
    for program in ("k3s", "rke2")
}  # fmt: skip
WRITTEN = [
    (plane, path)
    for table in (NODEUP, OLD_NODEUP, KUBEADM, RANCHER)
    for plane, paths in table.items()
    for path in paths
]


@pytest.mark.parametrize(("plane", "path"), WRITTEN)
def test_every_file_that_the_plane_writes_is_read_and_has_a_use(plane, path):
    assert any(
        len(path.split("/")) == len(glob.split("/")) and all(map(fnmatchcase, path.split("/"), glob.split("/")))
        for glob in planes.patterns(plane)
    )
    place = planes.place(path)
    assert (place.plane, bool(place.use)) == (plane, True)
    assert planes.in_its_place(path)


@pytest.mark.parametrize(
    ("path", "breaks"),
    [
        ("/etc/kubernetes/kube-apiserver-healthcheck/secrets/client.crt", "liveness probe"),
        ("/etc/kubernetes/kops-controller/kops-controller.crt", "cannot join"),
        ("/etc/kubernetes/pki/apiserver-kubelet-client.crt", "kubectl logs"),
        ("/etc/kubernetes/pki/front-proxy-client.crt", "Aggregated APIs"),
        ("/etc/kubernetes/scheduler.conf", "no new pod"),
        ("/etc/kubernetes/controller-manager.conf", "nothing is repaired"),
        ("/etc/kubernetes/admin.conf", "kubectl"),
    ],
)
def test_each_file_says_what_breaks_without_it(path, breaks):
    assert breaks in planes.use_of(planes.place(path).use).refused


@pytest.mark.parametrize(
    ("path", "moved"),
    [
        ("/var/lib/kubelet/pki/kubelet.crt", "kubelet.crt.expired"),
        ("/var/lib/rancher/rke2/server/tls/kube-scheduler/kube-scheduler.crt", "kube-scheduler.crt.expired"),
        (
            "/var/lib/rancher/k3s/server/tls/kube-controller-manager/kube-controller-manager.crt",
            "kube-controller-manager.crt.expired",
        ),
    ],
)
def test_self_signed_serving_certificate_is_moved_away_before_the_restart(path, moved):
    effect = planes.restart_effect(planes.place(path), None, path=path)
    assert effect.kind == "nothing"
    assert moved in effect.command
    assert effect.command.index(moved) < effect.command.index("systemctl restart")


def test_uids_of_kops_own_programs_are_service_accounts():
    assert {10011, 10012} <= set(planes.accounts())  # pkg/wellknownusers: kops-controller, kube-apiserver-healthcheck


def test_only_files_that_no_program_uses_are_idle():
    idle = {path for plane, path in WRITTEN if planes.use_of(planes.place(path).use).is_idle}
    assert idle == {
        "/root/.kube/config",
        "/etc/kubernetes/admin.conf",
        "/etc/kubernetes/super-admin.conf",
        "/etc/kubernetes/bootstrap-kubelet.conf",
        "/var/lib/kubectl/kubeconfig",
        "/etc/rancher/k3s/k3s.yaml",
        "/etc/rancher/rke2/rke2.yaml",
    }
