"""Whether to act: each gate closes by itself, and no history leads to more actions than allowed."""

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmedic.core import planes, verdict
from certmedic.core.certificates import parse
from certmedic.core.decision import History, Policy, decide
from certmedic.core.decision.decide import can_be_renewed
from certmedic.core.means import Means
from certmedic.core.model import Attempt, Cause, Confidence, GateName, Helps, Member, RemedyKind, Served, Suspect, Trust
from labs.values import DAY, NOW, OLD_IMAGE, PEERS_CA, VOLUME, container, facts, k3s, member, stored, unit

POLICY = Policy(mode="remedy", restart=("etcd-manager",), cooldown=timedelta(minutes=15), per_day=2)
HISTORY = History(started_at=NOW - timedelta(hours=1), incident=7)
EXPIRED = member(peer_ends=NOW - DAY)


def diagnosis(files=EXPIRED, **changes):
    surveyed = verdict.survey(facts(files, **changes), warn_within=timedelta())[0]
    return replace(surveyed, count=3, last_seen=NOW - timedelta(seconds=5))


def closed(decision):
    """Return the names of the closed gates; each closed gate says what opens it."""
    shut = [gate for gate in decision.gates if not gate.passed]
    assert all(gate.opens for gate in shut), shut
    assert not any(gate.opens for gate in decision.gates if gate.passed)
    return [gate.name for gate in shut]


def test_manager_is_restarted_if_that_renews_the_expired_leaf():
    decision = decide(diagnosis(), facts(EXPIRED), HISTORY, POLICY)

    assert closed(decision) == []
    assert decision.action.kind is RemedyKind.RESTART
    assert decision.action.container == container()
    assert decision.action.watched == ((f"{VOLUME}/peers/me.crt", NOW - DAY),)
    assert decision.action.ports == (2380,)


def seen(name, group, *, mine=False, ends=NOW + DAY):
    """Return a member as its handshake shows it; with `ends` None the member does not answer."""
    serves = None if ends is None else parse(PEERS_CA.leaf(name, not_after=ends, dns=(name,)).cert_pem, "")[0]
    return Member(
        name=name, group=group, address="10.0.0.1", port=2380, serves=serves, is_self=mine, verified=serves is not None
    )


@pytest.mark.parametrize("ours", ["main", ""])
def test_members_of_another_group_on_this_machine_do_not_count_for_quorum(ours):
    ours = [seen("etcd-a", ours, mine=True, ends=NOW - DAY), seen("etcd-b", ours), seen("etcd-c", ours, ends=None)]
    events = [seen(f"etcd-events-{name}", "events", mine=name == "a") for name in "abc"]

    decision = decide(diagnosis(), facts(EXPIRED, members=(*events, *ours)), HISTORY, POLICY)

    assert "member safe" in closed(decision)
    assert any("1 of 3 members serve good certificates" in gate.why for gate in decision.gates)


def test_member_is_not_safe_if_two_etcds_here_may_be_the_target():
    two = (seen("etcd-a", "", mine=True, ends=NOW - DAY), seen("other", "", mine=True))

    decision = decide(diagnosis(), facts(EXPIRED, members=two), HISTORY, POLICY)

    assert closed(decision) == ["member safe"]


@pytest.mark.parametrize(
    ("gate", "change"),
    [
        ("evidence", {"confidence": Confidence.LIKELY}),
        ("evidence", {"suspect": Suspect.PEER}),
        ("evidence", {"certificates": ()}),
        ("fix known", {"cause": Cause.NAME_MISMATCH}),
        ("fix known", {"cause": Cause.CA_EXPIRED}),
        ("fresh", {"last_seen": NOW - timedelta(minutes=11)}),
        ("fresh", {"last_seen": NOW - timedelta(hours=2)}),
        ("fresh", {"last_seen": None}),
    ],
)
def test_diagnosis_that_calls_for_no_action_closes_its_gate(gate, change):
    decision = decide(replace(diagnosis(), **change), facts(EXPIRED), HISTORY, POLICY)

    assert decision.action is None
    assert gate in closed(decision)


