"""Real etcd clusters with one planted fault: three members on loopback, their logs, certificates and expected verdicts.

    story = scenario("peer-expired-one", tmp_path, logger="zap")
    story.members["a"].log, story.members["a"].pki, story.expect["a"]["cause"]

A scenario takes a few seconds: the members run until each has logged its fault a few times. Every connection stays on loopback,
and no name is looked up.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from labs import pki
from labs.drill import etcd
from labs.drill.master import free_ports

SUITES = {"3.3": "bullseye", "3.4": "bookworm", "3.5": "trixie"}  # etcd version -> Debian suite that ships it
KEYS = "abc"
# Addresses of this process alone: a parallel test may use the same port on another loopback address.
ADDRESSES = {key: f"127.{1 + os.getpid() % 250}.{os.getpid() // 250 % 250}.{11 + n}" for n, key in enumerate(KEYS)}
LINES = 3  # log lines of a fault that are enough
DEADLINE = 60.0

DAY = timedelta(days=1)
FAULT = re.compile(
    r"x509: |tls: | revoked|authentication failed"
)  # lines of etcd about a handshake that failed for a certificate


@dataclass(frozen=True)
class Member:
    """A member that has run: its log, and the folder with `peers/` and `clients/`."""

    log: Path
    pki: Path


@dataclass(frozen=True)
class Scenario:
    """A cluster that has run. `expect` holds the verdict that each member should reach from its own log and pki."""

    dir: Path
    members: Mapping[str, Member]
    expect: Mapping[str, Mapping[str, object]]
    etcd: str  # version


# ---------------------------------------------------------------- the faults


@dataclass
class Plan:
    """The certificates of a cluster before it starts, and the verdict expected of each member."""

    now: datetime
    peers_ca: pki.Authority
    clients_ca: pki.Authority
    peer: dict[str, pki.Leaf] = field(default_factory=dict)
    server: dict[str, pki.Leaf] = field(default_factory=dict)
    api_client: pki.Leaf | None = None
    peer_chain: dict[str, bytes] = field(default_factory=dict)  # chain after the leaf in a member's file
    trusts: dict[tuple[str, str], bytes] = field(default_factory=dict)  # (member, "peers" | "clients") -> its CA file
    flags: tuple[str, ...] = ()  # further flags of every member
    revoked: bytes = b""  # CRL of every member for its clients
    keys: dict[str, bytes] = field(
        default_factory=dict
    )  # a member's private key for peers, if it does not fit the leaf
    dead: frozenset[str] = frozenset()  # members that exit at once or log nothing
    strangers: bool = False  # whether scanners and clients without TLS or a certificate connect too
    expect: dict[str, dict[str, Any]] = field(default_factory=lambda: {key: {"suspect": "none"} for key in KEYS})

    @classmethod
    def healthy(cls) -> Plan:
        now = datetime.now(UTC).replace(microsecond=0)
        plan = cls(
            now=now,
            peers_ca=pki.authority("etcd-peers-ca-main", not_before=now - 400 * DAY),
            clients_ca=pki.authority("etcd-clients-ca", not_before=now - 400 * DAY),
        )
        for key in KEYS:
            plan.peer[key] = plan.leaf(plan.peers_ca, key)
            plan.server[key] = plan.leaf(plan.clients_ca, key)
        plan.api_client = plan.clients_ca.leaf("kube-apiserver", server=False)
        return plan

    def leaf(self, ca: pki.Authority, key: str, *, cn: str = "", **changed: Any) -> pki.Leaf:
        """Issue a good certificate for a member, apart from the `changed` attributes."""
        usual = {
            "dns": (f"etcd-{key}", f"etcd-{key}.internal.example", "localhost"),
            "ips": ("127.0.0.1", ADDRESSES[key]),
            "not_before": self.now - 100 * DAY,
            "not_after": self.now + 355 * DAY,
        }
        return ca.leaf(cn or f"etcd-{key}", **{**usual, **changed})

    def blame(self, cause: str, own: Mapping[str, list[str]], *, others: str = "peer") -> None:
        """Set the verdicts: the `own` files of these members are at fault; the others blame a `peer`, or nobody ("none")."""
        for key in KEYS:
            if key in own:
                self.expect[key] = {"suspect": "own", "cause": cause, "certificates": own[key]}
            elif others != "none":
                self.expect[key] = {"suspect": others, "cause": cause, "certificates": []}


def _expired(plan: Plan) -> dict[str, Any]:
    return {"not_before": plan.now - 400 * DAY, "not_after": plan.now - 5 * DAY}


def _peer_expired(plan: Plan, *keys: str) -> None:
    for key in keys:
        plan.peer[key] = plan.leaf(plan.peers_ca, key, **_expired(plan))
    plan.blame("expired", {key: ["peers/me.crt"] for key in keys})


def _server_expired(plan: Plan) -> None:
    plan.server["c"] = plan.leaf(plan.clients_ca, "c", **_expired(plan))
    plan.blame("expired", {"c": ["clients/server.crt"]}, others="none")


def _both_expired(plan: Plan) -> None:
    plan.peer["b"] = plan.leaf(plan.peers_ca, "b", **_expired(plan))
    plan.server["b"] = plan.leaf(plan.clients_ca, "b", **_expired(plan))
    plan.blame("expired", {"b": ["peers/me.crt", "clients/server.crt"]})


def _peer_future(plan: Plan) -> None:
    plan.peer["a"] = plan.leaf(plan.peers_ca, "a", not_before=plan.now + 20 * DAY, not_after=plan.now + 385 * DAY)
    plan.blame("not_yet_valid", {"a": ["peers/me.crt"]})


def _peer_wrong_ca(plan: Plan) -> None:
    # The same name with another key: a new CA that one member did not get.
    other = pki.authority("etcd-peers-ca-main", not_before=plan.now - 400 * DAY)
    plan.peer["b"] = plan.leaf(other, "b")
    plan.blame("unknown_authority", {"b": ["peers/me.crt"]})


def _peer_san_mismatch(plan: Plan) -> None:
    # etcd looks up the names of a client certificate. Go asks no resolver for names under .onion (RFC 7686), so that the
    # lookup fails at once and no packet leaves the machine.
    plan.peer["c"] = plan.leaf(plan.peers_ca, "c", dns=("old-etcd-c.internal.onion",), ips=("127.0.0.9",))
    plan.blame("name_mismatch", {"c": ["peers/me.crt"]})


def _peer_ca_expired(plan: Plan) -> None:
    plan.peers_ca = pki.authority("etcd-peers-ca-main", **_expired(plan))
    for key in KEYS:
        plan.peer[key] = plan.leaf(plan.peers_ca, key)
    plan.blame("ca_expired", {key: ["peers/ca.crt"] for key in KEYS})


def _api_client_expired(plan: Plan) -> None:
    plan.api_client = plan.clients_ca.leaf("kube-apiserver", server=False, **_expired(plan))
    plan.blame("expired", {})


def _server(plan: Plan, cause: str, **changed: Any) -> None:
    plan.server["c"] = plan.leaf(plan.clients_ca, "c", **changed)
    plan.blame(cause, {"c": ["clients/server.crt"]}, others="none")


def _server_wrong_ca(plan: Plan) -> None:
    plan.server["c"] = plan.leaf(pki.authority("etcd-clients-ca", not_before=plan.now - 400 * DAY), "c")
    plan.blame("unknown_authority", {"c": ["clients/server.crt"]}, others="none")


def _clients_ca_expired(plan: Plan) -> None:
    plan.clients_ca = pki.authority("etcd-clients-ca", **_expired(plan))
    for key in KEYS:
        plan.server[key] = plan.leaf(plan.clients_ca, key)
    plan.api_client = plan.clients_ca.leaf("kube-apiserver", server=False)
    plan.blame("ca_expired", {key: ["clients/ca.crt"] for key in KEYS})


def _peer(plan: Plan, cause: str, **changed: Any) -> None:
    plan.peer["b"] = plan.leaf(plan.peers_ca, "b", **changed)
    plan.blame(cause, {"b": ["peers/me.crt"]})


def _peer_chain(plan: Plan, cause: str, *, whole: bool, **changed: Any) -> None:
    """Let an intermediate CA sign a member's leaf; the file holds that CA too if `whole`."""
    between = pki.authority("etcd-peers-intermediate", issuer=plan.peers_ca, **changed)
    plan.peer["b"] = plan.leaf(between, "b")
    if whole:
        plan.peer_chain["b"] = between.pem
    if cause != "none":
        plan.blame(cause, {"b": ["peers/me.crt"]})
    if cause == "ca_expired":  # a peer cannot distinguish it from an expired leaf
        for key in "ac":
            plan.expect[key]["cause"] = "expired"


