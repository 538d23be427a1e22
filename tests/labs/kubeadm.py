"""A real kubeadm 1.20 master on a booted Debian 12: kubelet, containerd, etcd and the control plane as static pods.

    with start_master(debs) as master:
        resign.sign(master.root, 60, "apiserver")
        master.kill("kube-apiserver")

The packages of certmedic run on it, and a receiver keeps their messages. The machine has one address, ADDRESS, and no network.
labs.joined makes a cluster of three such masters.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from labs import kubernetes, packages
from labs.containerd import write_image
from labs.machine import Machine, boot
from labs.sickroom import HOOK

ADDRESS = "10.77.0.10"
PAUSE, ETCD = "k8s.gcr.io/pause:3.2", "k8s.gcr.io/etcd:3.4.13-0"
PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
COMPONENTS = ("etcd", *PLANE)
LIBRARIES = ("/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2")
CERTIFICATES = ("etc/kubernetes", "var/lib/kubelet/pki")  # what a scenario changes
CONTAINERD = """
version = 2
root = "/var/lib/docker/containerd"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "k8s.gcr.io/pause:3.2"
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
"""
KUBELET = """
[Unit]
After=containerd.service
[Service]
Environment="ARGUMENTS=--kubeconfig=/etc/kubernetes/kubelet.conf --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/usr/local/bin/kubelet --config=/var/lib/kubelet/config.yaml $ARGUMENTS $KUBELET_KUBEADM_ARGS \\
  --runtime-cgroups=/ --v=2
