"""The life of an incident as tables: the transitions of its states, and the effects of each recheck, without a store."""

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import blind, verdict
from certmedic.core.certificates import parse
from certmedic.core.decision import Policy
from certmedic.core.incident import (
    LEFT,
    Act,
    ActState,
    Circumstances,
    Incident,
    IncidentState,
    Outcome,
    RecheckKind,
    Result,
    Terms,
    TransitionError,
    advance,
    effects,
    is_half_cured,
    is_of_an_act,
    moved,
    superseded,
    tried,
    warned_of,
)
from certmedic.core.incident.state import TRANSITIONS
from certmedic.core.model import (
    Action,
    Cause,
    Confidence,
    Decision,
    Lease,
    Member,
    MessageKind,
    RemedyKind,
    Served,
    Suspect,
    Trust,
    WaitsFor,
)
from labs import pki
from labs.held import CA, CA_FILE, CONF, OF, program, scheduler
from labs.values import DAY, NEW_IMAGE, NOW, OLD_IMAGE, VOLUME, container, facts, k3s, member, stored

ME = f"{VOLUME}/peers/me.crt"
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
TERMS = Terms(
    policy=Policy(mode="remedy", restart=("etcd-manager",), cooldown=timedelta(hours=1), per_day=2),
    remind_every=timedelta(hours=4),
    verify_for=timedelta(minutes=3),
)
SICK, WELL = member(peer_ends=NOW - DAY), member()


def diagnosis(files=SICK, **changed):
    """Return the inventory's diagnosis of this machine's files."""
    (fault,) = verdict.survey(facts(files), warn_within=timedelta())
    return replace(fault, **changed)


def incident(number=1, state=IncidentState.OPEN, *, announced=NOW, seen=NOW, judged=None, **changed):
    """Return an incident that trusted lines showed at NOW."""
    judged = diagnosis() if judged is None else judged
    usual = {
        "id": number,
        "key": judged.key,
        "state": state,
        "diagnosis": judged,
        "decision": None,
        "opened_at": NOW,
        "announced_at": announced,
        "last_seen": seen,
        "resolved_at": None,
        "count": 1,
        "system_seen": seen,
    }
    return Incident(**{**usual, **changed})


def act(state=ActState.INTENT, *, number=1, kind=RemedyKind.RESTART, target=None, at=NOW, **changed):
    """Return an action on incident 1: a restart of etcd-manager that renews the peer certificate."""
    restarted = container() if target is None else target
    action = Action(kind=kind, container=restarted or None, watched=((ME, NOW - DAY),), ports=())
    usual = {"incident": 1, "target": "etcd-manager-main", "boot_id": "b", "ended_at": None, "detail": "", "undo": ()}
    return Act(id=number, action=action, state=state, at=at, **{**usual, **changed})


def around(*acts, **changed):
    return Circumstances(**{"terms": TERMS, "started_at": NOW - DAY, "acts": acts, **changed})


def kinds(follow):
    """Return short names of effects: messages and rechecks by their kind, actions by their new state."""
    names = {
        effects.Tell: lambda tell: f"tell {tell.kind}",
        effects.Journal: lambda entry: f"journal {entry.event}",
        effects.Note: lambda note: f"note {note.event}",
        effects.MoveAct: lambda move: f"act {move.state}",
        effects.LookAgain: lambda look: f"look {look.kind}",
    }
    return [names.get(type(effect), lambda other: type(other).__name__)(effect) for effect in follow]


def served(files=WELL):
    """Return arguments for facts in which the files are served and the manager was restarted."""
    shown = tuple(
        Served(address="127.0.0.1", port=port, certificate=file.certificate, trust=Trust.SYSTEM)
        for file in files
        for port in file.place.ports
    )
    return {"files": files, "served": shown, "containers": (container(number="c2"),)}


# ---------------------------------------------------------------- states


@pytest.mark.parametrize(("before", "after"), list(itertools.product(TRANSITIONS, repeat=2)))
def test_only_transitions_in_the_table_are_allowed(before, after):
    if after in TRANSITIONS[before]:
        assert moved(before, after) is after
    else:
        with pytest.raises(TransitionError, match=f"{after} cannot follow {before}"):
            moved(before, after)


@pytest.mark.parametrize("first", [IncidentState.OPEN, ActState.INTENT])
def test_every_state_is_reachable_and_none_follows_itself(first):
    reached, to_do = set(), [first]
    while to_do:
        state = to_do.pop()
        assert state not in TRANSITIONS[state]
        reached.add(state)
        to_do += TRANSITIONS[state] - reached
    assert reached == set(type(first))


# ---------------------------------------------------------------- looks

DECIDED = ["note decided", "Decide"]
ACTS = ["Intend", "note intent", "journal intent"]
ENDS = ["note resolved", "journal resolved", "tell resolved", "Resolve", "look group", "JudgeAgain"]


