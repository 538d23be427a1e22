"""The dialer of the actor: whom it answers, what it connects, and what the actor believes of a dialer that lies, hangs or dies."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certmedic.actor.dial import VARIABLE, DialerError, Dialled
from certmedic.actor.dialer import MOST_BYTES, serve
from certmedic.actor.lease import EtcdLock
from certmedic.actor.roster import voters
from certmedic.core import codec
from certmedic.core.lease import Access
from certmedic.core.request import Reply, Request, Restart, Take, pack
from certmedic.edge.facts.endpoints import addresses, handshakes
from certmedic.edge.facts.etcds import Endpoint
from certmedic.edge.facts.listeners import listeners, own_addresses, shake_hands
from certmedic.edge.facts.processes import network_of
from certmedic.edge.os.network import OWN
from labs import AGENT
from labs.activation import Activated, activated, actor_beside
from labs.pki import Leaf, authority, kops_master, kops_volume, read_authority
from labs.trusted import trusted_folder
from labs.units import control_groups, within
from labs.waiting import until

DIALER = (sys.executable, "-P", "-m", "certmedic.actor.dialer")
NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: acts as another user, or without a network")


@pytest.fixture
def dialer(tmp_path: Path) -> Iterator[str]:
    """The dialer on a thread of this process, which answers the user that runs the tests."""
    with listening(tmp_path / "dialer") as there:
        thread = threading.Thread(
            target=serve, args=(there,), kwargs={"allowed": {os.geteuid()}, "idle": 600}, daemon=True
        )
        thread.start()
        yield str(tmp_path / "dialer")


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    there = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    there.bind(str(path))
    path.chmod(0o666)
    there.listen(128)
    yield there  # not closed: the dialer's thread ends with the process


def played(path: Path, answer: Callable[[socket.socket], object]) -> str:
    """Return the socket of a dialer that answers each question with `answer`."""
    with listening(path) as there:

        def play() -> None:
            while True:
                connection, _ = there.accept()
                with connection:
                    connection.recv(1000)
                    answer(connection)

        threading.Thread(target=play, daemon=True).start()
    return str(path)


def asked(path: str, data: bytes) -> tuple[bytes, int]:
    """Return a dialer's reply to bytes, and how many descriptors came with it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(60)
        connection.connect(path)
        connection.send(data)
        reply, handles, _, _ = socket.recv_fds(connection, 1000, 4)
    for handle in handles:
        os.close(handle)
    return reply, len(handles)


def handles() -> set[str]:
    """Return the sockets and files that this process has open."""
    targets = set[str]()
    for name in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            targets.add(str(name.readlink()))
    return {target for target in targets if target.startswith(("socket:", "/dev/null"))}


# ---------------------------------------------------------------- the dialer


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connection_that_the_dialer_made_leads_where_it_was_asked(dialer, host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        there = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"no {host} here")
    with there, Dialled(dialer).connect(host, there.getsockname()[1], patience=60) as sock:
        accepted, _ = there.accept()
        with accepted:
            sock.sendall(b"across")
            assert accepted.recv(10) == b"across"
            assert accepted.getpeername() == sock.getsockname()


def test_port_that_nobody_listens_on_is_refused_as_without_a_dialer(dialer):
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        Dialled(dialer).connect("127.0.0.1", port, patience=60)
    served = shake_hands("127.0.0.1", port, server_name=None, deadline=60, network=Dialled(dialer))
    assert served.error == os.strerror(errno.ECONNREFUSED)


def test_listener_that_does_not_accept_ends_at_the_deadline(dialer):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        for _ in range(4):  # fill the queue of the listener
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(full.getsockname())
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            Dialled(dialer).connect(*full.getsockname(), patience=0.3)
        assert time.monotonic() - began < 30
        for sock in waiting:
            sock.close()


def test_dialer_looks_up_a_host_and_says_if_there_is_none(dialer):
    assert Dialled(dialer).look_up("localhost") == OWN.look_up("localhost")
    with pytest.raises(FileNotFoundError):
        Dialled(dialer).look_up("no-such-host.invalid")
    for wrong in ("two words", "n\u00e4me", "a\n"):
        with pytest.raises(DialerError):
            Dialled(dialer).look_up(wrong)