@pytest.mark.parametrize(
    ("gate", "change"),
    [
        ("version", {"containers": (container(image=OLD_IMAGE),)}),
        ("version", {"containers": (container(image="registry.example/etcd-manager@sha256:12"),)}),
        ("version", {"containers": ()}),
        ("target", {"containers": ()}),
        ("target", {"containers": (container(), container(number="c2"))}),
        ("target", {"containers": (container("events"),)}),
        ("target", {"containers": (container(state="exited"),)}),
        ("clock", {"clock_synchronised": False}),
        ("CA valid", {"files": EXPIRED[:1]}),
    ],
)
def test_facts_that_forbid_an_action_close_their_gate(gate, change):
    looked = facts(**{"files": EXPIRED, **change})

    decision = decide(diagnosis(), looked, HISTORY, POLICY)

    assert decision.action is None
    assert gate in closed(decision)


@pytest.mark.parametrize(
    ("gate", "history"),
    [
        ("members", {"troubled": ("10.0.0.2",)}),
        (
            "cool-down",
            {"attempts": (Attempt(incident=6, target="kops/main", at=NOW - timedelta(minutes=5), state="failed"),)},
        ),
        (
            "cool-down",
            {"attempts": (Attempt(incident=7, target="kops/main", at=NOW - timedelta(hours=5), state="done"),)},
        ),
        (
            "budget",
            {
                "attempts": tuple(
                    Attempt(incident=n, target=f"x/{n}", at=NOW - timedelta(hours=n), state="verified") for n in (1, 2)
                )
            },
        ),
        ("fresh", {"started_at": NOW}),
    ],
)
def test_history_that_forbids_an_action_closes_its_gate(gate, history):
    decision = decide(diagnosis(), facts(EXPIRED), replace(HISTORY, **history), POLICY)

    assert decision.action is None
    assert closed(decision) == [gate]


@pytest.mark.parametrize(
    ("mode", "restart"), [("notify", ("etcd-manager",)), ("observe", ("etcd-manager",)), ("remedy", ())]
)
def test_action_that_the_operator_did_not_allow_is_not_taken(mode, restart):
    decision = decide(diagnosis(), facts(EXPIRED), HISTORY, replace(POLICY, mode=mode, restart=restart))

    assert closed(decision) == ["mode"]
    assert decision.reason.startswith("no action: ")


OLD_VOLUME = "/mnt/master-vol-old/pki/etcd-cluster-token-etcd"


def elsewhere(files, volume=OLD_VOLUME):
    """Return the same files on another volume."""
    return tuple(
        replace(
            file,
            certificate=replace(file.certificate, path=file.certificate.path.replace(VOLUME, volume)),
            place=replace(file.place, ca_path=file.place.ca_path.replace(VOLUME, volume)),
        )
        for file in files
    )


def showing(files):
    """Return the listeners of this machine that serve these files."""
    return tuple(
        Served(address="127.0.0.1", port=port, certificate=file.certificate, trust=Trust.SYSTEM)
        for file in files
        for port in file.place.ports
    )


@pytest.mark.parametrize("serves", [True, False])
def test_expired_file_on_an_old_volume_is_no_evidence(serves):
    files = (*member(), *elsewhere(EXPIRED))
    looked = facts(files, served=showing(member()) if serves else ())
    (subject,) = verdict.survey(looked, warn_within=timedelta())
    subject = replace(subject, count=3, last_seen=NOW - timedelta(seconds=5))

    decision = decide(subject, looked, HISTORY, replace(POLICY, renew=True, reissue=True))

    assert (subject.remedy.helps is Helps.NO, subject.confidence is Confidence.POSSIBLE) == (serves, serves)
    assert decision.action is None
    assert "evidence" in closed(decision)
    assert OLD_VOLUME in decision.reason