@pytest.mark.parametrize(
    ("due", "of", "machine", "with_", "expected"),
    [
        pytest.param(
            RecheckKind.ANNOUNCE,
            {"announced": None},
            {"files": SICK},
            {},
            ["Rejudge", *DECIDED, "tell opened", *ACTS, "look remind", "look incident"],
            id="an expired file is announced and acted on",
        ),
        pytest.param(
            RecheckKind.ANNOUNCE,
            {"announced": None},
            {"files": SICK},
            {"with_lease": True},
            ["Rejudge", "TakeLease", "look announce"],
            id="the lease is taken first",
        ),
        pytest.param(
            RecheckKind.ANNOUNCE,
            {"announced": None},
            {"files": SICK},
            {"with_lease": True, "lease": Lease(state="ours", why="it is ours")},
            ["Rejudge", *DECIDED, "tell opened", *ACTS, "look remind", "look incident"],
            id="with the lease the action follows",
        ),
        pytest.param(
            RecheckKind.ANNOUNCE,
            {"announced": None},
            {"files": SICK},
            {"with_lease": True, "lease": Lease(state="theirs", why="etcd-b has it")},
            ["Rejudge", *DECIDED, "journal decided", "tell opened", "look remind", "look incident"],
            id="without the lease the incident is only announced",
        ),
        pytest.param(
            RecheckKind.ANNOUNCE,
            {"announced": None},
            {"files": WELL},
            {},
            ["note resolved", "journal resolved", "Resolve", "JudgeAgain"],
            id="a fault that is cured before its announcement is never announced",
        ),
        pytest.param(
            RecheckKind.ANNOUNCE,
            {"announced": None},
            {"files": SICK},
            {"told_of": 12},
            ["Rejudge", *DECIDED, "note held back", "look digest", *ACTS, "look remind", "look incident"],
            id="one announcement too many is held back, and the action follows",
        ),
        pytest.param(RecheckKind.INCIDENT, {}, {"files": WELL}, {}, ENDS, id="a cured incident is resolved"),
        pytest.param(
            RecheckKind.INCIDENT,
            {},
            {"files": SICK},
            {"acts": [act(ActState.DONE)]},
            ["look incident"],
            id="a pending action prevents a decision",
        ),
        pytest.param(
            RecheckKind.INCIDENT,
            {"state": IncidentState.ESCALATED},
            {"files": SICK},
            {"acts": [act(ActState.FAILED)]},
            ["look incident"],
            id="an escalated incident gets no decision",
        ),
        pytest.param(
            RecheckKind.INCIDENT,
            {"state": IncidentState.ESCALATED, "announced": None},
            {"files": SICK},
            {"acts": [act(ActState.FAILED, detail="docker said no")]},
            ["tell escalated", "look incident"],
            id="an action that failed during a silence is reported after it",
        ),
        pytest.param(
            RecheckKind.REMIND,
            {"announced": NOW - timedelta(hours=4)},
            {},
            {},
            ["journal reminder", "tell reminder", "look remind"],
            id="a reminder",
        ),
        pytest.param(
            RecheckKind.REMIND,
            {"announced": None},
            {},
            {},
            ["look remind"],
            id="an incident that was never announced gets no reminder",
        ),
        pytest.param(RecheckKind.VERIFY, {}, {}, {}, [], id="nothing to verify without an action"),
    ],
)
def test_effects_of_a_recheck(due, of, machine, with_, expected):
    machine = dict(machine)
    follow = advance(due, incident(**of), facts(machine.pop("files", SICK), **machine), around(**with_), NOW)
    assert kinds(follow) == expected


@pytest.mark.parametrize("due", [RecheckKind.INVENTORY, RecheckKind.BLIND, RecheckKind.DIGEST])
def test_recheck_of_the_whole_machine_is_refused_for_an_incident(due):
    with pytest.raises(ValueError, match="of the whole machine"):
        advance(due, incident(), facts(), around(), NOW)


def test_every_other_kind_of_look_is_at_an_incident():
    for due in set(RecheckKind) - {RecheckKind.INVENTORY, RecheckKind.BLIND, RecheckKind.DIGEST}:
        advance(due, incident(), facts(), around(), NOW)


def test_fault_of_other_files_is_not_joined_to_an_incident():
    elsewhere = (*SICK, *k3s(NOW - DAY))
    (joined,) = [
        effect.diagnosis
        for effect in advance(RecheckKind.ANNOUNCE, incident(announced=None), facts(elsewhere), around(), NOW)
        if isinstance(effect, effects.Rejudge)
    ]
    assert [certificate.path for certificate in joined.certificates] == [ME]


@pytest.mark.parametrize(
    ("left", "thresholds", "after"),
    [
        (10, (14, 7, 3), 3),
        (7, (14, 7, 3), 4),
        (3, (14, 7, 3), 3 + 4 / 24),  # past the last threshold: as for any other incident, once it has expired
        (10, (), 10 + 4 / 24),
    ],
)
def test_forecast_is_reminded_of_at_its_next_threshold(left, thresholds, after):
    files = member(peer_ends=NOW + left * DAY)
    (forecast,) = verdict.survey(facts(files), warn_within=30 * DAY)
    looked_at = incident(judged=forecast, announced=None)
    terms = replace(TERMS, warn_days=(1,), plane_days={"kops": thresholds})
    follow = advance(RecheckKind.ANNOUNCE, looked_at, facts(files), around(terms=terms), NOW)
    (remind,) = [effect for effect in follow if kinds([effect]) == ["look remind"]]
    assert remind.at - NOW == after * DAY


