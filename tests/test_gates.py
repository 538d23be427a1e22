"""Gates at their boundaries, in their order, and by the trust of what they look at."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import verdict
from certmedic.core.decision import FRESH_FOR, History, Policy, decide, explain, troubled
from certmedic.core.model import Attempt, Cause, GateName, Suspect, Trust, WaitsFor
from labs.values import DAY, NOW, VOLUME, container, facts, k3s, member, unit

SECOND = timedelta(seconds=1)
POLICY = Policy(mode="remedy", restart=("etcd-manager",), cooldown=timedelta(minutes=15), per_day=2)
HISTORY = History(started_at=NOW - DAY, incident=7)
EXPIRED = member(peer_ends=NOW - DAY)


def diagnosis(**changes):
    (found,) = verdict.survey(facts(EXPIRED), warn_within=timedelta())
    return replace(found, **({"count": 3, "last_seen": NOW} | changes))


def blocked(decision):
    return [gate.name for gate in decision.blocked_by]


def test_all_gates_are_asked_in_the_order_in_which_people_read_them():
    decision = decide(diagnosis(), facts(EXPIRED), HISTORY, POLICY)
    order = [gate.name for gate in decision.gates]
    assert order == sorted(order, key=list(GateName).index)
    assert set(GateName) - set(order) == {GateName.WINDOW, GateName.SAFE, GateName.TURN}
    assert decision.action is not None


def test_only_gates_that_make_sense_are_asked():
    in_place = facts(EXPIRED, signable=frozenset({f"{VOLUME}/peers/me.crt"}))
    asked = {gate.name for gate in decide(diagnosis(), in_place, HISTORY, replace(POLICY, renew=True)).gates}
    assert not asked & {GateName.VERSION, GateName.TARGET, GateName.MEMBERS, GateName.SAFE, GateName.TURN}
    files, units = k3s(NOW + 10 * DAY), (unit(),)
    (soon,) = verdict.survey(facts(files, containers=units), warn_within=30 * DAY)
    asked = {gate.name for gate in decide(soon, facts(files, containers=units), HISTORY, POLICY).gates}
    assert GateName.WINDOW in asked
    assert GateName.FRESH not in asked


@pytest.mark.parametrize(("ago", "passes"), [(FRESH_FOR, True), (FRESH_FOR + SECOND, False), (timedelta(0), True)])
def test_fresh_at_its_boundary(ago, passes):
    decision = decide(diagnosis(last_seen=NOW - ago), facts(EXPIRED), HISTORY, POLICY)
    assert blocked(decision) == ([] if passes else [GateName.FRESH])


@pytest.mark.parametrize(("ago", "passes"), [(15 * 60 - 1, False), (15 * 60, True)])
def test_cool_down_at_its_boundary(ago, passes):
    done = Attempt(incident=6, target="kops/main", at=NOW - timedelta(seconds=ago), state="verified")
    decision = decide(diagnosis(), facts(EXPIRED), replace(HISTORY, attempts=(done,)), POLICY)
    assert blocked(decision) == ([] if passes else [GateName.COOLDOWN])


@pytest.mark.parametrize(("ago", "passes"), [(DAY - SECOND, False), (DAY, True)])
def test_budget_at_its_boundary(ago, passes):
    done = Attempt(incident=6, target="other", at=NOW - ago, state="verified")
    decision = decide(diagnosis(), facts(EXPIRED), replace(HISTORY, attempts=(done,)), replace(POLICY, per_day=1))
    assert blocked(decision) == ([] if passes else [GateName.BUDGET])


@pytest.mark.parametrize(
    ("change", "gates"),
    [
        ({"trust": Trust.CLUSTER}, [GateName.EVIDENCE]),
        ({"trust": Trust.STRANGER}, [GateName.EVIDENCE]),
        ({"suspect": Suspect.PEER}, [GateName.EVIDENCE]),
    ],
)
def test_a_diagnosis_of_another_origin_is_no_evidence(change, gates):
    assert blocked(decide(diagnosis(**change), facts(EXPIRED), HISTORY, POLICY)) == gates


@pytest.mark.parametrize(
    ("changes", "policy", "acts"),
    [
        ({"authorised": False}, {}, True),  # a restart replaces no file
        ({"authorised": False, "doubt": "/x is a symbolic link"}, {"renew": True}, False),
        ({"trust": Trust.CLUSTER}, {}, False),
    ],
)
def test_a_file_must_be_trusted_and_for_its_replacement_authorised(changes, policy, acts):
    files = tuple(replace(one, **changes) for one in EXPIRED)
    found = facts(files, signable=frozenset({f"{VOLUME}/peers/me.crt"}))
    decision = decide(diagnosis(), found, HISTORY, replace(POLICY, **policy))
    assert (decision.action is not None) is acts
    assert acts or GateName.EVIDENCE in blocked(decision)
    assert changes.get("doubt", "") in explain(decision.gates[0])


@pytest.mark.parametrize("other", [{"trust": Trust.STRANGER}, {"trust": Trust.CLUSTER}, {"namespace": "tenant"}])
def test_a_container_that_is_no_static_pod_is_neither_the_target_nor_in_its_way(other):
    mine, twin = container(), replace(container(number="c2"), **other)
    assert decide(diagnosis(), facts(EXPIRED, containers=(mine, twin)), HISTORY, POLICY).action.container == mine
    assert GateName.TARGET in blocked(decide(diagnosis(), facts(EXPIRED, containers=(twin,)), HISTORY, POLICY))


def test_a_decision_says_by_a_value_that_it_waits_for_approval():
    approve = replace(POLICY, mode="approve")
    assert decide(diagnosis(), facts(EXPIRED), HISTORY, approve).waits_for is WaitsFor.APPROVAL
    assert decide(diagnosis(), facts(EXPIRED), HISTORY, replace(approve, restart=())).waits_for is None
    stale = diagnosis(last_seen=NOW - DAY)
    assert decide(stale, facts(EXPIRED), HISTORY, approve).waits_for is None


def test_only_trusted_peers_that_nobody_outside_can_make_up_are_troubled():
    peer = diagnosis(suspect=Suspect.PEER, neighbours=("10.0.0.2",))
    others = [replace(peer, trust=Trust.CLUSTER), replace(peer, trust=Trust.STRANGER), replace(peer, provokable=True)]
    others += [replace(peer, group="events"), replace(peer, cause=Cause.MISSING_CLIENT_CERT), diagnosis()]
    assert troubled(others, "main") == ()
    assert troubled([*others, peer, replace(peer, neighbours=())], "main") == ("10.0.0.2", "another member")
