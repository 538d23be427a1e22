"""How many lines our handshakes leave in the log of a real etcd."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certmedic.actor.roster import voters
from certmedic.core import certificates
from certmedic.core.model import Place, Served, Stored, Trust
from certmedic.edge.facts import machine as machines
from certmedic.edge.facts import members
from certmedic.edge.facts.endpoints import handshakes
from certmedic.edge.facts.machine import Machine
from certmedic.edge.facts.members import Ask
from certmedic.edge.facts.quiet import MOST_REMEMBERED, Brief, Settled
from certmedic.edge.os.network import OwnNetwork
from labs.drill.master import free_ports
from labs.etcd import etcd_binary
from labs.pki import Authority, authority
from labs.waiting import until

NOW = datetime.now(UTC)
PATIENCE = 60.0  # seconds for a handshake on a busy machine


@dataclass
class Recorded(OwnNetwork):
    """The network of this process, which remembers our ends of its connections."""

    ends: set[int] = field(default_factory=set)

    def connect(self, address: str, port: int, *, patience: float) -> socket.socket:
        made = super().connect(address, port, patience=patience)
        self.ends.add(made.getsockname()[1])
        return made


@dataclass
class Etcd:
    folder: Path
    ports: dict[str, int]
    ca: Authority
    network: Recorded = field(default_factory=Recorded)

    def rejected(self) -> int:
        """Return how many of our connections etcd logged as rejected. Other tests on this machine may look at it too."""
        log = (self.folder / "log").read_text(errors="replace")
        ends = re.findall(r'rejected connection.*"remote-addr":"[^"]*:(\d+)"', log)
        return sum(int(end) in self.network.ends for end in ends)

    def machine(self, ask: Ask | None = None) -> Machine:
        return Machine(globs=(), trusts=lambda _: Trust.SYSTEM, ask=ask, network=self.network)

    def stored(self) -> list[Stored]:
        leaf = certificates.parse((self.folder / "server.crt").read_bytes(), str(self.folder / "server.crt"))[0]
        return [
            Stored(
                certificate=leaf,
                place=Place(plane="kubeadm", group="", use=use, renewer="kubeadm", ports=(port,)),
                modified=NOW,
                trust=Trust.SYSTEM,
            )
            for use, port in self.ports.items()
        ]


@pytest.fixture(params=["3.4", "3.5"])
def etcd(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Etcd]:
    """An etcd with the flags of kubeadm's static pod."""
    program, ca = etcd_binary(request.param), authority("etcd-ca")
    ca.leaf("master", dns=("localhost",), ips=("127.0.0.1",)).write(tmp_path / "server.crt")
    (tmp_path / "ca.crt").write_bytes(ca.pem)
    server, peer = free_ports(2)
    clients, peers = (f"https://127.0.0.1:{port}" for port in (server, peer))
    flags = ["--logger=zap", "--name=master", f"--data-dir={tmp_path}/data", f"--initial-cluster=master={peers}"]
    flags += [f"--{kind}-client-urls={clients}" for kind in ("listen", "advertise")]
    flags += [f"--{kind}-peer-urls={peers}" for kind in ("listen", "initial-advertise")]
    for prefix in ("", "peer-"):
        flags += [f"--{prefix}client-cert-auth", f"--{prefix}trusted-ca-file={tmp_path}/ca.crt"]
        flags += [f"--{prefix}cert-file={tmp_path}/server.crt", f"--{prefix}key-file={tmp_path}/server.key"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen([str(program), *flags], stdout=log, stderr=log, stdin=subprocess.DEVNULL) as process,
    ):
        try:
            until(lambda: b"serving client traffic" in (tmp_path / "log").read_bytes())
            yield Etcd(tmp_path, {"server": server, "peer": peer}, ca)
        finally:
            process.kill()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No handshake runs out of time, and no answer grows too old: either would cause another handshake."""
    monkeypatch.setattr(machines, "HANDSHAKE", PATIENCE)
    monkeypatch.setattr(machines, "HANDSHAKES", 2 * PATIENCE)
    monkeypatch.setattr(machines, "MEMBERS_FOR", 3600.0)
    monkeypatch.setattr(members, "handshakes", lambda wanted, _, network: handshakes(wanted, PATIENCE, network))


def test_looks_at_an_unchanged_etcd_leave_one_line_a_port_and_no_more(etcd, patient):
    here = etcd.machine()
    seen = [here._shake_hands(etcd.stored(), (), nameless=False) for _ in range(20)]
    until(lambda: etcd.rejected() == 2)
    assert {len(served) for served in seen} == {2}
    assert all(item.certificate == replace(etcd.stored()[0].certificate, path="") for item in seen[-1])
    # A new file is looked at again, once, though the process is the same.
    etcd.ca.leaf("master", dns=("localhost",), ips=("127.0.0.1",)).write(etcd.folder / "server.crt")
    for _ in range(20):
        served = here._shake_hands(etcd.stored(), (), nameless=False)
    assert {item.certificate.fingerprint for item in served} == {etcd.stored()[0].certificate.fingerprint}
    until(lambda: etcd.rejected() == 4)
    # With an incident open, the members are asked too: one more line a port, at most every 30 s.
    # Etcds of other tests may come and go on this machine.
    looks = [here._members(()).members for _ in range(20)]
    members = [[member for member in look if member.port == etcd.ports["peer"]] for look in looks]
    assert members[0] == members[-1]
    assert members[0][0].verified
    until(lambda: etcd.rejected() == 6)
    # The actor asks etcd who its members are, with the peer certificate, which etcd accepts without a line.
    known = {}
    for _ in range(20):
        known = etcd.machine(voters).meet(known)
    answers = [answer for path, answer in known.items() if path.startswith(f"{etcd.folder}/")]
    assert [answer.voters for answer in answers] == [(("master", "127.0.0.1", etcd.ports["peer"]),)]
    assert etcd.rejected() == 6


CALL = ("127.0.0.1", 2379, None)


def shown(mark: str) -> Served:
    leaf = certificates.parse(authority("etcd-ca").leaf("master").cert_pem, "")[0]
    return Served(address=CALL[0], port=CALL[1], certificate=replace(leaf, fingerprint=mark))


def test_handshake_that_showed_another_certificate_is_repeated():
    settled = Settled()
    settled.keep(CALL, "same", shown("a"), {"a"})
    assert settled.get(CALL, "same") is not None
    assert settled.get(CALL, "restarted") is None
    settled.keep(CALL, "same", shown("old"), {"a"})
    assert settled.get(CALL, "same") is None
    settled.keep(CALL, "same", Served(address="127.0.0.1", port=1, certificate=None, error="silent"), {"a"})
    assert settled.get(CALL, "same") is None


def test_remembered_handshakes_are_bounded():
    settled, served = Settled(), shown("a")
    for port in range(MOST_REMEMBERED + 1):
        settled.keep(("127.0.0.1", port, None), "", served, {"a"})
    assert settled.get(("127.0.0.1", 0, None), "") is None
    assert settled.get(("127.0.0.1", MOST_REMEMBERED, None), "") is served


@pytest.mark.parametrize(("seconds", "asked"), [(0.0, 4), (30.0, 2)])
def test_member_is_asked_again_when_its_answer_is_too_old(seconds, asked):
    now, asks = [0.0], []
    brief: Brief[str, int] = Brief(seconds, lambda: now[0])
    for moment in (0.0, 1.0, 29.0, 30.0):
        now[0] = moment
        assert brief.ask(["a"], lambda keys: asks.extend(keys) or dict.fromkeys(keys, 7)) == {"a": 7}
    assert len(asks) == asked
