"""A scratch master in a folder: files as kops lays them out, and three etcd members on loopback under stand-in managers.

Everything runs without root, Docker or systemd, and is killed whenever the `with` block ends.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from certmedic.core.model import Container, Trust
from labs import TESTS, pki

VOLUME = "master-vol-{:017x}"
NAMES = ("a", "b", "c")
STOP_SECONDS = 10
NEW_IMAGE, OLD_IMAGE = "kopeio/etcd-manager:3.0.20210228", "kopeio/etcd-manager:3.0.20200307"


@dataclass(kw_only=True)
class Member:
    """One etcd member with the stand-in that runs it; `start` and `stop` act like a container runtime."""

    name: str
    root: Path
    volume: Path
    log: Path
    client_port: int
    peer_port: int
    command: list[str]
    image: str
    process: subprocess.Popen[bytes] | None = None
    started_at: datetime | None = None
    starts: int = 0

    @property
    def me(self) -> Path:
        """The peer certificate."""
        return self.volume / "pki" / "etcd-cluster-token-etcd" / "peers" / "me.crt"

    @property
    def server(self) -> Path:
        """The server certificate."""
        return self.volume / "pki" / "etcd-cluster-token-etcd" / "clients" / "server.crt"

    def container(self) -> Container:
        """Return the member as a container runtime would list it."""
        pod = f"etcd-manager-main-{self.name}"
        return Container(
            id=f"{self.name}{self.starts}",
            name=f"k8s_etcd-manager_{pod}_kube-system_drill_{self.starts}",
            image=self.image,
            pod=pod,
            namespace="kube-system",
            container_name="etcd-manager",
            state="running" if self.process is not None and self.process.poll() is None else "exited",
            started_at=self.started_at,
            runtime="docker",
            trust=Trust.SYSTEM,
        )

    @property
    def ends(self) -> datetime:
        """NotAfter of the peer certificate on disk. Raises OSError or ValueError, e.g. during a write."""
        return pki.ends(pki.read(self.me))

    def start(self) -> None:
        """Start the stand-in, which issues and then runs etcd."""
        self.starts += 1
        self.started_at = datetime.now(UTC)
        self.process = subprocess.Popen(
            self.command,
            # The stand-in stops when this pipe closes, which also happens when this process is killed.
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            start_new_session=True,  # Ctrl-C is for the drill, which stops its members in order
        )

    def stop(self) -> None:
        """Stop the stand-in, which kills its etcd; both are gone on return."""
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            if self.process.stdin is not None:
                self.process.stdin.close()
            self.process = None

    def restart(self) -> None:
        """Stop and start the member, as a container runtime does."""
        self.stop()
        self.start()


@dataclass(kw_only=True)
class Master:
    """The scratch master: the certificates of member a expire."""

    root: Path
    members: dict[str, Member] = field(default_factory=dict)
    client: tuple[Path, Path]  # certificate and key of an API server

    def healthy(self, name: str) -> bool:
        """Whether a member serves a valid certificate and reports a leader on /health.

        The client accepts any certificate, so that etcd logs no rejection.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(*self.client)
        port = self.members[name].client_port
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=context)
        try:
            connection.connect()
            shown = connection.sock.getpeercert(binary_form=True) or b""
            if pki.ends(x509.load_der_x509_certificate(shown)) <= datetime.now(UTC):
                return False
            connection.request("GET", "/health")
            return b'"true"' in connection.getresponse().read()
        except (OSError, ValueError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def wait_healthy(self, names: Sequence[str] = NAMES, *, seconds: float = 40) -> bool:
        """Wait until these members are healthy; return False on timeout."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if all(self.healthy(name) for name in names):
                return True
            time.sleep(0.1)
        return False


def free_ports(count: int) -> list[int]:
    """Return ports on loopback that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]


@contextlib.contextmanager
def scratch_master(etcd: Path, *, life: float, keep_expired: bool = False, logger: str = "") -> Iterator[Master]:
    """Make a master and start its members; the first certificates of member a live `life` seconds, all others one or two years.

    Without `logger` etcd uses its default: capnslog up to 3.4, then zap.
    """
    with tempfile.TemporaryDirectory(prefix="certmedic-drill-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        authorities = root / "etc/kubernetes/pki/etcd-manager-main"
        for name in ("etcd-peers-ca-main", "etcd-clients-ca", "etcd-manager-ca-main"):
            pki.authority(name).write(authorities / f"{name.removesuffix('-main')}.crt")
        master = Master(root=root, client=api_client(root, authorities))
        ports = free_ports(2 * len(NAMES))
        peers, clients = dict(zip(NAMES, ports, strict=False)), dict(zip(NAMES, ports[len(NAMES) :], strict=True))
        cluster = ",".join(f"etcd-{name}=https://localhost:{port}" for name, port in peers.items())
        for number, name in enumerate(NAMES, 1):
            peer, client = peers[name], clients[name]
            # Peers are other machines: their files are outside the agent's root.
            home = root if name == "a" else root / "neighbours" / name
            volume, log = home / "mnt" / VOLUME.format(number), home / "var/log/etcd.log"
            command = [
                *(sys.executable, "-m", "labs.drill.standin", f"--member=etcd-{name}", f"--volume={volume}"),
                *(f"--authorities={authorities}", "--dns", "localhost", "--log", str(log), "--until-eof"),
                *([f"--first-life={life}"] if name == "a" else []),
                *(["--keep-expired"] if keep_expired else []),
                *("--", str(etcd), f"--name=etcd-{name}", f"--data-dir={volume / 'data'}"),
                *([f"--logger={logger}"] if logger else []),
                *(f"--listen-peer-urls=https://127.0.0.1:{peer}", f"--listen-client-urls=https://127.0.0.1:{client}"),
                f"--initial-advertise-peer-urls=https://localhost:{peer}",
                f"--advertise-client-urls=https://localhost:{client}",
                *(f"--initial-cluster={cluster}", "--initial-cluster-token=drill"),
            ]
            master.members[name] = Member(
                name=name,
                root=home,
                volume=volume,
                log=log,
                client_port=client,
                peer_port=peer,
                command=command,
                image=OLD_IMAGE if keep_expired else NEW_IMAGE,
            )
        try:
            for member in master.members.values():
                member.start()
            yield master
        finally:
            for member in master.members.values():
                member.stop()


def api_client(root: Path, authorities: Path) -> tuple[Path, Path]:
    """Issue kube-apiserver's client certificate for etcd, as nodeup does; returns the certificate and its key."""
    folder = root / "srv/kubernetes/kube-apiserver"
    ca = pki.read_authority(authorities / "etcd-clients-ca.crt")
    leaf = ca.leaf("kube-apiserver", server=False, not_after=datetime.now(UTC) + timedelta(days=455))
    certificate = leaf.write(folder / "etcd-client.crt")
    (folder / "etcd-ca.crt").write_bytes(ca.pem)
    return certificate, certificate.with_suffix(".key")