def test_forecast_is_over_once_its_file_ends_later():
    (forecast,) = verdict.survey(facts(member(peer_ends=NOW + DAY)), warn_within=2 * DAY)
    for ends, is_over in ((NOW + DAY, False), (NOW + 300 * DAY, True)):
        follow = advance(RecheckKind.INCIDENT, incident(judged=forecast), facts(member(peer_ends=ends)), around(), NOW)
        assert ("Resolve" in kinds(follow)) is is_over


def test_forecast_lasts_while_a_program_holds_the_certificate_that_was_renewed():
    ends = replace(scheduler().certificate, not_after=NOW + DAY)
    (forecast,) = verdict.survey(facts((replace(scheduler(), certificate=ends),)), warn_within=2 * DAY)

    held = facts((scheduler(),), programs=(program(),))
    first = advance(RecheckKind.INCIDENT, incident(judged=forecast), held, around(), NOW)
    assert kinds(first)[:2] == ["Rejudge", "note renewed"]
    assert "Resolve" not in kinds(first)
    restart = first[0].diagnosis
    assert "renew" not in restart.remedy.command
    assert "kube-scheduler.yaml" in restart.remedy.command
    again = advance(RecheckKind.INCIDENT, incident(judged=restart), held, around(), NOW)
    assert "Rejudge" not in kinds(again)

    down = facts((scheduler(),), programs=(program("etcd"),))
    assert "Resolve" not in kinds(advance(RecheckKind.INCIDENT, incident(judged=forecast), down, around(), NOW))
    restarted = facts((scheduler(),), programs=(program(started=NOW),))
    assert "Resolve" in kinds(advance(RecheckKind.INCIDENT, incident(judged=restart), restarted, around(), NOW))


def test_action_on_an_open_incident_takes_the_lease_first():
    follow = advance(RecheckKind.INCIDENT, incident(), facts(SICK), around(with_lease=True), NOW)
    assert kinds(follow) == ["TakeLease", "look incident"]


def test_first_message_names_the_member_whose_certificate_is_of_another_ca():
    cas = [pki.authority("etcd-ca") for _ in range(2)]
    shown = {name: parse(ca.leaf("x").cert_pem, "")[0] for name, ca in zip("abc", (*cas, cas[1]), strict=True)}
    members = [Member(name=name, group="main", address=name, port=1, serves=leaf) for name, leaf in shown.items()]
    refused = incident(announced=None, judged=diagnosis(cause=Cause.UNKNOWN_AUTHORITY, key="own|x"))
    given = advance(RecheckKind.ANNOUNCE, refused, facts(SICK, members=tuple(members)), around(), NOW)
    (judged,) = [effect for effect in given if isinstance(effect, effects.Rejudge)]
    assert "a is the odd one out" in judged.diagnosis.remedy.why


@pytest.mark.parametrize(("cause", "says"), [(Cause.CLOCK, True), (Cause.NOT_YET_VALID, True), (Cause.REVOKED, False)])
def test_first_message_about_a_clock_names_the_witnesses(cause, says):
    doubted = incident(announced=None, judged=diagnosis(cause=cause, key="own|x"))
    given = advance(RecheckKind.ANNOUNCE, doubted, facts(SICK, clock_synchronised=True), around(), NOW)
    judged = [effect.diagnosis.remedy.why for effect in given if isinstance(effect, effects.Rejudge)]
    assert any("Seen: this machine's clock is synchronised (NTP)" in why for why in judged) is says


def test_decision_is_noted_once():
    terms = replace(TERMS, policy=replace(TERMS.policy, mode="approve"))
    first = advance(RecheckKind.INCIDENT, incident(), facts(SICK), around(terms=terms), NOW)
    assert kinds(first) == [*DECIDED, "journal decided", "look incident"]
    (decision,) = [effect.decision for effect in first if isinstance(effect, effects.Decide)]
    again = advance(RecheckKind.INCIDENT, incident(decision=decision), facts(SICK), around(terms=terms), NOW)
    assert kinds(again) == ["Decide", "look incident"]


@pytest.mark.parametrize(
    ("files", "after", "is_reported"),
    [
        (WELL, 30 * SECOND, False),
        (WELL, 2 * MINUTE - SECOND, False),
        (WELL, 2 * MINUTE, True),  # its program should have taken it up by then
        (SICK, 30 * SECOND, True),
    ],
)
def test_nobody_is_told_to_renew_files_that_were_renewed_before_the_report(files, after, is_reported):
    """A person or kubespray's timer did it within the half minute for which messages are grouped."""
    here = facts(files, served=served(SICK)["served"])
    follow = advance(RecheckKind.ANNOUNCE, incident(announced=None), here, around(), NOW + after)
    assert ("tell opened" in kinds(follow)) is is_reported
    assert ("note not reported" in kinds(follow)) is not is_reported


@pytest.mark.parametrize(("told_of", "held"), [(11, False), (12, True)])
def test_twelve_incidents_of_a_severity_are_reported_within_an_hour(told_of, held):
    follow = advance(RecheckKind.ANNOUNCE, incident(announced=None), facts(SICK), around(told_of=told_of), NOW)
    assert ("note held back" in kinds(follow)) is held
    digests = [effect.at for effect in follow if isinstance(effect, effects.LookAgain) and effect.at_latest]
    assert digests == ([NOW + MINUTE] if held else [])