OLDER = member(peer_ends=NOW - 9 * DAY)
COPIES = "/mnt/copies/pki/etcd-cluster-token-etcd"


@pytest.mark.parametrize(
    ("others", "served", "acts"),
    [
        (elsewhere(OLDER), EXPIRED, True),
        (elsewhere(OLDER), (), False),  # etcd does not listen, so the file in use is unknown
        (elsewhere(EXPIRED), EXPIRED, False),  # a copy on another volume has the same certificate
        (elsewhere(EXPIRED, COPIES), EXPIRED, True),
        (elsewhere(EXPIRED, COPIES), (), True),
        (elsewhere(member(), COPIES), (), True),
    ],
)
def test_expired_file_in_use_is_cured_beside_another_expired_file(others, served, acts):
    looked = facts((*others, *EXPIRED), served=showing(served))
    (subject,) = verdict.survey(looked, warn_within=timedelta())

    decision = decide(replace(subject, count=3, last_seen=NOW), looked, HISTORY, POLICY)

    assert closed(decision) == ([] if acts else ["evidence", "CA valid"])
    assert not acts or [path for path, _ in decision.action.watched] == [f"{VOLUME}/peers/me.crt"]


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("3.1.20", RemedyKind.RESTART),
        ("3.2.18", RemedyKind.RESTART),
        ("3.3.3", RemedyKind.RESTART),
        ("3.2.19", RemedyKind.RENEW),
        ("3.3.4", RemedyKind.RENEW),
        ("3.4.0", RemedyKind.RENEW),
        ("", RemedyKind.RENEW),
    ],
)
def test_etcd_that_loads_its_certificate_only_at_startup_is_restarted(version, kind):
    members = (replace(seen("etcd-a", "main", mine=True, ends=NOW - DAY), version=version), seen("etcd-b", "main"))
    members += (seen("etcd-c", "main"),)
    looked = facts(EXPIRED, members=members, signable=frozenset({f"{VOLUME}/peers/me.crt"}))
    history = replace(HISTORY, waiting_since=NOW - timedelta(minutes=1))

    decision = decide(diagnosis(), looked, history, replace(POLICY, renew=True))

    assert decision.action.kind is kind
    reasons = [gate.why for gate in decision.gates if gate.name == "version"]
    assert all(f"etcd {version} keeps serving the certificate it loaded at startup" in why for why in reasons)
    assert bool(reasons) is (kind is RemedyKind.RESTART)

    # If only renewing is allowed, nothing is done, and the mode gate gives the reason.
    refused = decide(diagnosis(), looked, history, replace(POLICY, renew=True, restart=()))
    assert closed(refused) == ([] if kind is RemedyKind.RENEW else ["mode"])


def test_old_manager_is_not_restarted_and_the_reason_says_why():
    old = (container(image=OLD_IMAGE),)

    decision = decide(diagnosis(containers=old), facts(EXPIRED, containers=old), HISTORY, POLICY)

    assert decision.action is None
    assert "keeps an expired certificate" in decision.reason


def test_nothing_is_restarted_if_this_member_is_not_among_the_known_members():
    shown = member()[0].certificate
    others = tuple(
        Member(name=name, group="main", address=name, port=2380, serves=shown, serves_clients=shown, verified=True)
        for name in "bc"
    )
    decision = decide(diagnosis(), facts(EXPIRED, members=others), HISTORY, POLICY)

    assert closed(decision) == ["member safe", "turn"]


BY_UNIT = Means(renewer="etcd-manager", group="main", unit="manager.service", renews=True)