def _peer_ca_replaced(plan: Plan) -> None:
    # One member has a new CA and its old leaf: it rejects the others, and they accept it.
    plan.trusts["b", "peers"] = pki.authority("etcd-peers-ca-main", not_before=plan.now - 10 * DAY).pem
    plan.blame("unknown_authority", {"b": ["peers/ca.crt"]}, others="none")
    for key in "ac":
        plan.expect[key] = {"suspect": "unknown", "cause": "distrusted", "certificates": []}


def _peer_ca_future(plan: Plan) -> None:
    plan.peers_ca = pki.authority("etcd-peers-ca-main", not_before=plan.now + 20 * DAY)
    for key in KEYS:
        plan.peer[key] = plan.leaf(plan.peers_ca, key)
    plan.blame("not_yet_valid", {key: ["peers/ca.crt"] for key in KEYS})


def _api_client_foreign(plan: Plan) -> None:
    plan.api_client = pki.authority("etcd-clients-ca").leaf("kube-apiserver", server=False)
    plan.blame("unknown_authority", {})


def _api_client_future(plan: Plan) -> None:
    plan.api_client = plan.clients_ca.leaf(
        "kube-apiserver", server=False, not_before=plan.now + 20 * DAY, not_after=plan.now + 385 * DAY
    )
    plan.blame("not_yet_valid", {})


