"""Which origins are trusted: one row for each kind of input. Nothing that a stranger chooses changes the answer."""

from __future__ import annotations

import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as some

from certmedic.core import origin
from certmedic.core.origin import JournalFields, Owner, Process, Trust

SYSTEM, CLUSTER, STRANGER = Trust.SYSTEM, Trust.CLUSTER, Trust.STRANGER
HASH = "0123456789abcdef0123456789abcdef"
UUID = "7b0c7a5e-2f50-4f0c-9d7b-0c2a3f6f5a11"
ID = "f" * 64
STATIC = frozenset({"etcd-manager-main", "kube-apiserver"})
ETCD_POD = "etcd-manager-main-ip-10-0-0-1"
USER = "/user.slice/user-1000.slice"
BURSTABLE = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"


def fields(unit="kubelet.service", cgroup=None, **more):
    cgroup = f"/system.slice/{unit}" if cgroup is None else cgroup
    return JournalFields(**{"uid": 0, "pid": 812, "unit": unit, "cgroup": cgroup, "transport": "stdout", **more})


@pytest.mark.parametrize(
    ("entry", "trust"),
    [
        # Services of the control plane, by every transport that a program can use.
        (fields("kubelet.service"), SYSTEM),
        (fields("kubelet.service", transport="journal"), SYSTEM),
        (fields("k3s.service", transport="syslog"), SYSTEM),
        (fields("rke2-server.service"), SYSTEM),
        (fields("containerd.service"), SYSTEM),
        (fields("docker.service"), SYSTEM),
        (fields("kops-configuration.service"), SYSTEM),
        (fields("etcd.service", uid=998), SYSTEM),  # User=etcd
        (fields("etcd@main.service", cgroup="/system.slice/system-etcd.slice/etcd@main.service"), SYSTEM),
        (fields("kubelet.service", cgroup="/runtime.slice/kubelet.service"), SYSTEM),  # EKS
        (fields("k3s.service", cgroup="/system.slice/k3s.service/init"), SYSTEM),
        (fields("snap.microk8s.daemon-kubelite.service"), SYSTEM),
        # The kernel and auditd quote text that any process chooses.
        (fields("", "", uid=None, transport="kernel"), STRANGER),
        (fields("kubelet.service", transport="audit"), STRANGER),
        (fields("kubelet.service", transport="kernel"), STRANGER),
        # Services of root's that quote strangers.
        (fields("ssh.service"), STRANGER),
        (fields("cron.service"), STRANGER),
        (fields("rsyslog.service"), STRANGER),
        (fields("fluent-bit.service"), STRANGER),
        (fields("systemd-coredump@3-99.service"), STRANGER),
        (fields("init.scope", "/init.scope", pid=1), STRANGER),  # systemd quotes the names of mounts
        # Services of other users.
        (fields("prometheus-node-exporter.service", uid=115), STRANGER),
        (fields("etcd-exporter.service", uid=997), STRANGER),
        (fields("kube-state-metrics.service", uid=996), STRANGER),
        # Sessions and user managers, root's too.
        (fields("session-4.scope", f"{USER}/session-4.scope", uid=1000, transport="syslog"), STRANGER),
        (fields("session-1.scope", "/user.slice/user-0.slice/session-1.scope", transport="syslog"), STRANGER),
        (fields("user@1000.service", f"{USER}/user@1000.service/app.slice/etcd.service", uid=1000), STRANGER),
        (fields("user@0.service", "/user.slice/user-0.slice/user@0.service/init.scope"), STRANGER),
        (fields("etcd.service", f"{USER}/etcd.service"), STRANGER),
        # A service that names its own part of the cgroup tree.
        (fields("web.service", "/system.slice/web.service/etcd.service", uid=33), STRANGER),
        (fields("etcd.service", "/system.slice/web.service/etcd.service", uid=33), STRANGER),
        # Containers whose processes reach journald's socket.
        (fields("", f"/kubepods/besteffort/pod{UUID}/{ID}", transport="journal"), STRANGER),
        (fields(f"cri-containerd-{ID}.scope", f"{BURSTABLE}1.slice/cri-containerd-{ID}.scope"), STRANGER),
        (fields(f"docker-{ID}.scope", f"/system.slice/docker-{ID}.scope"), STRANGER),
        (fields("etcd.service", f"/docker/{ID}/system.slice/etcd.service"), STRANGER),
        (fields("etcd.service", "/machine.slice/machine-x.scope/system.slice/etcd.service"), STRANGER),
        (fields("etcd.service", "/machine.slice/etcd.service"), STRANGER),
        (fields("etcd.service", "/kubepods.slice/etcd.service"), STRANGER),
        # The runtime's cgroup driver is not the kubelet's: pods lie in the runtime's own cgroup.
        (fields("containerd.service", f"/system.slice/containerd.service/kubepods-pod{UUID}.slice:cri:{ID}"), STRANGER),
        (fields("docker.service", f"/system.slice/docker.service/docker/{ID}"), STRANGER),
        # The process was gone before journald looked it up.
        (fields("", ""), STRANGER),
        (fields("kubelet.service", ""), STRANGER),
        (fields("", "/"), STRANGER),
        (fields("kubelet.service", uid=None), STRANGER),
        (JournalFields(), STRANGER),
    ],
)
def test_trust_of_a_journal_entry(entry, trust):
    assert origin.of_journal(entry) is trust


