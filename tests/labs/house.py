"""A master that strangers can reach: its own network, /etc, /mnt, /run and /var/log, a real journald and the real agent.

    with house() as home:
        home.start('mode = "remedy"')                          # certmedic run, sending to a web hook
        home.unit_logs("x509: ...")                            # a unit of root writes to the journal
        home.pod("kube-system", "etcd-manager-main-m1", STATIC, "x509: ...")
        home.stranger_logs(("etcd", "x509: ..."))              # another user writes to the journal under any name
        home.stranger("python3", "-c", "...")                  # another user runs a program

Everything is in a folder that only root can change, so that files of root there are trusted. Units are control groups below
system.slice: journald and the agent read them from the kernel like those of systemd. Needs root.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from certmedic.edge.actor import VARIABLE
from labs import AGENT, pki
from labs.journal import Journald
from labs.namespaces import Machine, inside, listener, network
from labs.receivers import Hook
from labs.trusted import trusted_folder
from labs.units import control_groups, within

NOBODY = 65534
ENDLESS = datetime.max.replace(tzinfo=UTC)
STATIC = "0123456789abcdef0123456789abcdef"  # the uid of a static pod: the kubelet hashes its manifest
ORDINARY = "6f1c2a34-0d6e-4c58-9c3a-0123456789ab"  # the uid of another pod: the API server assigns a UUID
MANIFEST = """apiVersion: v1
kind: Pod
metadata:
  name: etcd-manager-main
  namespace: kube-system
spec:
  hostNetwork: true
  containers:
  - name: etcd-manager
    image: kopeio/etcd-manager:3.0.20210228
"""
CONFIG = """
state = "{home}/state"
{top}
[watch]
docker = false
pods = true
files = ["/var/log/etcd*.log"]
[certificates]
warn_days = []
[notify]
apprise = ["{home}/apprise.conf"]
group_for = "1s"
wall = false
{more}
"""
# Sends each line of JSON that it reads, [fields, text], to journald in its native protocol.
_SENDER = """
import json, socket, sys
out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
out.connect("/run/systemd/journal/socket")
for line in sys.stdin:
    fields, text = json.loads(line)
    raw = text.encode()
    packet = b"MESSAGE\\n" + len(raw).to_bytes(8, "little") + raw + b"\\n"
    packet += "".join(f"{name}={value}\\n" for name, value in fields.items()).encode()
    out.sendall(packet)
"""


def expired_line(not_after: datetime, *, remote: str = "10.0.0.9:40000", server_name: str = "etcd-a") -> str:
    """Return etcd's line about a client whose certificate expired at `not_after`."""
    validity = f"current time {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} is after {not_after:%Y-%m-%dT%H:%M:%SZ}"
    why = f"tls: failed to verify client certificate: x509: certificate has expired or is not yet valid: {validity}"
    return f'rejected connection from "{remote}" (error "{why}", ServerName "{server_name}")'


def refused_line(remote: str = "10.0.0.2:40001", server_name: str = "etcd-a") -> str:
    """Return etcd's line about a client that rejected its certificate."""
    return (
        f'rejected connection from "{remote}" (error "remote error: tls: bad certificate", ServerName "{server_name}")'
    )