QUESTIONS = (
    b"connect",
    b"connect 127.0.0.1",
    b"connect 127.0.0.1 0",
    b"connect 127.0.0.1 65536",
    b"connect 127.0.0.1 -1",
    b"connect 127.0.0.1 +22",
    b"connect 127.0.0.1 \xd9\xa3",
    b"connect 127.0.0.1 22 22",
    b"connect 127.0.0.1  22",
    b"connect localhost 22",
    b"connect 127.1 22",
    b"connect 2130706433 22",
    b"connect /run/docker.sock 22",
    b"connect \x00 22",
    b"connect ::1%\n 22",
    b"CONNECT 127.0.0.1 22",
    b"connect 127.0.0.1 22\n",
    b"listen 127.0.0.1 22",
    b"look up",
    b"look up a b",
    b"look up a\n",
    b"look up " + b"a" * 400,
    b"{}",
    b"x" * (MOST_BYTES + 1),
    b"x" * 60_000,
    b"\xff" * 20,
)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question[:30].decode("latin-1"))
def test_question_that_makes_no_sense_is_refused(dialer, question):
    reply, sent = asked(dialer, question)
    assert (reply.split()[0], sent) == (b"error", 0)


def test_a_thousand_random_questions_are_refused_and_the_dialer_answers_on(dialer):
    chance = random.Random(13)  # noqa: S311 - no secret
    for _ in range(1000):
        words = [b"connect", b"look", b"up", b"127.0.0.1", b"::", b"0", b"99999", b"", chance.randbytes(9)]
        question = b" ".join(chance.choices(words, k=chance.randrange(1, 6)))
        reply, sent = asked(dialer, question)
        assert (reply.split()[0], sent) == (b"error", 0), question
    with socket.create_server(("127.0.0.1", 0)) as there:
        Dialled(dialer).connect("127.0.0.1", there.getsockname()[1], patience=60).close()


@pytest.mark.slow
@needs_root
def test_any_other_user_is_refused_by_the_dialer(tmp_path):
    tmp_path.chmod(0o711)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == 0 and parent.is_relative_to("/tmp/pytest-of-root"):
            parent.chmod(0o711)
    as_nobody = (
        "import os, socket, sys\n"
        f"os.setgroups([]); os.setresgid(*[{NOBODY}] * 3); os.setresuid(*[{NOBODY}] * 3)\n"
        "sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); sock.settimeout(60); sock.connect(sys.argv[1])\n"
        "sock.send(sys.argv[2].encode()); reply, handles, _, _ = socket.recv_fds(sock, 1000, 4)\n"
        "print(reply.decode(), len(handles))\n"
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as there,
        activated(tmp_path / "dialer", DIALER, log=tmp_path / "log") as lab,
    ):
        question = f"connect 127.0.0.1 {there.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-c", as_nobody, str(lab.path), question], capture_output=True, text=True, check=False
        )
        assert done.stdout == f"error {errno.EACCES} 0\n", done.stderr
        assert asked(str(lab.path), question.encode()) == (b"connected", 1)
        assert f"of user {NOBODY}" in (tmp_path / "log").read_text()