@pytest.mark.parametrize(
    ("changed", "after"),
    [({}, 15 * SECOND), ({"suspect": Suspect.PEER}, MINUTE), ({"cause": Cause.EXPIRES_SOON}, MINUTE)],
)
def test_next_look_is_soon_at_a_critical_incident_alone(changed, after):
    follow = advance(RecheckKind.INCIDENT, incident(judged=diagnosis(**changed)), facts(SICK), around(), NOW)
    assert follow[-1] == effects.LookAgain(RecheckKind.INCIDENT, NOW + after, often=True)


def test_information_is_not_held_back():
    subject = incident(announced=None, judged=diagnosis(cause=Cause.DISTRUSTED, key="other", certificates=()))
    follow = advance(RecheckKind.ANNOUNCE, subject, facts(SICK), around(told_of=12), NOW)
    assert "note held back" not in kinds(follow)
    assert "tell opened" in kinds(follow)


@pytest.mark.parametrize(
    ("others", "earlier", "held"),
    [
        (7, 11 * MINUTE, False),
        (8, 11 * MINUTE, True),
        (1, 10 * MINUTE, False),
        (2, 10 * MINUTE, True),  # they opened together
    ],
)
def test_open_incidents_of_one_cause_are_announced_up_to_a_limit(others, earlier, held):
    subject = incident(announced=None)
    open_ones = [replace(incident(n), opened_at=subject.opened_at - earlier) for n in range(2, 2 + others)]
    follow = advance(RecheckKind.ANNOUNCE, subject, facts(SICK), around(others=open_ones), NOW)
    assert ("note held back" in kinds(follow)) is held
    assert ("tell opened" in kinds(follow)) is not held


@pytest.mark.parametrize(("quiet", "over"), [(15 * MINUTE, False), (15 * MINUTE + SECOND, True)])
def test_unverifiable_incident_is_resolved_after_quiet_time(quiet, over):
    judged = replace(diagnosis(), suspect=Suspect.PEER, certificates=())
    follow = advance(RecheckKind.INCIDENT, incident(judged=judged), facts(SICK), around(), NOW + quiet)
    assert ("Resolve" in kinds(follow)) is over


@pytest.mark.parametrize(
    ("announced", "reads_for", "over"),
    [
        (NOW, None, False),
        (NOW, blind.STEADY - SECOND, False),
        (NOW, blind.STEADY, True),
        (None, timedelta(), True),
    ],
)
def test_incident_of_a_blind_source_is_resolved_once_it_reads_steadily(announced, reads_for, over):
    judged = blind.diagnose("journal", "it is gone", NOW)
    since = None if reads_for is None else NOW - reads_for
    looked_at = incident(judged=judged, announced=announced)
    follow = advance(RecheckKind.INCIDENT, looked_at, facts(), around(reads_since=since), NOW)
    assert ("Resolve" in kinds(follow)) is over


# ---------------------------------------------------------------- actions


@pytest.mark.parametrize(
    ("result", "of", "expected"),
    [
        (Result.DONE, {}, ["act done", "note acted", "look verify", "journal acted"]),
        (Result.LATE, {}, ["act done", "note acted", "look verify"]),
        (
            Result.FAILED,
            {},
            ["act failed", "note failed", "ReleaseLease", "Escalate", "journal escalated", "tell escalated"],
        ),
        (
            Result.UNDONE,
            {"state": ActState.UNDOING},
            ["act failed", "note failed", "ReleaseLease", "Escalate", "journal escalated", "tell escalated"],
        ),
        (Result.WRONG, {"kind": RemedyKind.REISSUE_AND_RESTART, "undo": ({"path": ME},)}, ["act undoing"]),
        (
            Result.WRONG,
            {"kind": RemedyKind.RENEW, "undo": ({"path": ME},)},
            ["act failed", "note failed", "ReleaseLease", "Escalate", "journal escalated", "tell escalated"],
        ),
    ],
)
def test_effects_of_an_outcome(result, of, expected):
    follow = tried(Outcome(1, 1, result, "said"), act(**of), incident(), NOW)
    assert [kind for kind in kinds(follow) if kind != "look incident"] == expected
    for effect in follow:
        if isinstance(effect, effects.MoveAct):
            assert moved(act(**of).state, effect.state) is effect.state
        if isinstance(effect, effects.LookAgain) and effect.kind is RecheckKind.INCIDENT:
            assert effect.at == NOW + 15 * SECOND


def test_failed_action_of_a_resolved_incident_escalates_nothing():
    follow = tried(Outcome(1, 1, Result.FAILED, "said"), act(), incident(state=IncidentState.RESOLVED), NOW)
    assert "Escalate" not in kinds(follow)


FAILS = [
    "act failed",
    "note failed",
    "ReleaseLease",
    "Escalate",
    "journal escalated",
    "tell escalated",
    "look incident",
]