def _api_client_usage(plan: Plan) -> None:
    plan.api_client = plan.clients_ca.leaf("kube-apiserver", client=False)
    plan.blame("usage", {})


def _key_mismatch(plan: Plan) -> None:
    plan.keys["b"] = pki.key_pem(pki.new_key())
    plan.dead = frozenset("b")
    plan.blame("key_mismatch", {"b": ["peers/me.crt"]}, others="none")


def _two_faults(plan: Plan) -> None:
    plan.peer["a"] = plan.leaf(plan.peers_ca, "a", **_expired(plan))
    plan.server["c"] = plan.leaf(plan.clients_ca, "c", **_expired(plan))
    plan.blame("expired", {"a": ["peers/me.crt"], "c": ["clients/server.crt"]})


def _client_revoked(plan: Plan) -> None:
    assert plan.api_client is not None
    plan.revoked = plan.clients_ca.revoking(plan.api_client)
    plan.blame("revoked", {})


def _peer_common_name(plan: Plan) -> None:
    for key in KEYS:
        plan.peer[key] = plan.leaf(plan.peers_ca, key, cn="etcd-other" if key == "c" else "etcd-peer")
    plan.flags = ("--peer-cert-allowed-cn=etcd-peer",)
    plan.blame("name_mismatch", {})
    # No file of the member holds the name that its peers ask for.
    plan.expect["c"] = {"suspect": "unknown", "cause": "distrusted", "certificates": []}


def _clients_ca_unusable(plan: Plan) -> None:
    plan.trusts["c", "clients"] = b"not a certificate\n"
    plan.blame("unknown_authority", {"c": []}, others="none")


def _strangers(plan: Plan) -> None:
    plan.strangers = True


def _server_expired_all(plan: Plan) -> None:
    for key in KEYS:
        plan.server[key] = plan.leaf(plan.clients_ca, key, **_expired(plan))
    plan.blame("expired", {key: ["clients/server.crt"] for key in KEYS})


PLANTED: Mapping[str, Callable[[Plan], None]] = {
    "healthy": lambda _: None,
    "peer-expired-one": lambda plan: _peer_expired(plan, "a"),
    "peer-expired-all": lambda plan: _peer_expired(plan, *KEYS),
    "server-expired-one": _server_expired,
    "both-expired-one": _both_expired,
    "peer-future-one": _peer_future,
    "peer-wrong-ca-one": _peer_wrong_ca,
    "peer-san-mismatch-one": _peer_san_mismatch,
    "peer-ca-expired-all": _peer_ca_expired,
    "apiclient-expired": _api_client_expired,
    "server-expired-all": _server_expired_all,
    "server-future-one": lambda plan: _server(
        plan, "not_yet_valid", not_before=plan.now + 20 * DAY, not_after=plan.now + 385 * DAY
    ),
    "server-san-mismatch-one": lambda plan: _server(
        plan, "name_mismatch", dns=("old-etcd-c.internal.onion",), ips=("127.0.0.9",)
    ),
    "server-without-names-one": lambda plan: _server(plan, "name_mismatch", dns=(), ips=()),
    "server-usage-one": lambda plan: _server(plan, "usage", server=False),
    "server-wrong-ca-one": _server_wrong_ca,
    "clients-ca-expired-all": _clients_ca_expired,
    "peer-without-client-usage": lambda plan: _peer(plan, "usage", client=False),
    "peer-without-server-usage": lambda plan: _peer(plan, "usage", server=False),
    "peer-without-names": lambda plan: _peer(plan, "name_mismatch", dns=(), ips=()),
    "peer-chain-missing": lambda plan: _peer_chain(plan, "unknown_authority", whole=False),
    "peer-chain-expired": lambda plan: _peer_chain(plan, "ca_expired", whole=True, **_expired(plan)),
    "peer-chain-good": lambda plan: _peer_chain(plan, "none", whole=True),
    "peer-ca-replaced-one": _peer_ca_replaced,
    "peer-ca-future-all": _peer_ca_future,
    "apiclient-foreign": _api_client_foreign,
    "apiclient-future": _api_client_future,
    "apiclient-usage": _api_client_usage,
    "key-mismatch-one": _key_mismatch,
    "two-faults": _two_faults,
    "client-revoked": _client_revoked,
    "peer-common-name-one": _peer_common_name,
    "clients-ca-unusable-one": _clients_ca_unusable,
    "strangers": _strangers,
}