@pytest.mark.slow
@needs_root
def test_dialer_that_is_killed_answers_the_next_question(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as there, activated(tmp_path / "dialer", DIALER) as lab:
        for _ in range(2):
            Dialled(str(lab.path)).connect("127.0.0.1", there.getsockname()[1], patience=60).close()
            assert lab.kill()
        assert lab.starts >= 2


def test_dialer_ends_when_nobody_asks(tmp_path):
    with listening(tmp_path / "dialer") as there:
        serve(there, allowed={os.geteuid()}, idle=0.1)
        there.close()


def test_dialer_loads_no_library_for_certificates_messages_or_systemd():
    code = "import sys, certmedic.actor.dialer; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(AGENT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "certmedic.actor.dialer" in loaded
    heavy = (
        "ssl",
        "_ssl",
        "cryptography",
        "OpenSSL",
        "apprise",
        "systemd",
        "click",
        "certmedic.core",
        "certmedic.config",
    )
    assert [name for name in loaded if name.startswith(heavy)] == []


# ---------------------------------------------------------------- a dialer that lies


def _pass(sock: socket.socket, connection: socket.socket, word: bytes = b"connected") -> None:
    with sock:
        socket.send_fds(connection, [word], [sock.fileno()])


def _elsewhere(connection: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        _pass(socket.create_connection(there.getsockname()), connection)


def _two(connection: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there, socket.create_connection(there.getsockname()) as sock:
        socket.send_fds(connection, [b"connected"], [sock.fileno(), sock.fileno()])


def _file(connection: socket.socket) -> None:
    with Path("/dev/null").open() as file:
        socket.send_fds(connection, [b"connected"], [file.fileno()])


LIES: dict[str, Callable[[socket.socket], object]] = {
    "a connection to elsewhere": _elsewhere,
    "two connections": _two,
    "a file": _file,
    "a connection within the machine": lambda connection: _pass(socket.socket(socket.AF_UNIX), connection),
    "UDP": lambda connection: _pass(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), connection),
    "a socket that is not connected": lambda connection: _pass(socket.socket(), connection),
    "a listener": lambda connection: _pass(socket.create_server(("127.0.0.1", 0)), connection),
    "a connection with another word": lambda connection: _pass(socket.socket(), connection, b"is connected"),
    "the word without a connection": lambda connection: connection.send(b"connected"),
    "nothing": lambda connection: None,
    "nonsense": lambda connection: connection.send(b"\xff\xfe"),
    "a number that is no error": lambda connection: connection.send(b"error 99999999999"),
    "too much": lambda connection: connection.send(b"x" * 5000),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_what_a_lying_dialer_sends_is_refused_and_closed(tmp_path, lie):
    path = played(tmp_path / "dialer", lie)
    with socket.create_server(("127.0.0.1", 0)) as there:
        before = handles()
        with pytest.raises(OSError):
            Dialled(path).connect("127.0.0.1", there.getsockname()[1], patience=1)
        with pytest.raises(OSError):
            Dialled(path).look_up("localhost")
        # The player's own ends are closed a moment later.
        until(lambda: not handles() - before)


def test_dialer_that_answers_a_look_up_with_no_address_is_not_believed(tmp_path):
    path = played(tmp_path / "dialer", lambda connection: connection.send(b"is /etc/passwd"))
    with pytest.raises(DialerError):
        Dialled(path).look_up("localhost")


# ---------------------------------------------------------------- an actor without a network

LOOK = """
import json, sys
from certmedic.actor.dial import Dialled
from certmedic.edge.facts.endpoints import addresses, handshakes
from certmedic.edge.facts.etcds import Endpoint
from certmedic.edge.facts.listeners import listeners, own_addresses, shake_hands
from certmedic.edge.facts.processes import network_of
from certmedic.edge.os.network import OWN
path, port = sys.argv[1], int(sys.argv[2])
def seen(network):
    served = shake_hands("127.0.0.1", port, server_name=None, deadline=30, network=network)
    known = [[each.address, each.port, each.inode] for each in listeners([port], network)]
    return [served.certificate and served.certificate.fingerprint, known, sorted(own_addresses(network)), network_of(network.process)]
print(json.dumps([seen(OWN), seen(Dialled(path))]))
"""


@contextlib.contextmanager
def tls(folder: Path, leaf: Leaf | None = None) -> Iterator[int]:
    """Serve TLS on loopback; yield the port."""
    (leaf or authority("etcd-ca").leaf("etcd-a")).write(folder / "served.crt")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "served.crt", folder / "served.key")
    there = socket.create_server(("127.0.0.1", 0))

    def serve_tls() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = there.accept()
                with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as sock:
                    sock.recv(1)

    thread = threading.Thread(target=serve_tls, daemon=True)
    thread.start()
    yield there.getsockname()[1]
    # A socket that another test opens could get the number of this one, on which the thread still waits.
    there.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    there.close()


@pytest.mark.slow
@needs_root
def test_process_without_a_network_sees_the_machines_listeners_and_shakes_hands(dialer, tmp_path):
    with tls(tmp_path) as port:
        if f":{port:04X} 0" not in Path("/proc/1/net/tcp").read_text():
            pytest.skip("the first process has another network than the tests")
        done = subprocess.run(
            ["unshare", "--net", sys.executable, "-P", "-c", LOOK, dialer, str(port)],
            env={**os.environ, "PYTHONPATH": str(AGENT)},
            capture_output=True,
            text=True,
            check=True,
        )
        itself, dialled = json.loads(done.stdout)
        served = shake_hands("127.0.0.1", port, server_name=None, deadline=30)
        known = [[each.address, each.port, each.inode] for each in listeners([port])]
    assert served.certificate is not None
    assert dialled == [served.certificate.fingerprint, known, sorted(own_addresses()), network_of(1)]
    assert itself[:3] == [None, [], ["127.0.0.1", "::1"]]
    assert itself[3] != network_of("self")


# ---------------------------------------------------------------- an actor whose dialer fails


@contextlib.contextmanager
def actor_on_an_expired_master(dialer: str, *, others: Sequence[str] = ()) -> Iterator[tuple[Activated, Path]]:
    """Start the real actor on a kops master whose peer certificate has expired; yield it, and the file that its only action makes.

    `others` are the addresses of other members, as the etcd of the master names them.
    """
    with trusted_folder() as folder, contextlib.ExitStack() as stack:
        root = kops_master(folder / "master")
        pki = root / "etc/kubernetes/pki/etcd-manager-main"
        peers = kops_volume(
            root / "mnt/master-vol-main",
            peers_ca=read_authority(pki / "etcd-peers-ca.crt"),
            clients_ca=read_authority(pki / "etcd-clients-ca.crt"),
            not_before=datetime.now(UTC) - timedelta(days=9),
            not_after=datetime.now(UTC) - timedelta(hours=1),
        )
        globs = [f"{root}/mnt/*/pki/*/*/*.crt", f"{root}/etc/kubernetes/pki/*/*.crt"]
        (folder / "certmedic.toml").write_text(
            'mode = "remedy"\n[certificates]\nplanes = []\n'
            f"paths = {json.dumps(globs)}\n[remedy]\nrestart = ['etcd-manager']\nper_day = 100\n"
            f"[[remedy.means]]\nfor = 'etcd-manager'\ncommand = ['{folder}/renew']\nrenews = true\n"
        )
        (folder / "certmedic.toml").chmod(0o640)
        (folder / "renew").write_text(f"#!/bin/sh\necho ran >>{folder}/done\n")
        (folder / "renew").chmod(0o755)
        if others:
            stack.enter_context(etcd_of_a_group(folder, peers / "peers/me.crt", others))
        environment = {"DOCKER_HOST": "unix:///nonexistent.sock", VARIABLE: dialer}
        lab = actor_beside(folder / "certmedic.toml", environment=environment)
        try:
            yield lab, folder / "done"
        finally:
            lab.close()


@contextlib.contextmanager
def etcd_of_a_group(folder: Path, certificate: Path, others: Sequence[str]) -> Iterator[None]:
    """Run a process of root's unit that looks like an etcd, and whose flags name the members."""
    program = folder / "etcd"
    shutil.copy("/bin/sh", program)
    cluster = ",".join(f"etcd-{n}=https://{address}:2380" for n, address in enumerate(("127.0.0.1", *others)))
    flags = ["--name=etcd-0", f"--initial-cluster={cluster}", f"--peer-cert-file={certificate}"]
    flags += [f"--peer-trusted-ca-file={certificate.with_name('ca.crt')}"]
    groups = control_groups("etcd@dialer.service")
    process = subprocess.Popen(
        within(groups, str(program), "-c", "read forever", "etcd", *flags),
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.communicate()  # its input ends, and with it the process
        for group in groups:
            group.rmdir()


def ask(path: Path, request: Request) -> Reply:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(120)
        connection.connect(str(path))
        connection.sendall(pack(request))
        return codec.load(Reply, connection.recv(65536).decode())


def _hangs(path: Path) -> str:
    return played(path, lambda _: time.sleep(600))


FAILURES: dict[str, Callable[[Path], str]] = {
    "absent": str,
    "hangs": _hangs,
    "ends": lambda path: played(path, lambda connection: connection.close()),
    "lies": lambda path: played(path, _elsewhere),
}


@pytest.mark.parametrize("fails", FAILURES.values(), ids=FAILURES)
def test_nothing_is_known_of_members_in_time_if_the_dialer_fails(tmp_path, fails):
    network = Dialled(fails(tmp_path / "dialer"))
    leaf = authority("etcd-peers-ca").leaf("etcd-a")
    leaf.write(tmp_path / "me.crt")
    (tmp_path / "ca.crt").write_bytes(leaf.cert_pem)
    endpoints = [Endpoint(f"10.0.0.{number}", 2380, f"10.0.0.{number}") for number in (1, 2, 3)]
    access = Access(
        holder="etcd-a",
        endpoints=(("10.0.0.2", 4001), ("10.0.0.3", 4001)),
        credentials=((str(tmp_path / "me.crt"), str(tmp_path / "me.key")),),
        ca_path=str(tmp_path / "ca.crt"),
    )

    began = time.monotonic()
    seen = handshakes(endpoints, 0.5, network)
    assert [served.certificate for served, _ in seen.values()] == [None] * 3
    assert not any(proof.proven for _, proof in seen.values())
    assert EtcdLock(ttl=60, deadline=1, network=network).take("main", access).state == "none"
    files = {"certificate": str(tmp_path / "me.crt"), "cas": [str(tmp_path / "ca.crt")]}
    assert voters("10.0.0.2", 2380, **files, network=network) == ()
    assert addresses([Endpoint("etcd-b.example", 2380)], 0.5, network) == {}
    assert time.monotonic() - began < 60


@pytest.mark.slow
@needs_root
def test_action_that_needs_no_connection_is_done_once_and_wholly_if_the_dialer_fails(tmp_path):
    with actor_on_an_expired_master(_hangs(tmp_path / "dialer")) as (actor, done):
        request = Restart(ref=1, runtime="command", target="etcd-manager")
        assert ask(actor.path, Take(group="main")).lease.state == "none"
        assert ask(actor.path, request).result == "done"
        assert done.read_text() == "ran\n"
        assert actor.kill()
        assert ask(actor.path, request).result == "done"  # by its record
        assert done.read_text() == "ran\n"


@pytest.mark.slow
@needs_root
def test_lying_dialer_starts_no_action_and_each_request_has_an_entry(tmp_path):
    # The worst lie is a connection to a true member instead of each one that was asked for.
    chosen, good = list[str](), list[int]()

    def answer(connection: socket.socket) -> None:
        if chosen[-1] == "a true member":
            _pass(socket.create_connection(("127.0.0.1", good[0])), connection)
        else:
            LIES[chosen[-1]](connection)

    path = played(tmp_path / "dialer", answer)
    with actor_on_an_expired_master(path, others=("10.0.0.8", "10.0.0.9")) as (actor, done):
        ca = read_authority(actor.path.parent / "master/etc/kubernetes/pki/etcd-manager-main/etcd-peers-ca.crt")
        with tls(tmp_path, ca.leaf("etcd-1")) as port:
            good.append(port)
            for number, name in enumerate(
                ("a true member", "UDP", "a socket that is not connected", "nothing", "nonsense"), 1
            ):
                chosen.append(name)
                reply = ask(actor.path, Restart(ref=number, runtime="command", target="etcd-manager"))
                assert reply.result == "refused", name
                assert "without this one 0 of 3 members serve good certificates" in reply.why, (name, reply.why)
        assert not done.exists()
        entries = (actor.path.parent / "actor.log").read_text()
        assert entries.count("refused") == number, entries