def test_configured_unit_is_trusted_only_if_systemd_runs_it():
    named = {"our-etcd.service"}
    assert origin.of_journal(fields("our-etcd.service", uid=998), named) is SYSTEM
    assert origin.of_journal(fields("our-etcd.service", f"{USER}/our-etcd.service", uid=998), named) is STRANGER
    assert origin.of_journal(fields("other.service"), named) is STRANGER


@pytest.mark.parametrize(
    ("entry", "container", "wanted"),
    [
        (fields("docker.service", comm="dockerd", exe="/usr/bin/dockerd"), "k8s_a_b_c_d_0", True),
        (fields("containerd.service", exe="/usr/bin/nerdctl"), "web", True),
        (fields("docker.service", exe="/usr/bin/dockerd"), "", False),  # dockerd's own line
        (fields("session-4.scope", f"{USER}/session-4.scope", exe="/tmp/dockerd", comm="dockerd"), "x", False),
        (fields("", f"/kubepods/pod{UUID}/{ID}", exe="/usr/bin/dockerd", comm="dockerd"), "x", False),
    ],
)
def test_only_a_container_runtime_logs_for_containers(entry, container, wanted):
    assert origin.is_of_container(entry, container) is wanted


@pytest.mark.parametrize(
    ("folder", "trust"),
    [
        (f"kube-system_{ETCD_POD}_{HASH}", SYSTEM),
        (f"kube-system_{ETCD_POD}_{UUID}", CLUSTER),  # made through the API server
        (f"kube-system_other-ip-10-0-0-1_{HASH}", CLUSTER),  # no manifest names it
        (f"kube-system_coredns-7d_{UUID}", CLUSTER),
        (f"openshift-etcd_kube-apiserver-m1_{HASH}", SYSTEM),
        (f"openshift-etcd_kube-apiserver-m1_{UUID}", STRANGER),
        (f"default_{ETCD_POD}_{HASH}", STRANGER),
        (f"default_{ETCD_POD}_{UUID}", STRANGER),
        (f"kube-system_{ETCD_POD}", STRANGER),
        (f"kube-system_{ETCD_POD}_{HASH}_x", STRANGER),
        ("", STRANGER),
    ],
)
def test_trust_of_a_pod_by_its_log_folder(folder, trust):
    pod = origin.pod_of_folder(folder)
    assert origin.of_pod(pod.namespace, pod.pod, pod.uid, STATIC) is trust


@pytest.mark.parametrize(
    ("name", "configured", "trust"),
    [
        (f"k8s_etcd-manager_{ETCD_POD}_kube-system_{HASH}_0", False, SYSTEM),
        (f"k8s_etcd-manager_{ETCD_POD}_kube-system_{HASH}_0_7d1b", False, SYSTEM),
        (f"k8s_etcd-manager_{ETCD_POD}_kube-system_{UUID}_0", True, CLUSTER),
        (f"k8s_etcd-manager_{ETCD_POD}_default_{HASH}_0", True, STRANGER),
        (f"k8s_etcd-manager_{ETCD_POD}_default_{UUID}_0", True, STRANGER),
        ("k8s_etcd", True, STRANGER),
        ("etcd", True, CLUSTER),
        ("etcd", False, STRANGER),
        ("", False, STRANGER),
    ],
)
def test_trust_of_a_docker_container(name, configured, trust):
    assert origin.of_container(name, STATIC, configured=configured) is trust


def test_static_pod_without_a_manifest_is_only_of_the_cluster():
    assert origin.of_pod("kube-system", ETCD_POD, HASH, ()) is CLUSTER


def test_static_uids_are_those_of_trusted_pods():
    folders = [f"kube-system_{ETCD_POD}_{HASH}", f"default_web_{UUID}", f"default_{ETCD_POD}_{'b' * 32}", "nonsense"]
    assert origin.static_uids(folders, STATIC) == {HASH}


