"""Whether a file is at its place."""

import pytest

from certmedic.core import planes


@pytest.mark.parametrize(
    ("path", "in_place"),
    [
        ("/mnt/master-vol-01/pki/etcd-cluster-token-etcd/peers/me.crt", True),
        ("/mnt/copies/me.crt", False),
        ("me.crt", False),  # the path has a single part
    ],
)
def test_file_is_at_its_place_only_if_its_whole_path_matches(path, in_place):
    assert planes.in_its_place(path) is in_place


@pytest.mark.parametrize(
    ("path", "config"),
    [
        ("/var/lib/rancher/k3s/server/tls/etcd/peer-server-client.crt", "/var/lib/rancher/k3s/server/db/etcd/config"),
        ("/var/lib/rancher/k3s/server/tls/etcd/server-client.crt", ""),  # of another use
        ("/mnt/master-vol-01/pki/etcd-cluster-token-etcd/peers/me.crt", ""),  # a separate process
    ],
)
def test_configuration_of_an_etcd_inside_another_program(path, config):
    assert planes.etcd_config(planes.place(path), path) == config
