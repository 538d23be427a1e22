"""Each plane's files: their paths, their uses, and what a restart does to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

import pytest

from certmedic.core import planes
from certmedic.core.certificates import parse
from certmedic.core.model import Certificate
from certmedic.core.planes.uses import USES
from labs.pki import Authority, authority

NOW = datetime.now(UTC)
OLD, FIRST = "kopeio/etcd-manager:3.0.20200307", "kopeio/etcd-manager:3.0.20200428"


@pytest.mark.parametrize(
    ("program", "version", "takes_up"),
    [
        ("/opt/etcd-v3.2.18-linux-amd64/etcd", "3.2.18", False),
        ("/opt/etcd-v3.5.30/etcd", "3.5.30", True),
        ("/opt/etcd-v3.5.30/usr/local/bin/etcd", "3.5.30", True),
        ("/opt/etcd-v3.2.24-linux-amd64/etcd", "3.2.24", True),
        ("/opt/etcd-v3.3.3-linux-arm64/etcd", "3.3.3", False),
        ("/opt/etcd-v3.5.9/etcd", "3.5.9", True),
        ("/opt/etcd-v3.1.12-linux-amd64/etcd", "3.1.12", False),
        ("/opt/etcd-v2.2.1-linux-amd64/etcd", "2.2.1", False),
        ("/opt/etcd-v10.0.0/etcd", "10.0.0", True),
        ("/usr/bin/etcd", "", None),
        ("/opt/etcd-v3.2.18/etcdctl", "", None),
    ],
)
def test_etcd_reloads_its_certificate_from_some_versions_on(program, version, takes_up):
    assert planes.etcd_version(program) == version
    assert planes.takes_up(version) is takes_up


def read(leaf_pem: bytes, path: str = "") -> Certificate:
    return parse(leaf_pem, path)[0]


@pytest.fixture(scope="module")
def peers_ca() -> Authority:
    return authority("etcd-peers-ca-events")


# path on a master -> plane, group, use, renewer, CA file, ports
PLACES = {
    "/mnt/master-vol-0a1b2c/pki/etcd-cluster-token-etcd/peers/me.crt": (
        "kops", "main", "peer", "etcd-manager", "/mnt/master-vol-0a1b2c/pki/etcd-cluster-token-etcd/peers/ca.crt", (2380,),
    ),
    "/mnt/master-vol-0a1b2c/pki/etcd-cluster-token-etcd-events/clients/server.crt": (
        "kops", "events", "server", "etcd-manager", "/mnt/master-vol-0a1b2c/pki/etcd-cluster-token-etcd-events/clients/ca.crt", (4002,),
    ),
    "/mnt/hcloud-17/pki/etcd-cluster-token-etcd-cilium/peers/me.crt": (
        "kops", "cilium", "peer", "etcd-manager", "/mnt/hcloud-17/pki/etcd-cluster-token-etcd-cilium/peers/ca.crt", (2382,),
    ),
    "/mnt/scw-1/pki/etcd-cluster-token-etcd-leases/clients/server.crt": (
        "kops", "leases", "server", "etcd-manager", "/mnt/scw-1/pki/etcd-cluster-token-etcd-leases/clients/ca.crt", (4004,),
    ),
    "/mnt/disks/master-eu-west4-a-etcd/pki/etcd-cluster-token-etcd/peers/ca.crt": ("kops", "main", "ca", "etcd-manager", "", ()),
    "/etc/kubernetes/pki/etcd-manager-events/etcd-manager-server-etcd-events-a.crt": (
        "kops", "events", "manager-server", "etcd-manager", "/etc/kubernetes/pki/etcd-manager-events/etcd-manager-ca.crt", (3997,),
    ),
    "/etc/kubernetes/pki/etcd-manager-main/etcd-manager-client-etcd-a.crt": (
        "kops", "main", "manager-client", "etcd-manager", "/etc/kubernetes/pki/etcd-manager-main/etcd-manager-ca.crt", (),
    ),
    "/etc/kubernetes/pki/etcd-manager-main/etcd-clients-ca.crt": ("kops", "main", "ca", "nodeup", "", ()),
    "/etc/kubernetes/pki/kube-apiserver/etcd-client.crt": (
        "kops", "", "apiserver-etcd-client", "nodeup", "/etc/kubernetes/pki/kube-apiserver/etcd-ca.crt", (),
    ),
    "/srv/kubernetes/kube-apiserver/etcd-client.crt": (
        "kops", "", "apiserver-etcd-client", "nodeup", "/srv/kubernetes/kube-apiserver/etcd-ca.crt", (),
    ),
    "/etc/srv/kubernetes/kube-apiserver/server.crt": ("kops", "", "apiserver", "nodeup", "/etc/srv/kubernetes/ca.crt", (443,)),
    "/srv/kubernetes/server.cert": ("kops", "", "apiserver", "nodeup", "/srv/kubernetes/ca.crt", (443,)),
    "/srv/kubernetes/kubelet-server.crt": ("kops", "", "kubelet", "nodeup", "/srv/kubernetes/ca.crt", (10250,)),
    "/var/lib/kubelet/kubeconfig": ("kops", "", "kubelet-client", "nodeup", "/srv/kubernetes/ca.crt", ()),
    "/etc/kubernetes/pki/cilium/etcd-client-cilium.crt": (
        "kops", "cilium", "cilium-etcd-client", "nodeup", "/etc/kubernetes/pki/cilium/etcd-ca.crt", (),
    ),
    "/etc/kubernetes/pki/apiserver.crt": ("kubeadm", "", "apiserver", "kubeadm", "/etc/kubernetes/pki/ca.crt", (6443,)),
    "/etc/kubernetes/pki/apiserver-etcd-client.crt": (
        "kubeadm", "", "apiserver-etcd-client", "kubeadm", "/etc/kubernetes/pki/etcd/ca.crt", (),
    ),
    "/etc/kubernetes/pki/etcd/peer.crt": ("kubeadm", "", "peer", "kubeadm", "/etc/kubernetes/pki/etcd/ca.crt", (2380,)),
    "/etc/kubernetes/scheduler.conf": ("kubeadm", "", "scheduler-client", "kubeadm", "/etc/kubernetes/pki/ca.crt", ()),
    "/var/lib/kubelet/pki/kubelet-client-current.pem": ("kubeadm", "", "kubelet-client", "kubelet", "/etc/kubernetes/pki/ca.crt", ()),
    "/var/lib/rancher/k3s/server/tls/etcd/peer-server-client.crt": (
        "k3s", "", "peer", "k3s", "/var/lib/rancher/k3s/server/tls/etcd/peer-ca.crt", (2380,),
    ),
    "/var/lib/rancher/k3s/server/tls/serving-kube-apiserver.crt": (
        "k3s", "", "apiserver", "k3s", "/var/lib/rancher/k3s/server/tls/server-ca.crt", (6444,),
    ),
    "/var/lib/rancher/rke2/server/tls/serving-kube-apiserver.crt": (
        "rke2", "", "apiserver", "rke2", "/var/lib/rancher/rke2/server/tls/server-ca.crt", (6443,),
    ),
    "/var/lib/rancher/rke2/server/tls/client-rke2-controller.crt": (
        "rke2", "", "client", "rke2", "/var/lib/rancher/rke2/server/tls/client-ca.crt", (),
    ),
    "/var/lib/rancher/k3s/agent/serving-kubelet.crt": ("k3s", "", "kubelet", "k3s", "/var/lib/rancher/k3s/agent/server-ca.crt", (10250,)),
    "/etc/ssl/etcd/ssl/member-node1.pem": ("etcd", "", "peer", "operator", "/etc/ssl/etcd/ssl/ca.pem", (2379, 2380)),
    "/etc/etcd/pki/peer.crt": ("etcd", "", "peer", "operator", "/etc/etcd/pki/ca.crt", ()),
    "/etc/etcd/server.pem": ("etcd", "", "server", "operator", "/etc/etcd/ca.pem", ()),
    "/var/lib/etcd/fixtures/peer/cert.pem": ("etcd", "", "peer", "etcd", "", (2380,)),
    "/var/snap/microk8s/current/certs/server.crt": ("microk8s", "", "apiserver", "microk8s", "/var/snap/microk8s/current/certs/ca.crt", (16443,)),
    "/etc/kubernetes/static-pod-resources/etcd-certs/secrets/etcd-all-certs/etcd-peer-m0.example.crt": (
        "openshift", "", "peer", "openshift",
        "/etc/kubernetes/static-pod-resources/etcd-certs/configmaps/etcd-all-bundles/server-ca-bundle.crt", (2380,),
    ),
    "/etc/kubernetes/static-pod-resources/etcd-certs/secrets/etcd-all-certs/etcd-serving-metrics-m0.crt": (
        "openshift", "", "metrics", "openshift", "", (9979,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("path", PLACES)
def test_every_file_of_every_plane_has_its_place_and_a_pattern(path):
    place = planes.place(path)
    assert (place.plane, place.group, place.use, place.renewer, place.ca_path, place.ports) == PLACES[path]
    assert any(same_depth_match(path, glob) for glob in planes.patterns([place.plane]))


def same_depth_match(path: str, glob: str) -> bool:
    parts, wanted = path.split("/"), glob.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


@pytest.mark.parametrize("path", PLACES)
def test_copy_below_any_folder_has_the_same_place(path):
    here, there = planes.place(path), planes.place("/tmp/copy" + path)
    assert (there.plane, there.group, there.use, there.renewer, there.ports) == (
        here.plane, here.group, here.use, here.renewer, here.ports,
    )  # fmt: skip
    assert there.ca_path == ("/tmp/copy" + here.ca_path if here.ca_path else "")
    beside = planes.place(f"copy{path}")  # a path relative to the folder of the copy
    assert beside.ca_path == (f"copy{here.ca_path}" if here.ca_path else "")


@pytest.mark.parametrize("path", PLACES)
def test_rootfs_of_etcd_manager_is_the_root_of_the_host(path):
    assert planes.place("/rootfs" + path) == planes.place(path)


def test_path_of_every_pattern_belongs_to_its_plane():
    for plane in planes.PLANES.values():
        for kind in plane.files:
            path = kind.glob.replace("*", "x1")
            place = planes.place(path)
            assert place.plane == plane.name, path
            assert place.renewer == kind.renewer, path
            assert not kind.use or place.use == kind.use, path


def test_names_of_renewers_and_uses_are_unique_and_known():
    renewers = [renewer.name for plane in planes.PLANES.values() for renewer in plane.renewers]
    uses = [use.name for use in (*USES, *(use for plane in planes.PLANES.values() for use in plane.uses))]
    assert len(renewers) == len(set(renewers))
    assert len(uses) == len(set(uses))
    assert {kind.renewer for plane in planes.PLANES.values() for kind in plane.files} <= set(renewers)


def test_end_of_a_path_determines_its_place():
    assert planes.place("/some/where/pki/peers/me.crt").use == "peer"
    assert planes.place("/some/where/pki/peers/me.crt").ca_path == "/some/where/pki/peers/ca.crt"
    assert planes.place("/some/where/pki/clients/server.crt").use == "server"
    assert planes.place("/some/where/pki/clients/ca.crt").use == "ca"
    assert planes.place("apiserver/etcd-client.crt").plane == ""  # no plane has a file with these two parts
    assert planes.place("/x/kube-apiserver/etcd-client.crt").renewer == "nodeup"


def test_file_outside_all_planes_has_an_empty_place():
    place = planes.place("/opt/app/tls/site.crt")
    assert (place.plane, place.use, place.renewer, place.ca_path, place.ports) == ("", "", "unknown", "", ())
    assert planes.place("/opt/app/tls/site.crt", use="server").use == "server"


def test_group_is_read_from_the_issuer(peers_ca):
    me = read(peers_ca.leaf("whatever").cert_pem)
    assert planes.place("/copy/pki/peers/me.crt", me).group == "events"
    assert planes.place("/copy/pki/peers/me.crt", me).ports == (2381,)
    assert planes.place("/copy/pki/peers/ca.crt", read(peers_ca.pem)).group == "events"


@pytest.mark.parametrize(
    ("member", "group"),
    [("etcd-a", "main"), ("etcd-eu-west-1a", "main"), ("etcd-events-a", "events"), ("etcd-cilium-b", "cilium"), ("etcd-leases-c", "leases")],
)  # fmt: skip
def test_group_is_read_from_the_member_name_if_groups_share_a_ca(clients_ca, member, group):
    server = read(clients_ca.leaf(member).cert_pem)
    assert planes.place("/mnt/master-vol-1/pki/UMkjoE9YcxRZwt16EBkyew/clients/server.crt", server).group == group


def test_group_is_read_from_a_sibling_as_the_last_resort(clients_ca, peers_ca):
    server, me = read(clients_ca.leaf("wyBAl5vPUhXtFrJ9rJ6hZQ").cert_pem), read(peers_ca.leaf("wyBAl5").cert_pem)
    path = "/mnt/master-vol-1/pki/UMkjoE9YcxRZwt16EBkyew/clients/server.crt"
    assert planes.place(path, server).group == ""
    assert planes.place(path, server, siblings=[me]).group == "events"
    assert planes.place("/mnt/v/clients/ca.crt", read(clients_ca.pem), siblings=[me]).group == "events"


def test_ca_in_the_file_of_a_leaf_has_the_use_ca(peers_ca):
    leaf, chain = parse(peers_ca.leaf("etcd").cert_pem + peers_ca.pem, "x")
    path = "/var/lib/rancher/k3s/server/tls/etcd/peer-server-client.crt"
    assert planes.place(path, leaf).use == "peer"
    assert planes.place(path, chain).use == "ca"
    assert planes.place(path, chain).ports == ()
    assert planes.place("/etc/kubernetes/admin.conf", read(peers_ca.pem)).use == "ca"


def test_patterns_are_limited_to_planes_and_a_root_folder():
    assert planes.patterns(["k3s"], root="/copy/")[0].startswith("/copy/var/lib/rancher/k3s/")
    assert set(planes.patterns("auto")) == {glob for plane in planes.PLANES for glob in planes.patterns(plane)}
    kops = planes.patterns("kops")
    for mount in ("/mnt/master-*", "/mnt/disks/master-*", "/mnt/hcloud-*", "/mnt/scw-*", "/mnt/linode-*"):
        assert f"{mount}/pki/*/peers/me.crt" in kops


# ---------------------------------------------------------------- etcd-manager


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("kopeio/etcd-manager:3.0.20200428", "20200428"),
        ("k8s.gcr.io/etcdadm/etcd-manager:3.0.20210430", "20210430"),
        ("registry.k8s.io/etcd-manager/etcd-manager-slim:v3.0.20241012", "20241012"),
        ("mirror.example:5000/etcd-manager:3.0.20200307@sha256:00ff", "20200307"),
        ("kopeio/etcd-manager:latest", None),
        ("kopeio/etcd-manager@sha256:00ff", None),
        ("quay.io/coreos/etcd:3.0.20200428", None),
        ("", None),
    ],
)
def test_version_of_etcd_manager_is_read_from_its_image(image, version):
    assert planes.manager_version(image) == version


@pytest.mark.parametrize(("group", "other"), [("main", "events"), ("events", "main")])
def test_restart_command_names_one_group_only(group, other):
    for runtime, program in (("docker", "docker stop"), ("containerd", "ctr -n k8s.io tasks kill")):
        command = planes.restart_command(group, runtime)
        assert program in command
        assert f"etcd-manager-{group}-" in command
        assert other not in command


LEAVES_OF_ETCD_MANAGER = [
    "/mnt/master-vol-1/pki/etcd-cluster-token-etcd/peers/me.crt",
    "/mnt/master-vol-1/pki/etcd-cluster-token-etcd/clients/server.crt",
    "/etc/kubernetes/pki/etcd-manager-main/etcd-manager-server-etcd-a.crt",
    "/etc/kubernetes/pki/etcd-manager-main/etcd-manager-client-etcd-a.crt",
]


@pytest.mark.parametrize("path", LEAVES_OF_ETCD_MANAGER)
def test_etcd_manager_renews_its_leaves_from_version_20200428_on(path):
    place = planes.place(path)
    assert planes.restart_effect(place, FIRST).kind == "renews"
    assert planes.restart_effect(place, FIRST).command == planes.restart_command("main")
    kept = planes.restart_effect(place, OLD, path=path)
    assert kept.kind == "keeps_expired"
    assert kept.command.startswith(f"sudo mv {path} {path}.expired && ")
    assert "3.0.20200307" in kept.why
    assert planes.restart_effect(place, None).kind == "unknown"
    assert planes.restart_effect(place, "kopeio/etcd-manager:latest").kind == "unknown"


def test_path_with_a_space_is_quoted():
    kept = planes.restart_effect(planes.place("/a b/peers/me.crt"), OLD, path="/a b/peers/me.crt")
    assert "'/a b/peers/me.crt' '/a b/peers/me.crt.expired'" in kept.command


RENEWED_BY_RESTART = ("etcd-manager", "k3s", "rke2")


@pytest.mark.parametrize("path", PLACES)
def test_restart_renews_a_leaf_only_if_its_renewer_reissues_it(path):
    place = planes.place(path)
    effect = planes.restart_effect(place, FIRST, path=path)
    if place.use == "ca" or place.renewer not in RENEWED_BY_RESTART:
        assert effect.kind in ("nothing", "rereads", "keeps_expired")
    else:
        assert effect.kind == "renews"
    assert effect.why


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("/srv/kubernetes/kube-apiserver/etcd-client.crt", "systemctl restart kops-configuration"),
        ("/etc/kubernetes/pki/etcd/server.crt", "kubeadm certs renew etcd-server"),
        ("/etc/kubernetes/pki/etcd/healthcheck-client.crt", "kubeadm certs renew etcd-healthcheck-client"),
        ("/etc/kubernetes/super-admin.conf", "kubeadm certs renew super-admin.conf"),
        ("/etc/kubernetes/pki/apiserver.crt", "mv /etc/kubernetes/manifests/kube-apiserver.yaml /root/"),
        ("/var/lib/rancher/k3s/agent/client-kubelet.crt", "systemctl restart k3s"),
        ("/var/lib/rancher/rke2/server/tls/etcd/client.crt", "systemctl restart rke2-server"),
        ("/var/snap/microk8s/current/certs/front-proxy-client.crt", "refresh-certs --cert front-proxy-client.crt"),
    ],
)
def test_command_for_a_person_is_that_of_the_renewer(path, command):
    assert command in planes.restart_effect(planes.place(path), None, path=path).command


def test_k3s_renews_only_close_to_expiry():
    place = planes.place("/var/lib/rancher/k3s/server/tls/client-admin.crt")
    assert planes.restart_effect(place, None, residual=timedelta(days=-3)).kind == "renews"
    assert planes.restart_effect(place, None, residual=timedelta(days=30)).kind == "renews"
    assert (
        planes.restart_effect(place, None, residual=timedelta(days=100)).kind == "unknown"
    )  # it depends on the release
    assert planes.restart_effect(place, None, residual=timedelta(days=200)).kind == "nothing"
    dynamic = planes.place("/var/lib/rancher/k3s/server/tls/dynamic-cert.json")
    assert planes.restart_effect(dynamic, None).kind == "unknown"


# ---------------------------------------------------------------- flags and start-up lines of etcd


def test_paths_are_read_from_flags_before_the_environment():
    paths = planes.paths_from_flags(
        ["etcd", "--cert-file=/a/server.crt", "--peer-cert-file", "/a/peer.crt", "--name", "m1"],
        {"ETCD_CERT_FILE": "/env/server.crt", "ETCD_TRUSTED_CA_FILE": "/a/ca.crt", "HOME": "/root"},
    )
    assert dict(paths) == {"server": "/a/server.crt", "peer": "/a/peer.crt", "ca": "/a/ca.crt"}
    assert planes.paths_from_flags(["etcd", "--cert-file"], {}) == ()
    assert planes.paths_from_flags([], {}) == ()


def test_other_lines_give_no_paths():
    for line in (
        "",
        "raft: cert = /x",
        'msg="serving" cert=/x',
        "peerTLS: cert = , key = , trusted-ca = , client-cert-auth = false",
    ):
        assert planes.paths_from_startup_line(line) == ()


@pytest.mark.parametrize("plane", ["k3s", "rke2"])
@pytest.mark.parametrize(
    "file",
    ["server/tls/client-ca.crt", "server/tls/client-ca.nochain.crt", "server/tls/server-ca.nochain.crt", "agent/client-ca.crt"],
)  # fmt: skip
def test_every_ca_file_of_rancher_has_the_use_ca(plane, file):
    where = planes.place(f"/var/lib/rancher/{plane}/{file}")
    assert (where.plane, where.use) == (plane, "ca")
    assert planes.restart_effect(where, None).kind == "nothing"


RESTART, ROTATE = "sudo systemctl restart {unit}", "sudo {plane} certificate rotate"


@pytest.mark.parametrize(("plane", "unit"), [("k3s", "k3s"), ("rke2", "rke2-server")])
@pytest.mark.parametrize(
    ("residual", "kind", "command"),
    [
        (None, "renews", RESTART),
        (timedelta(days=-1), "renews", RESTART),
        (timedelta(days=90), "renews", RESTART),
        (timedelta(days=90, seconds=1), "unknown", RESTART),
        (timedelta(days=120), "unknown", RESTART),
        (timedelta(days=120, seconds=1), "nothing", ROTATE),
    ],
)
def test_command_for_k3s_and_rke2_at_the_boundaries_of_the_residual_time(plane, unit, residual, kind, command):
    where = planes.place(f"/var/lib/rancher/{plane}/server/tls/serving-kube-apiserver.crt")
    effect = planes.restart_effect(where, None, residual=residual)
    assert (effect.kind, effect.command) == (kind, command.format(plane=plane, unit=unit))


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("/etc/kubernetes/pki/etcd/peer.crt", "/etc/kubernetes/pki/etcd/ca"),
        ("/etc/kubernetes/pki/apiserver-etcd-client.crt", "/etc/kubernetes/pki/etcd/ca"),
        ("/etc/kubernetes/pki/apiserver.crt", "/etc/kubernetes/pki/ca"),
        ("/etc/kubernetes/pki/front-proxy-client.crt", "/etc/kubernetes/pki/front-proxy-ca"),
        ("/etc/kubernetes/admin.conf", "/etc/kubernetes/pki/ca"),
        ("/etc/kubernetes/scheduler.conf", "/etc/kubernetes/pki/ca"),
        ("/etc/kubernetes/kubelet.conf", ""),
        ("/root/.kube/config", ""),  # a person's copy is not signed again
    ],
)
def test_authority_that_signs_a_leaf_of_kubeadm_again_is_known(path, stem):
    authorities = planes.signing_authorities(planes.place(path), "/copy")
    assert authorities == (((f"/copy{stem}.crt", f"/copy{stem}.key"),) if stem else ())
