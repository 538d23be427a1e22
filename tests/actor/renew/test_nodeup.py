"""Renewal of the leaves and kubeconfigs that nodeup lays on a kops master."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certmedic.actor.checks import Past, proposals
from certmedic.actor.renew import Pen, RenewError
from certmedic.core import certificates, planes
from certmedic.core.decision import Policy
from certmedic.core.model import Trust
from certmedic.edge.facts.inventory import Inventory
from certmedic.edge.facts.machine import Machine
from certmedic.edge.os.owners import Tree
from labs import pki
from labs.held import program
from labs.values import container

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
# (path, common name, organisation, whether it serves), as nodeup issues them.
APISERVER = ("srv/kubernetes/kube-apiserver/server.crt", "kubernetes-master", "", True)
FILES = (
    APISERVER,
    ("srv/kubernetes/kube-apiserver/kubelet-api.crt", "kubelet-api", "", False),
    ("var/lib/kube-controller-manager/kubeconfig", "system:kube-controller-manager", "", False),
    ("var/lib/kube-scheduler/kubeconfig", "system:kube-scheduler", "", False),
    ("var/lib/kubectl/kubeconfig", "kubecfg", "system:masters", False),
)


class Master:
    """A kops master whose leaf expired a day ago."""

    def __init__(self, root, key="kube-controller-manager/ca"):
        self.root = root
        self.ca = pki.authority("kubernetes-ca", not_before=NOW - 500 * DAY)
        self.ca.write(root / f"srv/kubernetes/{key}.crt")
        (root / "srv/kubernetes/ca.crt").write_bytes(self.ca.pem)

    def lay(self, path, common_name, organisation, serves):
        names = {"dns": ("api.internal.a",), "ips": ("127.0.0.1",)} if serves else {}
        life = {"not_before": NOW - 456 * DAY, "not_after": NOW - DAY}
        leaf = self.ca.leaf(common_name, organisation=organisation, server=serves, client=not serves, **life, **names)
        where = self.root / path
        where.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".crt"):
            leaf.write(where)
        else:
            where.write_bytes(pki.kubeconfig(self.ca, leaf))
        return where

    def leaf(self, where):
        stored, _ = Inventory([str(where)], tree=Tree(root=str(self.root), owner=os.geteuid())).look()
        return next(file for file in stored if not file.certificate.is_ca)

    def renew(self, where):
        pen = Pen(self.root / "backups", root=str(self.root), owner=os.geteuid())
        return pen.renew(self.leaf(where), now=NOW, about_to=lambda _: None)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file[1])
@pytest.mark.parametrize("key", ["kube-controller-manager/ca", "ca"], ids=["1.22 and later", "until 1.21"])
def test_leaf_of_nodeup_is_signed_again_by_the_clusters_ca(tmp_path, file, key):
    master = Master(tmp_path, key)
    where = master.lay(*file)
    old = master.leaf(where).certificate

    master.renew(where)

    new = master.leaf(where).certificate
    assert (new.subject, new.key_fingerprint, new.usages) == (old.subject, old.key_fingerprint, old.usages)
    assert (new.dns_names, new.ip_addresses) == (old.dns_names, old.ip_addresses)
    assert new.not_after == NOW + 455 * DAY
    assert certificates.issued_by(new, certificates.parse(master.ca.pem, "")[0])


@pytest.mark.parametrize("subject", [("kubernetes-master", "system:masters"), ("admin", "")])
def test_leaf_with_another_subject_than_nodeups_is_refused(tmp_path, subject):
    master = Master(tmp_path)
    where = master.lay(APISERVER[0], *subject, True)
    with pytest.raises(RenewError, match="subject is not one that kops gives"):
        master.renew(where)


@pytest.mark.parametrize(
    ("names", "restarts"), [((0, 1, 4), ""), ((0, 2, 3), "kube-controller-manager and kube-scheduler")]
)
def test_files_of_nodeup_are_renewed_in_one_action(tmp_path, names, restarts):
    master = Master(tmp_path)
    paths = [str(master.lay(*FILES[number])) for number in names]
    machine = Machine(
        globs=planes.patterns("kops", root=str(tmp_path)),
        root=str(tmp_path),
        owner=os.geteuid(),
        trusts=lambda _: Trust.SYSTEM,
    )
    programs = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    here = replace(
        machine.gather(now=NOW),
        programs=tuple(program(name, started=NOW - 300 * DAY) for name in programs),
        containers=tuple(replace(container(), id=name, container_name=name) for name in programs),
        kubernetes="v1.22.17",
        clock_synchronised=None,
        served=(),
    )
    policy = Policy(mode="remedy", restart=(), cooldown=DAY, per_day=2, renew=True)

    (proposal,) = proposals(here, policy, Past())

    assert proposal.decision.action is not None
    assert sorted(path for path, _ in proposal.decision.action.watched) == sorted(paths)
    assert restarts in proposal.decision.reason
    assert ("restart" in proposal.decision.reason) is bool(restarts)