@dataclass
class House(Machine):
    """A master and its agent."""

    home: Path = Path()
    journald: Journald = field(default_factory=lambda: Journald(Path()))
    received: Any = None
    ends: datetime = ENDLESS
    unit: str = ""
    process: subprocess.Popen[bytes] | None = None
    begun: list[subprocess.Popen[bytes]] = field(default_factory=list)
    groups: list[Path] = field(default_factory=list)
    config_path: Path = Path()

    # ------------------------------------------------------------ the master

    def volume(self, *, name: str = "master-vol-a", ends: timedelta = timedelta(days=300)) -> Path:
        """Write the certificates of the group main and the keys of its CAs; return the folder with `peers` and `clients`."""
        now = datetime.now(UTC).replace(microsecond=0)
        self.ends = now + ends
        self.peers_ca = pki.authority("etcd-peers-ca-main", not_before=now - timedelta(days=900))
        self.clients_ca = pki.authority("etcd-clients-ca", not_before=now - timedelta(days=900))
        cas: dict[str, Any] = {"peers_ca": self.peers_ca, "clients_ca": self.clients_ca}
        manager_ca = pki.authority("etcd-manager-ca-main")
        pki.kops_pki(self.home / "etc/kubernetes/pki/etcd-manager-main", manager_ca=manager_ca, **cas)
        return pki.kops_volume(self.home / "mnt" / name, not_after=self.ends, **cas)

    def serve(self, certificate: Path, port: int, address: str = "0.0.0.0") -> subprocess.Popen[bytes]:
        """Let a unit of root serve a certificate."""
        command = ["openssl", "s_server", "-quiet", "-accept", f"{address}:{port}"]
        files = ["-cert", str(certificate), "-key", str(certificate.with_suffix(".key"))]
        return self.in_unit(*command, *files)

    def member(self, *peers: str, peer_certificate: str = "") -> None:
        """Let the unit run a process that looks like an etcd with these addresses as its peers, by its name and flags.

        The agent reads only its process. `serve` answers on its ports.
        """
        program = self.home / "etcd"
        shutil.copy("/bin/sh", program)
        cluster = ",".join(f"etcd-{n}=https://{address}:2380" for n, address in enumerate(("127.0.0.1", *peers)))
        flags = ["--name=etcd-0", f"--initial-cluster={cluster}"]
        if peer_certificate:
            ca = f"{peer_certificate.rpartition('/')[0]}/ca.crt"
            flags += [f"--peer-cert-file={peer_certificate}", f"--peer-trusted-ca-file={ca}"]
        self.in_unit(str(program), "-c", "sleep 1000; :", "etcd", *flags)

    def in_unit(self, *command: str, **more: Any) -> subprocess.Popen[bytes]:
        """Start a program in the control group of a unit of root."""
        started = subprocess.Popen(
            within(self.groups, *inside(self.namespace, self.places, *command)), **self._quiet(more)
        )
        self.begun.append(started)
        return started

    def unit_logs(self, *texts: str, identifier: str = "etcd") -> None:
        """Let a unit of root write lines to the journal."""
        self._send(self.in_unit(sys.executable, "-c", _SENDER, stdin=subprocess.PIPE), [(identifier, t) for t in texts])

    def pod(self, namespace: str, pod: str, uid: str, *texts: str, container: str = "etcd-manager") -> Path:
        """Write lines to the log of a container as the kubelet's runtime does; return the log."""
        log = self.home / "log/pods" / f"{namespace}_{pod}_{uid}" / container / "0.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            for text in texts:
                file.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z stderr F {text}\n")
        return log

    # ------------------------------------------------------------ strangers

    def stranger(self, *command: str, **more: Any) -> subprocess.Popen[bytes]:
        """Start a program as a user without privileges."""
        drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
        started = subprocess.Popen(inside(self.namespace, self.places, *drop, *command), **self._quiet(more))
        self.begun.append(started)
        return started

    def stranger_logs(self, *entries: tuple[str, str], argv: Sequence[str] = (), stay: bool = False) -> None:
        """Let a user without privileges write (program name, text) to the journal, from a process with the arguments `argv`."""
        code = _SENDER + ("import time; time.sleep(600)\n" if stay else "")
        sender = self.stranger(sys.executable, "-c", code, *argv, stdin=subprocess.PIPE)
        self._send(sender, entries, wait=not stay)

    def strangers_folder(self, place: str) -> Path:
        """Make a folder owned by a stranger at a path of this master such as "mnt/disks/pv1"; return its path in the test."""
        made = self.home / place
        made.mkdir(parents=True)
        os.chown(made, NOBODY, NOBODY)
        return made

    def hand_over(self, folder: Path) -> None:
        """Make the stranger the owner of a folder and of all files in it."""
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def bound(self, address: str, port: int) -> socket.socket:
        """Return a socket that listens in the network of this master."""
        return bound(self.namespace, address, port)

    # ------------------------------------------------------------ the agent

    def start(self, top: str = "", more: str = "", **environ: str) -> None:
        """Start the agent and wait until it reads."""
        (self.home / "apprise.conf").write_text(f"{self.received.url}\n")
        (self.home / "apprise.conf").chmod(0o640)
        self.config_path = self.home / "certmedic.toml"
        self.config_path.write_text(CONFIG.format(home=self.home, top=top, more=more))
        self.config_path.chmod(0o640)
        command = [sys.executable, "-m", "certmedic", "run", "--config", str(self.config_path)]
        actor = self.actor(self.config_path, **environ)
        with (self.home / "agent.log").open("ab") as output:
            self.process = subprocess.Popen(
                inside(self.namespace, self.places, *command),
                env={**os.environ, "PYTHONPATH": str(AGENT), **environ, VARIABLE: str(actor.path)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.wait_for(lambda: "watching" in self.log or self.process.poll() is not None, seconds=30)

    @property
    def log(self) -> str:
        """The output of the agent."""
        return (self.home / "agent.log").read_text(errors="replace")

    @property
    def alive(self) -> bool:
        """Whether the agent runs."""
        return self.process is not None and self.process.poll() is None

    def ask(self, *words: str) -> Any:
        """Run another command of certmedic and return its JSON."""
        return self.certmedic(*words, config=self.config_path)

    def incidents(self) -> list[Any]:
        """Return all incidents, including those of strangers."""
        everything = self.ask("incidents", "--all") or self.ask("incidents")
        return list(everything["incidents"])

    def output_of(self, *words: str) -> bytes:
        """Run another command of certmedic and return its raw output."""
        command = [sys.executable, "-m", "certmedic", *words, "--config", str(self.config_path)]
        return self.run(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).communicate(timeout=60)[0]

    def matched(self) -> int:
        """Return the number of matched lines of all sources."""
        return sum(source["matched"] for source in self.ask("status").get("sources", ()))

    def wait_for(self, condition: Any, *, seconds: float = 30) -> None:
        """Wait until a condition holds; on timeout fail with the log of the agent."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds:g} s:\n{self.log[-6000:]}"
            time.sleep(0.1)

    def settle(self, lines: int, *, seconds: float = 3.0) -> None:
        """Wait until `lines` lines have matched, and then `seconds` more, the time of a delivery."""
        self.wait_for(lambda: self.matched() >= lines, seconds=40)
        time.sleep(seconds)
        assert self.alive, self.log[-6000:]

    def wait_for_message(self, words: str, *, seconds: float = 60) -> None:
        """Wait for a message with these words in its title or body."""

        def arrived() -> bool:
            return any(words in sent["title"] + sent["message"] for sent in self.received.messages)

        self.wait_for(arrived, seconds=seconds)

    # ------------------------------------------------------------ below

    def _quiet(self, more: dict[str, Any]) -> dict[str, Any]:
        silent = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        return {"env": {**os.environ, "PYTHONPATH": str(AGENT)}, **silent, **more}

    def _send(self, sender: subprocess.Popen[bytes], entries: Any, *, wait: bool = True) -> None:
        assert sender.stdin is not None
        for identifier, text in entries:
            sender.stdin.write(json.dumps([{"SYSLOG_IDENTIFIER": identifier}, text]).encode() + b"\n")
        sender.stdin.close()
        if wait:
            assert sender.wait(60) == 0

    def end(self) -> None:
        """End the agent and all processes of this master."""
        for process in (*self.begun, *([self.process] if self.process else [])):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait()
        for actor in self.actors.values():
            actor.close()
        for group in self.groups:
            with contextlib.suppress(OSError):
                group.rmdir()


def bound(namespace: str, address: str, port: int) -> socket.socket:
    """Return a socket that listens at an address in a network namespace."""
    made: list[socket.socket] = []

    def make() -> None:
        # Only this thread enters the namespace; the socket stays there.
        with Path(f"/run/netns/{namespace}").open() as file:
            _setns(file.fileno())
            made.append(socket.create_server((address, port), backlog=128))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def _setns(number: int) -> None:
    # os.setns came with Python 3.12
    if ctypes.CDLL(None, use_errno=True).setns(number, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def house(name: str = "house") -> Iterator[House]:
    """Make a master without an agent; afterwards none of its processes, mounts and files is left."""
    with trusted_folder() as home, network(name) as namespace, Hook(listener(namespace)) as received:
        journald = Journald(home)
        shutil.copytree("/etc", home / "etc", symlinks=True, ignore_dangling_symlinks=True)
        manifests = home / "etc/kubernetes/manifests"
        manifests.mkdir(parents=True, exist_ok=True)
        (manifests / "etcd-manager-main.yaml").write_text(MANIFEST)
        (home / "mnt").mkdir()
        unit = f"etcd@{namespace}.service"  # a trusted unit name, unique to this master
        made = House(
            namespace,
            {home / "etc": "/etc", home / "mnt": "/mnt", home / "log": "/var/log", home / "run": "/run"},
            home=home,
            journald=journald,
            received=received,
            unit=unit,
        )
        try:
            journald.start()
            (home / "run").chmod(0o755)
            for folder in (home / "log/pods", home / "log"):
                folder.mkdir(exist_ok=True)
                folder.chmod(0o755)
            made.groups = control_groups(unit)
            yield made
        finally:
            made.end()
            if journald.writer is not None:
                journald.writer.communicate()
            journald.stop()
            subprocess.run(["umount", "--lazy", str(home / "run")], check=False, capture_output=True)
