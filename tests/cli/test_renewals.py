"""`check-config --explain`: who renews each certificate, and whether certmedic may act."""

import re

import pytest

from certmedic import app
from certmedic.cli.renewals import tell_renewals
from certmedic.config import Config, RemedyPolicy
from labs.letters import of_kubeadm
from labs.values import DAY, NOW, OLD_IMAGE, container, facts, member

PEER = "/mnt/master-vol-01/pki/etcd-cluster-token-etcd/peers/me.crt"


@pytest.fixture
def explained(monkeypatch, capsys):
    """Return what is printed about a machine, one text for certificates with the same answers."""

    def explain(seen, **config):
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
        ({"mode": "remedy"}, None, "when it restarts", "would act: restart etcd-manager-main"),
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


def test_machine_without_certificates_says_so(explained):
    assert explained(facts(())) == ["No certificate was read: run this on a master, as root."]