@pytest.mark.parametrize(
    ("means", "closes"),
    [
        (BY_UNIT, []),
        (replace(BY_UNIT, group=""), []),
        (replace(BY_UNIT, group="events"), ["fix known", "version", "target"]),
        (replace(BY_UNIT, renews=False), ["fix known", "version"]),
        (replace(BY_UNIT, unit="other.service"), ["target"]),
        (replace(BY_UNIT, renewer="k3s"), ["fix known", "version", "target"]),
        (Means(renewer="etcd-manager", command=("/bin/cure", "x")), ["fix known", "version"]),
        (Means(renewer="etcd-manager", command=("/bin/cure", "x"), renews=True), []),
    ],
)
def test_means_is_used_only_if_it_renews_for_this_renewer_and_group(means, closes):
    seen = (unit("manager.service"),)
    decision = decide(
        diagnosis(containers=seen), facts(EXPIRED, containers=seen), HISTORY, replace(POLICY, means=(means,))
    )

    assert closed(decision) == closes
    assert (decision.action is None) is bool(closes)


@pytest.mark.parametrize(("days", "acts"), [(-1, True), (30, True), (89, True), (91, False), (200, False)])
def test_k3s_is_restarted_only_within_the_days_in_which_every_version_renews(days, acts):
    files, seen = k3s(NOW + days * DAY), (unit(),)
    policy = replace(POLICY, restart=("k3s",), plan_ahead=300 * DAY)
    (warning,) = verdict.survey(facts(files, containers=seen), warn_within=300 * DAY)
    warning = replace(warning, count=1, last_seen=NOW)

    decision = decide(warning, facts(files, containers=seen), HISTORY, policy)

    assert (decision.action is not None) is acts
    assert acts or closed(decision) == ["fix known"]


@given(
    gaps=st.lists(st.integers(0, 3 * 3600), min_size=1, max_size=60),
    budget=st.integers(0, 4),
    cooldown=st.integers(0, 3600),
    same=st.booleans(),
)
def test_no_history_leads_to_more_actions_in_a_day_than_the_budget(gaps, budget, cooldown, same):
    policy = replace(POLICY, per_day=budget, cooldown=timedelta(seconds=cooldown))
    now, attempts = NOW, ()
    for number, gap in enumerate(gaps):
        now += timedelta(seconds=gap)
        incident = 1 if same else number
        history = History(started_at=NOW - DAY, incident=incident, attempts=attempts)
        seen = replace(diagnosis_at(now), last_seen=now)
        if decide(seen, facts(EXPIRED, at=now), history, policy).action is not None:
            attempts += (Attempt(incident=incident, target="kops/main", at=now, state="failed"),)

    times = [attempt.at for attempt in attempts]
    assert all(sum(1 for other in times if at <= other < at + DAY) <= budget for at in times)
    assert all(b - a >= policy.cooldown for a, b in itertools.pairwise(times))
    assert not same or len(times) <= 1


@given(
    confidence=st.sampled_from(Confidence),
    suspect=st.sampled_from(Suspect),
    cause=st.sampled_from(Cause),
    read=st.booleans(),
    known=st.booleans(),
    seen=st.integers(-7200, 3600),
    clock=st.sampled_from([True, False, None]),
    image=st.sampled_from([container().image, OLD_IMAGE, "x"]),
    renew=st.booleans(),
    reissue=st.booleans(),
    signable=st.booleans(),
    mode=st.sampled_from(["observe", "notify", "approve", "remedy"]),
)
def test_no_action_is_taken_without_evidence(**drawn):
    """An action follows only from a bad certificate of this machine, read and seen recently, in mode "remedy"."""
    files = EXPIRED if drawn["read"] else member()
    seen = (container(image=drawn["image"]),)
    looked = facts(
        files,
        containers=seen,
        clock_synchronised=drawn["clock"],
        signable=frozenset({f"{VOLUME}/peers/me.crt"} if drawn["signable"] else ()),
    )
    claimed = replace(
        SURVEYED,
        confidence=drawn["confidence"],
        suspect=drawn["suspect"],
        cause=drawn["cause"],
        certificates=SURVEYED.certificates if drawn["known"] else (),
        last_seen=NOW + timedelta(seconds=drawn["seen"]),
    )
    policy = replace(POLICY, mode=drawn["mode"], renew=drawn["renew"], reissue=drawn["reissue"])

    decision = decide(claimed, looked, HISTORY, policy)

    assert (decision.action is None) is bool(closed(decision) or not decision.gates)
    assert all(gate.name and gate.why for gate in decision.gates)
    if decision.action is not None:
        assert (drawn["confidence"], drawn["suspect"], drawn["mode"]) == (Confidence.PROVEN, Suspect.OWN, "remedy")
        assert drawn["cause"] is Cause.EXPIRED
        assert drawn["read"]
        assert drawn["known"]
        assert drawn["clock"] is not False
        assert decision.action.watched
    else:
        assert decision.reason.startswith("no action: ")


