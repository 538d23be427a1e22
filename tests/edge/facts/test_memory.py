"""Certificates in a program's memory, served by a real TLS server to the SNI that shows them."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certmedic.core.model import Place, Program, Trust
from certmedic.edge.facts.listeners import listening
from certmedic.edge.facts.memory import Memory
from labs.pki import authority
from labs.values import stored
from labs.waiting import until

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def server(tmp_path):
    ca = authority("kubernetes")
    api, inner = ca.leaf("kube-apiserver"), ca.leaf("apiserver-loopback-client@1", not_after=NOW + timedelta(days=9))
    for name, leaf in (("api", api), ("inner", inner)):
        (tmp_path / f"{name}.crt").write_bytes(leaf.cert_pem)
        (tmp_path / f"{name}.key").write_bytes(leaf.key_pem)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{port}", "-cert", "api.crt", "-key", "api.key"]
    command += ["-servername", "apiserver-loopback-client", "-cert2", "inner.crt", "-key2", "inner.key"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: listening([port]))
        file = stored(api, "/etc/kubernetes/pki/apiserver.crt")
        yield replace(file, place=Place(plane="kubeadm", group="", use="apiserver", renewer="kubeadm", ports=(port,)))
        process.kill()


def api_server(pid: int = 1, trust: Trust = Trust.SYSTEM) -> Program:
    return Program(name="kube-apiserver", pid=pid, started_at=NOW, trust=trust)


def test_certificate_for_calls_to_itself_is_seen_by_its_sni_and_remembered(server):
    probes = []
    memory = Memory(
        lambda ports: {("127.0.0.1", port): Trust.SYSTEM for port in ports}, lambda *end: probes.append(end)
    )
    (inner,) = memory.look([server], [api_server()], NOW)
    assert (inner.certificate.path, inner.certificate.not_after) == (
        "(memory of kube-apiserver)",
        NOW + timedelta(days=9),
    )
    assert (inner.place.plane, inner.place.renewer) == ("kubeadm", "kube-apiserver")
    assert memory.look([server], [api_server()], NOW) == (inner,)
    assert len(probes) == 1  # each handshake is a line in the log of the program
    memory.look([server], [api_server(pid=os.getpid())], NOW)
    assert len(probes) == 2  # it has started again


@pytest.mark.parametrize(
    ("program", "listener"),
    [(api_server(trust=Trust.STRANGER), Trust.SYSTEM), (api_server(), Trust.STRANGER)],
)
def test_strangers_are_not_asked(server, program, listener):
    memory = Memory(lambda ports: {("127.0.0.1", port): listener for port in ports})
    assert memory.look([server], [program], NOW) == ()
