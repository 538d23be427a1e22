"""What lies on disk and what is served: real files, real TLS servers, a real etcd, a real Docker."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from certmedic.core import certificates, planes, symptoms
from certmedic.core.model import LogEntry, Stored
from certmedic.edge import facts
from certmedic.edge.facts import Inventory, Machine, shake_hands
from labs.docker import BUSYBOX, start_dockerd
from labs.pki import Authority, Leaf, authority, key_pem, kops_pki, kops_volume, new_key

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def peers_ca() -> Authority:
    return authority("etcd-peers-ca-main")


@pytest.fixture(scope="module")
def clients_ca() -> Authority:
    return authority("etcd-clients-ca")


@pytest.fixture(scope="module")
def leaf(clients_ca) -> Leaf:
    return clients_ca.leaf("etcd-a", dns=("localhost",), ips=("127.0.0.1",))


def look(*globs: str | Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """The inventory as {path: stored} (a file's first certificate) and {path: reason}."""
    stored, faults = Inventory([str(glob) for glob in globs]).look()
    return (
        {one.certificate.path: one for one in reversed(stored)},
        {fault.path: fault.reason for fault in faults},
    )


def until(condition: Callable[[], object], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.05)


# ---------------------------------------------------------------- files


@pytest.fixture
def master(tmp_path, peers_ca, clients_ca) -> Path:
    """A kops master's files under a root of their own."""
    for group, volume in (("main", "master-vol-1"), ("events", "master-vol-2")):
        peers = peers_ca if group == "main" else authority("etcd-peers-ca-events")
        member = "etcd-a" if group == "main" else "etcd-events-a"
        kops_volume(tmp_path / "mnt" / volume, group=group, member=member, peers_ca=peers, clients_ca=clients_ca)
        home = tmp_path / f"etc/kubernetes/pki/etcd-manager-{group}"
        manager = authority(f"etcd-manager-ca-{group}")
        kops_pki(home, member=member, manager_ca=manager, peers_ca=peers, clients_ca=clients_ca)
    return tmp_path


def test_a_whole_master(master):
    stored, faults = Inventory(planes.patterns("kops", root=str(master))).look()
    assert faults == ()
    uses = sorted((one.place.group, one.place.use) for one in stored)
    of_one = ["ca", "ca", "ca", "ca", "ca", "manager-client", "manager-server", "peer", "server"]
    assert uses == [(group, use) for group in ("events", "main") for use in of_one]
    known = {one.certificate.path: one.certificate for one in stored}
    for one in stored:
        if one.place.use != "ca":
            assert one.key_matches is True
            assert certificates.issued_by(one.certificate, known[one.place.ca_path])
        assert abs(one.modified - NOW) < timedelta(minutes=10)


FAULTS = {
    "empty.crt": (b"", "empty"),
    "half.crt": (None, "broken"),
    "garbage.crt": (b"\x00\x01\x02garbage", "not_a_certificate"),
    "error-page.crt": (b"<html>404</html>", "not_a_certificate"),
    "huge.crt": (b"x" * (1024 * 1024 + 1), "too_large"),
    "key-in-its-place.crt": (key_pem(new_key()), "not_a_certificate"),
}


def test_bad_files_are_named_and_blind_nothing(tmp_path, leaf):
    leaf.write(tmp_path / "good.crt")
    for name, (data, _) in FAULTS.items():
        (tmp_path / name).write_bytes(leaf.cert_pem[:300] if data is None else data)
    (tmp_path / "gone.crt").symlink_to("nowhere.crt")
    os.mkfifo(tmp_path / "pipe.crt")
    (tmp_path / "folder.crt").mkdir()
    stored, faults = look(tmp_path / "*.crt")
    assert list(stored) == [str(tmp_path / "good.crt")]
    expected = {name: reason for name, (_, reason) in FAULTS.items()}
    expected |= {"gone.crt": "missing", "pipe.crt": "not_a_certificate"}
    assert {Path(path).name: reason for path, reason in faults.items()} == expected


def test_each_fault_says_what_it_is(tmp_path):
    (tmp_path / "a.crt").symlink_to("b.crt")
    _, (fault,) = Inventory([str(tmp_path / "*.crt")]).look()
    assert fault.detail == "it is a link to b.crt, which is not there"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_and_a_folder_that_may_not_be_read(tmp_path, leaf):
    leaf.write(tmp_path / "shut.crt").chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    _, faults = look(tmp_path / "*.crt", tmp_path / "closed" / "*.crt")
    assert faults == {str(tmp_path / "shut.crt"): "unreadable", str(tmp_path / "closed"): "unreadable"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else to try it")
def test_somebody_else_is_told_what_may_not_be_read(tmp_path, leaf):
    leaf.write(tmp_path / "shut.crt").chmod(0o600)
    (tmp_path / "closed").mkdir(mode=0o700)
    shutil.copytree(Path(facts.__file__).parents[3] / "certmedic", tmp_path / "agent" / "certmedic")
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    program = (
        f"import os, sys; sys.path.insert(0, {str(tmp_path / 'agent')!r})\n"
        "import certmedic.edge.facts as facts, cryptography.x509\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"globs = [{str(tmp_path / '*.crt')!r}, {str(tmp_path / 'closed' / '*.crt')!r}]\n"
        "print(sorted((f.path, f.reason, f.detail) for f in facts.Inventory(globs).look()[1]))\n"
    )
    import sys

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    told = "Permission denied; run as root"
    assert run.stdout.strip() == str(
        [(str(tmp_path / "closed"), "unreadable", told), (str(tmp_path / "shut.crt"), "unreadable", told)]
    )


def test_what_was_put_aside_does_not_cry_wolf(tmp_path, leaf):
    for name in (
        "me.crt",
        "old/me.crt",
        "expired/2024/me.crt",
        "backup-2026/me.crt",
        "Backup/me.crt",
        "me.crt.bak",
        "me.crt.expired",
        "me.crt~",
    ):
        leaf.write(tmp_path / name, tmp_path / "k")
    stored, faults = look(tmp_path / "**" / "me.crt*")
    assert [Path(path).relative_to(tmp_path).as_posix() for path in stored] == ["me.crt"]
    assert faults == {}
    # What the user names in so many words is wanted.
    assert len(look(tmp_path / "backup-2026" / "*.crt")[0]) == 1


def test_keys_under_a_wide_glob_are_no_fault(tmp_path, leaf):
    leaf.write(tmp_path / "member-m1.pem", tmp_path / "member-m1-key.pem")
    (tmp_path / "other.pem").write_bytes(leaf.key_pem)
    stored, faults = look(tmp_path / "*.pem")
    assert [Path(path).name for path in stored] == ["member-m1.pem"]
    assert stored[str(tmp_path / "member-m1.pem")].key_matches is True
    assert faults == {}


def test_a_key_that_belongs_to_another(tmp_path, leaf):
    leaf.write(tmp_path / "me.crt")
    (tmp_path / "me.key").write_bytes(key_pem(new_key()))
    leaf.write(tmp_path / "none.crt").with_suffix(".key").unlink()
    (tmp_path / "both.pem").write_bytes(leaf.cert_pem + leaf.key_pem)
    stored, _ = look(tmp_path / "*.crt", tmp_path / "*.pem")
    assert {Path(path).name: one.key_matches for path, one in stored.items()} == {
        "me.crt": False,
        "none.crt": None,
        "both.pem": True,
    }


def test_links_are_followed_and_a_file_is_listed_once(tmp_path, leaf):
    leaf.write(tmp_path / "kubelet-client-2026.pem", tmp_path / "k")
    (tmp_path / "kubelet-client-current.pem").symlink_to("kubelet-client-2026.pem")
    stored, faults = Inventory([str(tmp_path / "*-current.pem"), str(tmp_path / "*.pem")]).look()
    assert [Path(one.certificate.path).name for one in stored] == ["kubelet-client-current.pem"]
    assert faults == ()


def test_a_ca_that_is_a_link_is_found_under_the_name_it_is_listed_by(tmp_path, peers_ca, clients_ca):
    token = kops_volume(tmp_path / "v", peers_ca=peers_ca, clients_ca=clients_ca)
    (tmp_path / "a-ca.crt").write_bytes(peers_ca.pem)
    (token / "peers/ca.crt").unlink()
    (token / "peers/ca.crt").symlink_to(tmp_path / "a-ca.crt")
    stored, _ = look(tmp_path / "*.crt", token / "peers" / "*.crt")
    assert stored[str(token / "peers/me.crt")].place.ca_path == str(tmp_path / "a-ca.crt") in stored


def test_the_ca_beside_a_leaf_is_read_though_no_glob_names_it(tmp_path, peers_ca, clients_ca):
    token = kops_volume(tmp_path / "v", peers_ca=peers_ca, clients_ca=clients_ca)
    stored, _ = look(token / "peers" / "me.crt")
    assert set(stored) == {str(token / "peers/me.crt"), str(token / "peers/ca.crt")}


def test_the_group_comes_from_a_sibling(tmp_path, clients_ca):
    peers = authority("etcd-peers-ca-events")
    volume = tmp_path / "v"
    token = kops_volume(volume, member="wyBAl5vPUhXt", peers_ca=peers, clients_ca=clients_ca)
    moved = token.rename(token.with_name("UMkjoE9YcxRZwt16EBkyew"))
    stored, _ = look(moved / "*" / "*.crt")
    assert {one.place.group for one in stored.values()} == {"events"}
    assert stored[str(moved / "clients/server.crt")].place.ports == (4002,)


def test_an_archive_with_its_password_beside_it(tmp_path, leaf):
    data = pkcs12.serialize_key_and_certificates(
        b"me", leaf.key, leaf.cert, None, serialization.BestAvailableEncryption(b"s3cret")
    )
    (tmp_path / "me.p12").write_bytes(data)
    assert look(tmp_path / "*.p12")[1] == {str(tmp_path / "me.p12"): "unreadable"}
    (tmp_path / "me.p12.password").write_text("s3cret\n")
    stored, faults = look(tmp_path / "*.p12")
    assert [one.certificate.subject_cn for one in stored.values()] == ["etcd-a"]
    assert faults == {}


def test_what_did_not_change_is_not_read_again(tmp_path, clients_ca, leaf):
    path = leaf.write(tmp_path / "me.crt")
    hour_ago = time.time() - 3600
    inventory = Inventory([str(tmp_path / "*.crt")])
    # A file is trusted to be what it was once its last change is a little while ago.
    until(lambda: inventory.look()[0][0] is inventory.look()[0][0])
    (before,) = inventory.look()[0]
    os.utime(path, (hour_ago, hour_ago))
    (touched,) = inventory.look()[0]
    assert touched is not before
    renewed = clients_ca.leaf("etcd-a", key=leaf.key, not_after=NOW.replace(microsecond=0) + timedelta(days=800))
    path.write_bytes(renewed.cert_pem)
    os.utime(path, (hour_ago, hour_ago))
    (after,) = inventory.look()[0]
    assert after.certificate.not_after > before.certificate.not_after
    (tmp_path / "me.key").write_bytes(key_pem(new_key()))
    assert inventory.look()[0][0].key_matches is False
    path.unlink()
    assert inventory.look() == ((), ())


def test_a_file_that_is_being_written_is_read_again_at_once(tmp_path, leaf):
    path = tmp_path / "me.crt"
    inventory = Inventory([str(path)])
    path.write_bytes(leaf.cert_pem[:400])
    assert [fault.reason for fault in inventory.look()[1]] == ["broken"]
    path.write_bytes(leaf.cert_pem)
    assert [one.certificate.subject_cn for one in inventory.look()[0]] == ["etcd-a"]
    assert inventory.look()[1] == ()


def test_a_bundle_that_is_cut_short_gives_what_it_holds_and_a_fault(tmp_path, peers_ca, leaf):
    (tmp_path / "ca.crt").write_bytes(peers_ca.pem + leaf.cert_pem[:200])
    stored, faults = Inventory([str(tmp_path / "*.crt")]).look()
    assert [one.certificate.subject_cn for one in stored] == ["etcd-peers-ca-main"]
    assert [fault.reason for fault in faults] == ["broken"]


def test_many_certificates(tmp_path, peers_ca):
    leaf = peers_ca.leaf(
        "etcd-a", dns=("etcd-a.internal.example", "localhost"), ips=("127.0.0.1",), key=new_key(kind="rsa")
    )
    count = 3000
    for number in range(count):
        folder = tmp_path / f"v{number}" / "peers"
        folder.mkdir(parents=True)
        (folder / "me.crt").write_bytes(leaf.cert_pem)
        (folder / "me.key").write_bytes(leaf.key_pem)
    inventory = Inventory([str(tmp_path / "*" / "peers" / "*.crt")])
    inventory.look()
    first = Inventory([str(tmp_path / "*" / "peers" / "*.crt")])
    began = time.process_time()
    stored, faults = first.look()
    took = time.process_time() - began
    assert len(stored) == count
    assert faults == ()
    assert all(one.key_matches for one in stored)
    # The aim is 0.2 ms for each; the bound leaves room for a slow and busy machine, and none for an RSA key that is loaded (45 ms).
    assert took / count < 0.001
    began = time.process_time()
    again, _ = first.look()
    assert (time.process_time() - began) / count < 0.0002
    assert all(one is two for one, two in zip(stored, again, strict=True))


# ---------------------------------------------------------------- listeners


@dataclass
class Listener:
    port: int
    refusals: list[str]  # what the server had to say about each handshake
    peers: list[str]


@contextlib.contextmanager
def tls_server(tmp_path: Path, leaf: Leaf, clients: Authority, version: ssl.TLSVersion) -> Iterator[Listener]:
    """A server of one TLS version that refuses clients without a certificate."""
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
def test_the_served_leaf_is_seen_without_a_client_certificate(tmp_path, leaf, clients_ca, version):
    with tls_server(tmp_path, leaf, clients_ca, version) as listener:
        served = shake_hands("127.0.0.1", listener.port, server_name="localhost", deadline=30)
        assert served.error == ""
        assert served.certificate is not None
        assert served.certificate == certificates.parse(leaf.cert_pem, "")[0]
        until(lambda: listener.refusals)
    assert listener.peers == [f"127.0.0.1:{served.local_port}"]
    # The server saw us go away; it saw no alert and nobody who lacks a certificate.
    assert "EOF" in listener.refusals[0] or "closed" in listener.refusals[0]


def test_an_expired_leaf_of_a_stranger_is_seen_too(tmp_path, clients_ca):
    expired = authority("nobody knows").leaf("etcd-a", not_after=NOW - timedelta(days=13))
    with tls_server(tmp_path, expired, clients_ca, ssl.TLSVersion.TLSv1_3) as listener:
        served = shake_hands("127.0.0.1", listener.port, server_name=None, deadline=30)
    assert served.certificate is not None
    assert certificates.status(served.certificate, NOW) == "expired"


@contextlib.contextmanager
def plain_server(answer: bytes | None) -> Iterator[int]:
    """A listener that answers anything with the same bytes and hangs up, or never says a word."""
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
def test_who_shows_no_certificate(answer, error):
    with plain_server(answer) as port:
        served = shake_hands("127.0.0.1", port, server_name="localhost", deadline=0.3 if answer is None else 30)
    assert served.certificate is None
    assert pytest.approx(served.port) == port
    import re

    assert re.search(error, served.error), served.error


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    served = shake_hands("127.0.0.1", port, server_name=None, deadline=5)
    assert (served.certificate, served.error) == (None, "Connection refused")
    assert facts.listening([port]) == ()


@pytest.mark.parametrize("name", ["x" * 300, "n\u00e4me.example", "a..b", "10.0.0.1", ""])
def test_no_name_of_a_server_raises(tmp_path, leaf, clients_ca, name):
    with tls_server(tmp_path, leaf, clients_ca, ssl.TLSVersion.TLSv1_3) as listener:
        assert shake_hands("127.0.0.1", listener.port, server_name=name, deadline=30).certificate is not None


def test_listeners_by_the_address_they_are_bound_to():
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
        assert dict((port, address) for address, port in facts.listening(ports)) == ports


def test_own_addresses():
    found = facts.own_addresses()
    assert {"127.0.0.1", "::1"} <= found
    # Every address that a socket of this machine can be bound to is one of them, and no other is.
    printed = subprocess.run(["ip", "-o", "addr"], capture_output=True, text=True, check=True).stdout
    assert found == {line.split()[3].split("/")[0] for line in printed.splitlines()} | {"127.0.0.1", "::1"}


# ---------------------------------------------------------------- a real etcd


@dataclass
class Etcd:
    pid: int
    client: int
    peer: int
    token: Path
    log: Path

    def lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()


@contextlib.contextmanager
def etcd(tmp_path: Path, token: Path, logger: str) -> Iterator[Etcd]:
    binary = shutil.which("etcd")
    if binary is None:
        pytest.skip("etcd is not installed (apt install etcd-server)")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        client, peer = one.getsockname()[1], two.getsockname()[1]
    log = tmp_path / "etcd.log"
    argv = [
        binary,
        f"--data-dir={tmp_path / 'data'}",
        f"--logger={logger}",
        "--client-cert-auth",
        "--peer-client-cert-auth",
    ]
    argv += [f"--{kind}-client-urls=https://127.0.0.1:{client}" for kind in ("listen", "advertise")]
    argv += [f"--{kind}-peer-urls=https://127.0.0.1:{peer}" for kind in ("listen", "initial-advertise")]
    argv += [f"--initial-cluster=default=https://127.0.0.1:{peer}", "--cert-file", str(token / "clients/server.crt")]
    argv += [f"--key-file={token}/clients/server.key", f"--trusted-ca-file={token}/clients/ca.crt"]
    argv += [f"--peer-key-file={token}/peers/me.key"]
    environ = {
        **os.environ,
        "ETCD_PEER_CERT_FILE": "v/pki/etcd-cluster-token-etcd/peers/me.crt",
    }  # as it may be: relative
    environ["ETCD_PEER_TRUSTED_CA_FILE"] = f"{token}/peers/ca.crt"
    with log.open("wb") as output:
        process = subprocess.Popen(argv, cwd=tmp_path, env=environ, stdout=output, stderr=output)
    try:
        until(lambda: "ready to serve client requests" in log.read_text(errors="replace") or process.poll() is not None)
        assert process.poll() is None, log.read_text(errors="replace")
        yield Etcd(process.pid, client, peer, token, log)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["capnslog", "zap"])
def member(request, tmp_path, peers_ca, clients_ca) -> Iterator[Etcd]:
    token = kops_volume(tmp_path / "v", peers_ca=peers_ca, clients_ca=clients_ca)
    with etcd(tmp_path, token, request.param) as running:
        yield running


def test_etcd_says_itself_which_files_it_uses(member):
    named = {pair for line in member.lines() for pair in planes.paths_from_startup_line(line)}
    peers = "v/pki/etcd-cluster-token-etcd/peers/me.crt"
    assert named == {
        ("server", f"{member.token}/clients/server.crt"),
        ("ca", f"{member.token}/clients/ca.crt"),
        ("ca", f"{member.token}/peers/ca.crt"),
    }, peers  # a relative path says nothing in a log


def test_so_does_its_process(member):
    assert dict(facts.read_process(member.pid)) | {"ca": ""} == {
        "server": f"{member.token}/clients/server.crt",
        "peer": f"{member.token}/peers/me.crt",
        "ca": "",
    }
    assert facts.read_process(2**22 + 1) == ()


def test_served_against_stored_and_no_sighting_of_our_own(member, clients_ca):
    machine = Machine(globs=[f"{member.token}/*/*.crt"])
    before = len(member.lines())
    seen = machine.gather(now=NOW, ports=[member.client, member.peer])
    by_port = {served.port: served for served in seen.served}
    stored = {one.certificate.path: one.certificate.fingerprint for one in seen.stored}
    for port, path in ((member.client, "clients/server.crt"), (member.peer, "peers/me.crt")):
        certificate = by_port[port].certificate
        assert certificate is not None
        assert certificate.fingerprint == stored[f"{member.token}/{path}"]
        assert machine.is_own_probe(f"127.0.0.1:{by_port[port].local_port}")
    assert not machine.is_own_probe("127.0.0.1:1")
    until(lambda: len(member.lines()) >= before + 2)
    for line in member.lines()[before:]:
        assert symptoms.parse(LogEntry(stream="", position="", time=NOW, text=line)) is None, line
    # Replaced on disk: this etcd serves the new one at once, and it is seen.
    renewed = clients_ca.leaf("etcd-a", dns=("localhost",), ips=("127.0.0.1",))
    renewed.write(member.token / "clients/server.crt")
    again = machine.gather(now=NOW, ports=[member.client])
    (served,) = (served for served in again.served if served.port == member.client)
    assert served.certificate is not None
    assert served.certificate.fingerprint == certificates.parse(renewed.cert_pem, "")[0].fingerprint


def test_what_a_process_uses_is_watched_though_no_glob_names_it(member):
    machine = Machine(globs=[], live=False)
    assert machine.gather(now=NOW).stored == ()
    machine.learn_from_process(member.pid)
    found = {one.certificate.path for one in machine.gather(now=NOW).stored}
    assert {f"{member.token}/clients/server.crt", f"{member.token}/peers/me.crt"} <= found
    other = Machine(globs=[], live=False)
    for line in member.lines():
        other.learn_from_line(line)
    assert f"{member.token}/clients/server.crt" in {one.certificate.path for one in other.gather(now=NOW).stored}


def test_a_stranger_can_name_any_file_and_nothing_comes_of_it(tmp_path):
    machine = Machine(globs=[], live=False)
    (tmp_path / "secret").write_text("root:x:0:0")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "secret", tmp_path / "pipe", "/dev/zero", "/nowhere"):
        machine.learn_from_line(f"embed: peerTLS: cert = {path}, key = /k, trusted-ca = , client-cert-auth = true")
    seen = machine.gather(now=NOW)
    assert seen.stored == ()
    assert {fault.reason for fault in seen.faults} == {"not_a_certificate"}
    assert not any("root:x" in fault.detail for fault in seen.faults)
    for number in range(5000):
        machine.learn_from_line(f"embed: ClientTLS: cert = /nowhere/{number}.crt, key = , trusted-ca = ")
    assert machine.gather(now=NOW).faults == ()


