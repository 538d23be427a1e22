"""Facts of a machine, against a real etcd and a real Docker; files and listeners have other tests."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certmedic.core import certificates, planes, symptoms
from certmedic.core.model import LogEntry, Origin, Trust
from certmedic.edge.facts.containers import container_files, containers, manifest_files, manifest_images
from certmedic.edge.facts.machine import Machine
from certmedic.edge.facts.processes import clock_synchronised, read_process, resolved
from certmedic.edge.os import docker_root
from labs.docker import BUSYBOX, start_dockerd
from labs.pki import kops_master, kops_volume
from labs.waiting import until

NOW = datetime.now(UTC)


# ---------------------------------------------------------------- a real etcd


def trusting() -> Machine:
    """Return a machine that trusts every process, since neither systemd nor a kubelet starts those of a test."""
    return Machine(globs=[], trusts=lambda process: Trust.SYSTEM)


@dataclass
class Etcd:
    pid: int
    client: int
    peer: int
    token: Path
    log: Path

    def lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()


@contextlib.contextmanager
def etcd(tmp_path: Path, token: Path, logger: str) -> Iterator[Etcd]:
    binary = shutil.which("etcd")
    if binary is None:
        pytest.skip("etcd is not installed (apt install etcd-server)")
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        client, peer = first.getsockname()[1], second.getsockname()[1]
    log = tmp_path / "etcd.log"
    argv = [
        binary,
        f"--data-dir={tmp_path / 'data'}",
        f"--logger={logger}",
        "--client-cert-auth",
        "--peer-client-cert-auth",
    ]
    argv += [f"--{kind}-client-urls=https://127.0.0.1:{client}" for kind in ("listen", "advertise")]
    argv += [f"--{kind}-peer-urls=https://127.0.0.1:{peer}" for kind in ("listen", "initial-advertise")]
    argv += [f"--initial-cluster=default=https://127.0.0.1:{peer}", "--cert-file", str(token / "clients/server.crt")]
    argv += [f"--key-file={token}/clients/server.key", f"--trusted-ca-file={token}/clients/ca.crt"]
    argv += [f"--peer-key-file={token}/peers/me.key"]
    environ = {
        **os.environ,
        "ETCD_PEER_CERT_FILE": "v/pki/etcd-cluster-token-etcd/peers/me.crt",
    }  # a relative path is allowed
    environ["ETCD_PEER_TRUSTED_CA_FILE"] = f"{token}/peers/ca.crt"
    with log.open("wb") as output:
        process = subprocess.Popen(argv, cwd=tmp_path, env=environ, stdout=output, stderr=output)
    try:
        # capnslog and zap print it differently.
        until(lambda: re.search("serv(e|ing) client", log.read_text(errors="replace")) or process.poll() is not None)
        assert process.poll() is None, log.read_text(errors="replace")
        yield Etcd(process.pid, client, peer, token, log)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=[pytest.param(logger, marks=pytest.mark.slow) for logger in ("capnslog", "zap")])
def member(request, tmp_path, peers_ca, clients_ca) -> Iterator[Etcd]:
    token = kops_volume(tmp_path / "v", peers_ca=peers_ca, clients_ca=clients_ca)
    with etcd(tmp_path, token, request.param) as running:
        yield running


def test_etcd_log_names_the_files_it_uses(member):
    named = {pair for line in member.lines() for pair in planes.paths_from_startup_line(line)}
    # The peer's path is relative to the working directory of etcd, so the log cannot resolve it.
    assert named == {
        ("server", f"{member.token}/clients/server.crt"),
        ("ca", f"{member.token}/clients/ca.crt"),
        ("ca", f"{member.token}/peers/ca.crt"),
    }


def test_etcd_process_names_the_files_it_uses(member):
    assert dict(read_process(member.pid)) | {"ca": ""} == {
        "server": f"{member.token}/clients/server.crt",
        "peer": f"{member.token}/peers/me.crt",
        "ca": "",
    }
    assert read_process(2**22 + 1) == ()


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="changes the root of a process, which needs root")
def test_paths_of_a_process_in_another_root_are_host_paths(tmp_path, leaf):
    root, host = tmp_path / "root", tmp_path / "host/me.crt"
    leaf.write(root / "pki/server.crt")
    leaf.write(host)
    seen_from_inside = root / "rootfs" / host.relative_to("/")
    seen_from_inside.parent.mkdir(parents=True)
    seen_from_inside.hardlink_to(host)  # like a host mount of etcd-manager: one file under two names
    busybox = shutil.which("busybox")
    assert busybox is not None, "apt install busybox-static"
    shutil.copy(busybox, root / "busybox")
    environ = {**os.environ, "ETCD_CERT_FILE": "/pki/server.crt", "ETCD_PEER_CERT_FILE": f"/rootfs{host}"}
    with subprocess.Popen(["chroot", root, "/busybox", "sleep", "600"], env=environ) as process:
        try:
            until(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"/busybox"))
            named = dict(read_process(process.pid))
            assert named == {"server": f"/proc/{process.pid}/root/pki/server.crt", "peer": str(host)}
            machine = trusting()
            machine.learn(Origin(pid=process.pid, trust=Trust.SYSTEM))
            assert len(machine.inventory()[0]) == 2
        finally:
            process.kill()
    assert [file.certificate.path for file in machine.inventory()[0]] == [str(host)]


def test_served_certificates_match_stored_files_and_probes_cause_no_sighting(member, clients_ca):
    machine = Machine(globs=[f"{member.token}/*/*.crt"])
    before = len(member.lines())
    seen = machine.gather(now=NOW, ports=[member.client, member.peer])
    by_port = {served.port: served for served in seen.served}
    stored = {file.certificate.path: file.certificate.fingerprint for file in seen.stored}
    for port, path in ((member.client, "clients/server.crt"), (member.peer, "peers/me.crt")):
        certificate = by_port[port].certificate
        assert certificate is not None
        assert certificate.fingerprint == stored[f"{member.token}/{path}"]
        assert machine.is_own_probe(f"127.0.0.1:{by_port[port].local_port}")
    assert not machine.is_own_probe("127.0.0.1:1")
    until(lambda: len(member.lines()) >= before + 2)
    for line in member.lines()[before:]:
        assert symptoms.parse(LogEntry(stream="", position="", time=NOW, text=line)) is None, line
    # Replace the file: this etcd serves the new certificate at once, and the machine reads it.
    renewed = clients_ca.leaf("etcd-a", dns=("localhost",), ips=("127.0.0.1",))
    renewed.write(member.token / "clients/server.crt")
    again = machine.gather(now=NOW, ports=[member.client])
    (served,) = (served for served in again.served if served.port == member.client)
    assert served.certificate is not None
    assert served.certificate.fingerprint == certificates.parse(renewed.cert_pem, "")[0].fingerprint


@pytest.mark.parametrize(
    ("link", "target", "expected"),
    [
        ("me.crt", "/etc/passwd", "/etc/passwd"),
        ("me.crt", "../../../../../etc/passwd", "/etc/passwd"),
        ("me.crt", "..data/me.crt", "/pki/..data/me.crt"),
        ("me.crt", "me.crt", ""),
    ],
)
def test_no_link_leads_out_of_the_root_of_a_container(tmp_path, link, target, expected):
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / link).symlink_to(target)

    assert resolved(str(tmp_path), "/pki/me.crt") == f"{tmp_path}{expected}"


def test_files_of_a_dead_process_come_from_its_log(tmp_path, leaf):
    leaf.write(tmp_path / "me.crt")
    started = (
        f"2026-11-24 15:32:07.9 I | embed: peerTLS: cert = {tmp_path}/me.crt, key = /k, trusted-ca = , crl-file = \n"
    )
    log = tmp_path / "etcd.log"
    log.write_text("noise\n" * 100_000 + started + "noise\n" * 1000)
    os.mkfifo(tmp_path / "pipe")
    machine = Machine(globs=[], root=str(tmp_path), owner=os.geteuid())
    for path in (tmp_path / "pipe", tmp_path / "none", Path("/dev/zero"), log):
        machine.learn(Origin(pid=2**22 + 1, path=str(path), trust=Trust.CLUSTER))
    assert machine.inventory()[0] == ()  # files that strangers name are not read
    for path in (tmp_path / "pipe", tmp_path / "none", Path("/dev/zero"), log):
        machine.learn(Origin(pid=2**22 + 1, path=str(path), trust=Trust.SYSTEM))

    assert [(file.certificate.path, file.place.use) for file in machine.inventory()[0]] == [
        (f"{tmp_path}/me.crt", "peer")
    ]


def learn_from_log(machine, log, *lines):
    log.write_text("".join(f"{line}\n" for line in lines))
    machine.learn(Origin(path=str(log), trust=Trust.SYSTEM))


def test_files_of_a_trusted_process_are_watched_even_if_no_glob_matches(member, tmp_path):
    stranger = Machine(globs=[])
    stranger.learn(Origin(pid=member.pid, trust=Trust.SYSTEM))  # its cgroup belongs to no service
    assert stranger.inventory()[0] == ()
    machine = trusting()
    assert machine.inventory()[0] == ()
    machine.learn(Origin(pid=member.pid, trust=Trust.STRANGER))
    assert machine.inventory()[0] == ()
    machine.learn(Origin(pid=member.pid, trust=Trust.SYSTEM))
    paths = {file.certificate.path for file in machine.inventory()[0]}
    assert {f"{member.token}/clients/server.crt", f"{member.token}/peers/me.crt"} <= paths
    other = Machine(globs=[])
    learn_from_log(other, tmp_path / "etcd.log", *member.lines())
    assert f"{member.token}/clients/server.crt" in {file.certificate.path for file in other.gather(now=NOW).stored}


def test_files_named_by_a_stranger_are_never_disclosed(tmp_path):
    machine = Machine(globs=[])
    (tmp_path / "secret").write_text("root:x:0:0")
    os.mkfifo(tmp_path / "pipe")
    paths = (tmp_path / "secret", tmp_path / "pipe", "/dev/zero", "/nowhere", "/nul\0", "/" + "x" * 4096)
    line = "embed: peerTLS: cert = {}, key = /k, trusted-ca = , client-cert-auth = true"
    learn_from_log(machine, tmp_path / "etcd.log", *map(line.format, paths))
    seen = machine.gather(now=NOW)
    assert seen.stored == ()
    assert {fault.reason for fault in seen.faults} == {"not_a_certificate"}
    assert not any("root:x" in fault.detail for fault in seen.faults)
    line = "embed: ClientTLS: cert = /nowhere/{}.crt, key = , trusted-ca = "
    learn_from_log(machine, tmp_path / "more.log", *map(line.format, range(5000)))
    assert machine.gather(now=NOW).faults == ()


# ---------------------------------------------------------------- containers, manifests, clock


def test_missing_docker_is_reported_in_a_sentence(tmp_path):
    listed, blind = containers(f"unix://{tmp_path}/docker.sock")
    assert listed == ()
    assert str(tmp_path / "docker.sock") in blind


def test_silent_docker_is_reported_in_a_sentence(tmp_path):
    path = str(tmp_path / "docker.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        listed, blind = containers(f"unix://{path}")
    assert listed == ()
    assert "Connection refused" in blind


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="starts dockerd, which needs root")
@pytest.mark.timeout(300)
def test_kubelet_names_give_pod_namespace_and_container(monkeypatch):
    with start_dockerd() as docker:
        docker.busybox()
        docker("tag", BUSYBOX, "kopeio/etcd-manager:3.0.20200428")
        image = docker("image", "inspect", "-f", "{{.Id}}", "kopeio/etcd-manager:3.0.20200428").strip()
        labels = {"io.kubernetes.container.name": "etcd-manager", "io.kubernetes.pod.name": "etcd-manager-main-m0"}
        labels["io.kubernetes.pod.namespace"] = "kube-system"
        options = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
        name = "k8s_etcd-manager_etcd-manager-main-m0_kube-system_0a1b_0"
        began = datetime.now(UTC)
        # The kubelet starts containers by image id: only the image has the tag.
        docker("run", "-d", "--network=none", "--name", name, *options, image, "sleep", "600")
        bare = "k8s_etcd-manager_etcd-manager-events-m0_kube-system_0a1c_1"
        docker("create", "--network=none", "--name", bare, BUSYBOX, "sleep", "600")
        listed, blind = containers(docker.url)
        assert blind == ""
        main, events = (next(c for c in listed if c.name == wanted) for wanted in (name, bare))
        assert (main.pod, main.namespace, main.container_name) == (
            "etcd-manager-main-m0",
            "kube-system",
            "etcd-manager",
        )
        assert (main.state, main.runtime) == ("running", "docker")
        assert planes.manager_version(main.image) == "20200428"
        assert main.started_at is not None
        assert abs(main.started_at - began) < timedelta(minutes=2)
        assert (events.pod, events.container_name, events.started_at) == (
            "etcd-manager-events-m0",
            "etcd-manager",
            None,
        )
        assert events.state == "created"
        assert main.pod.startswith("etcd-manager-main-")
        # Files in the command of a container map to host files even without a process.
        docker(
            *(
                "create",
                "--network=none",
                "--name",
                "etcd",
                "-v",
                "/srv/lab pki:/etc/tls:ro",
                "-e",
                "ETCD_CERT_FILE=/etc/tls/server.crt",
            ),
            *(BUSYBOX, "etcd", "--peer-cert-file=/etc/tls/../tls/me.crt", "--trusted-ca-file=/elsewhere/ca.crt"),
        )
        (etcd,) = (c for c in containers(docker.url)[0] if c.name == "etcd")
        files = dict(container_files(docker.url, etcd.id))
        assert files == {"server": "/srv/lab pki/server.crt", "peer": "/srv/lab pki/me.crt"}
        # Docker's own files tell the same to a process that may not use the socket.
        over_socket = {c.id: c for c in containers(docker.url)[0]}
        with monkeypatch.context() as closed:
            closed.setattr(docker_root, "is_closed", lambda _: True)
            assert {c.id: c for c in containers(docker.url)[0]} == over_socket
            assert dict(container_files(docker.url, etcd.id)) == files
            assert container_files(docker.url, "../../info") == ()
        docker("rm", "etcd")
        assert container_files(docker.url, "../../info") == container_files(f"{docker.url}.none", etcd.id) == ()
        # The command in a message stops this container and no other.
        docker("start", bare)
        command = planes.restart_command("main").replace("sudo docker", f"docker --host={docker.url}")
        subprocess.run(["sh", "-c", command], check=True, capture_output=True)
        states = {c.name: c.state for c in containers(docker.url)[0]}
        assert states == {name: "exited", bare: "running"}


MANIFESTS = {
    "etcd-main.manifest": (
        '{"kind":"Pod","spec":{"initContainers":[{"image":"busybox"}],"containers":[{"name":"etcd-manager",'
        '"image":"k8s.gcr.io/etcdadm/etcd-manager:3.0.20210430"}]}}'
    ),
    "etcd-events-control-plane-a.manifest": (
        "spec:\n  containers:\n  - command: [x]\n    image: registry.k8s.io/etcd-manager/etcd-manager-slim:v3.0.20241012\n"
        "    imagePullPolicy: IfNotPresent\n"
    ),
    "etcd-cilium.manifest": "spec:\n  containers:\n  - image: 'kopeio/etcd-manager:3.0.20200307'\n",
    "etcd.yaml": "spec:\n  containers:\n  - image: registry.k8s.io/etcd:3.5.9-0\n",
    "kube-apiserver.manifest": "image: kopeio/etcd-manager:3.0.20990101\n",
}


# Manifests as kubeadm writes them, and one in JSON.
ETCD_POD = """
apiVersion: v1
kind: Pod
metadata:
  name: etcd