Restart=always
RestartSec=10
StartLimitIntervalSec=0
[Install]
WantedBy=multi-user.target
"""
INIT = f"""
apiVersion: kubeadm.k8s.io/v1beta2
kind: InitConfiguration
localAPIEndpoint: {{{{advertiseAddress: {{address}}, bindPort: 6443}}}}
nodeRegistration: {{{{criSocket: "unix:///run/containerd/containerd.sock", name: {{name}}}}}}
---
apiVersion: kubeadm.k8s.io/v1beta2
kind: ClusterConfiguration
kubernetesVersion: {kubernetes.VERSION}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failSwapOn: false
"""
# What a person writes so that certmedic renews by itself.
RENEWS = 'mode = "remedy"\n[remedy]\nrenew = true\n'
MAY_WRITE = """
[Service]
ReadWritePaths=-/etc/kubernetes
CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_CHOWN CAP_FOWNER
SystemCallFilter=@chown
"""
AGENT = """
[notify]
apprise = ["json://127.0.0.1:8099"]
wall = false
"""
# What the kubelet demands of the kernel. It sets what differs, and the machine shares the kernel of the tests.
KERNEL = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
# Debian has neither crictl, which kubeadm asks for, nor sudo in a minimal system.
STUBS = {"crictl": "exit 0", "sudo": 'exec "$@"'}
KUBECONFIG = "KUBECONFIG=/etc/kubernetes/admin.conf"
HOOK_LOG, HOOK_TIMES = "/root/hook.log", "/root/hook.times"


@dataclass(frozen=True)
class Sent:
    """A message as the receiver got it."""

    title: str
    text: str
    at: datetime  # when it came

    @property
    def kind(self) -> str:
        """Return the word in brackets that its title begins with."""
        found = re.match(r"\[(\w+)\]", self.title)
        return found[1] if found else ""

    @property
    def command(self) -> str:
        """Return the line for a shell that it tells people to type; "" without one."""
        found = re.search(r"(?m)^(?:- )?\*?Type:\*? +`?(.*?)`?$", self.text)
        return found[1] if found else ""


@dataclass
class Master:
    """A booted kubeadm master."""

    machine: Machine
    name: str = "kmaster"
    is_healthy: bool = True  # as it was made
    expired_at: datetime | None = None  # what a scenario let expire

    @property
    def root(self) -> Path:
        return self.machine.root

    def kubectl(self, *words: str) -> str:
        """Return the output of kubectl as root of this master uses it; "" if the API refuses it or does not answer."""
        reply = self.machine.run("env", KUBECONFIG, "kubectl", "--request-timeout=5s", *words)
        return reply.out if reply.code == 0 else ""

    def kill(self, *names: str) -> None:
        """Kill the processes of components. A restart of the kubelet ends its back-off, so that it starts them again at once."""
        for name in names:
            self.machine.run("pkill", "-KILL", "-x", name[:15])
        self.machine("systemctl", "restart", "kubelet")

    def pid_of(self, name: str) -> str:
        """Return the pid of a component; "" while it does not run."""
        return self.machine.run("pgrep", "-x", name[:15]).out.strip()

    def renewed_at(self) -> dict[str, datetime]:
        """Return when the controller manager, the scheduler and the kubelet last wrote their leases through the API."""
        wanted = {
            "kube-controller-manager": "kube-system",
            "kube-scheduler": "kube-system",
            self.name: "kube-node-lease",
        }
        output = '{range .items[*]}{.metadata.name} {.spec.renewTime}{"\\n"}{end}'
        lines = self.kubectl("get", "leases", "--all-namespaces", f"--output=jsonpath={output}").splitlines()
        pairs = [line.split() for line in lines if len(line.split()) == 2]
        return {name: datetime.fromisoformat(at) for name, at in pairs if name in wanted}

    def works(self, since: datetime) -> bool:
        """Whether the API answers and every component has written its lease through it since a moment."""
        written = self.renewed_at()
        return len(written) == 3 and min(written.values()) > since and self.kubectl("get", "--raw=/readyz") == "ok"

    def wait_until_works(self, seconds: float = 180) -> float:
        """Wait until the API and every component work; return how many seconds that took."""
        started = datetime.now(UTC)
        while not self.works(started):
            if datetime.now(UTC) - started > timedelta(seconds=seconds):
                raise AssertionError(f"the master does not work: {self.renewed_at()}\n{self.state()}")
            time.sleep(0.5)
        return (datetime.now(UTC) - started).total_seconds()

    def state(self) -> str:
        """Return what runs, and the last lines of the kubelet."""
        return self.machine.run(
            "sh",
            "-c",
            "ps -e -o lstart,args | grep -v '\\[' | cut -c1-150; journalctl -u kubelet -n 30 --no-pager | cut -c1-300",
        ).out

    def messages(self) -> list[Sent]:
        """Return the messages since `watch`."""
        times = self.machine.run("cat", HOOK_TIMES).out.splitlines()  # first, since the body is written before its time
        lines = self.machine.run("cat", HOOK_LOG).out.splitlines()
        bodies = [json.loads(line) for line in lines if line.startswith("{")]
        return [
            Sent(body["title"], body["message"], datetime.fromtimestamp(float(at), UTC))
            for body, at in zip(bodies, times, strict=False)
        ]

    def figures(self) -> str:
        """Return how many messages came, and when after the expiry, for the table of results."""
        sent = self.messages()
        if self.expired_at is None:
            return f"{len(sent)} messages"
        after = [
            f"{message.kind or 'other'} {(message.at - self.expired_at).total_seconds():+.0f} s" for message in sent
        ]
        return f"{len(sent)} messages, seconds after the expiry: {', '.join(after) or 'none'}"

    def wait_for(self, kind: str, seconds: float = 240, after: int = 0) -> Sent:
        """Return the first message of a kind, not counting the `after` first messages."""
        deadline = time.monotonic() + seconds
        while True:
            sent = self.messages()
            for message in sent[after:]:
                if message.kind == kind:
                    return message
            if time.monotonic() > deadline:
                raise AssertionError(f"no {kind} within {seconds:g} s, but {sent}\n{self.agent_log()}")
            time.sleep(0.5)

    def wait_until_all_is_over(self, seconds: float = 120) -> None:
        """Wait until each incident that was reported is resolved, so that the last message has been sent."""
        deadline = time.monotonic() + seconds
        while True:
            listed = json.loads(self.machine("certmedic", "incidents", "--json"))["incidents"]
            lasting = [one["id"] for one in listed if one["announced_at"] and one["state"] != "resolved"]
            if not lasting:
                return
            assert time.monotonic() < deadline, f"incidents {lasting} last\n{self.agent_log()}"
            time.sleep(2)

    def acts(self) -> list[str]:
        """Return what certmedic did here: the target and state of each action."""
        listed = json.loads(self.machine.run("certmedic", "incidents", "--json").out)["incidents"]
        shown = [json.loads(self.machine.run("certmedic", "show", str(each["id"]), "--json").out) for each in listed]
        return [f"{act['target']}: {act['state']}" for incident in shown for act in incident["acts"]]

    def agent_log(self) -> str:
        """Return the last entries of the agent, and its incidents."""
        journal = "journalctl -u certmedic -n 40 --no-pager; certmedic incidents"
        return self.machine.run("sh", "-c", journal).out

    def type(self, command: str) -> str:
        """Type a line at a shell of root, as a person does."""
        return self.machine("bash", "-c", command, timeout=300)

    def shown(self, message: Sent, *options: str) -> str:
        """Return what certmedic shows of the incident that a message names, with all its files."""
        found = re.search(r"certmedic show (\d+)", message.text)
        assert found is not None, f"it names no incident: {message}"
        return self.machine("certmedic", "show", found[1], *options)

    def command_of(self, message: Sent) -> str:
        """Return the command that a message tells people to type, also where it only says what shows it."""
        if not message.command.startswith("sudo certmedic show "):
            return message.command
        return str(json.loads(self.shown(message, "--json"))["diagnosis"]["remedy"]["command"])

    def allow_renewal(self, actor: Path) -> None:
        """Install the actor, and let certmedic renew by itself."""
        if self.machine.run("dpkg", "-s", "certmedic-actor").code:
            packages.install(self.machine, actor)
        self.machine("rm", "-f", "/usr/local/bin/crictl")  # the actor would take it for the real one
        self.machine.write("/etc/systemd/system/certmedic-actor.service.d/renew.conf", MAY_WRITE)
        self.machine.write("/etc/certmedic/conf.d/renew.toml", RENEWS)
        self.machine("chmod", "640", "/etc/certmedic/conf.d/renew.toml")
        self.machine("chgrp", "certmedic", "/etc/certmedic/conf.d/renew.toml")
        self.machine("systemctl", "daemon-reload")
        self.machine("sh", "-c", "systemctl stop certmedic-actor.service; systemctl restart certmedic")

    def forbid_renewal(self) -> None:
        """Let certmedic only watch again."""
        self.machine("rm", "-f", "/etc/certmedic/conf.d/renew.toml")
        self.machine("systemctl", "restart", "certmedic")

    def keep(self) -> None:
        """Keep the certificates as they are, for `heal`."""
        self.machine("tar", "-C", "/", "-cf", "/root/kept.tar", *CERTIFICATES)

    def heal(self) -> None:
        """Restore the saved certificates, restart the cluster's programs, and delete the agent's state."""
        self.restore()
        self.wait_until_works(300)
        self.forget()

    def restore(self) -> None:
        """Restore the saved certificates and restart the cluster's programs; the agent is stopped."""
        self.machine("systemctl", "stop", "certmedic", "kubelet")
        self.machine(
            "sh",
            "-c",
            f"cd / && rm -rf {' '.join(CERTIFICATES)} && tar -xf /root/kept.tar && find {' '.join(CERTIFICATES)} -exec touch -h {{}} +",
        )
        self.kill(*COMPONENTS)

    def agent_runs_for(self) -> float:
        """Return the seconds since the agent's start."""
        began = self.machine("systemctl", "show", "--value", "--property=ActiveEnterTimestampMonotonic", "certmedic")
        return float(self.machine("cat", "/proc/uptime").split()[0]) - int(began) / 1e6

    def forget(self) -> None:
        """Start the agent with no state, and forget its messages."""
        self.machine("sh", "-c", "rm -rf /var/lib/certmedic/* /var/lib/certmedic-actor/*")
        self.machine("sh", "-c", f": >{HOOK_LOG}; : >{HOOK_TIMES}")
        self.expired_at = None
        self.machine("systemctl", "start", "certmedic")