# ---------------------------------------------------------------- containers, manifests, clock


def test_no_docker_is_a_sentence(tmp_path):
    found, blind = facts.containers(f"unix://{tmp_path}/docker.sock")
    assert found == ()
    assert str(tmp_path / "docker.sock") in blind


def test_a_docker_that_does_not_answer_is_a_sentence(tmp_path):
    path = str(tmp_path / "docker.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        found, blind = facts.containers(f"unix://{path}")
    assert found == ()
    assert "does not answer" in blind


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="starts dockerd, which needs root")
@pytest.mark.timeout(300)
def test_containers_as_the_kubelet_names_them():
    with start_dockerd() as docker:
        docker.busybox()
        docker("tag", BUSYBOX, "kopeio/etcd-manager:3.0.20200428")
        image = docker("image", "inspect", "-f", "{{.Id}}", "kopeio/etcd-manager:3.0.20200428").strip()
        labels = {"io.kubernetes.container.name": "etcd-manager", "io.kubernetes.pod.name": "etcd-manager-main-m0"}
        labels["io.kubernetes.pod.namespace"] = "kube-system"
        options = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
        name = "k8s_etcd-manager_etcd-manager-main-m0_kube-system_0a1b_0"
        began = datetime.now(UTC)
        # By id, as the kubelet starts them: the tag is only in the image.
        docker("run", "-d", "--network=none", "--name", name, *options, image, "sleep", "600")
        bare = "k8s_etcd-manager_etcd-manager-events-m0_kube-system_0a1c_1"
        docker("create", "--network=none", "--name", bare, BUSYBOX, "sleep", "600")
        found, blind = facts.containers(docker.url)
        assert blind == ""
        main, events = (next(c for c in found if c.name == wanted) for wanted in (name, bare))
        assert (main.pod, main.namespace, main.container_name) == (
            "etcd-manager-main-m0",
            "kube-system",
            "etcd-manager",
        )
        assert (main.state, main.runtime) == ("running", "docker")
        assert planes.manager_version(main.image) == "20200428"
        assert main.started_at is not None
        assert abs(main.started_at - began) < timedelta(minutes=2)
        assert (events.pod, events.container_name, events.started_at) == (
            "etcd-manager-events-m0",
            "etcd-manager",
            None,
        )
        assert events.state == "created"
        assert main.pod.startswith(planes.etcd_manager_pod_prefix("main"))
        # The command that people are given stops this one, and only this one.
        docker("start", bare)
        command = planes.restart_command("main").replace("sudo docker", f"docker --host={docker.url}")
        subprocess.run(
            ["sh", "-c", command.replace("docker --host", "docker --host", 1)], check=True, capture_output=True
        )
        states = {c.name: c.state for c in facts.containers(docker.url)[0]}
        assert states == {name: "exited", bare: "running"}