@pytest.mark.parametrize(
    ("machine", "seen", "after", "expected"),
    [
        pytest.param(served(), NOW, 7 * SECOND, ["JudgeAgain", "look verify"], id="not silent for long enough"),
        pytest.param(
            served(),
            NOW,
            7 * SECOND + SECOND,
            ["JudgeAgain", "ReleaseLease", "act verified", *ENDS],
            id="served, and silent",
        ),
        pytest.param({"files": SICK}, NOW, timedelta(minutes=3), ["look verify"], id="within the time"),
        pytest.param({"files": SICK}, NOW, timedelta(minutes=3, seconds=1), FAILS, id="out of time"),
        pytest.param(
            {**served(), "containers": (container(),)},
            NOW,
            timedelta(minutes=3, seconds=1),
            FAILS,
            id="renewed, and the manager was not started",
        ),
        pytest.param(
            served(),
            NOW + timedelta(minutes=1),
            timedelta(minutes=2),
            ["JudgeAgain", "look verify"],
            id="still accused",
        ),
        pytest.param(
            served(),
            NOW + timedelta(minutes=1),
            timedelta(minutes=2, seconds=31),
            ["JudgeAgain", "ReleaseLease", "act verified", *ENDS],
            id="accused no more, once the other members were fixed too",
        ),
        pytest.param(
            served(),
            NOW + timedelta(minutes=2),
            timedelta(minutes=3, seconds=1),
            ["JudgeAgain", *FAILS],
            id="accused until the end",
        ),
    ],
)
def test_effects_of_a_verification(machine, seen, after, expected):
    machine = dict(machine)
    looked_at = incident(seen=seen, judged=diagnosis(confidence=Confidence.PROVEN))
    circumstances = around(act(ActState.DONE, ended_at=NOW), others=[looked_at])
    follow = advance(RecheckKind.VERIFY, looked_at, facts(machine.pop("files"), **machine), circumstances, NOW + after)
    assert kinds(follow) == expected


@pytest.mark.parametrize(
    ("opened", "seen", "accuses"),
    [
        (SECOND, 3 * SECOND, True),
        (SECOND, 2 * SECOND, False),  # a line that was still on its way
        (timedelta(), 3 * SECOND, True),
        (-SECOND, 3 * SECOND, False),  # another incident, older than the action
    ],
)
def test_program_that_still_refuses_this_machine_holds_up_a_verdict(opened, seen, accuses):
    looked_at, other = incident(), incident(2, seen=NOW + seen, opened_at=NOW + opened)
    machine = served()
    circumstances = around(act(ActState.DONE, ended_at=NOW), others=[looked_at, other])
    looked = facts(machine.pop("files"), **machine)
    follow = advance(RecheckKind.VERIFY, looked_at, looked, circumstances, NOW + MINUTE)
    assert ("act verified" in kinds(follow)) is not accuses


def test_cure_of_some_files_leaves_the_others_to_another_incident():
    both = diagnosis(member(peer_ends=NOW - DAY, server_ends=NOW - DAY))
    files = member(server_ends=NOW - DAY)
    looked = facts(files, served=served(files)["served"], containers=(container(number="c2"),))
    circumstances = around(act(ActState.DONE, ended_at=NOW))
    follow = advance(RecheckKind.VERIFY, incident(judged=both), looked, circumstances, NOW + SECOND)
    assert kinds(follow) == ["JudgeAgain", "ReleaseLease", "act verified", *ENDS, "look inventory"]


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({}, True),
        ({"at": NOW - DAY}, True),
        ({"at": NOW - DAY - SECOND}, False),
        ({"state": ActState.WITHDRAWN}, False),
        ({"number": 2}, False),  # the action in question
        ({"incident": 7}, True),
    ],
)
def test_actions_of_the_last_day_count_as_attempts(change, counts):
    circumstances = around(act(**{"state": ActState.VERIFIED, **change}))
    history = circumstances.history(incident(), NOW, act=act(number=2, at=NOW))
    assert len(history.attempts) == (1 if counts else 0)


@pytest.mark.parametrize(
    ("accuser", "counts"),
    [
        ({}, True),
        ({"trust": Trust.CLUSTER}, False),
        ({"confidence": Confidence.LIKELY}, False),
        ({"suspect": Suspect.PEER}, False),
        ({"group": "events"}, False),
    ],
)
def test_only_proven_own_faults_of_the_same_group_delay_a_verification(accuser, counts):
    looked_at = incident()
    seen = NOW + timedelta(minutes=1)
    other = incident(2, seen=seen, judged=diagnosis(**accuser), opened_at=NOW + SECOND)
    machine = served()
    circumstances = around(act(ActState.DONE, ended_at=NOW), others=[looked_at, other])
    at = NOW + timedelta(minutes=2)
    follow = advance(RecheckKind.VERIFY, looked_at, facts(machine.pop("files"), **machine), circumstances, at)
    assert ("act verified" in kinds(follow)) is not counts


