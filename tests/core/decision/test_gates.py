"""Gates at their boundaries, in their order, and by the trust of the facts."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import verdict, window
from certmedic.core.decision import History, Policy, Refusal, decide, explain, troubled
from certmedic.core.means import Means
from certmedic.core.model import Attempt, Cause, GateName, Lease, RemedyKind, Suspect, Trust, WaitsFor
from certmedic.core.text import stamp
from labs import held
from labs.values import DAY, NOW, OLD_IMAGE, VOLUME, container, facts, k3s, member, unit

SECOND = timedelta(seconds=1)
POLICY = Policy(mode="remedy", restart=("etcd-manager",), cooldown=timedelta(minutes=15), per_day=2)
HISTORY = History(started_at=NOW - DAY, incident=7)
EXPIRED = member(peer_ends=NOW - DAY)
ME = f"{VOLUME}/peers/me.crt"


def diagnosis(**changes):
    (surveyed,) = verdict.survey(facts(EXPIRED), warn_within=timedelta())
    return replace(surveyed, **({"count": 3, "last_seen": NOW} | changes))


def blocked(decision):
    return [gate.name for gate in decision.blocked_by]


def test_gates_are_in_the_order_of_their_enumeration():
    decision = decide(diagnosis(), facts(EXPIRED), HISTORY, POLICY)
    order = [gate.name for gate in decision.gates]
    assert order == sorted(order, key=list(GateName).index)
    assert set(GateName) - set(order) == {GateName.WINDOW, GateName.SAFE, GateName.TURN}
    assert decision.action is not None


def test_only_gates_that_apply_are_checked():
    in_place = facts(EXPIRED, signable=frozenset({f"{VOLUME}/peers/me.crt"}))
    asked = {gate.name for gate in decide(diagnosis(), in_place, HISTORY, replace(POLICY, renew=True)).gates}
    assert not asked & {GateName.VERSION, GateName.TARGET, GateName.MEMBERS, GateName.SAFE, GateName.TURN}
    files, units = k3s(NOW + 10 * DAY), (unit(),)
    (soon,) = verdict.survey(facts(files, containers=units), warn_within=30 * DAY)
    asked = {gate.name for gate in decide(soon, facts(files, containers=units), HISTORY, POLICY).gates}
    assert GateName.WINDOW in asked
    assert GateName.FRESH not in asked


@pytest.mark.parametrize(("ago", "passes"), [(600 * SECOND, True), (601 * SECOND, False), (timedelta(0), True)])
def test_sighting_is_fresh_for_ten_minutes(ago, passes):
    decision = decide(diagnosis(last_seen=NOW - ago), facts(EXPIRED), HISTORY, POLICY)
    assert blocked(decision) == ([] if passes else [GateName.FRESH])


@pytest.mark.parametrize(
    ("renew", "program", "trust", "passes"),
    [
        (True, "etcd", Trust.SYSTEM, True),
        (True, "etcd", Trust.STRANGER, False),
        (True, "kubelet", Trust.SYSTEM, False),  # the file may be left over: no program that reads it runs
        (False, "etcd", Trust.SYSTEM, False),  # a restart interrupts, so it waits for a failure
    ],
)
def test_renewal_in_place_of_a_running_programs_expired_file_waits_for_no_failure(renew, program, trust, passes):
    runs = (held.program(program, trust=trust),)
    here = facts(EXPIRED, programs=runs, signable=frozenset({ME}))
    for seen in (None, NOW - DAY):
        decision = decide(diagnosis(last_seen=seen), here, HISTORY, replace(POLICY, renew=renew))
        assert (GateName.FRESH in blocked(decision)) is not passes


def test_renewal_that_restarts_a_program_waits_for_a_failure():
    (file,) = files = (held.scheduler(),)
    at = file.certificate.not_after + DAY
    runs = held.program(started=at - 2 * DAY)
    pod = replace(container(), pod="kube-scheduler-a", container_name="kube-scheduler")
    here = facts(files, at=at, programs=(runs,), containers=(pod,), signable=frozenset({held.CONF}))
    (fault,) = verdict.survey(here, warn_within=timedelta())
    for seen, passes in ((None, False), (at, True)):
        decision = decide(replace(fault, last_seen=seen), here, HISTORY, replace(POLICY, renew=True))
        assert (GateName.FRESH in blocked(decision)) is not passes
        assert GateName.CURE not in blocked(decision)  # it is a renewal in place


@pytest.mark.parametrize(("ago", "passes"), [(15 * 60 - 1, False), (15 * 60, True)])
def test_cool_down_opens_after_its_time(ago, passes):
    done = Attempt(incident=6, target="kops/main", at=NOW - timedelta(seconds=ago), state="verified")
    decision = decide(diagnosis(), facts(EXPIRED), replace(HISTORY, attempts=(done,)), POLICY)
    assert blocked(decision) == ([] if passes else [GateName.COOLDOWN])


@pytest.mark.parametrize(
    ("state", "passes"), [("verified", True), ("done", True), ("intent", False), ("failed", False)]
)
def test_renewal_in_place_delays_no_restart(state, passes):
    renewed = Attempt(incident=6, target="kops/main", at=NOW - SECOND, state=state, in_place=True)
    decision = decide(diagnosis(), facts(EXPIRED), replace(HISTORY, attempts=(renewed,)), POLICY)
    assert blocked(decision) == ([] if passes else [GateName.COOLDOWN])


@pytest.mark.parametrize(("ago", "passes"), [(DAY - SECOND, False), (DAY, True)])
def test_budget_counts_the_actions_of_one_day(ago, passes):
    done = Attempt(incident=6, target="other", at=NOW - ago, state="verified")
    decision = decide(diagnosis(), facts(EXPIRED), replace(HISTORY, attempts=(done,)), replace(POLICY, per_day=1))
    assert blocked(decision) == ([] if passes else [GateName.BUDGET])


@pytest.mark.parametrize(("per_day", "hours"), [(0, None), (1, 23), (2, 22), (3, 21), (4, None)])
def test_budget_opens_a_day_after_the_action_that_fills_it(per_day, hours):
    done = [Attempt(incident=6, target="other", at=NOW - timedelta(hours=ago), state="verified") for ago in (2, 1, 3)]
    history = replace(HISTORY, attempts=tuple(done))
    gates = decide(diagnosis(), facts(EXPIRED), history, replace(POLICY, per_day=per_day)).gates
    (gate,) = [gate for gate in gates if gate.name == GateName.BUDGET]
    until = f"wait until {stamp(NOW + timedelta(hours=hours))}" if hours else ""
    assert (gate.passed, gate.opens) == (per_day == 4, until or ("set remedy.per_day" if per_day == 0 else ""))


@pytest.mark.parametrize(
    ("change", "gates"),
    [
        ({"trust": Trust.CLUSTER}, [GateName.EVIDENCE]),
        ({"trust": Trust.STRANGER}, [GateName.EVIDENCE]),
        ({"suspect": Suspect.PEER}, [GateName.EVIDENCE]),
    ],
)
def test_untrusted_diagnosis_and_fault_of_a_peer_are_no_evidence(change, gates):
    assert blocked(decide(diagnosis(**change), facts(EXPIRED), HISTORY, POLICY)) == gates


@pytest.mark.parametrize(
    ("judged", "present", "acts"),
    [
        (-DAY, -DAY, True),
        (-DAY, 300 * DAY, False),
        (5 * DAY, 5 * DAY, True),
        (5 * DAY, 300 * DAY, False),
    ],
)
def test_certificate_that_was_renewed_since_its_diagnosis_is_not_acted_on(judged, present, acts):
    (fault,) = verdict.survey(facts(member(peer_ends=NOW + judged)), warn_within=30 * DAY)
    fault = replace(fault, count=3, last_seen=NOW)
    decision = decide(fault, facts(member(peer_ends=NOW + present)), HISTORY, replace(POLICY, plan_ahead=7 * DAY))
    assert blocked(decision) == ([] if acts else [GateName.EVIDENCE])


@pytest.mark.parametrize(
    ("changes", "policy", "acts"),
    [
        ({"authorised": False}, {}, True),  # a restart replaces no file
        ({"authorised": False, "doubt": "/x is a symbolic link"}, {"renew": True}, False),
        ({"trust": Trust.CLUSTER}, {}, False),
    ],
)
def test_file_must_be_trusted_for_any_action_and_authorised_for_its_replacement(changes, policy, acts):
    files = tuple(replace(file, **changes) for file in EXPIRED)
    looked = facts(files, signable=frozenset({f"{VOLUME}/peers/me.crt"}))
    decision = decide(diagnosis(), looked, HISTORY, replace(POLICY, **policy))
    assert (decision.action is not None) is acts
    assert acts or GateName.EVIDENCE in blocked(decision)
    assert changes.get("doubt", "") in explain(decision.gates[0])


@pytest.mark.parametrize("other", [{"trust": Trust.STRANGER}, {"trust": Trust.CLUSTER}, {"namespace": "tenant"}])
def test_container_outside_static_pods_is_no_target_and_blocks_none(other):
    mine, twin = container(), replace(container(number="c2"), **other)
    assert decide(diagnosis(), facts(EXPIRED, containers=(mine, twin)), HISTORY, POLICY).action.container == mine
    assert GateName.TARGET in blocked(decide(diagnosis(), facts(EXPIRED, containers=(twin,)), HISTORY, POLICY))


def test_decision_waits_for_approval_only_if_all_other_gates_are_open():
    approve = replace(POLICY, mode="approve")
    assert decide(diagnosis(), facts(EXPIRED), HISTORY, approve).waits_for is WaitsFor.APPROVAL
    assert decide(diagnosis(), facts(EXPIRED), HISTORY, replace(approve, restart=())).waits_for is None
    stale = diagnosis(last_seen=NOW - DAY)
    assert decide(stale, facts(EXPIRED), HISTORY, approve).waits_for is None


def test_only_trusted_unprovokable_faults_make_a_peer_troubled():
    peer = diagnosis(suspect=Suspect.PEER, neighbours=("10.0.0.2",))
    others = [replace(peer, trust=Trust.CLUSTER), replace(peer, trust=Trust.STRANGER), replace(peer, provokable=True)]
    others += [replace(peer, group="events"), replace(peer, cause=Cause.MISSING_CLIENT_CERT), diagnosis()]
    assert troubled(others, "main") == ()
    assert troubled([*others, peer, replace(peer, neighbours=())], "main") == ("10.0.0.2", "another member")


# ---------------------------------------------------------------- an expired file that etcd-manager keeps is moved aside

OLD_MANAGER = (container(image=OLD_IMAGE),)
ASIDE = replace(POLICY, reissue=True)


def kept(**changes):
    (subject,) = verdict.survey(facts(EXPIRED, containers=OLD_MANAGER), warn_within=timedelta())
    return replace(subject, **({"count": 3, "last_seen": NOW} | changes))


def test_expired_file_is_moved_aside_if_the_manager_would_keep_it():
    looked = facts(EXPIRED, containers=OLD_MANAGER, signable=frozenset({ME}))
    decision = decide(kept(), looked, HISTORY, ASIDE)
    assert blocked(decision) == []
    assert decision.action.kind is RemedyKind.REISSUE_AND_RESTART
    assert decision.reason == (
        f"move {ME} aside and restart {OLD_MANAGER[0].pod}: etcd-manager keeps an expired certificate, and issues a missing one"
    )
    why = {gate.name: gate.why for gate in decision.gates}
    assert "so the expired file is moved aside first" in why[GateName.CURE]
    assert why[GateName.VERSION] == "etcd-manager 3.0.20200307 keeps an expired certificate, and issues a missing one"


def test_file_is_not_moved_aside_if_its_ca_key_is_missing():
    decision = decide(kept(), facts(EXPIRED, containers=OLD_MANAGER), HISTORY, ASIDE)
    assert blocked(decision) == [GateName.AUTHORITY]
    assert "the private key of the CA" in decision.reason


@pytest.mark.parametrize(("ends", "moves"), [(NOW - SECOND, True), (NOW, False), (NOW + SECOND, False)])
def test_only_an_expired_file_is_moved_aside(ends, moves):
    files = member(peer_ends=ends)
    subject = replace(kept(), certificates=(files[0].certificate,))
    looked = facts(files, containers=OLD_MANAGER, signable=frozenset({ME}))
    gates = decide(subject, looked, HISTORY, ASIDE).gates
    assert any("moved aside first" in gate.why for gate in gates) is moves


# ---------------------------------------------------------------- planned actions, before expiry

SOON = k3s(NOW + 10 * DAY)
OPEN = window.parse("15:00-16:00")
SHUT = window.parse("16:00-17:00")


def planned(**policy):
    looked = facts(SOON, containers=(unit(),))
    (subject,) = verdict.survey(looked, warn_within=30 * DAY)
    return decide(subject, looked, HISTORY, replace(POLICY, restart=("k3s",), **policy))


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({}, "it has not expired yet, and no action is planned"),
        ({"plan_ahead": 10 * DAY - SECOND}, "planned actions begin 9 days before expiry"),
        ({"plan_ahead": 10 * DAY}, ""),
        ({"plan_ahead": 10 * DAY, "window": SHUT}, "outside the maintenance window"),
        ({"plan_ahead": 10 * DAY, "window": OPEN}, ""),
    ],
)
def test_planned_action_waits_for_its_day_and_its_hour(policy, why):
    decision = planned(**policy)
    assert [gate.why for gate in decision.blocked_by] == ([why] if why else [])


# ---------------------------------------------------------------- the clock, the breaker and the mode


@pytest.mark.parametrize(
    ("synchronised", "neighbours", "why"),
    [
        (True, (), "synchronised"),
        (False, ("10.0.0.3",), "not synchronised, but etcd-c refuses the certificate by its own clock"),
        (None, (), "not known to be wrong"),
        (False, ("10.0.0.2",), "not synchronised, but 10.0.0.2 refuses the certificate by its own clock"),
        (False, (), ""),
    ],
)
def test_wrong_clock_closes_its_gate_unless_a_peer_confirms_the_fault(synchronised, neighbours, why):
    looked = facts(EXPIRED, clock_synchronised=synchronised, names={"10.0.0.3": "etcd-c"})
    decision = decide(diagnosis(neighbours=neighbours), looked, HISTORY, POLICY)
    assert blocked(decision) == ([] if why else [GateName.CLOCK])
    assert not why or why in [gate.why for gate in decision.gates if gate.name == GateName.CLOCK]


def test_breaker_blocks_actions_until_a_person_resets_it():
    decision = decide(diagnosis(), facts(EXPIRED), replace(HISTORY, tripped="restart of x failed"), POLICY)
    assert blocked(decision) == [GateName.BREAKER]
    assert "restart of x failed" in decision.reason


@pytest.mark.parametrize(
    ("mode", "approved", "restart", "why"),
    [
        ("remedy", "", ("etcd-manager",), 'mode is "remedy"'),
        ("approve", "ann", ("etcd-manager",), "approved by ann"),
        ("approve", "", ("etcd-manager",), "it waits for a person's approval"),
        ("notify", "ann", ("etcd-manager",), 'mode is "notify"'),
        ("notify", "", ("k3s",), 'mode is "notify"'),
        ("remedy", "", ("k3s",), "remedy.restart does not list etcd-manager"),
    ],
)
def test_operator_allows_an_action_by_mode_approval_and_list(mode, approved, restart, why):
    policy = replace(POLICY, mode=mode, restart=restart)
    decision = decide(diagnosis(), facts(EXPIRED), replace(HISTORY, approved=approved), policy)
    (gate,) = [gate for gate in decision.gates if gate.name == GateName.MODE]
    assert (gate.why, gate.passed) == (why, why in ('mode is "remedy"', "approved by ann"))


@pytest.mark.parametrize(("renewer", "opens"), [("etcd-manager", "add it there"), ("kubelet", "fix it by hand")])
def test_gate_names_remedy_restart_only_where_that_may_list_the_program(renewer, opens):
    files = tuple(replace(stored, place=replace(stored.place, renewer=renewer)) for stored in EXPIRED)
    decision = decide(diagnosis(), facts(files), HISTORY, replace(POLICY, restart=("k3s",)))
    assert [gate.opens for gate in decision.gates if gate.name == GateName.MODE] == [opens]


def test_ca_may_be_unknown_if_the_operators_command_renews_the_file():
    files = tuple(replace(stored, place=replace(stored.place, ca_path="")) for stored in EXPIRED)
    policy = replace(POLICY, means=(Means(renewer="etcd-manager", command=("/bin/renew",), renews=True),))
    assert blocked(decide(diagnosis(), facts(files), HISTORY, policy)) == []
    assert GateName.AUTHORITY in blocked(decide(diagnosis(), facts(files), HISTORY, POLICY))


def test_no_ca_is_asked_for_where_a_restart_is_all_that_is_needed():
    stale = decide(diagnosis(cause=Cause.STALE_IN_MEMORY), facts(EXPIRED), HISTORY, POLICY)
    assert GateName.CURE in blocked(stale)
    assert GateName.AUTHORITY not in [gate.name for gate in stale.gates]


@pytest.mark.parametrize(("state", "passes"), [("ours", True), ("none", True), ("theirs", False)])
def test_lease_decides_if_the_other_members_are_not_known(state, passes):
    looked = facts(EXPIRED, lease=Lease(state=state, why="the lease says so"))
    decision = decide(diagnosis(), looked, HISTORY, POLICY)
    assert blocked(decision) == ([] if passes else [GateName.TURN])
    assert decision.waits_for is (None if passes else WaitsFor.TURN)
    assert any("the lease says so" in gate.why for gate in decision.gates)


@pytest.mark.parametrize(
    ("unable", "until", "turn", "waits"),
    [
        ("", None, True, None),
        ("", NOW + timedelta(seconds=1), True, WaitsFor.TURN),
        ("", NOW + timedelta(seconds=1), False, WaitsFor.TURN),
        ("", NOW, True, None),
        ("no actor is here", None, True, None),
        ("no actor is here", None, False, None),
    ],
)
def test_actor_must_be_there_and_may_refuse_for_a_while(unable, until, turn, waits):
    refused = None if until is None else Refusal(why="members do not answer", until=until)
    lease = Lease(state="ours" if turn else "theirs", why="b holds it")
    decision = decide(
        diagnosis(), facts(EXPIRED, lease=lease), replace(HISTORY, refused=refused), replace(POLICY, unable=unable)
    )

    open_ = not unable and (until is None or until <= NOW)
    assert (GateName.ACTOR in blocked(decision)) is not open_
    assert decision.waits_for is waits