# ---------------------------------------------------------------- files


def folder(path, uid=0, gid=0, mode=0o755):
    return Owner(path, uid, gid, stat.S_IFDIR | mode)


def file(path, uid=0, gid=0, mode=0o640):
    return Owner(path, uid, gid, stat.S_IFREG | mode)


ROOT = folder("/")
VAR = folder("/var")
LOG = folder("/var/log")
UBUNTU = folder("/var/log", gid=104, mode=0o775)
TMP = folder("/tmp", mode=0o1777)
FILES = [
    # description, chain, trust as a log, trust as a certificate
    ("root's", [file("/var/log/etcd.log"), LOG, VAR, ROOT], SYSTEM, SYSTEM),
    ("root's on Ubuntu", [file("/var/log/etcd.log"), UBUNTU, VAR, ROOT], SYSTEM, STRANGER),
    ("the log group's", [file("/var/log/etcd.log", gid=104, mode=0o660), UBUNTU, VAR, ROOT], STRANGER, STRANGER),
    ("syslog's", [file("/var/log/etcd.log", uid=104), UBUNTU, VAR, ROOT], STRANGER, STRANGER),
    ("a user's", [file("/var/log/etcd.log", uid=1000), LOG, VAR, ROOT], STRANGER, STRANGER),
    ("everybody's", [file("/var/log/etcd.log", mode=0o666), LOG, VAR, ROOT], STRANGER, STRANGER),
    ("a group's", [file("/var/log/etcd.log", gid=999, mode=0o660), LOG, VAR, ROOT], STRANGER, STRANGER),
    ("in a user's folder", [file("/h/b/etcd.log"), folder("/h/b", uid=1000), folder("/h"), ROOT], STRANGER, STRANGER),
    ("in a group's folder", [file("/v/etcd.log"), folder("/v", gid=999, mode=0o775), ROOT], STRANGER, STRANGER),
    ("in everybody's folder", [file("/v/etcd.log"), folder("/v", mode=0o777), ROOT], STRANGER, STRANGER),
    ("a folder above is a user's", [file("/v/a/b"), folder("/v/a"), folder("/v", uid=1), ROOT], STRANGER, STRANGER),
    ("in /tmp, perhaps a hard link", [file("/tmp/etcd.log"), TMP, ROOT], STRANGER, STRANGER),
    ("in root's folder in /tmp", [file("/tmp/a/etcd.log"), folder("/tmp/a", mode=0o700), TMP, ROOT], SYSTEM, SYSTEM),
    ("in a user's folder in /tmp", [file("/tmp/a/e.log"), folder("/tmp/a", uid=5), TMP, ROOT], STRANGER, STRANGER),
    ("a link", [Owner("/v/a.log", 0, 0, stat.S_IFLNK | 0o777), folder("/v"), ROOT], STRANGER, STRANGER),
]


@pytest.mark.parametrize(("what", "chain", "as_log", "as_certificate"), FILES, ids=[row[0] for row in FILES])
def test_trust_of_a_file_as_a_log_and_as_a_certificate(what, chain, as_log, as_certificate):
    log, why = origin.of_log(chain[0].path, chain, groups={104, 4}, owners={0})
    certificate, doubt = origin.of_file(chain)
    assert (log, certificate) == (as_log, as_certificate)
    assert (bool(why), bool(doubt)) == (as_log is STRANGER, as_certificate is STRANGER)


@pytest.mark.parametrize(
    "name", ["messages", "syslog", "syslog.1", "messages-20261101.gz", "auth.log", "auth.log.2.gz", "audit.log",
             "kube-apiserver-audit-2026.log", "daemon.log", "user.log", "secure", "kern.log"]
)  # fmt: skip
def test_log_file_that_collects_lines_of_all_users_is_not_trusted(name):
    assert origin.of_log(f"/var/log/{name}", [file(name), LOG, VAR, ROOT], groups=(), owners={0})[0] is STRANGER


def test_link_of_a_stranger_to_a_log_of_root_is_not_trusted():
    chain, link = [file("/var/log/etcd.log"), LOG, VAR, ROOT], Owner("/srv/etcd.log", 1000, 0, stat.S_IFLNK | 0o777)
    trust, why = origin.of_log("/var/log/etcd.log", chain, links=[link], groups=(), owners={0})
    assert trust is STRANGER
    assert "/srv/etcd.log is a link of uid 1000" in why
    roots = [Owner("/var/log/etcd.log", 0, 0, stat.S_IFLNK | 0o777)]
    assert origin.of_log("/var/log/etcd.log", chain, links=roots, groups=(), owners={0})[0] is SYSTEM