# ---------------------------------------------------------------- the cluster


def scenario(name: str, directory: Path, *, logger: str = "zap", version: str = "3.4") -> Scenario:
    """Run a cluster with the fault `name` (a key of PLANTED) under `directory` until the expected logs show it.

    `logger` is zap or capnslog: 3.3 has only capnslog, 3.5 only zap. Skips the test if there is no such etcd.
    """
    plan = Plan.healthy()
    PLANTED[name](plan)
    program = etcd_binary(version)
    members = {key: Member(directory / key / "etcd.log", directory / key / "pki") for key in KEYS}
    for key, member in members.items():
        plan.peer[key].write(member.pki / "peers/me.crt")
        with (member.pki / "peers/me.crt").open("ab") as file:
            file.write(plan.peer_chain.get(key, b""))
        if key in plan.keys:
            (member.pki / "peers/me.key").write_bytes(plan.keys[key])
        plan.server[key].write(member.pki / "clients/server.crt")
        (member.pki / "peers/ca.crt").write_bytes(plan.trusts.get((key, "peers"), plan.peers_ca.pem))
        (member.pki / "clients/ca.crt").write_bytes(plan.trusts.get((key, "clients"), plan.clients_ca.pem))
    api = directory / "apiserver"
    assert plan.api_client is not None
    plan.api_client.write(api / "etcd-client.crt")
    (api / "etcd-ca.crt").write_bytes(plan.clients_ca.pem)
    flags = plan.flags if version < "3.4" else (f"--logger={logger}", *plan.flags)
    if plan.revoked:
        (directory / "revoked.crl").write_bytes(plan.revoked)
        flags = (*flags, f"--client-crl-file={directory / 'revoked.crl'}")
    with _running(program, members, flags) as ports:
        _wait_until_said(plan, members, ports, api / "etcd-client.crt")
        if plan.strangers:
            _come_as_strangers(ports)
        _come_as_apiserver(ports, api)
    return Scenario(directory, members, plan.expect, etcd.version(program))


def _wait_until_said(plan: Plan, members: Mapping[str, Member], ports: Mapping[str, int], client: Path) -> None:
    """Wait until members with a fault have logged it a few times, and the others are healthy."""
    deadline = time.monotonic() + DEADLINE
    waiting = set(KEYS)
    while waiting:
        if time.monotonic() > deadline - DEADLINE + 2:  # only a client that checks the certificate shows these faults
            _come_as_apiserver(ports, client.parent)
        for key in sorted(waiting):
            # kube-apiserver connects to every member repeatedly.
            answer = _ask_health(ADDRESSES[key], ports[key], client)
            if plan.expect[key]["suspect"] == "none":
                done = answer
            elif key in plan.dead:
                done = FAULT.search(members[key].log.read_text(errors="replace")) is not None
            else:
                lines = members[key].log.read_text(errors="replace").splitlines()
                done = sum(FAULT.search(line) is not None for line in lines) >= LINES
            if done:
                waiting.discard(key)
        if time.monotonic() > deadline:
            ends = {key: members[key].log.read_text(errors="replace")[-1500:] for key in waiting}
            raise AssertionError(f"not said within {DEADLINE} s: {ends}")
        time.sleep(0.1)