@pytest.mark.parametrize(
    ("of", "machine", "after", "expected"),
    [
        pytest.param({}, {"files": SICK}, SECOND, ["Take"], id="not begun, and still right"),
        pytest.param(
            {},
            {"files": SICK, "containers": (container(number="c2"),)},
            SECOND,
            ["Take", "act done", "note acted", "look verify", "journal acted"],
            id="done before the kill",
        ),
        pytest.param(
            {},
            {"files": SICK, "containers": (container(state="exited"),)},
            SECOND,
            ["Take"],
            id="stopped and not started",
        ),
        pytest.param({}, {"files": SICK, "containers": ()}, SECOND, ["look resume"], id="in the middle of it"),
        pytest.param(
            {},
            {"files": SICK, "containers": ()},
            timedelta(minutes=3, seconds=1),
            ["Take", *FAILS],
            id="in the middle of it for too long",
        ),
        pytest.param({"target": False}, {"files": SICK}, SECOND, ["Take"], id="a renewal is taken up again"),
        pytest.param(
            {},
            {"files": WELL},
            SECOND,
            ["Take", "act done", "note acted", "look verify", "journal acted"],
            id="the files were renewed meanwhile",
        ),
        pytest.param(
            {"target": replace(container(), pod="", container_name="", runtime="command", id="renew", state="ready")},
            {"files": SICK},
            timedelta(minutes=3, seconds=1),
            ["Take", *FAILS],
            id="whether a command ran is not known",
        ),
        pytest.param(
            {"undo": ({"path": ME, "backup": "b", "fingerprint": "f"},)},
            {"files": SICK},
            SECOND,
            ["Take"],
            id="a file was moved aside and its restart is due",
        ),
    ],
)
def test_action_of_an_earlier_run_is_resumed(of, machine, after, expected):
    machine = dict(machine)
    begun = around(act(**of), resuming=frozenset({1}))
    follow = advance(RecheckKind.RESUME, incident(), facts(machine.pop("files"), **machine), begun, NOW + after)
    assert kinds(follow) == expected


def test_resumed_action_is_withdrawn_if_a_gate_has_closed():
    begun = around(act(), resuming=frozenset({1}), tripped="the last one failed")
    follow = advance(RecheckKind.RESUME, incident(), facts(SICK), begun, NOW + SECOND)
    assert kinds(follow) == ["Take", "act withdrawn", "note withdrawn", "look incident"]


def test_resumed_action_waits_for_the_lease():
    begun = around(act(), resuming=frozenset({1}), with_lease=True)
    follow = advance(RecheckKind.RESUME, incident(), facts(SICK), begun, NOW + SECOND)
    assert kinds(follow) == ["TakeLease", "look resume"]


@pytest.mark.parametrize(
    ("other", "is_under_way"),
    [
        (act(ActState.INTENT, incident=2), True),
        (act(ActState.DONE, incident=2), True),
        (act(ActState.VERIFIED, incident=2), False),
        (act(ActState.DONE), False),
        (act(ActState.DONE, incident=2, kind=RemedyKind.RENEW, target=False), False),
    ],
)
def test_one_restart_is_verified_before_the_next(other, is_under_way):
    assert around(other).history(incident(), NOW).under_way == ("etcd-manager-main" if is_under_way else "")


def test_action_of_this_run_is_not_resumed():
    assert advance(RecheckKind.RESUME, incident(), facts(SICK), around(act()), NOW) == []


def test_verification_is_repeated_after_its_interval():
    (again,) = advance(RecheckKind.VERIFY, incident(), facts(SICK), around(act(ActState.DONE, ended_at=NOW)), NOW)
    assert again == effects.LookAgain(RecheckKind.VERIFY, NOW + 2 * SECOND)


ENDED = replace(scheduler().certificate, not_after=NOW - DAY)
BEHIND, DOWN, AGAIN = (program(),), (program("etcd"),), (program(started=NOW + MINUTE),)


@pytest.mark.parametrize(
    ("programs", "after", "expected"),
    [
        (AGAIN, 2 * MINUTE, "act verified"),
        (BEHIND, 2 * MINUTE, "look verify"),
        (DOWN, 5 * MINUTE, "look verify"),  # in the kubelet's back-off, which is longer than `verify_for`
        (DOWN, 7 * MINUTE, "act failed"),
        (BEHIND, 7 * MINUTE, "act failed"),
    ],
)
def test_renewal_is_verified_once_its_program_has_started_again(programs, after, expected):
    (fault,) = verdict.survey(facts((replace(scheduler(), certificate=ENDED),)), warn_within=timedelta())
    done = act(ActState.DONE, kind=RemedyKind.RENEW, target=False, ended_at=NOW, undo=({"path": CONF, "ref": "1"},))
    done = replace(done, action=replace(done.action, watched=((CONF, NOW - DAY),)))
    here = facts((scheduler(),), programs=programs)
    follow = kinds(advance(RecheckKind.VERIFY, incident(judged=fault), here, around(done), NOW + after))
    assert expected in follow
    assert "act undoing" not in follow  # the files are good


@pytest.mark.parametrize(
    ("image", "days", "is_open"),
    [(OLD_IMAGE, 366, True), (OLD_IMAGE, 364, False), (NEW_IMAGE, 731, True), (NEW_IMAGE, 366, False)],
)
def test_renewal_says_that_the_memory_of_etcd_manager_holds_an_expired_certificate(image, days, is_open):
    done = act(ActState.DONE, kind=RemedyKind.RENEW, target=False, ended_at=NOW)
    machine = {**served(), "containers": (container(image=image, started_at=NOW - days * DAY),)}
    here = facts(machine.pop("files"), **machine)
    follow = advance(RecheckKind.VERIFY, incident(), here, around(done), NOW + 10 * SECOND)
    (message,) = [effect for effect in follow if isinstance(effect, effects.Tell)]
    assert message.kind is MessageKind.RESOLVED
    assert ("still open: etcd-manager main runs since" in message.outcome) is is_open


