"""Three real kubeadm 1.20 masters of one cluster whose certificates all expire at once (`./dev real three`).

Clients write to each etcd member and through each API server all the time. README.md has what was seen, with dates.
"""

import os
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from labs import packages, resign
from labs.joined import start_masters
from labs.kubeadm import PLANE
from labs.waiting import until

pytestmark = [
    pytest.mark.long,
    pytest.mark.real,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: boots whole machines"),
]
LIFE = timedelta(seconds=210)  # on two cores, three control planes take two minutes to restart
SETTLED = 75  # seconds
LATE = timedelta(minutes=11)  # longer than masters that others refuse are left alone if they do not answer
FLAPS = 840.0  # seconds for which etcds restart again and again: the fifth pause of a kubelet is as long as any
RUNS = timedelta(minutes=1)
LEAVES = (
    "apiserver",
    "apiserver-etcd-client",
    "apiserver-kubelet-client",
    "front-proxy-client",
    "etcd/server",
    "etcd/peer",
    "etcd/healthcheck-client",
)
FILES = (*LEAVES, "admin.conf", "controller-manager.conf", "scheduler.conf")


@pytest.fixture(scope="module")
def booted(debs):
    with start_masters(debs) as made:
        yield made


@pytest.fixture
def cluster(booted, request):
    if not booted.is_healthy:
        booted.heal()
    booted.is_healthy = False
    yield booted
    for master in booted:
        sys.stdout.write(
            f"\n========== {request.node.name}, {datetime.now(UTC):%F %H:%M}, {master.name}: {master.figures()}\n"
        )
        for number, message in enumerate(master.messages(), start=1):
            sys.stdout.write(f"---------- message {number}: {message.title}\n{message.text}\n\n")


def plant(cluster):
    """Let ten certificates of each master expire, a second apart, which their programs have loaded; etcd runs on all the time.

    An agent that finds a forecast at its start reports it itself, so each has run for a while.
    """
    until(lambda: min(master.agent_runs_for() for master in cluster) > SETTLED, seconds=2 * SETTLED)
    ends = datetime.now(UTC) + LIFE
    for master in cluster:
        ends += timedelta(seconds=1)  # no two masters were made in the same second
        resign.sign(master.root, ends, *FILES)
        master.expired_at = ends
    for master in cluster:
        master.kill(*PLANE)
    cluster.wait_until_works()
    assert datetime.now(UTC) < ends, "this machine is too slow for so short a life"
    return ends


def sent(cluster, *kinds):
    return [message for master in cluster for message in master.messages() if message.kind in kinds]


def assert_that_all_is_cured(cluster, measured, ends, most=0):
    """`most`: as many times may no etcd member take a write."""
    took = cluster.wait_until_works(60)
    assert took < 60, f"resolved {took:.0f} s before all masters worked"
    assert cluster.held_late() == []
    for master in cluster:
        master.wait_until_all_is_over()
    gaps = {
        kind: [(begin, seconds) for begin, seconds in measured.gaps(kind) if begin > ends] for kind in ("etcd", "api")
    }
    sys.stdout.write(f"longer than 3 s without a write after the expiry: {gaps}\n")
    assert len(gaps["etcd"]) <= most
    late = {
        master.name: [path for path, end in resign.ends(master.root, *FILES).items() if end < datetime.now(UTC)]
        for master in cluster
    }
    assert late == {master.name: [] for master in cluster}


def test_three_masters_work_and_send_nothing(cluster):
    with cluster.measure() as measured:
        cluster.wait_until_works()
    assert {key: len(times) > 3 for key, times in measured.written.items()} == dict.fromkeys(measured.written, True)
    assert [len(master.messages()) for master in cluster] == [0, 0, 0]


def test_three_masters_are_cured_by_one_told_command(cluster):
    """One master reports for all. After eleven minutes a person types its command on one after the other."""
    ends = plant(cluster)
    first, *others = cluster
    with cluster.measure() as measured:
        until(lambda: datetime.now(UTC) > ends, seconds=LIFE.total_seconds())
        alert = first.wait_for("CRITICAL", 120)
        assert f"the same fault on {', '.join(master.name for master in others)}" in alert.text
        assert "one after the other" in alert.text
        time.sleep(LATE.total_seconds())
        for master in cluster:
            master.type(first.command_of(alert))
            master.wait_until_works(300)
        first.wait_for("RESOLVED", 300)
        assert_that_all_is_cured(cluster, measured, ends)
    assert [message.title for message in sent(cluster, "CRITICAL")] == [alert.title]
    assert len(sent(cluster, "CRITICAL", "RESOLVED")) == 2
    assert sum(len(master.messages()) for master in cluster) <= 3


