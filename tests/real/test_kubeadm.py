"""A real kubeadm 1.20 master whose certificates expire, and a person who types what certmedic tells (`./dev real`).

Each scenario plants one fault, reads the messages, types their commands at a shell, and looks at the moment of "resolved" whether the
API server and every component work. The messages are printed in full (`./dev real SCENARIO -s`). README.md has what was seen, with dates.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from labs import packages, resign
from labs.kubeadm import COMPONENTS, start_master
from labs.waiting import until

pytestmark = [
    pytest.mark.long,
    pytest.mark.real,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: boots a whole machine"),
]
LIFE = timedelta(seconds=75)  # long enough for a component that starts to load a certificate before it expires
LEAVES = (
    "apiserver",
    "apiserver-etcd-client",
    "apiserver-kubelet-client",
    "front-proxy-client",
    "etcd/server",
    "etcd/peer",
    "etcd/healthcheck-client",
)
KUBECONFIGS = ("admin.conf", "controller-manager.conf", "scheduler.conf")
MANAGERS = ("kube-controller-manager", "kube-scheduler")


@dataclass(frozen=True)
class Scenario:
    """A fault, and the message that must be sent about it."""

    files: tuple[str, ...]  # what expires
    holders: tuple[str, ...] = ()  # restarted before the expiry, so that they hold what expires
    command_has: tuple[str, ...] = ()  # parts of the command
    command_lacks: tuple[str, ...] = ()


def renew(*names):
    return tuple(f"renew {name} " for name in names)


SCENARIOS = {
    "apiserver": Scenario(("apiserver",), ("kube-apiserver",), renew("apiserver"), ("renew all",)),
    "apiserver-etcd-client": Scenario(
        ("apiserver-etcd-client",), ("kube-apiserver",), renew("apiserver-etcd-client"), ("renew all",)
    ),
    "etcd": Scenario(("etcd/server", "etcd/peer"), (), renew("etcd-server", "etcd-peer"), ("renew all",)),
    "clients-of-apiserver": Scenario(
        ("apiserver-kubelet-client", "front-proxy-client"),
        ("kube-apiserver",),
        renew("apiserver-kubelet-client", "front-proxy-client"),
        ("renew all",),
    ),
    "kubeconfigs": Scenario(
        KUBECONFIGS,
        MANAGERS,
        (*renew(*KUBECONFIGS), *(f"{name}.yaml" for name in MANAGERS)),
        ("renew all", "etcd.yaml"),
    ),
    "kubelet": Scenario(("kubelet",), (), ("init phase kubeconfig kubelet", "restart kubelet"), ("renew",)),
    "kubelet-conf": Scenario(("kubelet.conf",), (), ("sed", "restart kubelet"), ("renew", "init phase")),
    "ten-at-once": Scenario((*LEAVES, *KUBECONFIGS), COMPONENTS, ("renew all ",), ("kubelet.conf",)),
    "ca": Scenario(("ca.crt",), COMPONENTS, ("-signkey /etc/kubernetes/pki/ca.key",), ("renew",)),
}


@pytest.fixture(scope="module")
def booted(debs):
    with start_master(debs) as made:
        yield made


@pytest.fixture
def master(booted, request):
    if not booted.is_healthy:
        booted.heal()
    booted.is_healthy = False
    yield booted
    sys.stdout.write(f"\n========== {request.node.name}, {datetime.now(UTC):%F %H:%M}: {booted.figures()}\n")
    for number, message in enumerate(booted.messages(), start=1):
        sys.stdout.write(f"---------- message {number}: {message.title}\n{message.text}\n\n")


def plant(master, scenario):
    """Let files expire that their holders have read; return their paths."""
    ends = datetime.now(UTC) + LIFE
    paths = resign.sign(master.root, ends, *scenario.files)
    master.expired_at = ends
    if scenario.holders:
        master.kill(*scenario.holders)
    until(lambda: datetime.now(UTC) > ends, seconds=LIFE.total_seconds() + 10)
    if "kubelet" in scenario.files:  # not before: a kubelet renews a certificate that expires soon when it starts
        master.machine("systemctl", "restart", "kubelet")
    return paths


def assert_that_all_works_when_resolved(master, alert):
    """Wait for the end of an incident; at that moment the API and all components work."""
    master.wait_for("RESOLVED", 420, after=master.messages().index(alert))
    took = master.wait_until_works(60)
    # A restarted component waits 15 s for the lease of its predecessor; the kubelet writes its lease every 10 s.
    assert took < 40, f"resolved {took:.0f} s before the API and every component worked"
    master.wait_until_all_is_over()


@pytest.mark.parametrize("name", SCENARIOS)
def test_told_command_cures(master, name):
    scenario = SCENARIOS[name]
    paths = plant(master, scenario)
    alert = master.wait_for("CRITICAL", 120)
    shown = master.shown(alert)
    assert [path for path in paths if path not in shown] == []
    assert "neighbour" not in alert.text
    assert "not at fault" not in alert.text
    command = master.command_of(alert)
    assert [part for part in scenario.command_has if part not in command] == []
    assert [part for part in scenario.command_lacks if part in command] == []
    master.type(command)
    assert_that_all_works_when_resolved(master, alert)
    assert len(master.messages()) <= 3


@pytest.fixture
def renewing(master, debs):
    master.allow_renewal(packages.actor_of(debs[0]))
    yield master
    master.forbid_renewal()


@pytest.mark.parametrize("name", ["kubeconfigs", "etcd", "clients-of-apiserver", "apiserver", "ten-at-once"])
def test_renewal_cures_without_a_person(renewing, name):
    paths = plant(renewing, SCENARIOS[name])
    renewing.wait_for("RESOLVED", 600)
    took = renewing.wait_until_works(60)
    assert took < 40, f"resolved {took:.0f} s before the API and every component worked"
    renewing.wait_until_all_is_over()
    ends = resign.ends(renewing.root, *SCENARIOS[name].files)
    assert {path for path in paths if ends[path] < datetime.now(UTC)} == set()
    assert [message.title for message in renewing.messages() if "NOT FIXED" in message.title] == []
    assert len(renewing.messages()) <= 3


def test_renewed_and_nothing_restarted(master):
    """The API refuses the old certificates. A program ends by itself once it cannot renew its lease, perhaps before the message is due."""
    ends = datetime.now(UTC) + 2 * LIFE  # `renew all` makes ten keys before that
    resign.sign(master.root, ends, *KUBECONFIGS)
    master.expired_at = ends
    master.kill(*MANAGERS)
    master.wait_until_works()
    before = {name: master.pid_of(name) for name in MANAGERS}
    master.type("kubeadm certs renew all")

    def late():
        return [name for name in MANAGERS if master.pid_of(name) == before[name]]

    def critical():
        return [message for message in master.messages() if message.kind == "CRITICAL"]

    until(lambda: critical() or not late(), seconds=300)
    for alert in critical():
        assert [name for name in late() if name not in alert.command] == []
        assert "renew" not in alert.command
        master.type(alert.command)
        assert_that_all_works_when_resolved(master, alert)
    master.wait_until_works()
    master.wait_until_all_is_over()
    assert len(master.messages()) <= 3


def test_healthy_master_sends_nothing(master):
    master.kill(*COMPONENTS)
    master.wait_until_works()
    time.sleep(60)  # a message is due 30 s after its incident
    assert master.messages() == []
    explained = master.machine("certmedic", "check-config", "--explain")
    listed = json.loads(master.machine("certmedic", "certs", "--json"))["certificates"]
    paths = [each["path"] for each in listed if each["path"].startswith("/")]  # others are in memory alone
    assert [path for path in paths if f"  {path}\n" not in explained] == []
    assert "renewed by  kubelet, before it expires, without your help\n" in explained
    assert explained.count("  renewed by  ") <= len(listed) / 2  # what has the same answers stands together