MANIFESTS = {
    "etcd-main.manifest": (
        '{"kind":"Pod","spec":{"initContainers":[{"image":"busybox"}],"containers":[{"name":"etcd-manager",'
        '"image":"k8s.gcr.io/etcdadm/etcd-manager:3.0.20210430"}]}}'
    ),
    "etcd-events-control-plane-a.manifest": (
        "spec:\n  containers:\n  - command: [x]\n    image: registry.k8s.io/etcd-manager/etcd-manager-slim:v3.0.20241012\n"
        "    imagePullPolicy: IfNotPresent\n"
    ),
    "etcd-cilium.manifest": "spec:\n  containers:\n  - image: 'kopeio/etcd-manager:3.0.20200307'\n",
    "etcd.yaml": "spec:\n  containers:\n  - image: registry.k8s.io/etcd:3.5.9-0\n",
    "kube-apiserver.manifest": "image: kopeio/etcd-manager:3.0.20990101\n",
}


def test_images_of_static_pods(tmp_path):
    folder = tmp_path / "etc/kubernetes/manifests"
    folder.mkdir(parents=True)
    for name, text in MANIFESTS.items():
        (folder / name).write_text(text)
    (folder / "etcd-leases.manifest").symlink_to("nowhere")
    assert facts.manifest_images(str(tmp_path)) == {
        "main": "k8s.gcr.io/etcdadm/etcd-manager:3.0.20210430",
        "events": "registry.k8s.io/etcd-manager/etcd-manager-slim:v3.0.20241012",
        "cilium": "kopeio/etcd-manager:3.0.20200307",
    }
    assert facts.manifest_images(str(tmp_path / "nothing")) == {}


