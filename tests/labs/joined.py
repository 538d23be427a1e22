"""Three real kubeadm 1.20 masters of one cluster, each a booted Debian 12 with a stacked etcd member.

    with start_masters(debs) as cluster:
        with cluster.measure() as measured:
            ...
        print(measured.longest("etcd"))

labs.kubeadm says what a master is made of. The machines share a bridge in a network namespace of the test. There is no load balancer:
on each master the name ENDPOINT leads to its own API server, as kubespray's loadbalancer on localhost does.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import itertools
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from labs import kubernetes, packages, pki
from labs.kubeadm import INIT, Master, connect, prepare, watch
from labs.machine import Machine, boot
from labs.namespaces import CLONE_NEWNET, ip, network

ENDPOINT = "kapi"
ADDRESSES = {"kma": "10.79.0.11", "kmb": "10.79.0.12", "kmc": "10.79.0.13"}
TOKEN = "abcdef.0123456789abcdef"
SHARED = (
    "ca.crt",
    "ca.key",
    "sa.key",
    "sa.pub",
    "front-proxy-ca.crt",
    "front-proxy-ca.key",
    "etcd/ca.crt",
    "etcd/ca.key",
)
PKI = "/etc/kubernetes/pki"
# Two cores carry three control planes: etcd's usual second for an election is too short for them.
CLUSTER = f"""kubernetesVersion: {kubernetes.VERSION}
controlPlaneEndpoint: {ENDPOINT}:6443
etcd: {{local: {{extraArgs: {{heartbeat-interval: "200", election-timeout: "2000"}}}}}}
"""
# etcd's pod requests storage, and a kubelet that has just started does not know yet that its machine has any: on a busy machine it
# rejects the pod for good (kubernetes/kubernetes#99305).
KUBELET = "failSwapOn: false\nfeatureGates: {LocalStorageCapacityIsolation: false}\n"
JOIN = """
apiVersion: kubeadm.k8s.io/v1beta2
kind: JoinConfiguration
discovery: {{bootstrapToken: {{token: {token}, apiServerEndpoint: "{first}:6443", unsafeSkipCAVerification: true}}}}
controlPlane: {{localAPIEndpoint: {{advertiseAddress: {address}, bindPort: 6443}}}}
nodeRegistration: {{criSocket: "unix:///run/containerd/containerd.sock", name: {name}}}
"""
# What kubespray's timer starts on each master, 10 minutes apart, on the first Monday of a month, by our own hand after its
# k8s-certs-renew.sh.j2 (roles/kubernetes/control-plane/templates, kubernetes-sigs/kubespray@157187ec21b1; the .py.j2 of 69872b2f4451
# first asks whether a certificate expires before the next run): renew all, remove the four pods of the control plane at once with
# `crictl rmp -f`, and wait for the port of the API server. Debian has no crictl; to kill all processes of the pods does the same to them.
MONTHLY_SCRIPT = r"""#!/bin/bash
kubeadm certs check-expiration
kubeadm certs renew all
for name in kube-scheduler kube-controller-manager kube-apiserver etcd; do
    for id in $(ctr -n k8s.io containers ls -q "labels.\"io.kubernetes.pod.name\"==$name-$(hostname)"); do
        ctr -n k8s.io tasks kill --signal SIGKILL "$id" 2>/dev/null
    done
done
mkdir -p /root/.kube
cp /etc/kubernetes/admin.conf /root/.kube/config
until printf "" 2>>/dev/null >>/dev/tcp/127.0.0.1/6443; do sleep 1; done
kubeadm certs check-expiration
"""
MONTHLY = "k8s-certs-renew"
KUBECONFIG_OF = {"kube-controller-manager": "controller-manager.conf", "kube-scheduler": "scheduler.conf"}
PAUSE = 0.25  # seconds between two writes of a client


@dataclass
class Measured:
    """When clients could write, by (kind, master): "etcd" through raft, "api" through a master's API server."""

    started: datetime
    ended: datetime | None = None
    written: dict[tuple[str, str], list[datetime]] = field(default_factory=dict)

    def gaps(self, kind: str, *names: str, over: float = 3) -> list[tuple[datetime, float]]:
        """Return (begin, seconds) of the times longer than `over` seconds in which none of these masters, or of all, took a write."""
        moments = sorted(
            at
            for (what, name), times in self.written.items()
            if what == kind and name in (names or ADDRESSES)
            for at in list(times)
        )
        moments = [self.started, *moments, self.ended or datetime.now(UTC)]
        pairs = [(before, (after - before).total_seconds()) for before, after in itertools.pairwise(moments)]
        return [(begin, seconds) for begin, seconds in pairs if seconds > over]


