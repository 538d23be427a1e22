"""Renewal of kubeadm's leaves and kubeconfigs: on files as kubeadm lays them, and on a real etcd that keeps running."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from certmedic.actor.checks import Past, proposals
from certmedic.actor.dial import Dialled
from certmedic.actor.record import Record
from certmedic.actor.renew import Pen, RenewError
from certmedic.actor.renew.embedded import client_certificate, client_key, is_kubeconfig
from certmedic.actor.restart import AnyHands, RestartError
from certmedic.actor.surgery import Surgery
from certmedic.core import certificates, planes
from certmedic.core.decision import Policy
from certmedic.core.incident import ActState
from certmedic.core.model import Container, Facts, Program, Stored, Trust
from certmedic.core.verify import moved
from certmedic.edge.facts.inventory import Inventory
from certmedic.edge.facts.listeners import shake_hands
from certmedic.edge.facts.machine import Machine
from certmedic.edge.os.owners import Tree
from labs import pki
from labs.drill.master import free_ports
from labs.etcd import etcd_binary
from labs.waiting import until

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


class Master:
    """A kubeadm master whose leaves expired a day ago."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kubernetes = root / "etc/kubernetes"
        self.cas = pki.kubeadm_master(root, not_before=NOW - 366 * DAY, not_after=NOW - DAY)
        self.pen = Pen(root / "backups", root=str(root), owner=os.geteuid())

    def stored(self, name: str) -> Stored:
        path = self.kubernetes / name
        tree = Tree(root=str(self.root), owner=os.geteuid())
        stored, _ = Inventory([str(path)], tree=tree).look()
        return next(file for file in stored if not file.certificate.is_ca)

    def renew(self, name: str):
        return self.pen.renew(self.stored(name), now=NOW, about_to=lambda _: None)


@pytest.fixture
def master(tmp_path) -> Master:
    return Master(tmp_path)


@pytest.mark.parametrize("name", pki.KUBEADM)
def test_leaf_is_signed_again_for_its_own_key_subject_and_use(master, name):
    path = master.kubernetes / name
    before, old, mode = path.read_bytes(), master.stored(name).certificate, path.stat().st_mode

    renewed = master.renew(name)

    new = master.stored(name).certificate
    assert (new.subject, new.key_fingerprint, new.usages) == (old.subject, old.key_fingerprint, old.usages)
    assert (new.dns_names, new.ip_addresses) == (old.dns_names, old.ip_addresses)
    assert new.not_after == NOW + 365 * DAY  # no longer than the life of the one before
    ca = certificates.parse(master.cas[pki.KUBEADM[name][0]].pem, "")[0]
    assert certificates.issued_by(new, ca)
    assert path.stat().st_mode == mode
    master.pen.undo(renewed)
    assert path.read_bytes() == before


def test_only_the_certificate_of_a_kubeconfig_changes_and_no_key_is_backed_up(master):
    path = master.kubernetes / "admin.conf"
    before = path.read_bytes().splitlines()

    renewed = master.renew("admin.conf")

    after = path.read_bytes().splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [line.split(b":")[0].strip() for line in changed] == [b"client-certificate-data"]
    kept = Path(renewed.backup).read_bytes()
    assert client_certificate(kept) == client_certificate(b"\n".join(before))
    assert b"client-key-data" not in kept
    assert client_key(path.read_bytes()).split()[-2] not in kept


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text + text[text.index(b"users:") + 7 :], "no kubeconfig of one user"),
        (lambda text: text.replace(b"    client-key-data: ", b"    tokenfile: "), "private key cannot be read"),
    ],
    ids=["two users", "no key"],
)
def test_other_kubeconfigs_are_left_as_they_are(master, change, why):
    path = master.kubernetes / "admin.conf"
    path.write_bytes(change(path.read_bytes()))
    before = path.read_bytes()

    with pytest.raises(RenewError, match=why):
        master.renew("admin.conf")

    assert path.read_bytes() == before


def test_kubeconfig_with_a_foreign_key_is_not_renewed(master):
    path, ca = master.kubernetes / "admin.conf", master.cas["ca"]
    old = {"organisation": "system:masters", "server": False, "not_before": NOW - 366 * DAY, "not_after": NOW - DAY}
    mixed = replace(ca.leaf("kubernetes-admin", **old), key=pki.new_key())
    path.write_bytes(pki.kubeconfig(ca, mixed))

    with pytest.raises(RenewError, match="does not belong to"):
        master.renew("admin.conf")


