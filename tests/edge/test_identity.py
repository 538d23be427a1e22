"""The name of the cluster: the operator's word, else that of files which only root can write."""

import os

import pytest

from certmedic.edge.identity import Identity
from certmedic.edge.os.owners import Judge, Tree
from certmedic.edge.static_pods import cluster_name

KUBE_ENV, MANIFEST = "opt/kops/conf/kube_env.yaml", "etc/kubernetes/manifests/kube-controller-manager.{}"


def put(root, path, text, mode=0o644):
    file = root / path
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


OURS = os.geteuid()


def name(root, configured="", owner=OURS):
    return identity(root, configured, owner).name


def identity(root, configured="", owner=OURS):
    judge = None if owner is None else Judge(Tree(root=str(root), owner=owner))
    return Identity(configured, lambda: cluster_name(str(root), judge))


def test_configured_name_goes_before_that_of_the_files(tmp_path):
    assert name(tmp_path) == ""
    put(tmp_path, MANIFEST.format("yaml"), "- --cluster-name=kubernetes\n")
    assert name(tmp_path) == "kubernetes"
    put(tmp_path, KUBE_ENV, "ClusterName: prod.example.com\n")
    assert name(tmp_path) == "prod.example.com"
    assert name(tmp_path, "ours") == "ours"


def test_kops_manifest_names_the_cluster_without_the_boot_file(tmp_path):
    put(tmp_path, KUBE_ENV, "CloudProvider: aws\n")
    put(tmp_path, MANIFEST.format("manifest"), "command: exec kube-controller-manager --cluster-name=prod --v=2\n")
    put(tmp_path, "etc/kubernetes/manifests/autoscaler.yaml", "- --cluster-name=other\n")
    assert name(tmp_path) == "prod"


def test_files_that_others_can_write_name_no_cluster(tmp_path):
    put(tmp_path, KUBE_ENV, "ClusterName: evil\n", mode=0o666)
    put(tmp_path, MANIFEST.format("yaml"), "- --cluster-name=evil\n", mode=0o666)
    assert name(tmp_path) == ""
    assert name(tmp_path, owner=None) == "evil"  # a copy of another master's files, which the operator names


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other users")
def test_links_and_files_of_other_users_name_no_cluster(tmp_path):
    os.chown(put(tmp_path, KUBE_ENV, "ClusterName: evil\n"), 1000, 1000)
    assert name(tmp_path) == ""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / KUBE_ENV).unlink()
    (tmp_path / KUBE_ENV).symlink_to(tmp_path / "pipe")
    assert name(tmp_path) == ""


def test_name_is_looked_for_until_kops_has_written_it(tmp_path, monkeypatch):
    known = identity(tmp_path)
    put(tmp_path, KUBE_ENV, "ClusterName: late\n")
    known.refresh()
    assert known.name == ""  # one look a minute
    monkeypatch.setattr(known, "_every", 0.0)
    known.refresh()
    assert known.name == "late"
    put(tmp_path, KUBE_ENV, "ClusterName: other\n")
    known.refresh()
    assert known.name == "late"