@dataclass
class Cluster:
    """Three masters."""

    masters: dict[str, Master]
    namespace: str
    clients: Path  # folder with etcd.pem and api.pem, certificates of clients that do not expire
    is_healthy: bool = True  # as it was made

    def __iter__(self) -> Iterator[Master]:
        return iter(self.masters.values())

    def wait_until_works(self, seconds: float = 300) -> float:
        """Wait until the API, etcd and every component of each master work; return how many seconds that took."""
        started = time.monotonic()
        for master in self:
            master.wait_until_works(seconds)
        return time.monotonic() - started

    def start_monthly_script(self) -> None:
        """Start kubespray's script on all masters at one moment."""
        for master in self:
            master.machine.write(f"/usr/local/bin/{MONTHLY}.sh", MONTHLY_SCRIPT)
            master.machine("chmod", "755", f"/usr/local/bin/{MONTHLY}.sh")
        words = (
            "--no-block",
            "--collect",
            "--service-type=oneshot",
            f"--unit={MONTHLY}",
            f"/usr/local/bin/{MONTHLY}.sh",
        )
        for master in self:
            master.machine("systemd-run", *words)

    def wait_for_monthly_script(self, seconds: float = 300) -> None:
        """Wait until kubespray's script has ended on all masters."""
        for master in self:
            master.machine.until("inactive", "systemctl", "is-active", MONTHLY, seconds=seconds)

    def heal(self) -> None:
        """Restore the saved certificates of all masters, restart their programs, and let each agent begin with no state."""
        for master in self:
            master.restore()
        self.wait_until_works()
        for master in self:
            master.forget()

    def held_late(self) -> list[tuple[str, str]]:
        """Return (master, program) of each program that reads its kubeconfig at its start alone and started before the file was written."""
        late = []
        for master in self:
            for program, file in KUBECONFIG_OF.items():
                written = master.root / "etc/kubernetes" / file
                pid = master.pid_of(program)
                started = master.machine.run("stat", "--format=%Y", f"/proc/{pid}").out.strip() if pid else "0"
                if not started.isdecimal() or int(started) + 1 < written.stat().st_mtime:
                    late.append((master.name, program))
        return late

    @contextlib.contextmanager
    def measure(self) -> Iterator[Measured]:
        """Write to each member and through each API server all the time, and record when that succeeds."""
        measured, ended = Measured(datetime.now(UTC)), threading.Event()
        threads = []
        for kind in ("etcd", "api"):
            for name, address in ADDRESSES.items():
                measured.written[kind, name] = []
                words = (kind, address, measured.written[kind, name], ended)
                threads.append(threading.Thread(target=self._write, args=words, daemon=True))
        for thread in threads:
            thread.start()
        try:
            yield measured
        finally:
            measured.ended = datetime.now(UTC)
            ended.set()
            for thread in threads:
                thread.join(10)

    def _write(self, kind: str, address: str, written: list[datetime], ended: threading.Event) -> None:
        with Path(f"/run/netns/{self.namespace}").open() as file:  # this thread alone enters the namespace
            ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it asks for quorum, not for certificates
        context.load_cert_chain(self.clients / f"{kind}.pem")
        connection = None
        number = 0
        while not ended.wait(PAUSE):
            number += 1
            try:
                if connection is None:
                    connection = http.client.HTTPSConnection(
                        address, 2379 if kind == "etcd" else 6443, timeout=2, context=context
                    )
                if kind == "etcd":
                    connection.request("GET", "/health")  # a quorum read of the v2 store, which is a proposal to raft
                else:
                    body = json.dumps({"data": {address: str(number)}})
                    place = "/api/v1/namespaces/default/configmaps/written"
                    connection.request("PATCH", place, body, {"Content-Type": "application/merge-patch+json"})
                reply = connection.getresponse()
                content = reply.read()
                if reply.status == 200 and (kind == "api" or b'"true"' in content):
                    written.append(datetime.now(UTC))
            except (OSError, http.client.HTTPException):
                if connection is not None:
                    connection.close()
                connection = None
        if connection is not None:
            connection.close()


