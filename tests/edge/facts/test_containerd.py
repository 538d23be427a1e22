"""Containers by containerd's own files, for a reader that may not use its socket. The layout is that of containerd 1.6 and its CRI."""

import json
import os
import socket

import pytest

from certmedic.core.model import Trust
from certmedic.edge.facts import containerd
from labs.static_pod import StaticPod

POD = StaticPod(name="etcd-manager-main", node="a", container="etcd-manager")


@pytest.fixture
def closed(tmp_path, monkeypatch):
    """Return the socket of a containerd that this process may not use, with one task in its files."""
    address = tmp_path / "containerd.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(address))
    monkeypatch.setattr(containerd, "may_access", lambda *_: False)
    bundle = tmp_path / "io.containerd.runtime.v2.task/k8s.io/abc"
    bundle.mkdir(parents=True)
    (bundle / "init.pid").write_text(str(os.getpid()))
    names = {"name": POD.pod, "namespace": "kube-system", "uid": POD.uid}
    spec = {
        "annotations": {
            "io.kubernetes.cri.container-name": POD.container,
            "io.kubernetes.cri.image-name": "x/etcd-manager:3.0.20210228",
            **{f"io.kubernetes.cri.sandbox-{key}": value for key, value in names.items()},
        },
        "process": {"args": ["etcd", "--peer-cert-file=/tls/me.crt"], "env": ["ETCD_CERT_FILE=/tls/server.crt"]},
        "mounts": [{"type": "bind", "source": "/mnt/x", "destination": "/tls"}],
    }
    (bundle / "config.json").write_text(json.dumps(spec))
    return str(address)


def test_running_manager_is_seen_in_the_files(closed):
    (container,), blind = containerd.containerd_containers(closed, static_pods={POD.name})
    assert blind == ""
    assert (container.id, container.state, container.runtime) == ("abc", "running", "containerd")
    assert (container.pod, container.image, container.trust) == (POD.pod, "x/etcd-manager:3.0.20210228", Trust.SYSTEM)
    assert container.started_at is not None
    assert dict(containerd.containerd_files(POD.pod, POD.container, closed)) == {
        "peer": "/mnt/x/me.crt",
        "server": "/mnt/x/server.crt",
    }
    assert containerd.containerd_files("other", POD.container, closed) == ()


def test_files_that_make_no_sense_hide_no_container(closed, tmp_path):
    for number, text in {"aaa": "{", "bbb": "[]", "ccc": '{"annotations": {}}', "ddd": "{}"}.items():
        (tmp_path / f"io.containerd.runtime.v2.task/k8s.io/{number}").mkdir()
        (tmp_path / f"io.containerd.runtime.v2.task/k8s.io/{number}/config.json").write_text(text)
    (tmp_path / "io.containerd.runtime.v2.task/k8s.io/abc/init.pid").write_text("no number")
    (container,), blind = containerd.containerd_containers(closed)
    assert (container.id, container.state, blind) == ("abc", "exited", "")
