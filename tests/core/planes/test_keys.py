"""Paths of private keys: beside a certificate by convention, and the CA keys that kops stores on its masters."""

import pytest

from certmedic.core import planes
from certmedic.core.model import Place
from certmedic.core.planes import signing_authorities


@pytest.mark.parametrize(
    ("use", "group", "folders", "name"),
    [
        ("peer", "main", ["main"], "etcd-peers-ca"),
        ("peer", "events", ["events"], "etcd-peers-ca"),
        ("peer", "", [], ""),
        ("server", "events", ["events", "main", "leases"], "etcd-clients-ca"),
        ("server", "cilium", ["cilium"], "etcd-clients-ca"),
        ("server", "", [], ""),
        ("apiserver-etcd-client", "", ["main", "events", "leases"], "etcd-clients-ca"),
        ("manager-server", "main", ["main"], "etcd-manager-ca"),
        ("manager-client", "events", ["events"], "etcd-manager-ca"),
        ("manager-client", "", [], ""),
        ("ca", "main", [], ""),
    ],
)
def test_kops_stores_ca_keys_on_its_masters(use, group, folders, name):
    place = Place(plane="kops", group=group, use=use, renewer="etcd-manager")
    home = "/r/etc/kubernetes/pki/etcd-manager-"
    assert signing_authorities(place, "/r") == tuple(
        (f"{home}{f}/{name}.crt", f"{home}{f}/{name}.key") for f in folders
    )


@pytest.mark.parametrize(
    ("use", "has_ca"), [("apiserver", True), ("scheduler-client", True), ("front-proxy-client", False)]
)
def test_kops_stores_the_key_of_the_clusters_ca_for_its_controller_manager(use, has_ca):
    place = Place(plane="kops", group="", use=use, renewer="nodeup")
    keys = [key for _, key in signing_authorities(place, "/r") if "/etc/" not in key]
    assert keys == (["/r/srv/kubernetes/kube-controller-manager/ca.key", "/r/srv/kubernetes/ca.key"] if has_ca else [])


def test_no_other_plane_stores_its_ca_keys():
    for plane in set(planes.PLANES) - {"kops"}:
        for use in ("peer", "server", "apiserver-etcd-client"):
            assert signing_authorities(Place(plane=plane, group="main", use=use, renewer="operator")) == ()


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/a/me.crt", "/a/me.key"),
        ("/a/me.cert", "/a/me.key"),
        ("/a/me.cer", "/a/me.key"),
        ("/a/member-x.pem", "/a/member-x-key.pem"),
        ("/a/cert.pem", "/a/key.pem"),
        ("/a/server-cert.pem", "/a/server-key.pem"),
        ("/a/kubeconfig", ""),
        ("/a/me.p12", ""),
    ],
)
def test_path_of_a_key_follows_from_the_path_of_its_certificate(path, key):
    assert planes.key_beside(path) == key