API = "/etc/kubernetes/pki/apiserver.crt"
OF_API = {**OF, "ca_path": CA_FILE, "ports": (6443,)}
OLD, NEW = (
    stored(CA.leaf("kube-apiserver", not_before=NOW - 400 * DAY, not_after=ends), API, "apiserver", **OF_API)
    for ends in (NOW - DAY, NOW + 300 * DAY)
)


@pytest.mark.parametrize(
    ("serves", "after", "expected"),
    [
        (None, 4 * MINUTE, "look verify"),  # kube-apiserver has not started again: the kubelet may wait 5 minutes
        (None, 7 * MINUTE, "act failed"),
        (NEW, 4 * MINUTE, "act verified"),
        (OLD, 4 * MINUTE, "act undoing"),  # it does not take the new file up
    ],
)
def test_renewal_for_an_api_server_that_is_down_is_verified_once_it_serves(serves, after, expected):
    (fault,) = verdict.survey(facts((OLD,)), warn_within=timedelta())
    done = act(ActState.DONE, kind=RemedyKind.RENEW, target=False, ended_at=NOW, undo=({"path": API, "ref": "1"},))
    done = replace(done, action=replace(done.action, watched=((API, NOW - DAY),)))
    shown = [serves.certificate] if serves else []
    seen = tuple(Served(address="127.0.0.1", port=6443, certificate=leaf, trust=Trust.SYSTEM) for leaf in shown)
    here = facts((NEW,), programs=(program("etcd"),), served=seen)
    follow = kinds(advance(RecheckKind.VERIFY, incident(judged=fault), here, around(done), NOW + after))
    assert expected in follow
    assert ("act undoing" in follow) is (serves is OLD)


@pytest.mark.parametrize(
    ("seen", "after", "expected"),
    [
        (30, 2 * MINUTE, "act verified"),  # kube-apiserver served the old certificate until it read the file again
        (30, 50 * SECOND, "look verify"),
        (90, 2 * MINUTE, "look verify"),
        (180, 4 * MINUTE, "act failed"),
    ],
)
def test_accusations_before_a_renewed_file_is_read_again_are_no_failure(seen, after, expected):
    (fault,) = verdict.survey(facts((OLD,)), warn_within=timedelta())
    done = act(ActState.DONE, kind=RemedyKind.RENEW, target=False, ended_at=NOW)
    done = replace(done, action=replace(done.action, watched=((API, NOW - DAY),)))
    shown = (Served(address="127.0.0.1", port=6443, certificate=NEW.certificate, trust=Trust.SYSTEM),)
    here = facts((NEW,), programs=(program("kube-apiserver"),), served=shown)
    accused = incident(judged=fault, seen=NOW + seen * SECOND)
    follow = kinds(advance(RecheckKind.VERIFY, accused, here, around(done, others=[accused]), NOW + after))
    assert expected in follow


LATE = (container(number="c2", started_at=NOW + 5 * MINUTE),)


@pytest.mark.parametrize(
    ("containers", "files", "minutes", "expected"),
    [
        ((), SICK, 5, "look verify"),  # the kubelet's back-off is longer than `verify_for`
        ((), SICK, 7, "act failed"),
        (LATE, SICK, 6, "look verify"),
        (LATE, WELL, 6, "act verified"),
        (LATE, SICK, 9, "act failed"),
        ((container(number="c2", started_at=NOW + 8 * MINUTE),), SICK, 10, "act failed"),  # it starts again and again
        ((container(),), SICK, 4, "act failed"),  # it was never stopped
    ],
)
def test_restart_has_failed_only_after_the_back_off_of_the_kubelet(containers, files, minutes, expected):
    machine = {**served(files), "containers": containers}
    here = facts(machine.pop("files"), **machine)
    done = around(act(ActState.DONE, ended_at=NOW))
    follow = advance(RecheckKind.VERIFY, incident(seen=NOW), here, done, NOW + minutes * MINUTE)
    assert expected in kinds(follow)


# ---------------------------------------------------------------- others


@pytest.mark.parametrize(
    ("new", "forecast", "ends"),
    [
        ({}, {"cause": Cause.EXPIRES_SOON}, True),
        ({}, {}, False),
        ({"confidence": Confidence.LIKELY}, {"cause": Cause.EXPIRES_SOON}, False),
        ({"trust": Trust.CLUSTER}, {"cause": Cause.EXPIRES_SOON}, False),
        ({}, {"cause": Cause.EXPIRES_SOON, "certificates": ()}, False),
    ],
)
def test_proven_incident_supersedes_the_expiry_warning_of_its_files(new, forecast, ends):
    other = incident(2, judged=diagnosis(**forecast))
    assert superseded(incident(judged=diagnosis(**new)), [other]) == ([other] if ends else [])