@contextlib.contextmanager
def start_master(debs: Sequence[Path]) -> Iterator[Master]:
    """Boot a master with kubeadm and install these packages of certmedic on it; afterwards nothing of it is left."""
    programs = kubernetes.programs()
    with boot("bookworm", packages.wanted("bookworm"), "--bind-ro=/dev/kmsg") as machine:
        connect(machine, ADDRESS, "link add eth9 type bridge")
        prepare(machine, programs, Master.name)
        master = Master(machine)
        machine.write("/root/init.yaml", INIT.format(address=ADDRESS, name=master.name))
        skip = ("--ignore-preflight-errors=all", "--skip-phases=addon,preflight")
        machine("kubeadm", "init", "--config=/root/init.yaml", *skip, timeout=300)
        master.wait_until_works()
        watch(master, debs)
        yield master


def watch(master: Master, debs: Sequence[Path]) -> None:
    """Install certmedic on a master that works, start the receiver of its messages, and keep the certificates."""
    machine = master.machine
    packages.install(machine, *debs)
    machine.write("/etc/certmedic/conf.d/lab.toml", AGENT)
    machine("systemd-run", "--quiet", "--unit=hook", "python3", "/root/hook.py")
    machine("chmod", "640", "/etc/certmedic/conf.d/lab.toml")
    machine("sh", "-c", "systemctl restart certmedic || { journalctl -u certmedic -n 30 --no-pager; exit 1; }")
    master.keep()


