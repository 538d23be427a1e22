"""The output of OpenSSL, curl, Python, Node and etcd about faulty certificates, on loopback."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import pytest

from certmedic.core import symptoms
from certmedic.core.model import LogEntry, RejectedBy, Role, Sighting, Suspect, Symptom
from labs import etcd, pki, waiting
from labs.drill.master import free_ports

pytestmark = pytest.mark.slow

DAY = timedelta(days=1)
NAMES = {"dns": ("localhost",), "ips": ("127.0.0.1",)}
# A program that prints a line without a reason prints the reason in another line.
VAGUE = {Symptom.OTHER}

OWN, PEER = Suspect.OWN, Suspect.PEER
LOCAL, REMOTE = RejectedBy.LOCAL, RejectedBy.REMOTE


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """Return a folder with `ca.crt` and a leaf for each fault: `<fault>.crt` and `<fault>.key`."""
    folder = tmp_path_factory.mktemp("lab")
    now = datetime.now(UTC).replace(microsecond=0)
    ca, other = (pki.authority(f"{name}-ca", not_before=now - 400 * DAY) for name in ("lab", "other"))
    (folder / "ca.crt").write_bytes(ca.pem)
    (folder / "other-ca.crt").write_bytes(other.pem)
    leaves = {
        "good": ca.leaf("good", **NAMES),
        "expired": ca.leaf("expired", not_after=now - 2 * DAY, **NAMES),
        "future": ca.leaf("future", not_before=now + 5 * DAY, **NAMES),
        "stranger": other.leaf("stranger", **NAMES),
        "name": ca.leaf("name", dns=("elsewhere.internal",), ips=("127.0.0.9",)),
        "client only": ca.leaf("client-only", server=False, **NAMES),
        "server only": ca.leaf("server-only", client=False, **NAMES),
    }
    for name, leaf in leaves.items():
        leaf.write(folder / f"{name}.crt")
    return folder


def sightings(output: str) -> list[Sighting]:
    entries = (LogEntry(stream="t", position="1", time=datetime.now(UTC), text=line) for line in output.splitlines())
    return [sighting for sighting in map(symptoms.parse, entries) if sighting is not None]


# ---------------------------------------------------------------- both ends of a handshake


class Listener:
    """A TLS server in Python that collects the error of each failed handshake."""

    def __init__(self, lab: Path, leaf: str, *, asks: bool = False) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(lab / f"{leaf}.crt", lab / f"{leaf}.key")
        if asks:
            # Under TLS 1.3 a client learns of its rejection later, and some programs do not wait for it.
            self.context.maximum_version = ssl.TLSVersion.TLSv1_2
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(lab / "ca.crt")
        self.errors: list[str] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(30)
        self.socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        secure = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        try:
            secure.do_handshake()
            secure.recv(1024)
            secure.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
        except OSError as error:
            self.errors.append(f"ssl.{type(error).__name__}: {error}")
        # Read to the end: closing with unread input resets the connection, and the client loses the alert.
        with socket.socket(fileno=secure.detach()) as plain, contextlib.suppress(OSError):
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                pass


NODE = """
const fs = require('fs'), shown = process.argv[3];
const more = shown ? {cert: fs.readFileSync(shown + '.crt'), key: fs.readFileSync(shown + '.key')} : {};
require('https').get({host: 'localhost', port: process.argv[1], ca: fs.readFileSync(process.argv[2]), ...more}, r => r.resume())
    .on('error', error => console.error(error));
"""
PYTHON = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[2])
if sys.argv[3:]:
    context.load_cert_chain(sys.argv[3] + ".crt", sys.argv[3] + ".key")
urllib.request.urlopen(f"https://localhost:{sys.argv[1]}/", context=context)
"""
CLIENTS = ("openssl", "curl", "node", "python")