def test_agent_without_root_also_trusts_files_of_its_user():
    chain = [file("/srv/etcd.log", uid=1000), folder("/srv", uid=1000), ROOT]
    assert origin.of_file(chain, owners={0, 1000})[0] is SYSTEM
    assert origin.of_file(chain)[0] is STRANGER


# ---------------------------------------------------------------- processes and listeners


def process(cgroup, uid=0, exe="/usr/local/bin/etcd"):
    return Process(uid=uid, exe=exe, cgroup=cgroup)


@pytest.mark.parametrize(
    ("seen", "trust"),
    [
        # A static pod, by cgroupfs and by systemd, with each runtime.
        (process(f"/kubepods/burstable/pod{HASH}/{ID}"), SYSTEM),
        (process(f"/kubepods/pod{HASH}/{ID}", uid=10001), SYSTEM),
        (process(f"{BURSTABLE}{HASH}.slice/cri-containerd-{ID}.scope"), SYSTEM),
        (process(f"/kubepods.slice/kubepods-pod{HASH}.slice/docker-{ID}.scope"), SYSTEM),
        (process(f"{BURSTABLE}{HASH}.slice/crio-{ID}.scope"), SYSTEM),
        (
            process(
                f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{HASH}.slice/cri-containerd-{ID}.scope"
            ),
            SYSTEM,
        ),
        # Other pods, even if they run as root in their container.
        (process(f"/kubepods/burstable/pod{UUID}/{ID}"), STRANGER),
        (process(f"{BURSTABLE}{UUID.replace('-', '_')}.slice/cri-containerd-{ID}.scope"), STRANGER),
        (process(f"/kubepods/besteffort/pod{UUID}/{ID}/kubepods/pod{HASH}/x"), STRANGER),
        (process(f"/system.slice/containerd.service/kubepods-burstable-pod{UUID}.slice:cri-containerd:{ID}"), STRANGER),
        # Services.
        (process("/system.slice/etcd.service", uid=998), SYSTEM),
        (process("/system.slice/k3s.service"), SYSTEM),
        (process("/system.slice/snap.microk8s.daemon-kubelite.service"), SYSTEM),
        (process("/system.slice/prometheus-node-exporter.service", uid=115), STRANGER),
        (process("/system.slice/cron.service"), STRANGER),  # `sudo etcd --cert-file=...` in a user's crontab
        (process("/system.slice/ssh.service"), STRANGER),
        # Users choose the names in their part of the tree.
        (process(f"{USER}/session-4.scope", uid=1000), STRANGER),
        (process(f"{USER}/user@1000.service/app.slice/etcd.service", uid=1000), STRANGER),
        (process(f"{USER}/user@1000.service/kubepods/burstable/pod{HASH}/{ID}", uid=1000), STRANGER),
        (process("/user.slice/user-0.slice/session-1.scope"), STRANGER),
        (process("/system.slice/web.service/etcd.service", uid=33), STRANGER),
        (process(f"/system.slice/web.service/kubepods/pod{HASH}/{ID}", uid=33), STRANGER),
        # Containers that no kubelet started, and processes without a cgroup.
        (process(f"/docker/{ID}"), STRANGER),
        (process(f"/system.slice/docker-{ID}.scope"), STRANGER),
        (process("/"), STRANGER),
        (process(""), STRANGER),
    ],
)
def test_trust_of_a_process_and_its_listeners(seen, trust):
    assert origin.of_process(seen, {HASH}) is trust


@pytest.mark.parametrize(
    ("seen", "is_so"),
    [
        (process("/user.slice/user-0.slice/session-1.scope"), True),
        (process(f"{USER}/session-4.scope"), True),  # by sudo
        (process("/system.slice/kops-configuration.service"), True),
        (process(f"{USER}/session-4.scope", uid=1000), False),
        (process("/system.slice/web.service", uid=33), False),
        (process(f"/system.slice/docker-{ID}.scope"), False),
        (process(f"/kubepods/besteffort/pod{HASH}/{ID}"), False),
        (process(f"/kubepods/besteffort/pod{HASH}/{ID}/system.slice/a.service"), False),  # of a systemd in a pod
    ],
)
def test_only_sessions_and_services_of_root_run_its_tools(seen, is_so):
    assert origin.is_of_root(seen) is is_so


def test_least_is_the_lowest_trust():
    assert origin.least([SYSTEM, CLUSTER]) is CLUSTER
    assert origin.least([CLUSTER, STRANGER, SYSTEM]) is STRANGER
    assert origin.least([SYSTEM]) is SYSTEM
    assert origin.least([]) is STRANGER


