"""Listeners of this machine and the certificates they serve: real sockets and real TLS servers."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certmedic.core import certificates
from certmedic.core.model import Facts, Place, Stored, Trust
from certmedic.core.verify import cure_took
from certmedic.edge.facts.listeners import connections, listening, own_addresses, probe, shake_hands
from certmedic.edge.facts.machine import Machine
from certmedic.edge.facts.members import is_verified
from labs.pki import Authority, Leaf, authority
from labs.waiting import until

NOW = datetime.now(UTC)


@dataclass
class Listener:
    port: int
    refusals: list[str]  # the errors that the server reported, one for each handshake
    peers: list[str]


@contextlib.contextmanager
def tls_server(tmp_path: Path, leaf: Leaf, clients: Authority, version: ssl.TLSVersion) -> Iterator[Listener]:
    """Run a server of one TLS version that refuses clients without a certificate."""
    leaf.write(tmp_path / "server.crt")
    (tmp_path / "clients.crt").write_bytes(clients.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    context.load_verify_locations(tmp_path / "clients.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        listener = Listener(server.getsockname()[1], [], [])
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                try:
                    connection, peer = server.accept()
                except TimeoutError:
                    continue
                listener.peers.append(f"{peer[0]}:{peer[1]}")
                with connection:
                    connection.settimeout(30)
                    try:
                        context.wrap_socket(connection, server_side=True).recv(1)
                    except OSError as error:
                        listener.refusals.append(str(error))
                    else:
                        listener.refusals.append("")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            stop.set()
            thread.join(60)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def test_served_leaf_is_read_without_a_client_certificate(tmp_path, leaf, clients_ca, version):
    with tls_server(tmp_path, leaf, clients_ca, version) as listener:
        served = shake_hands("127.0.0.1", listener.port, server_name="localhost", deadline=30)
        assert served.error == ""
        assert served.certificate is not None
        assert served.certificate == certificates.parse(leaf.cert_pem, "")[0]
        until(lambda: listener.refusals)
    assert listener.peers == [f"127.0.0.1:{served.local_port}"]
    # The server saw a closed connection. It saw no alert and no missing client certificate.
    assert "EOF" in listener.refusals[0] or "closed" in listener.refusals[0]


def test_expired_leaf_of_an_unknown_ca_is_read_too(tmp_path, clients_ca):
    expired = authority("nobody knows").leaf(
        "etcd-a", not_before=NOW - timedelta(days=378), not_after=NOW - timedelta(days=13)
    )
    with tls_server(tmp_path, expired, clients_ca, ssl.TLSVersion.TLSv1_3) as listener:
        served = shake_hands("127.0.0.1", listener.port, server_name=None, deadline=30)
    assert served.certificate is not None
    assert certificates.status(served.certificate, NOW) == "expired"


@contextlib.contextmanager
def plain_server(answer: bytes | None) -> Iterator[int]:
    """Run a listener that answers with `answer` and hangs up; None never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                held.append(connection)
                if answer is not None:
                    connection.recv(4096)
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(60)
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no TLS handshake"),
        (b"", "closed the connection before"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "no TLS handshake: .*handshake failure"),
        (None, "no answer within 0.3 s"),
    ],
    ids=["http", "hangs up", "alert", "silence"],
)
def test_listener_without_tls_is_reported_with_a_reason(answer, error):
    with plain_server(answer) as port:
        served = shake_hands("127.0.0.1", port, server_name="localhost", deadline=0.3 if answer is None else 30)
    assert served.certificate is None
    assert served.port == port
    assert re.search(error, served.error), served.error


def test_closed_port_is_reported_with_a_reason():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    served = shake_hands("127.0.0.1", port, server_name=None, deadline=5)
    assert (served.certificate, served.error) == (None, "Connection refused")
    assert listening([port]) == ()


@pytest.mark.parametrize("name", ["x" * 300, "n\u00e4me.example", "a..b", "10.0.0.1", ""])
def test_every_server_name_is_accepted_in_a_handshake(tmp_path, leaf, clients_ca, name):
    with tls_server(tmp_path, leaf, clients_ca, ssl.TLSVersion.TLSv1_3) as listener:
        assert shake_hands("127.0.0.1", listener.port, server_name=name, deadline=30).certificate is not None


@contextlib.contextmanager
def serves_two(tmp_path: Path, held: Leaf, fresh: Leaf, name: str) -> Iterator[int]:
    """Run a server that serves `fresh` to clients that send its name as SNI, and `held` to all others, like etcd 3.2.18."""
    held.write(tmp_path / "held.crt")
    fresh.write(tmp_path / "fresh.crt")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            *["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{port}", "-servername", name],
            *["-cert", f"{tmp_path}/held.crt", "-key", f"{tmp_path}/held.key"],
            *["-cert2", f"{tmp_path}/fresh.crt", "-key2", f"{tmp_path}/fresh.key"],
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: listening([port]))
        yield port
    finally:
        server.kill()
        server.communicate()


