"""The start-up lines of etcd contain the hosts that etcd advertises."""

import pytest

from certmedic.core.planes import hosts_from_startup_line


@pytest.mark.parametrize(
    ("line", "hosts"),
    [
        (
            "embed: advertise client URLs = https://a:4001,https://10.0.0.1:4001",
            [("server", "a"), ("server", "10.0.0.1")],
        ),
        ('{"initial-advertise-peer-urls":["https://[fd00::7]:2380"]}', [("peer", "fd00::7")]),
        ("embed: advertise client URLs = http://a:4001", []),
        ("embed: listening for client requests on https://a:4001", []),
    ],
)
def test_advertised_hosts_are_read_from_a_startup_line(line, hosts):
    assert list(hosts_from_startup_line(line)) == hosts