SURVEYED = diagnosis()


def diagnosis_at(now):
    return replace(SURVEYED, count=1, last_seen=now)


# ---------------------------------------------------------------- kubeadm


def of_kubeadm(name, cn, **more):
    path = f"/etc/kubernetes/{name}"
    leaf = stored(PEERS_CA.leaf(cn, not_before=NOW - 365 * DAY, not_after=NOW - DAY), path)
    return replace(leaf, place=planes.place(path, leaf.certificate), **more)


@pytest.mark.parametrize(
    ("name", "version", "serving", "renews"),
    [
        ("pki/etcd/server.crt", "", (), True),
        ("pki/apiserver-etcd-client.crt", "", (), True),
        ("admin.conf", "", (), True),
        ("pki/front-proxy-client.crt", "v1.18.0", (), True),
        ("pki/front-proxy-client.crt", "v1.17.9", (), False),
        ("pki/front-proxy-client.crt", "", (), False),
        ("pki/apiserver.crt", "v1.30.1", (6443,), True),
        ("pki/apiserver.crt", "v1.30.1", (), True),  # it is down, and reads the new certificate when it starts
        ("pki/apiserver.crt", "v1.17.0", (6443,), False),
        ("controller-manager.conf", "v1.30.1", (6443,), False),  # read only at a start
        ("pki/etcd/healthcheck-client.crt", "", (), True),
    ],
)
def test_leaf_of_kubeadm_is_renewed_in_place_if_its_program_needs_no_restart(name, version, serving, renews):
    leaf = of_kubeadm(name, "kmaster")
    served = tuple(
        Served(address="127.0.0.1", port=port, certificate=leaf.certificate, trust=Trust.SYSTEM) for port in serving
    )
    seen = facts((leaf,), served=served, signable=frozenset({leaf.certificate.path}), kubernetes=version)
    assert can_be_renewed(leaf, seen) is renews
    assert not can_be_renewed(leaf, replace(seen, signable=frozenset()))


@pytest.mark.parametrize(("allowed", "opens"), [(False, "set remedy.renew"), (True, "")])
def test_gate_names_the_key_that_would_let_the_leaves_be_renewed(allowed, opens):
    files = (of_kubeadm("pki/etcd/server.crt", "kmaster"), of_kubeadm("scheduler.conf", "system:kube-scheduler"))
    authority = stored(PEERS_CA, "/etc/kubernetes/pki/etcd/ca.crt")
    authority = replace(authority, place=planes.place("/etc/kubernetes/pki/etcd/ca.crt", authority.certificate))
    seen = facts((*files, authority), signable=frozenset({files[0].certificate.path}))
    (fault,) = verdict.survey(seen, warn_within=DAY * 0)
    policy = Policy(mode="remedy", restart=(), cooldown=DAY, per_day=2, renew=allowed)
    decision = decide(replace(fault, last_seen=NOW), seen, History(started_at=NOW - DAY), policy)
    (cure,) = [gate for gate in decision.gates if gate.name == GateName.CURE]
    assert cure.opens.startswith(opens)
    assert (decision.action is not None) is allowed
    if decision.action is not None:
        assert [path for path, _ in decision.action.watched] == ["/etc/kubernetes/pki/etcd/server.crt"]
        assert "scheduler.conf stays as it is: its program needs a restart too" in decision.reason