def test_certificate_served_only_with_sni_is_no_cure(tmp_path, peers_ca):
    held = peers_ca.leaf("etcd-a", dns=("etcd-a",), not_after=NOW - timedelta(days=1))
    fresh = peers_ca.leaf("etcd-a", dns=("etcd-a",), not_after=NOW + timedelta(days=700))
    ends = certificates.parse(held.cert_pem, "")[0].not_after
    with serves_two(tmp_path, held, fresh, "etcd-a") as port:
        stored = Stored(
            certificate=certificates.parse(fresh.cert_pem, "/me.crt")[0],
            place=Place(plane="kops", group="main", use="peer", renewer="etcd-manager", ports=(port,)),
            modified=NOW,
        )

        def took(*, nameless: bool) -> tuple[bool, str]:
            served = Machine(globs=())._shake_hands([stored], (), nameless=nameless)
            seen = Facts(at=NOW, host="a", stored=(stored,), served=served)
            return cure_took([("/me.crt", ends)], seen)

        assert took(nameless=False)[0]
        good, reason = took(nameless=True)
    assert (good, f"127.0.0.1:{port} still serves the certificate that expires" in reason) == (False, True)
    # The port is asked twice, with and without SNI, and listed once.
    with serves_two(tmp_path, fresh, fresh, "etcd-a") as port:
        stored = replace(stored, place=replace(stored.place, ports=(port,)))
        good, reason = took(nameless=True)
    assert (good, reason.partition("; served on ")[2]) == (True, f"127.0.0.1:{port}")


def test_listeners_are_dialled_at_their_bound_address():
    with contextlib.ExitStack() as stack:
        ports = {}
        for family, address, dialled in (
            (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
            (socket.AF_INET, "127.0.0.2", "127.0.0.2"),
            (socket.AF_INET, "0.0.0.0", "127.0.0.1"),
            (socket.AF_INET6, "::1", "::1"),
        ):
            if family == socket.AF_INET6 and not Path("/proc/net/if_inet6").exists():
                continue
            server = stack.enter_context(socket.create_server((address, 0), family=family))
            ports[server.getsockname()[1]] = dialled
        assert {port: address for address, port in listening(ports)} == ports


def test_own_addresses_are_those_of_the_interfaces():
    addresses = own_addresses()
    assert {"127.0.0.1", "::1"} <= addresses
    # The result holds every address that a local socket can bind to, and no other.
    printed = subprocess.run(["ip", "-o", "addr"], capture_output=True, text=True, check=True).stdout
    assert addresses == {line.split()[3].split("/")[0] for line in printed.splitlines()} | {"127.0.0.1", "::1"}


@pytest.mark.slow
def test_dripping_listener_is_given_up_at_the_deadline():
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(
                    b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"
                )  # the beginning of a handshake message of 16 KiB
                while not stop.wait(0.1):
                    connection.sendall(b"\0")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        began = time.monotonic()
        served = shake_hands("127.0.0.1", server.getsockname()[1], server_name=None, deadline=1)
        took = time.monotonic() - began
        stop.set()
        thread.join(30)
    assert served.certificate is None
    assert took < 1 + 5  # the deadline, and slack for a busy machine


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def test_member_is_verified_by_chain_and_key_and_logs_no_rejection(tmp_path, peers_ca, clients_ca, version):
    leaf = peers_ca.leaf("etcd-b", dns=("etcd-b",), not_after=NOW - timedelta(days=1))
    with tls_server(tmp_path, leaf, clients_ca, version) as listener:
        served, proof = probe("127.0.0.1", listener.port, server_name=None, deadline=30)
        until(lambda: listener.refusals)
    assert served.certificate is not None
    assert proof.proven
    assert is_verified(proof, [certificates.parse(peers_ca.pem, "")[0]])
    assert not is_verified(proof, [certificates.parse(authority("etcd-peers-ca-main").pem, "")[0]])
    assert not is_verified(replace(proof, proven=False), [certificates.parse(peers_ca.pem, "")[0]])
    assert "EOF" in listener.refusals[0] or "closed" in listener.refusals[0]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="listens as another user")
def test_stranger_on_loopback_hides_no_true_listener(tmp_path, peers_ca, clients_ca):
    real = peers_ca.leaf("etcd-a", dns=("etcd-a",), not_after=NOW - timedelta(days=1))
    with tls_server(tmp_path, real, clients_ca, ssl.TLSVersion.TLSv1_3) as listener:
        program = (
            "import socket, sys, time\n"
            f"s = socket.create_server(('127.0.0.2', {listener.port}))\n"
            "print('up', flush=True); time.sleep(600)\n"
        )
        with subprocess.Popen(
            ["/usr/bin/python3", "-c", program], user=65534, group=65534, extra_groups=[], stdout=subprocess.PIPE
        ) as shadow:
            try:
                assert shadow.stdout is not None
                assert shadow.stdout.read(2) == b"up"
                machine = Machine(globs=(), trusts=lambda process: Trust.SYSTEM if process.uid == 0 else Trust.STRANGER)
                served = machine._shake_hands((), (listener.port,), nameless=False)
                # Without facts on processes, a listener of root is trusted like the cluster: it belongs to no service.
                unsure = Machine(globs=())._shake_hands((), (listener.port,), nameless=False)
            finally:
                shadow.kill()
    assert {listener.address: listener.trust for listener in served} == {
        "127.0.0.1": Trust.SYSTEM,
        "127.0.0.2": Trust.STRANGER,
    }
    assert served[0].certificate is not None
    assert all(listener.trust is not Trust.SYSTEM for listener in unsure)


def test_only_a_connection_that_was_made_here_shows_whom_a_program_calls():
    """A stranger may call from the port that members listen on."""
    with socket.create_server(("127.0.0.1", 0)) as here, socket.create_server(("127.0.0.2", 0)) as there:
        port = there.getsockname()[1]
        with socket.create_connection(("127.0.0.2", port), source_address=("127.0.0.1", 0)) as made:
            assert connections(port) == {os.fstat(made.fileno()).st_ino: "127.0.0.2"}
        with socket.socket() as probe:
            probe.bind(("127.0.0.2", 0))
            probe.connect(here.getsockname())
            accepted, _ = here.accept()
            with accepted:
                assert connections(probe.getsockname()[1]) == {}
