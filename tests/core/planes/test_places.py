"""A file's place by the end of its path."""

import pytest

from certmedic.core import planes


@pytest.mark.parametrize(
    ("path", "in_place"),
    [
        ("/mnt/master-vol-01/pki/etcd-cluster-token-etcd/peers/me.crt", True),
        ("/mnt/copies/me.crt", False),
        ("me.crt", False),  # one part only
    ],
)
def test_file_is_in_its_place_by_its_whole_path(path, in_place):
    assert planes.in_its_place(path) is in_place
