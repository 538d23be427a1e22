"""`check-config --explain`: who renews each certificate, and whether certmedic may act."""

import pytest

from certmedic import app
from certmedic.cli.renewals import tell_renewals
from certmedic.config import Config, RemedyPolicy
from labs.values import DAY, NOW, OLD_IMAGE, container, facts, member


class Looks:
    """A machine with given facts."""

    def __init__(self, seen):
        self.seen = seen

    def gather(self, *, now):
        return self.seen


@pytest.mark.parametrize(
    ("config", "image", "sentence"),
    [
        ({}, None, 'would not act. mode: mode is "notify" (to pass: set mode = "remedy")'),
        ({"mode": "remedy"}, None, "would act: restart etcd-manager-main"),
        ({"mode": "remedy"}, OLD_IMAGE, "would not act. fix known: A restart does not fix it."),
    ],
)
def test_each_certificate_has_its_renewer_and_the_gate_that_is_closed(monkeypatch, capsys, config, image, sentence):
    containers = (container(image=image),) if image else (container(),)
    seen = facts(member(peer_ends=NOW + 9 * DAY), containers=containers)
    monkeypatch.setattr(app, "machine", lambda _: Looks(seen))
    tell_renewals(Config(remedy=RemedyPolicy(), **config), NOW)
    first, *rest = capsys.readouterr().out.split("/mnt/")[1:]
    assert first.startswith("master-vol-01/pki/etcd-cluster-token-etcd/peers/me.crt\n")
    assert "is          etcd peer certificate" in first
    assert "expires     2026-12-03 15:40 UTC (in 9 days)" in first
    assert "renewed by  etcd-manager, not before it expires by itself" in first
    assert f"certmedic   {sentence}" in first
    assert len(rest) == 3


def test_machine_without_certificates_says_so(monkeypatch, capsys):
    monkeypatch.setattr(app, "machine", lambda _: Looks(facts(())))
    tell_renewals(Config(), NOW)
    assert "No certificate was read" in capsys.readouterr().out