def test_masters_whose_etcds_restart_again_and_again_send_no_more(cluster):
    """A person restarts all programs after the expiry, as by a reboot. Without quorum no etcd is healthy, and each kubelet restarts its own."""
    ends = plant(cluster)
    first, *others = cluster
    until(lambda: datetime.now(UTC) > ends, seconds=LIFE.total_seconds())
    alert = first.wait_for("CRITICAL", 120)
    assert f"the same fault on {', '.join(master.name for master in others)}" in alert.text
    for master in cluster:
        master.kill(*PLANE)
    seen = restarts(cluster, FLAPS)
    for name, times in seen.items():
        shown = ", ".join(f"{pid or 'none'} +{(at - ends).total_seconds():.0f} s" for at, pid in times)
        sys.stdout.write(f"etcd of {name} (pid, seconds after the expiry): {shown}\n")
    assert all(len({pid for _, pid in times if pid}) > 2 for times in seen.values())
    for master in cluster:
        master.type(first.command_of(alert))
    cluster.wait_until_works(900)
    first.wait_for("RESOLVED", 300)
    for master in cluster:
        master.wait_until_all_is_over(600)
    assert [message.title for message in sent(cluster, "CRITICAL")] == [alert.title]
    assert sum(len(master.messages()) for master in cluster) <= 3


def restarts(cluster, seconds):
    """Kill each etcd a minute after its start, so that the back-off of the kubelet grows; return its pids, "" for none, with their times.

    Its probe alone would end it after some minutes.
    """
    seen = {master.name: [(datetime.now(UTC), master.pid_of("etcd"))] for master in cluster}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for master in cluster:
            (since, before), now = seen[master.name][-1], datetime.now(UTC)
            pid = master.pid_of("etcd")
            if pid != before:
                seen[master.name].append((now, pid))
            elif pid and now - since > RUNS:
                master.machine.run("kill", "-KILL", pid)
        time.sleep(2)
    return seen


def test_three_masters_are_cured_without_a_person(cluster, debs):
    for master in cluster:
        master.allow_renewal(packages.actor_of(debs[0]))
    try:
        ends = plant(cluster)
        with cluster.measure() as measured:
            until(lambda: datetime.now(UTC) > ends, seconds=LIFE.total_seconds())
            until(
                lambda: all(min(resign.ends(m.root, *FILES).values()) > datetime.now(UTC) for m in cluster), seconds=600
            )
            for master in cluster:
                master.wait_until_all_is_over(600)
            assert_that_all_is_cured(cluster, measured, ends)
    finally:
        for master in cluster:
            master.forbid_renewal()
    assert [message.title for message in sent(cluster, "CRITICAL") if "NOT FIXED" in message.title] == []
    assert sum(len(master.messages()) for master in cluster) <= 3


def test_monthly_script_of_kubespray_is_left_alone(cluster, debs):
    """It runs on all masters at once, a moment after the expiry, while certmedic may renew too: one of them renews, not both."""
    for master in cluster:
        master.allow_renewal(packages.actor_of(debs[0]))
    try:
        ends = plant(cluster)
        with cluster.measure() as measured:
            until(lambda: datetime.now(UTC) > ends, seconds=LIFE.total_seconds())
            cluster.start_monthly_script()
            cluster.wait_for_monthly_script()
            cluster.wait_until_works()
            for master in cluster:
                master.wait_until_all_is_over(300)
            assert_that_all_is_cured(cluster, measured, ends, most=5)  # the script ends all members at once
    finally:
        for master in cluster:
            master.forbid_renewal()
    assert sent(cluster, "CRITICAL") == []
    assert {master.name: master.acts() for master in cluster} == {master.name: [] for master in cluster}
    assert sum(len(master.messages()) for master in cluster) <= 3
