"""A separate Docker daemon: its data, socket, containerd and containers end with it.

    with start_dockerd() as docker:
        docker.busybox()                                        # an image, without a registry
        name = docker("run", "-d", "--network=none", BUSYBOX, "sh", "-c", "echo hello")

Needs root and Debian's `docker.io`, `iproute2` and `busybox-static`.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BUSYBOX = "certmedic-lab/busybox"
APPLETS = (
    "sh",
    "cat",
    "echo",
    "sleep",
    "seq",
    "date",
    "tr",
    "head",
    "yes",
    "kill",
    "ls",
    "mkdir",
    "rm",
    "mv",
    "printf",
)


@dataclass
class Docker:
    """A daemon, running unless stopped; a call runs the docker client against it and returns the output."""

    home: Path
    options: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()  # prefix of its command line, e.g. ("nsenter", "--net=FILE")
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def socket(self) -> Path:
        return self.home / "docker.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def __call__(self, *words: str, stdin: bytes | None = None) -> str:
        """Run `docker WORDS...`; raise an error with the output if it fails."""
        done = subprocess.run(
            ["/usr/bin/docker", "--host", self.url, *words], input=stdin, capture_output=True, timeout=60, check=False
        )
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(words)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode(errors="replace").strip()

    def start(self) -> None:
        """Start the daemon and wait until it answers. The daemon starts and stops a separate containerd."""
        command = [
            *self.prefix,
            "/usr/sbin/dockerd",
            f"--host={self.url}",
            f"--data-root={self.home / 'data'}",
            f"--exec-root={self.home / 'run'}",
            f"--pidfile={self.home / 'docker.pid'}",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--storage-driver=vfs",  # works on any file system, also in containers
            "--group=root",
            *self.options,
        ]
        log = self.home / "dockerd.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(RuntimeError):
                self("version")
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(f"dockerd did not start:\n{log.read_text(errors='replace')[-3000:]}")

    def stop(self, *, kill: bool = False) -> None:
        """Stop the daemon; its containers stop too, unless it was started with --live-restore or killed."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            self.process.wait(60)
            self.process = None
        pid_file = self.home / "run/containerd/containerd.pid"
        if kill and pid_file.exists():
            # Here dockerd starts containerd, elsewhere systemd does. It must end too: a containerd that lost its parent
            # does not answer, and the next dockerd would wait for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid_file.read_text()), signal.SIGKILL)
            pid_file.unlink()

    def import_image(self, name: str, files: dict[str, Path]) -> str:
        """Import an image with busybox and `files` (path in the image -> local file, all executable)."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(str(shutil.which("busybox")), "bin/busybox")
            for applet in APPLETS:
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
            for folder in ("tmp", "etc", "var/log"):
                made = tarfile.TarInfo(folder)
                made.type, made.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
                tar.addfile(made)
            for inside, path in files.items():
                member = tar.gettarinfo(str(path), inside.lstrip("/"))
                member.mode = 0o755
                with path.open("rb") as content:
                    tar.addfile(member, content)
        self("import", "-", name, stdin=packed.getvalue())
        return name

    def busybox(self) -> str:
        """Import the plain busybox image unless it exists."""
        return BUSYBOX if self("images", "-q", BUSYBOX) else self.import_image(BUSYBOX, {})


def _sweep(home: Path) -> None:
    """Kill all processes that still run from `home` (containerd, shims, containers), and unmount their mounts."""
    marker = os.fsencode(home)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        left = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                details = (folder / "cmdline").read_bytes() + (folder / "mountinfo").read_bytes().partition(b"\n")[0]
                if marker in details and int(folder.name) != os.getpid():
                    left.append(int(folder.name))
        if not left:
            break
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((m for m in mounts if m.startswith(f"{home}/")), reverse=True):
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)


@contextlib.contextmanager
def start_dockerd(*options: str) -> Iterator[Docker]:
    """Run a daemon with additional `options`; afterwards no process, mount or file of it is left.

    The folder is in /tmp, since the path of a socket must be shorter than pytest's folders.
    """
    home = Path(tempfile.mkdtemp(prefix="certmedic-docker-"))
    docker = Docker(home, options)
    try:
        docker.start()
        yield docker
    finally:
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            if docker.process is not None and (running := docker("ps", "-q").split()):
                docker("kill", *running)
        with contextlib.suppress(subprocess.TimeoutExpired):
            docker.stop()
        _sweep(home)
        shutil.rmtree(home, ignore_errors=True)