def connect(machine: Machine, address: str, *link: str) -> None:
    """Give a machine an address on eth9, which `link` makes within its network."""
    gateway = f"{address.rpartition('.')[0]}.1"
    for line in (
        *link,
        f"addr add {address}/24 dev eth9",
        "link set eth9 up",
        "link set lo up",
        f"route add default via {gateway}",
    ):
        subprocess.run(["nsenter", f"--target={machine.leader}", "-n", "ip", *line.split()], check=True)


def prepare(machine: Machine, programs: Path, name: str) -> None:
    """Give a machine a name, the programs and images, and a containerd that the kubelet can use."""
    machine("systemctl", "mask", "--now", "docker.service", "docker.socket", "etcd.service")
    machine(
        "sh",
        "-c",
        "hostname $0; echo $0 >/etc/hostname; echo 127.0.0.1 localhost $0 >/etc/hosts; mount --make-rshared /",
        name,
    )
    for program in ("kubeadm", "kubectl", "kubelet"):
        shutil.copy(programs / program, machine.root / "usr/local/bin")
    for stub, script in STUBS.items():
        machine.write(f"/usr/local/bin/{stub}", f"#!/bin/sh\n{script}\n")
        machine("chmod", "755", f"/usr/local/bin/{stub}")
    for setting, value in KERNEL.items():
        shown = f"/run/sysctl/{setting.replace('/', '-')}"
        machine.write(shown, f"{value}\n")
        machine("mount", "--bind", shown, f"/proc/sys/{setting}")
    machine.write("/etc/containerd/config.toml", CONTAINERD)
    machine.write("/etc/systemd/system/kubelet.service", KUBELET)
    machine.write("/root/hook.py", HOOK)
    machine.write(HOOK_LOG, "")
    machine.write(HOOK_TIMES, "")
    machine("systemctl", "daemon-reload")
    machine("systemctl", "enable", "kubelet")
    machine("systemctl", "restart", "containerd")
    machine.until("Version", "ctr", "version")
    files = {each: [(programs / each, f"bin/{each}")] for each in PLANE}
    files["etcd"] = [
        (machine.root / "usr/bin/etcd", "bin/etcd"),
        *((machine.root / path[1:], path[1:]) for path in LIBRARIES),
    ]
    files["pause"] = []
    names = {each: f"k8s.gcr.io/{each}:{kubernetes.VERSION}" for each in PLANE} | {"etcd": ETCD, "pause": PAUSE}
    for image, wanted in files.items():
        _import(machine, names[image], wanted)


def _import(machine: Machine, image: str, files: Sequence[tuple[Path, str]]) -> None:
    """Import an image with these files (source, place in the image) and a shell."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for source, place in ((Path(str(shutil.which("busybox"))), "bin/busybox"), *files):
            tar.add(str(source.resolve()), place)
        for applet in ("sh", "sleep"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "image.tar")
        write_image(archive, layer.getvalue(), image, starts=("/bin/sleep", "1000000000") if image == PAUSE else ())
        shutil.copy(archive, machine.root / "root/image.tar")
    machine("ctr", "--namespace=k8s.io", "images", "import", "--snapshotter=native", "/root/image.tar")
