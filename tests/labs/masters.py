"""Kubernetes masters on one machine: each a network namespace with a dockerd, an etcd member and a stand-in manager.

As on a kops master, the container of the manager has a kubelet name and uses the host network, here that of the namespace. An
agent runs in the namespace as a user starts it, in a separate mount namespace in which /mnt holds the volumes of that master.
Needs root and Debian's `docker.io`, `iproute2` and `etcd-server`.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from certmedic.edge.actor import VARIABLE
from labs import AGENT, LABS, pki
from labs.activation import Activated, actor_beside
from labs.docker import Docker, _sweep
from labs.namespaces import inside, ip, listener
from labs.static_pod import StaticPod

NEW, OLD = "kopeio/etcd-manager:3.0.20210228", "kopeio/etcd-manager:3.0.20200307"


@dataclass
class Master:
    """One master."""

    name: str
    home: Path
    namespace: str
    address: str
    docker: Docker
    image: str
    actor: Activated | None = None

    @property
    def volume(self) -> Path:
        return self.home / "mnt" / f"master-vol-{self.name}"

    @property
    def me(self) -> Path:
        """The path of the peer certificate in the test."""
        return self.volume / "pki" / "etcd-cluster-token-etcd" / "peers" / "me.crt"

    @property
    def pod(self) -> StaticPod:
        return StaticPod(
            name="etcd-manager-main", node=self.name, container="etcd-manager", file="etcd-main", image=self.image
        )

    @property
    def container(self) -> str:
        return self.pod.container_name

    def restarts(self) -> tuple[str, str]:
        """Return values that change when the container is restarted: its id and start time."""
        return self.docker("inspect", "-f", "{{.Id}}", self.container), self.docker(
            "inspect", "-f", "{{.State.StartedAt}}", self.container
        )

    def boot(self) -> None:
        """Start the daemon and import the image of the manager."""
        self.docker.start()
        self.docker("import", "-", self.image, stdin=manager_layer())

    def starts(self) -> list[float]:
        """Return the times at which etcd was started here, on the clock of `time.monotonic`."""
        lines = self.docker("logs", "--timestamps", self.container).splitlines()
        moments = [line.partition(" ")[0] for line in lines if "executing command" in line]
        since = time.time() - time.monotonic()
        return [datetime.fromisoformat(moment).timestamp() - since for moment in moments]

    def start_etcd(self, cluster: str, *, life: float | None, keep_expired: bool) -> None:
        """Run the container of the manager as the kubelet would."""
        self.docker(
            *["run", "-d", "--network=host", f"--name={self.container}", f"--cgroup-parent={self.pod.cgroup()}"],
            *self.pod.label_options,
            *[
                "-v",
                "/usr:/usr:ro",
                "-v",
                f"{LABS}:/labs:ro",
                "-v",
                f"{self.home / 'mnt'}:/mnt",
                "-v",
                f"{self.home.parent / 'authorities'}:/authorities:ro",
            ],
            *["-e", "PYTHONPATH=/", "-e", "PYTHONDONTWRITEBYTECODE=1", self.image],
            *[
                "/usr/bin/python3",
                "-m",
                "labs.drill.standin",
                f"--member=etcd-{self.name}",
                f"--volume=/mnt/{self.volume.name}",
            ],
            *["--authorities=/authorities", f"--ip={self.address}"],
            *([f"--first-life={life}"] if life else []),
            *(["--keep-expired"] if keep_expired else []),
            *[
                "--",
                "/usr/bin/etcd",
                f"--name=etcd-{self.name}",
                f"--data-dir=/mnt/{self.volume.name}/data",
                "--logger=zap",
            ],
            *[
                f"--listen-peer-urls=https://{self.address}:2380",
                f"--initial-advertise-peer-urls=https://{self.address}:2380",
            ],
            *[
                f"--listen-client-urls=https://{self.address}:4001,https://127.0.0.1:4001",
                f"--advertise-client-urls=https://{self.address}:4001",
            ],
            *[f"--initial-cluster={cluster}", "--initial-cluster-token=lab"],
        )

    def run(self, command: Sequence[str], **more: Any) -> subprocess.Popen[bytes]:
        """Start a program on this master, with the master's network, name, /mnt, /etc and /var/log."""
        process: subprocess.Popen[bytes] = subprocess.Popen(self.on_this_master(command), **more)
        return process

    def on_this_master(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs a command on this master."""
        etc, keys, logs = self.home / "etc", self.home / "etc/kubernetes/pki/etcd-manager-main", self.home / "var/log"
        if not etc.exists():
            shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True)
            keys.mkdir(parents=True)
            for file in (self.home.parent / "authorities").iterdir():
                shutil.copy(file, keys)
            self.pod.lay(self.home)
        places = {self.home / "mnt": "/mnt", etc: "/etc", logs: "/var/log"}
        return inside(self.namespace, places, *command, hostname=f"master-{self.name}")

    def configure(self, config: str) -> Path:
        """Write the agent's configuration."""
        path = self.home / "certmedic.toml"
        path.write_text(f'state = "{self.home / "state"}"\n{config}')
        path.chmod(0o640)
        return path

    def agent(self, config: str, *, log: Path) -> subprocess.Popen[bytes]:
        """Start `certmedic run` with a configuration; append its output to `log`."""
        path = self.configure(config)
        environ = {"DOCKER_HOST": self.docker.url}
        if self.actor is None:
            self.actor = actor_beside(path, wrap=self.on_this_master, environment=environ)
        with log.open("ab") as output:
            return self.run(
                [sys.executable, "-m", "certmedic", "run", "--config", str(path)],
                env={**os.environ, "PYTHONPATH": str(AGENT), **environ, VARIABLE: str(self.actor.path)},
                stdout=output,
                stderr=output,
            )


@dataclass
class Masters:
    """All masters and the network between them."""

    home: Path
    hub: str
    members: dict[str, Master] = field(default_factory=dict)

    def listener(self) -> socket.socket:
        """Return a listening socket that every master can reach."""
        return listener(self.hub, "10.77.0.1")

    def start_etcd(self, *, life: float, sick: str = "a", keep_expired: bool = False) -> None:
        """Start a member on every master; the first certificates of the masters in `sick` live `life` seconds."""
        cluster = ",".join(f"etcd-{m.name}=https://{m.address}:2380" for m in self.members.values())
        for master in self.members.values():
            master.start_etcd(cluster, life=life if master.name in sick else None, keep_expired=keep_expired)


def manager_layer() -> bytes:
    """Return the only layer of an image, an empty one: programs come from this machine's /usr, mounted read-only."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for folder in ("usr", "tmp", "etc", "mnt", "labs", "authorities", "proc", "sys", "dev"):
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(made)
        for link in ("bin", "sbin", "lib", "lib64"):
            made = tarfile.TarInfo(link)
            made.type, made.linkname = tarfile.SYMTYPE, f"usr/{link}"
            tar.addfile(made)
    return packed.getvalue()


@contextlib.contextmanager
def masters(names: str = "abc", *, image: str = NEW) -> Iterator[Masters]:
    """Make the masters with running daemons and no etcd; afterwards no process, mount or file of them is left."""
    home = Path(tempfile.mkdtemp(prefix="certmedic-masters-"))
    hub = f"cm{os.getpid()}-hub"
    made = Masters(home, hub)
    for ca, cn in (("etcd-peers-ca", "etcd-peers-ca-main"), ("etcd-clients-ca", "etcd-clients-ca")):
        pki.authority(cn).write(home / "authorities" / f"{ca}.crt")
    try:
        ip("netns", "add", hub)
        ip("-n", hub, "link", "set", "lo", "up")
        ip("-n", hub, "link", "add", "br0", "type", "bridge")
        ip("-n", hub, "addr", "add", "10.77.0.1/24", "dev", "br0")
        ip("-n", hub, "link", "set", "br0", "up")
        for number, name in enumerate(names):
            namespace, address, folder = f"cm{os.getpid()}-{name}", f"10.77.0.{11 + number}", home / name
            ip("netns", "add", namespace)
            ip("link", "add", "eth0", "netns", namespace, "type", "veth", "peer", "name", f"v{name}", "netns", hub)
            ip("-n", hub, "link", "set", f"v{name}", "master", "br0", "up")
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", namespace, "link", "set", device, "up")
            (folder / "mnt" / f"master-vol-{name}").mkdir(parents=True)
            docker = Docker(folder / "docker", prefix=("nsenter", f"--net=/run/netns/{namespace}"))
            docker.home.mkdir()
            made.members[name] = Master(name, folder, namespace, address, docker, image)
        with ThreadPoolExecutor() as pool:
            for _ in pool.map(Master.boot, made.members.values()):
                pass
        yield made
    finally:
        for master in made.members.values():
            if master.actor is not None:
                master.actor.close()
        _sweep(home)
        for master in made.members.values():
            if master.docker.process is not None:
                master.docker.process.wait()
        for name in (*names, "hub"):
            subprocess.run(["ip", "netns", "delete", f"cm{os.getpid()}-{name}"], check=False, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process by SIGKILL and wait for its end."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def until(condition: object, *, seconds: float, every: float = 0.2) -> bool:
    """Wait until `condition()` holds; return whether it did in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(every)
    return False