@pytest.mark.parametrize(
    ("name", "cn", "group"),
    [
        ("admin.conf", "kubernetes-admin", "system:nodes"),
        ("admin.conf", "mallory", "system:masters"),
        ("scheduler.conf", "system:kube-controller-manager", ""),
        ("controller-manager.conf", "system:kube-controller-manager", "system:masters"),
        ("admin.conf", "kubernetes-admin", ""),
        ("pki/apiserver-etcd-client.crt", "kube-apiserver-etcd-client", "kubeadm:cluster-admins"),
        ("pki/apiserver.crt", "system:admin", ""),
        ("pki/front-proxy-client.crt", "front-proxy-client", "system:masters"),
    ],
)
def test_subject_that_kubeadm_does_not_give_to_the_file_is_not_signed(master, name, cn, group):
    signer, _, _, serves, calls = pki.KUBEADM[name]
    ends = {"not_before": NOW - 366 * DAY, "not_after": NOW - DAY}
    leaf = master.cas[signer].leaf(cn, organisation=group, server=serves, client=calls, **ends)
    path = master.kubernetes / name
    if name.endswith(".conf"):
        path.write_bytes(pki.kubeconfig(master.cas[signer], leaf))
    else:
        leaf.write(path)
    before = path.read_bytes()

    with pytest.raises(RenewError, match="its subject is not one that kubeadm gives"):
        master.renew(name)

    assert path.read_bytes() == before


def test_without_the_key_of_its_ca_nothing_is_renewed(master):
    (master.kubernetes / "pki/ca.key").unlink()
    with pytest.raises(RenewError, match="no authority on this machine can renew it"):
        master.renew("admin.conf")


def test_link_to_a_kubeconfig_is_not_followed(master):
    real = master.kubernetes / "admin.conf"
    real.rename(master.kubernetes / "other")
    real.symlink_to("other")
    with pytest.raises(RenewError, match="symbolic link"):
        master.renew("admin.conf")


def test_actor_renews_exactly_what_needs_no_restart_and_undoes_it(master):
    machine = Machine(
        globs=planes.patterns("kubeadm", root=str(master.root)),
        root=str(master.root),
        owner=os.geteuid(),
        trusts=lambda _: Trust.SYSTEM,
    )

    def look() -> Facts:
        return replace(machine.gather(now=NOW), clock_synchronised=None, served=(), members=(), programs=())

    policy = Policy(mode="remedy", restart=(), cooldown=DAY, per_day=2, renew=True)
    assert [p.decision.action for p in proposals(look(), replace(policy, renew=False), Past())] == [None]
    (proposal,) = proposals(look(), policy, Past())
    action = proposal.decision.action
    assert action is not None
    names = {path.removeprefix(f"{master.kubernetes}/") for path, _ in action.watched}
    assert names == {
        *(f"pki/etcd/{leaf}.crt" for leaf in ("server", "peer", "healthcheck-client")),
        "pki/apiserver-etcd-client.crt",
        "admin.conf",
    }
    before = {name: (master.kubernetes / name).read_bytes() for name in pki.KUBEADM}
    record = Record(master.root)
    surgery = Surgery(record=record, hands=AnyHands({}), pen=master.pen, look=look, now=lambda: NOW)

    act, result = surgery.perform(record.intend(1, "kubeadm", action, boot_id="b", now=NOW), look())

    assert result == "done"
    assert moved(action.watched, look())
    assert {name for name, data in before.items() if (master.kubernetes / name).read_bytes() != data} == names
    surgery.undo(act, "nobody serves it")
    assert {name: (master.kubernetes / name).read_bytes() for name in pki.KUBEADM} == before


class Kubelet:
    """Static pods whose containers are stopped, and which the kubelet starts again."""

    def __init__(self, *names: str) -> None:
        self.started = dict.fromkeys(names, NOW - 300 * DAY)
        self.fails = ""
        self.stopped: list[str] = []

    def restart(self, target: Container) -> str:
        if target.container_name == self.fails:
            raise RestartError("containerd does not answer")
        self.started[target.container_name] = NOW + DAY
        self.stopped.append(target.container_name)
        return f"stopped {target.name}; the kubelet starts the next one"

    def containers(self) -> tuple[Container, ...]:
        words = {
            "image": "",
            "namespace": "kube-system",
            "state": "running",
            "runtime": "containerd",
            "trust": Trust.SYSTEM,
        }
        return tuple(
            Container(id=f"c{n}", name=name, pod=f"{name}-kmaster", container_name=name, **words)
            for n, name in enumerate(self.started)
        )

    def programs(self) -> tuple[Program, ...]:
        return tuple(
            Program(name=name, pid=n, started_at=at, trust=Trust.SYSTEM)
            for n, (name, at) in enumerate(self.started.items(), start=1)
        )