def test_the_clock_as_timedatectl_sees_it():
    found = facts.clock_synchronised()
    assert found in (True, False, None)
    if Path("/run/systemd/system").exists():
        told = subprocess.run(
            ["timedatectl", "show", "-p", "NTPSynchronized", "--value"], capture_output=True, text=True, check=True
        )
        assert found is (told.stdout.strip() == "yes")


# ---------------------------------------------------------------- all together


def test_a_copied_master_is_judged_without_looking_at_this_one(master):
    manifests = master / "etc/kubernetes/manifests"
    manifests.mkdir()
    (manifests / "etcd-main.manifest").write_text(MANIFESTS["etcd-main.manifest"])
    seen = Machine(globs=planes.patterns(root=str(master)), root=str(master), live=False).gather(now=NOW)
    assert len(seen.stored) == 18
    assert seen.images == {"main": "k8s.gcr.io/etcdadm/etcd-manager:3.0.20210430"}
    assert (seen.served, seen.containers, seen.addresses, seen.clock_synchronised) == ((), (), frozenset(), None)
    assert seen.at == NOW


def test_a_live_machine(tmp_path, leaf):
    leaf.write(tmp_path / "me.crt")
    (tmp_path / "bad.crt").write_bytes(b"")
    seen = Machine(globs=[f"{tmp_path}/*.crt"], docker_url=f"unix://{tmp_path}/none.sock").gather(now=NOW)
    assert [one.certificate.subject_cn for one in seen.stored] == ["etcd-a"]
    assert [fault.reason for fault in seen.faults] == ["empty"]
    assert seen.host == socket.gethostname()
    assert "127.0.0.1" in seen.addresses
    assert any("none.sock" in sentence for sentence in seen.blind)