def call(client: str, lab: Path, port: int, shown: str = "") -> str:
    """Connect to localhost at `port` with one of CLIENTS, with the leaf `shown` if given; return its output."""
    if client != "python" and shutil.which(client) is None:
        pytest.skip(f"{client} is not installed")
    ca, leaf = str(lab / "ca.crt"), str(lab / shown) if shown else ""
    pair = [f"{leaf}.crt", f"{leaf}.key"]
    command = {
        "openssl": [
            *("openssl", "s_client", "-connect", f"localhost:{port}", "-CAfile", ca, "-verify_return_error"),
            *("-verify_hostname", "localhost", "-state"),
            *(["-cert", pair[0], "-key", pair[1]] if shown else []),
        ],
        "curl": [
            *("curl", "--silent", "--show-error", "--noproxy", "*", "--cacert", ca),
            *(["--cert", pair[0], "--key", pair[1]] if shown else []),
            f"https://localhost:{port}/",
        ],
        "node": ["node", "-e", NODE, str(port), ca, *([leaf] if shown else [])],
        "python": [sys.executable, "-c", PYTHON, str(port), ca, *([leaf] if shown else [])],
    }[client]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("fault", "symptom", "alert"),
    [
        ("expired", Symptom.EXPIRED, Symptom.EXPIRED_ALERT),
        ("future", Symptom.NOT_YET_VALID, Symptom.BAD_CERTIFICATE_ALERT),
        ("stranger", Symptom.UNKNOWN_AUTHORITY, Symptom.UNKNOWN_CA_ALERT),
        ("name", Symptom.NAME_MISMATCH, Symptom.BAD_CERTIFICATE_ALERT),
        ("client only", Symptom.USAGE, Symptom.BAD_CERTIFICATE_ALERT),
    ],
)
def test_client_that_rejects_a_server_gives_the_symptom_at_both_ends(lab, client, fault, symptom, alert):
    with Listener(lab, fault) as listener:
        printed = sightings(call(client, lab, listener.port))
    # OpenSSL also prints the alert that it sends: `bad certificate` for most faults.
    assert {sighting.symptom for sighting in printed} - VAGUE - {Symptom.BAD_CERTIFICATE_ALERT} == {symptom}
    assert {(sighting.rejected_by, sighting.suspect) for sighting in printed} == {(LOCAL, PEER)}
    # The server's end of the same handshake: node closes without an alert; curl and Python send the alert of OpenSSL.
    alerts = {(heard.symptom, heard.rejected_by, heard.suspect) for heard in sightings("\n".join(listener.errors))}
    assert alerts <= {(alert, REMOTE, OWN), (Symptom.BAD_CERTIFICATE_ALERT, REMOTE, OWN)}
    if client == "openssl":
        assert alerts == {(alert, REMOTE, OWN)}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("fault", "symptom", "alert"),
    [
        ("expired", Symptom.EXPIRED, Symptom.EXPIRED_ALERT),
        ("future", Symptom.NOT_YET_VALID, Symptom.BAD_CERTIFICATE_ALERT),
        ("stranger", Symptom.UNKNOWN_AUTHORITY, Symptom.UNKNOWN_CA_ALERT),
        ("server only", Symptom.USAGE, Symptom.BAD_CERTIFICATE_ALERT),
    ],
)
def test_server_that_rejects_a_client_gives_the_symptom_at_both_ends(lab, client, fault, symptom, alert):
    with Listener(lab, "good", asks=True) as listener:
        printed = sightings(call(client, lab, listener.port, fault))
    heard = sightings("\n".join(listener.errors))
    assert {(sighting.symptom, sighting.rejected_by, sighting.suspect) for sighting in heard} == {
        (symptom, LOCAL, PEER)
    }
    specific = [
        sighting for sighting in printed if sighting.symptom not in VAGUE
    ]  # curl prints only "verification failed" for an expired leaf
    assert {sighting.symptom for sighting in specific} <= {alert}
    assert {(sighting.rejected_by, sighting.suspect) for sighting in specific} <= {(REMOTE, OWN)}
    if client != "curl":
        assert specific


@pytest.mark.parametrize("client", CLIENTS)
def test_server_reports_a_missing_client_certificate(lab, client):
    with Listener(lab, "good", asks=True) as listener:
        assert sightings(call(client, lab, listener.port)) == []  # the alert is only `handshake failure`
    (missed,) = sightings("\n".join(listener.errors))
    assert (missed.symptom, missed.rejected_by, missed.suspect) == (Symptom.MISSING_CLIENT_CERT, LOCAL, PEER)
    assert missed.role is Role.SERVER