@pytest.mark.parametrize(
    ("forecast", "reported", "left", "ends"),
    [
        ({}, None, False, True),
        ({}, None, True, False),  # another master reports the group, and its end
        ({}, NOW, False, False),  # the end of the incident is that of its forecast
        ({"announced": None}, None, False, False),
        ({"state": IncidentState.OPEN}, None, False, False),
        ({"judged": diagnosis()}, None, False, False),
    ],
)
def test_forecast_that_was_reported_ends_with_an_incident_that_was_not(forecast, reported, left, ends):
    usual = {"state": IncidentState.RESOLVED, "judged": diagnosis(cause=Cause.EXPIRES_SOON)}
    before = incident(2, **{**usual, **forecast})
    unseen = incident(announced=reported)
    warned = warned_of(unseen, [before])
    follow = advance(
        RecheckKind.INCIDENT,
        unseen,
        facts(WELL),
        around(warned=warned, happened={LEFT: NOW} if left else {}),
        NOW,
    )
    sent = [effect for effect in follow if isinstance(effect, effects.Tell)]
    assert [(tell.kind, tell.about) for tell in sent if tell.about] == [(MessageKind.RESOLVED, before)] * ends
    assert len(sent) == (1 if ends or reported else 0)


def test_incident_does_not_supersede_itself():
    only = incident(judged=diagnosis(cause=Cause.EXPIRES_SOON))
    assert superseded(only, [only]) == []


@pytest.mark.parametrize(
    ("new", "old", "part"),
    [
        ({"cause": Cause.STALE_IN_MEMORY}, {}, True),
        ({"cause": Cause.STALE_IN_MEMORY}, {"cause": Cause.STALE_IN_MEMORY}, False),
        ({"cause": Cause.STALE_IN_MEMORY}, {"suspect": Suspect.PEER}, False),
        ({"cause": Cause.STALE_IN_MEMORY}, {"is_unused": True}, False),
        ({"cause": Cause.STALE_IN_MEMORY}, {"certificates": ()}, False),
        ({"cause": Cause.STALE_IN_MEMORY, "certificates": ()}, {}, False),
        ({}, {}, False),
    ],
)
def test_program_that_a_person_is_about_to_restart_is_no_incident_of_its_own(new, old, part):
    assert is_half_cured(diagnosis(**new), [incident(judged=diagnosis(**old))]) is part


@pytest.mark.parametrize(
    ("judged", "state", "of_it"),
    [
        ({"cause": Cause.UNEXPLAINED}, ActState.DONE, True),
        ({"cause": Cause.UNEXPLAINED}, ActState.VERIFIED, False),
        ({"cause": Cause.UNEXPLAINED, "group": "events"}, ActState.DONE, False),
        ({"cause": Cause.UNEXPLAINED, "suspect": Suspect.PEER}, ActState.DONE, False),
        ({"is_unused": True}, ActState.INTENT, True),
        ({}, ActState.INTENT, False),
    ],
)
def test_fault_that_a_pending_action_causes_is_no_incident(judged, state, of_it):
    assert is_of_an_act(diagnosis(**judged), [incident()], [act(state)]) is of_it


def test_each_kind_of_message_has_a_name_in_the_journal():
    assert {str(kind) for kind in MessageKind} >= {"opened", "escalated", "resolved", "reminder"}


@pytest.mark.parametrize("reported", [True, False])
def test_person_is_called_if_certmedic_can_no_longer_fix_it_by_itself(reported):
    waiting = Decision(reason="later", waits_for=WaitsFor.TURN)
    looked_at = incident(decision=waiting, announced=NOW if reported else None)
    tripped = around(tripped="a restart", others=[looked_at])
    follow = advance(RecheckKind.INCIDENT, looked_at, facts(SICK), tripped, NOW + SECOND)
    kind = "escalated" if reported else "opened"
    assert f"tell {kind}" in kinds(follow)


@pytest.mark.parametrize(("before", "is_reported"), [(59, True), (60, True), (61, False)])
def test_fault_of_a_peer_that_was_last_seen_before_the_start_is_recorded_alone(before, is_reported):
    of_peer = diagnosis(suspect=Suspect.PEER)
    seen = NOW - timedelta(seconds=before)
    looked_at = incident(judged=of_peer, announced=None, seen=seen)
    follow = advance(RecheckKind.ANNOUNCE, looked_at, facts(WELL), around(started_at=NOW), NOW)
    assert ("tell opened" in kinds(follow)) is is_reported
    assert ("note not reported" in kinds(follow)) is not is_reported


def test_report_of_files_that_were_renewed_names_the_restart_that_is_left():
    ended = replace(scheduler().certificate, not_after=NOW - DAY, fingerprint="f")
    (expired,) = verdict.survey(facts((replace(scheduler(), certificate=ended),)), warn_within=timedelta())
    here = facts((replace(scheduler(), modified=NOW - 60 * MINUTE),), programs=(program(started=NOW - DAY),))
    late = incident(announced=None, judged=expired, opened_at=NOW - 60 * MINUTE)

    follow = advance(RecheckKind.ANNOUNCE, late, here, around(), NOW)

    (judged,) = [effect.diagnosis for effect in follow if isinstance(effect, effects.Rejudge)]
    assert judged.remedy.why.startswith("The files are good by now. Restart kube-scheduler (process 7).")
    (decide,) = [effect.decision for effect in follow if isinstance(effect, effects.Decide)]
    gate = next(gate for gate in decide.gates if gate.name == "evidence")
    assert (gate.passed, gate.opens) == (False, "restart kube-scheduler")
