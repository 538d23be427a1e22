"""`check-config --explain`: who renews each certificate, and whether certmedic may act."""

import re
from dataclasses import replace

import pytest

from certmedic import app
from certmedic.cli.renewals import tell_renewals, would
from certmedic.config import Config, RemedyPolicy
from certmedic.core.model import Action, Decision, RemedyKind
from certmedic.edge.actor import ABSENT
from labs.letters import of_kubeadm
from labs.values import DAY, NOW, OLD_IMAGE, container, facts, member

PEER = "/mnt/master-vol-01/pki/etcd-cluster-token-etcd/peers/me.crt"


@pytest.fixture
def explained(monkeypatch, capsys):
    """Return what is printed about a machine, one text for certificates with the same answers."""

    def explain(seen, *, actor="/usr/libexec/certmedic-actor", **config):
        monkeypatch.setattr("certmedic.edge.actor.is_installed", lambda: bool(actor))
        monkeypatch.setattr(app, "machine", lambda _: type("Looks", (), {"gather": lambda _, now: seen})())
        tell_renewals(Config(remedy=RemedyPolicy(), **config), NOW)
        return capsys.readouterr().out.strip().split("\n\n")

    return explain


@pytest.mark.parametrize(
    ("config", "image", "renewer", "answer"),
    [
        (
            {},
            None,
            "when it restarts",
            'would not act, since 1 gate would block it:\n    - mode: mode is "notify" (to pass: set mode = "remedy")\n',
        ),
        ({"mode": "remedy"}, None, "when it restarts", "would restart etcd-manager-main"),
        (
            {},
            OLD_IMAGE,
            "when it restarts and the old file is gone",
            "would not act, since 3 gates would block it:\n    - fix known: A restart does not fix it. ",
        ),
    ],
)
def test_certificate_has_its_renewer_and_every_closed_gate(explained, config, image, renewer, answer):
    containers = (container(image=image),) if image else (container(),)
    first, *others = explained(facts(member(peer_ends=NOW + 9 * DAY), containers=containers), **config)
    assert f"  renewed by  etcd-manager, {renewer}\n  if expired  certmedic {answer}" in first
    assert f"  {PEER}\n    etcd peer certificate, 2026-12-03 15:40 UTC (in 9 days)\n" in first
    number = re.search(r"since (\d+) gate", first)
    assert number is None or first.count("\n    - ") == int(number[1])
    (authorities,) = others
    assert "  renewed by  a person (CA)\n  if expired  certmedic reports it, and never replaces a CA\n" in authorities


def test_certificates_with_the_same_answers_are_explained_once(explained):
    leaves, authority = explained(facts(of_kubeadm(ends=NOW + 9 * DAY), containers=()), mode="notify")
    assert leaves.startswith("10 certificates\n  renewed by  kubeadm, only on command\n")
    assert '    - mode: mode is "notify" (to pass: set mode = "remedy")' in leaves
    assert authority.startswith("1 certificate\n")
    assert len(re.findall(r"^  /etc/kubernetes/", leaves, re.MULTILINE)) == 10


def test_renewer_whose_version_is_unknown_may_renew(explained):
    first, *_ = explained(facts(member(peer_ends=NOW + 9 * DAY), containers=()))
    assert "  renewed by  etcd-manager, perhaps when it restarts\n" in first


def test_nothing_acts_without_the_actor(explained):
    seen = facts(member(peer_ends=NOW + 9 * DAY), containers=(container(),))
    first, *_ = explained(seen, actor="", mode="remedy")
    assert f"would not act, since 1 gate would block it:\n    - actor: {ABSENT} (to pass: install the package " in first


def test_renewal_in_place_does_not_repeat_the_files():
    action = Action(kind=RemedyKind.RENEW, container=None, watched=(("/a", NOW), ("/b", NOW)))
    decision = Decision(reason="renew /a, /b in place, then restart x: its CA's key is on this machine", action=action)
    leaf, *_ = of_kubeadm(ends=NOW)
    answer = "certmedic would renew it in place, then restart x: its CA's key is on this machine"
    assert would(leaf, decision) == (answer, ())


def test_certificate_in_memory_is_explained_with_the_restart_that_renews_it(explained):
    leaf, *_ = of_kubeadm(ends=NOW + 9 * DAY)
    inside = replace(leaf.certificate, path="(memory of kube-scheduler)")
    held = replace(leaf, certificate=inside, place=replace(leaf.place, use="memory", renewer="kube-scheduler"))
    (only,) = explained(facts((), memory=(held,)), mode="remedy")
    assert only.startswith("1 certificate\n  renewed by  kube-scheduler, which signs a new one at its start\n")
    assert "  if expired  certmedic reports it, with the command that restarts kube-scheduler\n" in only
    assert "  (memory of kube-scheduler)\n" in only


def test_machine_without_certificates_says_so(explained):
    assert explained(facts(())) == ["No certificate was read: run this on a master, as root."]