@pytest.mark.parametrize("fails", ["", "kube-scheduler"])
def test_static_pods_are_restarted_once_their_kubeconfigs_were_renewed(master, fails):
    kubelet = Kubelet("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    kubelet.fails = fails
    machine = Machine(
        globs=planes.patterns("kubeadm", root=str(master.root)),
        root=str(master.root),
        owner=os.geteuid(),
        trusts=lambda _: Trust.SYSTEM,
    )

    def look() -> Facts:
        there = {"containers": kubelet.containers(), "programs": kubelet.programs(), "served": (), "members": ()}
        return replace(machine.gather(now=NOW), clock_synchronised=None, **there)

    policy = Policy(mode="remedy", restart=(), cooldown=DAY, per_day=2, renew=True)
    (proposal,) = proposals(look(), policy, Past())
    action = proposal.decision.action
    assert action is not None
    assert "then restart kube-controller-manager and kube-scheduler" in proposal.decision.reason
    record = Record(master.root)
    surgery = Surgery(record=record, hands=kubelet, pen=master.pen, look=look, now=lambda: NOW)

    act, result = surgery.perform(record.intend(1, "kubeadm", action, boot_id="b", now=NOW), look())

    assert result == ("late" if fails else "done")
    assert kubelet.stopped == ["kube-controller-manager", "kube-scheduler"][: 1 if fails else 2]
    assert moved(action.watched, look())  # a good file stays
    assert ("containerd does not answer" in act.detail) is bool(fails)


@pytest.mark.slow
def test_renewal_under_way_is_finished_while_the_dialer_hangs(master, tmp_path):
    kubelet = Kubelet("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    machine = Machine(
        globs=planes.patterns("kubeadm", root=str(master.root)),
        root=str(master.root),
        owner=os.geteuid(),
        trusts=lambda _: Trust.SYSTEM,
    )
    hung = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    hung.bind(str(tmp_path / "dialer"))
    hung.listen(128)
    failures: list[str] = []

    def look() -> Facts:
        with socket.create_server(("127.0.0.1", 0)) as there:
            port = there.getsockname()[1]
            network = Dialled(str(tmp_path / "dialer"))
            served = shake_hands("127.0.0.1", port, server_name=None, deadline=0.2, network=network)
        failures.append(served.error)
        there_is = {"containers": kubelet.containers(), "programs": kubelet.programs(), "served": (served,)}
        return replace(machine.gather(now=NOW), clock_synchronised=None, members=(), **there_is)

    policy = Policy(mode="remedy", restart=(), cooldown=DAY, per_day=2, renew=True)
    (proposal,) = proposals(look(), policy, Past())
    assert proposal.decision.action is not None
    record = Record(master.root)
    surgery = Surgery(record=record, hands=kubelet, pen=master.pen, look=look, now=lambda: NOW)
    act = record.intend(1, "kubeadm", proposal.decision.action, boot_id="b", now=NOW)

    with hung:
        act, result = surgery.perform(act, look())

    assert (act.state, result) == (ActState.DONE, "done")
    assert moved(act.action.watched, look())
    assert kubelet.stopped == ["kube-controller-manager", "kube-scheduler"]
    assert all(failures)
    assert failures[0] == "no answer within 0.2 s"


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.4", "3.5"])
def test_etcd_of_kubeadm_serves_a_renewed_leaf_without_a_restart(master, version):
    folder = master.kubernetes / "pki/etcd"
    ports = free_ports(2)
    clients, peers = (f"https://127.0.0.1:{port}" for port in ports)
    flags = ["--logger=zap", "--name=kmaster", f"--data-dir={master.root}/data", f"--initial-cluster=kmaster={peers}"]
    flags += [f"--{kind}-client-urls={clients}" for kind in ("listen", "advertise")]
    flags += [f"--{kind}-peer-urls={peers}" for kind in ("listen", "initial-advertise")]
    for prefix, name in (("", "server"), ("peer-", "peer")):
        flags += [f"--{prefix}client-cert-auth", f"--{prefix}trusted-ca-file={folder}/ca.crt"]
        flags += [f"--{prefix}cert-file={folder}/{name}.crt", f"--{prefix}key-file={folder}/{name}.key"]
    log = master.root / "log"

    def shown(port: int) -> x509.Certificate | None:
        served = shake_hands("127.0.0.1", port, server_name="localhost", deadline=5).certificate
        return served and served.fingerprint

    with (
        log.open("wb") as output,
        subprocess.Popen([str(etcd_binary(version)), *flags], stdout=output, stderr=output) as process,
    ):
        try:
            until(lambda: b"serving client traffic" in log.read_bytes())
            for port, name in zip(ports, ("server", "peer"), strict=True):
                old = master.stored(f"pki/etcd/{name}.crt").certificate.fingerprint
                assert shown(port) == old
                renewed = master.renew(f"pki/etcd/{name}.crt")
                until(lambda at=port, new=renewed: shown(at) == new.fingerprint)
                master.pen.undo(renewed)
                until(lambda at=port, before=old: shown(at) == before)
            assert process.poll() is None
        finally:
            process.kill()


@pytest.mark.parametrize(
    "data",
    [
        b"  client-certificate-data: !!\n",
        b"users:\n- user: {client-certificate-data: QQ==}\n",
        b"    client-certificate-data: QQ=\n",
        b"    client-certificate-data: QQ==\n",
    ],
)
def test_kubeconfig_that_is_not_written_like_kubeadms_shows_no_certificate(data):
    assert is_kubeconfig(data)
    assert client_certificate(data) is None