@contextlib.contextmanager
def _running(program: Path, members: Mapping[str, Member], flags: Sequence[str]) -> Iterator[dict[str, int]]:
    """Run the members with additional flags; yield their client ports."""
    free = iter(free_ports(2 * len(KEYS)))
    ports = {key: next(free) for key in KEYS}
    peer_urls = {key: f"https://{ADDRESSES[key]}:{next(free)}" for key in KEYS}
    cluster = ",".join(f"etcd-{key}={url}" for key, url in peer_urls.items())
    running: list[subprocess.Popen[bytes]] = []
    try:
        for key, member in members.items():
            client_url = f"https://{ADDRESSES[key]}:{ports[key]}"
            peers, clients = member.pki / "peers", member.pki / "clients"
            command = [
                *(str(program), *flags, f"--name=etcd-{key}", f"--data-dir={member.log.parent / 'data'}"),
                *(f"--initial-cluster={cluster}", "--initial-cluster-token=lab"),
                *(f"--listen-peer-urls={peer_urls[key]}", f"--initial-advertise-peer-urls={peer_urls[key]}"),
                *(f"--listen-client-urls={client_url}", f"--advertise-client-urls={client_url}"),
                *("--client-cert-auth", f"--trusted-ca-file={clients / 'ca.crt'}"),
                *(f"--cert-file={clients / 'server.crt'}", f"--key-file={clients / 'server.key'}"),
                *("--peer-client-cert-auth", f"--peer-trusted-ca-file={peers / 'ca.crt'}"),
                *(f"--peer-cert-file={peers / 'me.crt'}", f"--peer-key-file={peers / 'me.key'}"),
            ]
            with member.log.open("ab") as log:
                running.append(
                    subprocess.Popen(
                        command,
                        stdout=log,
                        stderr=log,
                        stdin=subprocess.DEVNULL,
                        env={**os.environ, "GODEBUG": "netdns=go"},
                    )
                )
        yield ports
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()
        for member in members.values():
            shutil.rmtree(member.log.parent / "data", ignore_errors=True)


def _come_as_strangers(ports: Mapping[str, int]) -> None:
    """Connect like scanners: without TLS, without a certificate, without data, and with an old TLS version."""
    for key, port in ports.items():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for greeting in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"", b"\x16\x03\x01\x00\x05hello", b"SSH-2.0-scan\r\n"):
            with contextlib.suppress(OSError), socket.create_connection((ADDRESSES[key], port), 2) as sock:
                sock.sendall(greeting)
                sock.settimeout(0.5)
                sock.recv(64)
        with (
            contextlib.suppress(OSError),
            socket.create_connection((ADDRESSES[key], port), 2) as sock,
            context.wrap_socket(sock) as tls,
        ):
            tls.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            tls.recv(64)


def _ask_health(address: str, port: int, client: Path) -> bool:
    """Ask /health with the certificate of kube-apiserver and accept any certificate of the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(client, client.with_suffix(".key"))
    connection = http.client.HTTPSConnection(address, port, timeout=1, context=context)
    try:
        connection.request("GET", "/health")
        return b'"true"' in connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _come_as_apiserver(ports: Mapping[str, int], api: Path) -> None:
    """Connect to each member with a Go client that, like kube-apiserver, rejects a bad server certificate."""
    if shutil.which("etcdctl") is None:
        return
    endpoints = ",".join(f"https://{ADDRESSES[key]}:{port}" for key, port in ports.items())
    tls = (f"--cacert={api}/etcd-ca.crt", f"--cert={api}/etcd-client.crt", f"--key={api}/etcd-client.key")
    command = ["etcdctl", "--command-timeout=1s", "--dial-timeout=1s", *tls, f"--endpoints={endpoints}"]
    # Ignore its output: the client fails if a fault is planted.
    subprocess.run([*command, "endpoint", "health"], capture_output=True, timeout=30, check=False)


# ---------------------------------------------------------------- the program


def etcd_binary(version: str) -> Path:
    """Return an etcd of this version ("3.4" or "3.5"): that of the machine, or that of Debian unpacked into the cache.

    Skips the test with the reason if there is none.
    """
    installed = shutil.which("etcd")
    if installed and etcd.version(Path(installed)).startswith(f"{version}."):
        return Path(installed)
    try:
        return _unpacked(version)
    except (etcd.EtcdMissingError, OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"no etcd {version}: {error}")


def _unpacked(version: str) -> Path:
    """Return the etcd of the Debian release that ships this version, from the mirror of this machine."""
    kept = etcd.cache().with_name(f"etcd-{version}")
    if etcd.version(kept / "usr/bin/etcd"):
        return kept / "usr/bin/etcd"
    sources = subprocess.run(
        ["apt-get", "download", "--print-uris", etcd.PACKAGE], capture_output=True, text=True, timeout=60, check=False
    )
    mirror, pool, _ = sources.stdout.lstrip("'").partition("/pool/")
    if not pool:
        raise etcd.EtcdMissingError(f"apt does not say from where it gets {etcd.PACKAGE}: {sources.stderr.strip()}")
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    return etcd.fetch(kept, f"deb [signed-by={keyring}] {mirror} {SUITES[version]} main\n")