@contextlib.contextmanager
def start_masters(debs: Sequence[Path]) -> Iterator[Cluster]:
    """Boot three masters, join them and install these packages of certmedic; afterwards nothing of them is left."""
    programs = kubernetes.programs()
    with contextlib.ExitStack() as stack:
        namespace = stack.enter_context(network("joined"))
        ip("-n", namespace, "link", "add", "switch", "type", "bridge")
        ip("-n", namespace, "addr", "add", "10.79.0.1/24", "dev", "switch")
        ip("-n", namespace, "link", "set", "switch", "up")
        masters = {}
        for name, address in ADDRESSES.items():
            machine = stack.enter_context(boot("bookworm", packages.wanted("bookworm"), "--bind-ro=/dev/kmsg"))
            ip(
                "-n",
                namespace,
                "link",
                "add",
                name,
                "type",
                "veth",
                "peer",
                "name",
                "eth9",
                "netns",
                str(machine.leader),
            )
            ip("-n", namespace, "link", "set", name, "master", "switch", "up")
            connect(machine, address)
            prepare(machine, programs, name)
            masters[name] = Master(machine, name)
            _point(machine, next(iter(ADDRESSES.values())))
            _join(masters, name)
            _point(machine, address)
            masters[name].wait_until_works()
        first = next(iter(masters.values()))
        first.type("KUBECONFIG=/etc/kubernetes/admin.conf kubectl create configmap written")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _write_clients(first.root / PKI[1:], folder)
        cluster = Cluster(masters, namespace, folder)
        for master in cluster:
            watch(master, debs)
        yield cluster


def _write_clients(authorities: Path, folder: Path) -> None:
    """Write certificates with their keys, etcd.pem and api.pem, for the clients of `measure`."""
    for kind, authority in (("etcd", "etcd/ca.crt"), ("api", "ca.crt")):
        leaf = pki.read_authority(authorities / authority).leaf("writer", organisation="system:masters", server=False)
        (folder / f"{kind}.pem").write_bytes(leaf.cert_pem + leaf.key_pem)


def _point(machine: Machine, address: str) -> None:
    """Let ENDPOINT lead to an API server."""
    machine(
        "sh",
        "-c",
        f"grep -v {ENDPOINT} /etc/hosts >/run/hosts; echo {address} {ENDPOINT} >>/run/hosts; cat /run/hosts >/etc/hosts",
    )


def _join(masters: dict[str, Master], name: str) -> None:
    """Run kubeadm on a master: init on the first, join on the others, which get the CAs as `kubeadm init` made them."""
    machine, address = masters[name].machine, ADDRESSES[name]
    first = next(iter(masters.values())).machine
    words = {"address": address, "name": name}
    if machine is first:
        text = INIT.format(**words).replace(f"kubernetesVersion: {kubernetes.VERSION}\n", CLUSTER)
        text = text.replace(
            "kind: InitConfiguration\n", f"kind: InitConfiguration\nbootstrapTokens: [{{token: {TOKEN}}}]\n"
        )
        text = text.replace("failSwapOn: false\n", KUBELET)
        machine.write("/root/init.yaml", text)
        skip = ("--ignore-preflight-errors=all", "--skip-phases=addon,preflight")
        machine("kubeadm", "init", "--config=/root/init.yaml", *skip, timeout=300)
        return
    for file in SHARED:
        machine.put(first.root / PKI[1:] / file, f"{PKI}/{file}")
    machine("chmod", "-R", "go=", PKI)
    machine.write("/root/join.yaml", JOIN.format(**words, token=TOKEN, first=next(iter(ADDRESSES.values()))))
    machine("kubeadm", "join", "--config=/root/join.yaml", "--ignore-preflight-errors=all", timeout=300)
