"""The members of an etcd group that no flag names: kubeadm's first master was started alone, and its flags name it alone for ever."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from certmedic.core import planes
from certmedic.core.certificates import parse
from certmedic.core.model import Member, Trust
from certmedic.edge.facts import members
from certmedic.edge.facts.etcds import Etcd
from certmedic.edge.facts.sight import Direct
from labs.pki import authority

CA = authority("etcd-ca")
SHOWN = {name: parse(CA.leaf(name).cert_pem, "")[0] for name in ("kma", "kmb")}


@contextlib.contextmanager
def connected(address: str) -> Iterator[int]:
    """Connect this process to a listener of an address; yield its port."""
    with socket.create_server((address, 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted:
            yield int(client.getpeername()[1])


def etcd(pid: int, *members: tuple[str, str, int]) -> Etcd:
    return Etcd(pid, "", planes.Cluster(name=members[0][0], members=members, client_port=None))


def test_etcd_tells_its_peers_by_its_connections():
    with connected("127.0.0.2") as port:
        alone = etcd(os.getpid(), ("kma", "127.0.0.9", port))
        assert members.dialled(Direct(), alone) == ((f"127.0.0.2:{port}", "127.0.0.2", port),)


@pytest.mark.parametrize("named", [[("kma", "127.0.0.9"), ("kmb", "127.0.0.2")], [("kma", "etcd-a.example")]])
def test_peers_that_flags_name_are_not_added_again(named):
    """A name in the flags may lead to any of the addresses."""
    with connected("127.0.0.2") as port:
        known = etcd(os.getpid(), *((name, host, port) for name, host in named))
        assert members.dialled(Direct(), known) == ()


def test_connections_of_other_programs_and_to_this_machine_tell_nothing():
    with connected("127.0.0.2") as port:
        assert members.dialled(Direct(), etcd(1, ("kma", "127.0.0.9", port))) == ()
    with connected("127.0.0.1") as port:
        assert members.dialled(Direct(), etcd(os.getpid(), ("kma", "127.0.0.9", port))) == ()


def test_peer_of_no_known_name_is_called_by_its_address(monkeypatch):
    with connected("127.0.0.2") as port:
        alone = etcd(os.getpid(), ("kma", "127.0.0.9", port))
        monkeypatch.setattr(members, "etcds", lambda *_: [alone])
        seen = members.peer_addresses(Direct(), {}, lambda _: Trust.SYSTEM)
    assert seen == (frozenset({"127.0.0.2"}), {"127.0.0.2": "127.0.0.2"})


def member(name: str, address: str, *, shown: str, **more: bool) -> Member:
    return Member(name=name, group="", address=address, port=2380, serves=SHOWN[shown], verified=True, **more)


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ("kma", "kmb", "kmb"),
        ("kma", "kma", "10.0.0.2:2380"),  # this name is taken
        ("kmb", "kmb", "10.0.0.2:2380"),  # here a certificate has another name than its member
    ],
)
def test_member_of_no_known_name_has_that_of_its_certificate_if_ours_has(mine, theirs, expected):
    seen = (
        member("kma", "10.0.0.1", shown=mine, is_self=True),
        member("10.0.0.2:2380", "10.0.0.2", shown=theirs),
    )
    assert [each.name for each in members.renamed(seen)] == ["kma", expected]
