"""Paths in a container as paths on the host, and paths in the manifest of a static pod."""

import json

import pytest

from certmedic.core.planes import paths_of_manifest
from certmedic.core.planes.pods import on_host

MOUNTS = [("/etc", "/host/etc"), ("/etc/pki/", "/host/pki"), ("/srv", "/")]


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/etc/x.crt", "/host/etc/x.crt"),
        ("/etc/pki/x.crt", "/host/pki/x.crt"),  # the deepest mount
        ("/etc/pki", "/host/pki"),
        ("/etc/pkix/x.crt", "/host/etc/pkix/x.crt"),
        ("/etc/pki/../x.crt", "/host/etc/x.crt"),
        ("/srv/x.crt", "/x.crt"),  # /srv is a mount of the host's root
        ("/srv", "/"),
        ("/var/x.crt", ""),
    ],
)
def test_path_on_the_host_follows_from_the_deepest_mount(path, host):
    assert on_host(path, MOUNTS) == host
    assert on_host(path, list(reversed(MOUNTS))) == host


def manifest(env=(), **more):
    spec = {
        "containers": [
            {
                "command": ["etcd", "--cert-file=/pki/server.crt"],
                "env": list(env),
                "volumeMounts": [{"name": "pki", "mountPath": "/pki"}],
            }
        ],
        "volumes": [{"name": "pki", "hostPath": {"path": "/srv/pki"}}, {"name": "tmp", "emptyDir": {}}],
    }
    return json.dumps({"spec": spec | more})


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (manifest(), {("server", "/srv/pki/server.crt")}),
        (
            manifest([{"name": "ETCD_PEER_CERT_FILE", "value": "/pki/peer.crt"}, {"name": "NODE", "valueFrom": {}}]),
            {("server", "/srv/pki/server.crt"), ("peer", "/srv/pki/peer.crt")},
        ),
        (manifest(volumes=[]), set()),
        (manifest(volumes=None), set()),
        (manifest(volumes=[{"name": "pki", "hostPath": {"path": 5}}]), set()),
        (manifest(containers=5), set()),
        ("{", set()),
        ("{}", set()),
    ],
)
def test_paths_are_read_from_a_json_manifest(text, paths):
    assert set(paths_of_manifest(text)) == paths
