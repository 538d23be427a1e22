"""Whole machines: Debian booted with its own systemd, journald and apt, in a container without a network.

    with boot("bookworm", ("python3", "docker.io")) as machine:
        machine.put(package, "/root/certmedic.deb")
        machine("apt-get", "install", "-y", "/root/certmedic.deb")

The root file system of a release is made once, from the mirror of this machine's apt, and kept in the cache; each boot puts a new
layer over it. Needs root and Debian's `debootstrap` and `systemd-container`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BASE = ("systemd", "systemd-sysv", "dbus", "ca-certificates", "procps")
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
STARTED = ("running", "degraded")


def cache() -> Path:
    """Return the cache folder."""
    kept = os.environ.get("CERTMEDIC_CACHE")
    return Path(kept) if kept else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "certmedic"


def mirror() -> str:
    """Return the address of the Debian mirror that this machine's apt uses."""
    wanted = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Identifier: Packages"]
    listing = subprocess.run(wanted, capture_output=True, text=True, check=True).stdout
    for line in listing.splitlines():
        origin, label, address = line.split(" ", 2)
        if origin == label == "Debian":
            return address
    raise RuntimeError("apt is not set up for Debian's archive here; see /etc/apt/sources.list.d")


def root_file_system(release: str, packages: Sequence[str]) -> Path:
    """Return the root file system of a release with these packages; build it if needed (2 minutes).

    A release may have several, with a word after a hyphen: "bullseye-bare".
    """
    home = cache() / f"rootfs-{release}"
    stamp, want = home.with_name(f"{home.name}.made-with"), " ".join(sorted({*BASE, *packages}))
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_name(f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel test runs build it once
        if home.is_dir() and stamp.exists() and stamp.read_text() == want:
            return home
        stamp.unlink(missing_ok=True)
        shutil.rmtree(home, ignore_errors=True)
        address = mirror()
        _do(
            "debootstrap",
            "--variant=minbase",
            f"--include={','.join(BASE)}",
            release.partition("-")[0],
            str(home),
            address,
        )
        (home / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        (home / "usr/sbin/policy-rc.d").chmod(0o755)
        shutil.copy("/etc/resolv.conf", home / "etc/resolv.conf")
        for words in (("update",), ("install", "-y", "--no-install-recommends", *packages), ("clean",)):
            _do("chroot", str(home), "apt-get", *words)
        (home / "usr/sbin/policy-rc.d").unlink()
        stamp.write_text(want)
        return home


def _do(*command: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=900, env={**os.environ, **QUIET}
    )
    if done.returncode:
        output = (done.stdout + done.stderr).decode(errors="replace")
        raise RuntimeError(f"{' '.join(command)} failed:\n{output[-3000:]}")


@dataclass(frozen=True)
class Reply:
    """The result of a command."""

    code: int
    out: str  # both streams


@dataclass
class Machine:
    """A booted machine; a call runs a command in it and returns the output."""

    release: str
    root: Path
    leader: int
    again: Callable[[], None] = lambda: None

    def reboot(self) -> None:
        """Shut the machine down in order and boot it again, with what it wrote to its disk."""
        self.again()

    def run(self, *command: str, stdin: bytes = b"", timeout: float = 120) -> Reply:
        """Run a command as root in the machine; a failure is no error."""
        done = subprocess.run(
            ["nsenter", f"--target={self.leader}", "-m", "-u", "-i", "-n", "-p", "-C", "--", *command],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
            env={
                **QUIET,
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": "/root",
                "SYSTEMD_PAGER": "",
            },
        )
        return Reply(done.returncode, done.stdout.decode(errors="replace"))

    def __call__(self, *command: str, stdin: bytes = b"", timeout: float = 120) -> str:
        """Run a command as root in the machine; raise an error with the output if it fails."""
        reply = self.run(*command, stdin=stdin, timeout=timeout)
        if reply.code:
            raise AssertionError(f"{self.release}: {' '.join(command)}: exit {reply.code}\n{reply.out}")
        return reply.out

    def write(self, path: str, content: str | bytes) -> None:
        """Write a file in the machine, with its folders."""
        data = content.encode() if isinstance(content, str) else content
        self("sh", "-c", 'mkdir -p "$(dirname "$0")" && cat >"$0"', path, stdin=data)

    def put(self, source: Path, path: str) -> None:
        """Copy a file into the machine."""
        self.write(path, source.read_bytes())

    def until(self, text: str, *command: str, seconds: float = 60) -> str:
        """Run a command repeatedly until it prints `text`; return that output."""
        deadline = time.monotonic() + seconds
        while True:
            reply = self.run(*command)
            if text in reply.out:
                return reply.out
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{self.release}: {' '.join(command)} never said {text!r} within {seconds:g} s:\n{reply.out[-6000:]}"
                )
            time.sleep(0.5)


def _own_groups(name: str) -> list[Path]:
    """Make a control group with this name in every writable hierarchy, for a machine and all its processes.

    Two machines in the same group would each take the services of the other for theirs.
    """
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    mounted = {}  # controllers as in /proc/self/cgroup -> mount point
    for _, point, kind, options, *_ in mounts:
        if kind == "cgroup2":
            mounted[""] = point
        elif kind == "cgroup":
            named = [option for option in options.split(",") if option.startswith("name=")]
            mounted.update(dict.fromkeys(named or options.split(","), point))
    groups = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if root := mounted.get(controllers.split(",")[0]):
            group = Path(root + path, name)
            with contextlib.suppress(OSError):
                group.mkdir()
                groups.append(group)
                # A new cpuset accepts no process before its cores are set. A shared one would let two kubelets kill each other's pods.
                for cores in ("cpuset.cpus", "cpuset.mems") if "cpuset" in controllers else ():
                    (group / cores).write_text((group.parent / cores).read_text())
    return groups


def _remove(group: Path) -> None:
    """Remove a control group and all below it, once the kernel has released their processes."""
    deadline = time.monotonic() + 10
    while group.exists() and time.monotonic() < deadline:
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        time.sleep(0.05)


@contextlib.contextmanager
def boot(release: str, packages: Sequence[str], *options: str) -> Iterator[Machine]:
    """Boot a release, with further options of nspawn; afterwards no process, mount or file of it is left."""
    lower = root_file_system(release, packages)
    home = Path(tempfile.mkdtemp(prefix=f"certmedic-{release}-"))
    root = home / "root"
    for name in ("root", "upper", "work", "docker"):
        (home / name).mkdir()
    layers = f"lowerdir={lower},upperdir={home / 'upper'},workdir={home / 'work'}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(root)], check=True)
    log = home / "console.log"
    name = home.name.replace("_", "x")  # systemd allows no "_" and no final "-"
    groups = _own_groups(home.name)
    enter = 'for group in $0; do echo $$ >"$group/cgroup.procs" || exit; done; exec "$@"'

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [
                    *["sh", "-c", enter, " ".join(map(str, groups))],
                    *["systemd-nspawn", "-q", "-D", str(root), "--boot", "--register=no", "--keep-unit"],
                    *["--console=pipe", "--private-network", "--capability=all", f"--machine={name}"],
                    f"--bind={home / 'docker'}:/var/lib/docker",  # dockerd cannot stack overlays
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # nspawn's system call filter would block dockerd; the filters of the units still work.
                env={**os.environ, "SYSTEMD_SECCOMP": "0"},
            )

    nspawn = start()
    try:
        machine = Machine(release, root, _leader(nspawn, log))

        def up() -> None:
            _wait_until_up(machine, log)
            # nspawn mounts the control groups read-only. With a writable mount dockerd can make groups, and systemd, once it has
            # reexecuted, enforces the limits of its services.
            machine("sh", "-c", "awk '$3 ~ /^cgroup/ {print $2}' /proc/mounts | xargs -n1 mount -o remount,rw,bind")
            machine("systemctl", "daemon-reexec")
            _wait_until_up(machine, log)

        def again() -> None:
            nonlocal nspawn
            machine.run("systemctl", "reboot")
            nspawn.wait(120)  # it leaves the start to its caller
            nspawn = start()
            machine.leader = _leader(nspawn, log)
            up()

        machine.again = again
        up()
        yield machine
    finally:
        with contextlib.suppress(RuntimeError, ProcessLookupError):
            os.kill(
                _leader(nspawn, log, seconds=0), signal.SIGKILL
            )  # the kernel kills all other processes of the machine too
        with contextlib.suppress(subprocess.TimeoutExpired):
            nspawn.wait(10)
        nspawn.kill()
        nspawn.wait()
        subprocess.run(["umount", "-l", str(root)], check=False)
        shutil.rmtree(home, ignore_errors=True)
        for group in groups:
            _remove(group)


def _leader(nspawn: subprocess.Popen[bytes], log: Path, seconds: float = 30) -> int:
    """Return the pid of the machine's systemd: a descendant of nspawn that is pid 1 in a new namespace."""
    deadline = time.monotonic() + seconds
    while True:
        families = [nspawn.pid]
        for pid in families:
            with contextlib.suppress(OSError):
                families += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        for pid in families[1:]:
            with contextlib.suppress(OSError, StopIteration):
                namespaces = next(
                    line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("NSpid")
                )
                if (
                    len(namespaces.split()) == 3
                    and namespaces.endswith("\t1")
                    and "systemd" in Path(f"/proc/{pid}/exe").readlink().name
                ):
                    return pid
        if nspawn.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the machine did not start:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.1)


def _wait_until_up(machine: Machine, log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if machine.run("systemctl", "is-system-running").out.strip() in STARTED:
            return
        time.sleep(0.2)
    raise RuntimeError(f"{machine.release} did not come up:\n{log.read_text(errors='replace')[-3000:]}")
