"""A copy of a master: its name, address and version by its own files, and links that stay inside the copy."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from certmedic.core import planes
from certmedic.core.model import Trust
from certmedic.core.origin import Process
from certmedic.edge.facts import machine
from certmedic.edge.facts.machine import Machine
from certmedic.edge.facts.master import Master, read_master
from certmedic.edge.facts.programs import ProcessSeen
from labs.pki import authority

MANIFEST = """
spec:
  containers:
  - command: [kube-apiserver, --advertise-address=10.1.2.3, --bind-address=0.0.0.0]
    image: registry.k8s.io/kube-apiserver:v1.20.2
"""


def test_name_address_and_version_come_from_the_files_of_the_master(tmp_path):
    assert read_master(str(tmp_path)) == Master()
    folder = tmp_path / "etc/kubernetes/manifests"
    folder.mkdir(parents=True)
    (folder / "kube-apiserver.yaml").write_text(MANIFEST)
    (folder / "etcd.yaml").write_text("--advertise-address=10.9.9.9")
    (tmp_path / "etc/hostname").write_text("master-a\n")
    expected = Master(host="master-a", addresses=frozenset({"10.1.2.3"}), kubernetes="v1.20.2")
    assert read_master(str(tmp_path)) == expected

    facts = Machine(globs=(), root=str(tmp_path), live=False).gather(now=datetime.now(UTC))
    assert (facts.host, facts.addresses, facts.kubernetes) == ("master-a", expected.addresses, "v1.20.2")


def test_files_without_a_root_are_not_taken_for_those_of_this_machine():
    facts = Machine(globs=(), live=False).gather(now=datetime.now(UTC))
    assert (facts.host, facts.addresses, facts.kubernetes) == ("", frozenset(), "")


@pytest.mark.parametrize("text", ["", "two words\n", "\u202ex\n"])
def test_strange_host_name_counts_as_none(tmp_path, text):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hostname").write_text(text)
    assert read_master(str(tmp_path)).host == ""


def test_links_of_a_copy_lead_inside_the_copy(tmp_path):
    leaf = authority("kubernetes").leaf("system:node:a")
    root, outside = tmp_path / "copy", tmp_path / "outside"
    pki = root / "var/lib/kubelet/pki"
    pki.mkdir(parents=True)
    (pki / "kubelet-client-2026.pem").write_bytes(leaf.cert_pem)
    (pki / "kubelet-client-current.pem").symlink_to("/var/lib/kubelet/pki/kubelet-client-2026.pem")
    (root / "etc/kubernetes/ssl").mkdir(parents=True)
    (root / "etc/kubernetes/ssl/apiserver.crt").write_bytes(leaf.cert_pem)
    (root / "etc/kubernetes/pki").symlink_to("/etc/kubernetes/ssl")
    outside.mkdir()
    (outside / "scheduler.conf").write_bytes(leaf.cert_pem)
    (root / "etc/kubernetes/scheduler.conf").symlink_to(outside / "scheduler.conf")

    globs = planes.patterns("kubeadm", root=str(root))
    stored, _ = Machine(globs=globs, root=str(root), live=False).inventory()
    paths = [file.certificate.path.removeprefix(str(root)) for file in stored]
    assert paths == ["/etc/kubernetes/pki/apiserver.crt", "/var/lib/kubelet/pki/kubelet-client-current.pem"]


def test_peers_stay_known_while_no_etcd_runs(monkeypatch):
    """An etcd that restarts is still accused by its address, and what it logged is not reported by its neighbours at once."""
    named = iter([(frozenset({"10.0.0.2"}), {"10.0.0.2": "etcd-b"}), (frozenset({"10.0.0.3"}), {"10.0.0.3": "etcd-c"})])
    monkeypatch.setattr(machine, "peer_addresses", lambda *_: next(named))
    here = Machine(globs=(), live=False, trusts=lambda _: Trust.SYSTEM)
    peers = [
        here._peer_addresses(
            [ProcessSeen(pid=pid, process=Process(uid=0, exe="/etcd", cgroup=""), is_etcd=True) for pid in pids]
        )[0]
        for pids in ([], [7], [], [], [8])
    ]
    assert peers == [frozenset(), *[frozenset({"10.0.0.2"})] * 3, frozenset({"10.0.0.3"})]
