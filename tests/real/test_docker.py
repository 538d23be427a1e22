"""A real kubelet 1.20 with Docker, and a static pod of a stand-in etcd-manager with a real etcd, whose certificates expire (`./dev real`).

certmedic reads Docker's json-file logs. README.md has what was seen, with dates.
"""

import os
import sys
from datetime import UTC, datetime, timedelta

import pytest

from labs import packages
from labs.dockershim import start_master
from labs.waiting import until

pytestmark = [
    pytest.mark.long,
    pytest.mark.real,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: boots a whole machine"),
]
LIFE = 60
CURES = 'mode = "remedy"\n[remedy]\nrestart = ["etcd-manager"]\n'


@pytest.fixture(scope="module")
def debs(tmp_path_factory):
    source = packages.tree(tmp_path_factory.mktemp("source"))
    out = packages.build(source, tmp_path_factory.mktemp("dist"))
    return sorted(out.glob("certmedic_*.deb"))


@pytest.fixture(scope="module")
def booted(debs):
    with start_master(debs) as made:
        yield made


@pytest.fixture
def master(booted, request):
    yield booted
    sys.stdout.write(f"\n========== {request.node.name}, {datetime.now(UTC):%F %H:%M}: {booted.figures()}\n")
    for number, message in enumerate(booted.messages(), start=1):
        sys.stdout.write(f"---------- message {number}: {message.title}\n{message.text}\n\n")
    booted.end_pod()


@pytest.fixture
def curing(master, debs):
    actor = packages.actor_of(debs[0])
    if master.machine.run("dpkg", "-s", "certmedic-actor").code:
        packages.install(master.machine, actor)
    master.configure("cure", CURES)
    yield master
    master.configure("cure", "")


def wait_until_expired(master):
    until(lambda: datetime.now(UTC) > master.expired_at, seconds=LIFE + 10)


def assert_cured(master, before):
    """Wait for RESOLVED; at that moment etcd serves a new certificate, from a new container."""
    master.wait_for("RESOLVED", 600)
    assert master.works_until_late()
    assert master.containers() not in ([], before)
    master.wait_until_all_is_over()
    assert [message.title for message in master.messages() if "NOT FIXED" in message.title] == []
    assert len(master.messages()) <= 3


def test_told_docker_stop_cures(master):
    master.start_pod(LIFE)
    before, others = master.containers(), master.containers("POD")
    alert = master.wait_for("CRITICAL", LIFE + 120)
    assert "etcd-manager 3.0.20210228 reissues this certificate at every start" in master.shown(alert)
    assert alert.command.startswith("sudo docker stop $(sudo docker ps -q --filter ")
    master.type(alert.command)
    assert_cured(master, before)
    assert master.containers("POD") == others  # the sandbox was not touched


def test_agent_cures_without_a_person(curing):
    curing.start_pod(LIFE)
    before = curing.containers()
    wait_until_expired(curing)
    assert_cured(curing, before)


@pytest.mark.parametrize("unit", ["kubelet", "docker"])
def test_cure_survives_a_restart_in_the_middle(curing, unit):
    curing.start_pod(LIFE)
    before = curing.containers()
    wait_until_expired(curing)
    # The container of the action is gone and its successor does not run yet.
    until(lambda: not set(before) & set(curing.containers()), seconds=180)
    curing.machine("systemctl", "restart", unit, timeout=180)
    assert_cured(curing, before)


def test_told_recipe_replaces_cas_of_kops_that_expired(master):
    """The files of nodeup, etcd-manager and kops are played; openssl, etcd, its handshakes, the kubelet and Docker are real."""
    ends = master.make_authorities(timedelta(seconds=LIFE))
    master.start_pod(400 * 86400)
    master.expired_at = ends
    before = master.containers()
    alert = master.wait_for("CRITICAL", LIFE + 120)
    command = master.command_of(alert)
    assert [
        name for name in ("etcd-peers-ca-main", "etcd-clients-ca") if f"create keypair {name} --cert" not in command
    ] == []
    assert not master.accepts()
    master.type(command)
    assert master.containers() != before
    assert_cured(master, before)
    assert master.accepts()
    checked = master.machine.run("certmedic", "certs", "--check")
    assert (checked.code, "replaced" in checked.out) == (0, True)
    master.make_authorities()
