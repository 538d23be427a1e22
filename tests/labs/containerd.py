"""A separate containerd without a kubelet; afterwards no container, process or file of it is left.

    with start_containerd() as containerd:
        containerd.run("c1", "sleep", "1000", labels={...})

Needs root and Debian's `containerd` and `busybox-static`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labs.docker import _sweep

IMAGE = "registry.example/etcdadm/etcd-manager:3.0.20210228"
CONFIG = """version = 2
root = "{home}/root"
state = "{home}/state"
{plugin}
[grpc]
  address = "{home}/state/containerd.sock"
[ttrpc]
  address = "{home}/state/containerd.sock.ttrpc"
"""
WITHOUT_CRI = 'disabled_plugins = ["io.containerd.grpc.v1.cri"]'
CRI = """
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.example/pause:1"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
"""


def write_image(place: Path, content: bytes, name: str, *, starts: Sequence[str] = ()) -> None:
    """Write an archive of an image with one layer, in the format of `docker save`."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    diffs = [f"sha256:{hashlib.sha256(content).hexdigest()}"]
    config = json.dumps(
        {
            "architecture": machine,
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Entrypoint": list(starts)},
            "rootfs": {"type": "layers", "diff_ids": diffs},
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(place, "w") as tar:
        for inside, data in (("config.json", config), ("layer.tar", content), ("manifest.json", manifest)):
            member = tarfile.TarInfo(inside)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@dataclass
class Containerd:
    """A daemon; a call runs ctr against it in the namespace of Kubernetes and returns the output."""

    home: Path
    prefix: tuple[str, ...] = ()  # prefix of its command line, e.g. ("nsenter", "--net=FILE")
    cri: bool = False  # whether it serves CRI, for a kubelet or crictl
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return str(self.home / "state/containerd.sock")

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            ["ctr", f"--address={self.address}", "--namespace=k8s.io", *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"ctr {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def start(self) -> None:
        (self.home / "config.toml").write_text(CONFIG.format(home=self.home, plugin=CRI if self.cri else WITHOUT_CRI))
        log = self.home / "containerd.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.prefix, "containerd", "--config", str(self.home / "config.toml")],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(RuntimeError):
                self("version")
                return
            time.sleep(0.1)
        raise RuntimeError(f"containerd did not start:\n{log.read_text(errors='replace')[-3000:]}")

    def busybox(self) -> None:
        """Import an image with busybox."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            tar.add(str(shutil.which("busybox")), "bin/busybox")
            for applet in ("sh", "sleep"):
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        self.import_image(layer.getvalue())
        self.import_image(layer.getvalue(), "registry.example/pause:1", starts=("/bin/sleep", "1000000"))

    def import_image(self, content: bytes, name: str = IMAGE, *, starts: Sequence[str] = ()) -> None:
        """Import an image of one layer, in the format of `docker save`."""
        write_image(self.home / "image.tar", content, name, starts=starts)
        self("images", "import", "--snapshotter=native", str(self.home / "image.tar"))

    def run(
        self, number: str, *command: str, labels: Mapping[str, str], options: Sequence[str] = ("--null-io",)
    ) -> None:
        """Run a container of the image."""
        words = [f"--label={key}={value}" for key, value in labels.items()]
        self("run", "--detach", "--snapshotter=native", *options, *words, IMAGE, number, *command)

    def pid(self, number: str) -> int | None:
        """Return the process id of a running container, None if it does not run."""
        lines = (line.split() for line in self("tasks", "list").splitlines()[1:])
        return next((int(pid) for name, pid, state in lines if name == number and state == "RUNNING"), None)


@contextlib.contextmanager
def start_containerd(*prefix: str, cri: bool = False) -> Iterator[Containerd]:
    """Run a daemon; afterwards no process, mount or file of it is left. `prefix` precedes its command line."""
    home = Path(tempfile.mkdtemp(prefix="certmedic-containerd-"))
    containerd = Containerd(home, prefix, cri)
    try:
        containerd.start()
        yield containerd
    finally:
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            for line in containerd("tasks", "list").splitlines()[1:]:
                containerd("tasks", "delete", "--force", line.split()[0])
        if containerd.process is not None:
            containerd.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                containerd.process.wait(20)
        _sweep(home)
        if containerd.process is not None:
            containerd.process.wait()
        shutil.rmtree(home, ignore_errors=True)
