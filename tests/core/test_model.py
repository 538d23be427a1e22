"""Values of the model: the peer's host, folds, and the closed gates of a decision."""

from dataclasses import replace

import pytest

from certmedic.core import symptoms
from certmedic.core.model import Decision, Gate, GateName
from labs.values import entry


def sighting(**fields):
    line = (
        'embed: rejected connection from "10.0.0.2:41000" (error "remote error: tls: bad certificate", ServerName "a")'
    )
    return replace(symptoms.parse(entry(line)), fields=fields)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("10.0.0.2:41000", "10.0.0.2"),
        ("[fd00::7]:41000", "fd00::7"),
        ("[fd00::7]", "fd00::7"),
        ("etcd-b", "etcd-b"),
        (":41000", ":41000"),
        ("", ""),
    ],
)
def test_host_of_the_peer_is_read_from_its_address(address, host):
    assert sighting(remote_addr=address).remote_host == host


@pytest.mark.parametrize(
    ("a", "b", "is_same"),
    [
        ({"remote_addr": "h:1"}, {"remote_addr": "h:2"}, True),
        ({"remote_addr": "h:1"}, {"remote_addr": "i:1"}, False),
        ({"endpoint": "https://h:1/a"}, {"endpoint": "https://h:1/b"}, True),
        ({"endpoint": "https://h:1/a"}, {"endpoint": "https://h:2/a"}, False),
        ({"endpoint": "endpoint://client-1/h:1"}, {"endpoint": "endpoint://client-2/h:1"}, True),
        ({"endpoint": "etcd-endpoints://0x1/h:1"}, {"endpoint": "etcd-endpoints://0x2/i:1"}, False),
        ({"not_after": "1"}, {"not_after": "2"}, False),
        ({"serial": "1"}, {"serial": "2"}, True),
    ],
)
def test_lines_of_one_fault_share_a_fold(a, b, is_same):
    assert (sighting(**a).fold == sighting(**b).fold) is is_same


def test_decision_lists_its_closed_gates_in_order():
    gates = tuple(Gate(name=name, passed=name is GateName.CURE, why="") for name in GateName)
    decision = Decision(reason="r", gates=gates)
    assert [gate.name for gate in decision.blocked_by] == [name for name in GateName if name is not GateName.CURE]
