"""Static pods, as the manifests of the kubelet give them."""

from __future__ import annotations

import os

import pytest

from certmedic.edge.static_pods import StaticPods

YAML = """apiVersion: v1
kind: Pod
metadata:
  annotations:
    name: not-this
  # name: nor-this
  name: {name}
  labels:
    k8s-app: etcd
    name: nor-that
  namespace: kube-system
spec:
  containers:
  - name: etcd
"""


@pytest.fixture
def manifests(tmp_path):
    path = tmp_path / "manifests"
    path.mkdir(mode=0o755)
    return path


def put(folder, name, pod, mode=0o644):
    path = folder / name
    path.write_text(YAML.format(name=pod))
    path.chmod(mode)
    return path


def test_static_pods_are_those_of_the_present_manifests(manifests, monkeypatch):
    monkeypatch.setattr("certmedic.edge.static_pods._LOOK_EVERY", 0.0)
    pods = StaticPods((str(manifests), str(manifests / "none")))
    assert pods.names == set()
    put(manifests, "etcd.manifest", "etcd-manager-main")
    put(manifests, ".hidden.yaml", "hidden")
    (manifests / "web.yaml").write_text("metadata:\n  name: web\n")
    assert pods.names == {"etcd-manager-main"}
    (manifests / "etcd.manifest").unlink()
    assert pods.names == set()


def test_world_writable_manifests_are_ignored(manifests):
    put(manifests, "group.yaml", "everybodys", mode=0o666)
    (manifests / "large.yaml").write_text(YAML.format(name="large") + "#" * 300_000)
    os.mkfifo(manifests / "pipe.yaml")
    (manifests / "link.yaml").symlink_to("/dev/zero")
    put(manifests, "good.yaml", "good")
    assert StaticPods((str(manifests),)).names == {"good"}
    manifests.chmod(0o777)
    assert StaticPods((str(manifests),)).names == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other users")
def test_static_pods_come_only_from_manifests_of_root(manifests):
    os.chown(put(manifests, "etcd.yaml", "etcd"), 1000, 1000)
    assert StaticPods((str(manifests),)).names == set()
    os.chown(manifests / "etcd.yaml", 0, 0)
    assert StaticPods((str(manifests),)).names == {"etcd"}
    os.chown(manifests, 1000, 1000)
    assert StaticPods((str(manifests),)).names == set()