spec:
  containers:
  - command:
    - etcd
    - --cert-file=/pki/server.crt
    - --peer-cert-file=/pki/peers/peer.crt
    - --trusted-ca-file=/not/mounted/ca.crt
    image: registry.k8s.io/etcd:3.5.9-0
    name: etcd
    volumeMounts:
    - mountPath: /var/lib/etcd
      name: etcd-data
    - mountPath: /pki
      name: etcd-certs
  hostNetwork: true
  volumes:
  - hostPath:
      path: /opt/etcd/tls
      type: DirectoryOrCreate
    name: etcd-certs
  - name: etcd-data
    hostPath:
      path: /var/lib/etcd
"""


def test_manifests_map_mounted_certificates_to_host_files(tmp_path, leaf):
    folder = tmp_path / "etc/kubernetes/manifests"
    folder.mkdir(parents=True)
    (folder / "etcd.yaml").write_text(ETCD_POD)
    volumes = [{"name": "c", "hostPath": {"path": "/opt/client"}}, {"name": "d", "emptyDir": {}}]
    mounts = [{"name": "c", "mountPath": "/tls/"}, {"name": "d", "mountPath": "/tls/deeper"}]
    command = ["kube-apiserver", "--etcd-certfile=/tls/client.crt"]
    spec = {"containers": [{"command": command, "volumeMounts": mounts}], "volumes": volumes}
    (folder / "kube-apiserver.json").write_text(json.dumps({"kind": "Pod", "spec": spec}))
    (folder / "broken.json").write_text('{"spec": {"containers": 5}, "x": "--cert-file=/x"}')
    (folder / "deep.json").write_text("{" * 100_000)
    leaf.write(tmp_path / "opt/etcd/tls/server.crt")

    files = manifest_files(str(tmp_path))
    seen = Machine(globs=[], root=str(tmp_path), live=False).gather(now=NOW)

    assert files == {
        f"{tmp_path}/opt/etcd/tls/server.crt": "server",
        f"{tmp_path}/opt/etcd/tls/peers/peer.crt": "peer",
        f"{tmp_path}/opt/client/client.crt": "apiserver-etcd-client",
    }
    assert [(file.certificate.path, file.place.use) for file in seen.stored] == [
        (f"{tmp_path}/opt/etcd/tls/server.crt", "server")
    ]


def test_manifests_give_the_etcd_manager_image_of_each_group(tmp_path):
    folder = tmp_path / "etc/kubernetes/manifests"
    folder.mkdir(parents=True)
    for name, text in MANIFESTS.items():
        (folder / name).write_text(text)
    (folder / "etcd-leases.manifest").symlink_to("nowhere")
    assert manifest_images(str(tmp_path)) == {
        "main": "k8s.gcr.io/etcdadm/etcd-manager:3.0.20210430",
        "events": "registry.k8s.io/etcd-manager/etcd-manager-slim:v3.0.20241012",
        "cilium": "kopeio/etcd-manager:3.0.20200307",
    }
    assert manifest_images(str(tmp_path / "nothing")) == {}


def test_looking_at_the_clock_leaves_no_garbage_for_the_collector():
    clock_synchronised()
    gc.collect()
    clock_synchronised()

    assert gc.collect() == 0


def test_clock_state_equals_timedatectl():
    synchronised = clock_synchronised()
    assert synchronised in (True, False, None)
    if Path("/run/systemd/system").exists():
        reply = subprocess.run(
            ["timedatectl", "show", "-p", "NTPSynchronized", "--value"], capture_output=True, text=True, check=True
        )
        assert synchronised is (reply.stdout.strip() == "yes")


# ---------------------------------------------------------------- all facts together


@pytest.fixture
def master(tmp_path) -> Path:
    return kops_master(tmp_path)


def test_copied_master_is_judged_without_probing_this_machine(master):
    manifests = master / "etc/kubernetes/manifests"
    manifests.mkdir()
    (manifests / "etcd-main.manifest").write_text(MANIFESTS["etcd-main.manifest"])
    seen = Machine(globs=planes.patterns(root=str(master)), root=str(master), live=False).gather(now=NOW)
    assert len(seen.stored) == 18
    assert seen.images == {"main": "k8s.gcr.io/etcdadm/etcd-manager:3.0.20210430"}
    assert (seen.served, seen.containers, seen.addresses, seen.clock_synchronised) == ((), (), frozenset(), None)
    assert seen.at == NOW


def test_live_machine_yields_files_faults_host_and_addresses(tmp_path, leaf):
    leaf.write(tmp_path / "me.crt")
    (tmp_path / "bad.crt").write_bytes(b"")
    seen = Machine(globs=[f"{tmp_path}/*.crt"], docker_url=f"unix://{tmp_path}/none.sock").gather(now=NOW)
    assert [file.certificate.subject_cn for file in seen.stored] == ["etcd-a"]
    assert [fault.reason for fault in seen.faults] == ["empty"]
    assert seen.host == socket.gethostname()
    assert "127.0.0.1" in seen.addresses
    assert any("none.sock" in sentence for sentence in seen.blind)