# ---------------------------------------------------------------- no choice of a stranger gains trust

words = some.text(max_size=40) | some.sampled_from(
    ["etcd", "kubelet", "dockerd", "certmedic", "etcd.service", "kube-system", ETCD_POD, HASH, f"k8s_etcd_{ETCD_POD}_kube-system_{HASH}_0"]
)  # fmt: skip
components = some.text(some.characters(blacklist_characters="/\n"), min_size=1, max_size=20) | some.sampled_from(
    [
        "system.slice",
        "etcd.service",
        "kubelet.service",
        "init",
        "kubepods",
        "kubepods.slice",
        f"pod{HASH}",
        "init.scope",
    ]
)
below = some.lists(components, max_size=5).map(lambda parts: "".join(f"/{part}" for part in parts))


@given(words, words, words)
def test_no_name_that_a_user_session_chooses_gains_trust(comm, exe, container):
    entry = fields("session-4.scope", f"{USER}/session-4.scope", uid=1000, comm=comm, exe=f"/tmp/{exe}")
    assert origin.of_journal(entry) is STRANGER
    assert not origin.is_of_container(entry, container)


@given(below, some.sampled_from([0, 1000]))
def test_no_nested_cgroup_of_a_user_pod_or_service_gains_trust(path, uid):
    for top in (
        f"{USER}/user@1000.service",
        f"/kubepods/besteffort/pod{UUID}/{ID}",
        f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UUID.replace('-', '_')}.slice",
        "/system.slice/web.service",
        f"/docker/{ID}",
    ):
        assert origin.of_process(process(top + path, uid=uid), {HASH}) is STRANGER
        parts = (top + path).split("/")[1:]
        unit = next((part for part in parts if not part.endswith(".slice")), "")  # as journald reports it
        assert origin.of_journal(fields(unit, top + path, uid=uid)) is STRANGER


@given(words, words, words)
def test_no_name_that_a_tenant_chooses_gains_trust(namespace, pod, container):
    if namespace == "kube-system":
        namespace = "default"
    assert origin.of_pod(namespace, pod, UUID, STATIC) is STRANGER
    kubelet = "_".join(
        part.replace("_", "-") for part in (container, pod, namespace)
    )  # names of Kubernetes contain no underscore
    assert origin.of_container(f"k8s_{kubelet}_{UUID}_0", STATIC) is STRANGER


@given(words)
def test_no_path_makes_a_file_of_a_stranger_trusted(name):
    path = f"/srv/{name}"
    assert origin.of_log(path, [file(path, uid=1000), folder("/srv"), ROOT], groups={4}, owners={0})[0] is STRANGER


@given(words)
def test_no_pod_name_makes_a_pod_of_kube_system_static(pod):
    assert origin.of_pod("kube-system", pod, UUID, STATIC) is CLUSTER


# ---------------------------------------------------------------- manifests

YAML = """apiVersion: v1
kind: Pod
metadata:
  annotations:
    name: not-this
  # name: nor-this
  name: {name}
  labels:
    k8s-app: etcd
    name: nor-that
  namespace: kube-system
spec:
  containers:
  - name: etcd
"""


@pytest.mark.parametrize(
    ("text", "pod"),
    [
        (YAML.format(name="etcd-manager-main"), ("kube-system", "etcd-manager-main")),
        (YAML.format(name='"etcd"'), ("kube-system", "etcd")),
        (YAML.format(name="etcd  # ours"), ("kube-system", "etcd")),
        ("spec:\n  x: 1\nmetadata:\n    name: a\n", ("default", "a")),
        (json.dumps({"metadata": {"name": "a", "namespace": "kube-system"}}), ("kube-system", "a")),
        (json.dumps({"metadata": {"name": "a"}}), ("default", "a")),
        (YAML.format(name=""), ("", "")),
        (YAML.format(name="../x"), ("", "")),
        ("metadata: 1", ("", "")),
        ("{", ("", "")),
        ('{"metadata": []}', ("", "")),
        ("[" * 100_000, ("", "")),
        ("", ("", "")),
    ],
)
def test_namespace_and_name_are_read_from_a_manifest(text, pod):
    assert origin.pod_of_manifest(text) == pod


@given(some.text() | some.lists(some.sampled_from([*"\n :{}'\"#", "metadata:", "name", "x"])).map("".join))
def test_any_manifest_gives_namespace_and_name_or_neither(text):
    namespace, name = origin.pod_of_manifest(text)
    assert bool(namespace) == bool(name)
