"""The gate `steady`: this machine's own shutdown, and members that have just gone."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import verdict
from certmedic.core.decision import History, Policy, away, decide
from certmedic.core.decision.steady import silence_of
from certmedic.core.model import GateName, Trust, WaitsFor
from labs.held import program
from labs.played import group
from labs.values import DAY, NOW, VOLUME, facts, member

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
FILES = member(peer_ends=NOW - DAY)
POLICY = Policy(mode="remedy", restart=("etcd-manager",), cooldown=timedelta(minutes=15), per_day=2)
HISTORY = History(started_at=NOW - DAY, incident=7, waiting_since=NOW - MINUTE)


def five(e):
    """Return five members: a, this one, has expired; e is as asked; the others are good."""
    first = group(a="expired", b="good", c="good")
    more = group(a="good", b="good", c=e)[1:]
    return (*first, *(replace(peer, name=f"etcd-{name}", address=name) for peer, name in zip(more, "de", strict=True)))


def decided(policy=POLICY, history=HISTORY, **seen):
    looked = facts(FILES, **seen)
    (fault,) = verdict.survey(looked, warn_within=timedelta())
    return decide(replace(fault, last_seen=NOW), looked, history, policy)


@pytest.mark.parametrize(
    ("ends", "passes"),
    [
        (None, True),
        (NOW + 30 * MINUTE + SECOND, True),
        (NOW + 30 * MINUTE, False),
        (NOW, False),
        (NOW - DAY, False),
    ],
)
@pytest.mark.parametrize("renew", [False, True])
def test_nothing_is_done_while_this_machine_goes_down(ends, passes, renew):
    policy = replace(POLICY, renew=renew)
    decision = decided(policy, shutdown_at=ends, signable=frozenset({f"{VOLUME}/peers/me.crt"} if renew else ()))
    assert (decision.action is not None) is passes
    assert (GateName.STEADY in {gate.name for gate in decision.blocked_by}) is not passes


@pytest.mark.parametrize(
    ("since", "passes"),
    [
        ({}, True),
        ({"main/etcd-e": NOW}, False),
        ({"main/etcd-e": NOW - 3 * MINUTE + SECOND}, False),
        ({"main/etcd-e": NOW - 3 * MINUTE}, True),
        ({"main/etcd-d": NOW - DAY, "main/etcd-e": NOW - SECOND}, False),
        ({"events/etcd-e": NOW}, True),  # of another group
    ],
)
def test_restart_waits_while_a_member_may_be_restarting(since, passes):
    decision = decided(members=five("gone"), away=since)
    assert [gate.name for gate in decision.blocked_by] == ([] if passes else [GateName.STEADY])
    assert decision.waits_for is (None if passes else WaitsFor.TURN)
    if not passes:
        assert "etcd-e (e:2380) does not answer since" in decision.reason


@pytest.mark.parametrize(("ago", "passes"), [(0 * SECOND, False), (59 * SECOND, False), (MINUTE, True)])
def test_restart_waits_a_minute_after_a_member_answers_again(ago, passes):
    at = NOW - ago
    gone = away(five("gone"), {}, at - MINUTE)
    back = away(five("good"), gone, at)
    assert back == {"back main/etcd-e": at}
    later = away(five("good"), back, NOW)
    assert later == ({} if passes else back)
    for seen in (back, later):
        decision = decided(members=five("good"), away=seen)
        assert [gate.name for gate in decision.blocked_by] == ([] if passes else [GateName.STEADY])
        assert passes or "etcd-e (e:2380) answers again only since" in decision.reason
    assert away(five("gone"), back, NOW) == {"main/etcd-e": NOW}  # it went down again


@pytest.mark.parametrize(
    ("name", "trust", "passes"),
    [
        ("kubeadm", Trust.SYSTEM, False),
        ("nodeup", Trust.SYSTEM, False),
        ("kubeadm", Trust.STRANGER, True),  # a stranger chooses its name
        ("kubelet", Trust.SYSTEM, True),
    ],
)
@pytest.mark.parametrize("renew", [False, True])
def test_nothing_is_done_while_a_tool_of_root_renews_or_upgrades(name, trust, passes, renew):
    policy, signable = replace(POLICY, renew=renew), frozenset({f"{VOLUME}/peers/me.crt"} if renew else ())
    decision = decided(policy, programs=(program(name, trust=trust),), signable=signable)
    assert [gate.name for gate in decision.blocked_by] == ([] if passes else [GateName.STEADY])
    assert passes or f"{name} runs here (process 7)" in decision.reason


@pytest.mark.parametrize("other", ["", "kops/events"])
def test_restart_waits_until_another_one_is_verified(other):
    decision = decided(history=replace(HISTORY, under_way=other))
    assert [gate.name for gate in decision.blocked_by] == [GateName.STEADY] * bool(other)
    assert decision.waits_for is (WaitsFor.TURN if other else None)


def test_renewal_in_place_needs_no_member():
    signable = frozenset({f"{VOLUME}/peers/me.crt"})
    decision = decided(replace(POLICY, renew=True), members=five("gone"), away={"main/etcd-e": NOW}, signable=signable)
    assert decision.action is not None
    assert GateName.STEADY not in {gate.name for gate in decision.gates}


def test_member_is_away_since_the_first_look_that_missed_it():
    first = away(five("gone"), {}, NOW)
    assert first == {"main/etcd-e": NOW}
    assert away(five("gone"), first, NOW + MINUTE) == first
    assert away(five("good"), {}, NOW) == {}
    assert away(five("gone"), first, NOW - DAY) == {"main/etcd-e": NOW - DAY}  # the clock went back
    assert away([replace(five("good")[0], serves=None)], {}, NOW) == {}  # this member itself
    assert away((), first, NOW + MINUTE) == {}  # while the etcd here is down, others may have answered


@pytest.mark.parametrize(("since", "silent"), [(NOW - DAY, DAY), (NOW + SECOND, 0 * DAY), (None, 0 * DAY)])
def test_silence_of_a_member_lasts_since_then(since, silent):
    looked = facts(FILES, away={} if since is None else {"main/etcd-b": since})
    assert silence_of(group(a="good", b="gone", c="good")[1], looked) == silent