@pytest.mark.parametrize("client", CLIENTS)
def test_good_handshake_gives_no_sighting(lab, client):
    with Listener(lab, "good", asks=True) as listener:
        assert sightings(call(client, lab, listener.port, "good")) == []
    assert sightings("\n".join(listener.errors)) == []


# ---------------------------------------------------------------- etcd


@contextlib.contextmanager
def member(lab: Path, folder: Path, logger: str) -> Iterator[tuple[int, Path]]:
    """Run a real etcd of one member that requires client certificates; yield its client port and its log."""
    client_port, peer_port = free_ports(2)
    log = folder / "etcd.log"
    client, peer = f"https://127.0.0.1:{client_port}", f"https://127.0.0.1:{peer_port}"
    command = [
        *(str(etcd.etcd_binary("3.4")), f"--logger={logger}", "--name=m1", f"--data-dir={folder / 'data'}"),
        *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--initial-cluster=m1={peer}"),
        *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
        *(f"--cert-file={lab / 'good.crt'}", f"--key-file={lab / 'good.key'}"),
        *(f"--trusted-ca-file={lab / 'ca.crt'}", "--client-cert-auth", "--peer-auto-tls"),
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        waiting.until(lambda: b"serving client" in log.read_bytes())
        yield client_port, log
    finally:
        process.kill()
        process.wait()


def knock(lab: Path, port: int, *, shown: str = "", trusting: str = "ca") -> None:
    """Shake hands with a server on loopback, with the leaf `shown` or none, trusting the CA `trusting`."""
    context = ssl.create_default_context(cafile=str(lab / f"{trusting}.crt"))
    if shown:
        context.load_cert_chain(lab / f"{shown}.crt", lab / f"{shown}.key")
    if trusting != "ca":
        # Under TLS 1.3 Go cannot read an alert that OpenSSL sends before the end of the handshake.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        secure.recv(1024)


@pytest.mark.parametrize("logger", ["capnslog", "zap"])
def test_etcd_log_gives_a_sighting_for_each_faulty_client(lab, tmp_path, logger):
    with member(lab, tmp_path, logger) as (port, log):
        healthy = log.read_text()
        for shown in ("", "expired", "future", "stranger", "server only"):
            knock(lab, port, shown=shown)
        knock(lab, port, shown="good", trusting="other-ca")
        # Count sightings, not lines: connections of other tests to this port are rejected too (`EOF`).
        with contextlib.suppress(AssertionError):
            waiting.until(lambda: len(sightings(log.read_text())) >= 6)
        logged = log.read_text()
    assert sightings(healthy) == []
    logged_sightings = sightings(logged)
    assert [(sighting.symptom, sighting.rejected_by, sighting.suspect) for sighting in logged_sightings] == [
        (Symptom.MISSING_CLIENT_CERT, LOCAL, PEER),
        (Symptom.EXPIRED, LOCAL, PEER),
        (Symptom.NOT_YET_VALID, LOCAL, PEER),
        (Symptom.UNKNOWN_AUTHORITY, LOCAL, PEER),
        (Symptom.USAGE, LOCAL, OWN),  # from 127.0.0.1, like the gateway of etcd with its server certificate
        (Symptom.UNKNOWN_CA_ALERT, REMOTE, OWN),
    ], [line for line in logged.splitlines() if "rejected connection" in line]
    assert {(sighting.role, sighting.program) for sighting in logged_sightings} == {(Role.SERVER, "etcd")}
    assert {sighting.remote_host for sighting in logged_sightings} == {"127.0.0.1"}
    assert {sighting.fields["server_name"] for sighting in logged_sightings} == {"localhost"}
    (expired,) = (sighting for sighting in logged_sightings if sighting.symptom is Symptom.EXPIRED)
    assert expired.not_after == end_of(lab / "expired.crt")


def end_of(path: Path) -> datetime:
    reply = subprocess.run(
        ["openssl", "x509", "-enddate", "-noout", "-in", path], capture_output=True, text=True, check=True
    )
    return datetime.strptime(reply.stdout.strip(), "notAfter=%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
