"""A member that is refused reports itself; after a deadline the first of the others does."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import verdict
from certmedic.core.decision import Policy
from certmedic.core.incident import Circumstances, Incident, IncidentState, RecheckKind, Terms, advance, effects
from certmedic.core.incident.accusation import accused, leaves_it_to
from certmedic.core.incident.circumstances import SHARED, SILENT
from certmedic.core.model import Member, MessageKind, Suspect
from labs.values import DAY, NOW, facts, member

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
POLICY = Policy(mode="remedy", restart=("etcd-manager",), cooldown=60 * MINUTE, per_day=2)


def accusing(*whom, suspect=Suspect.PEER):
    (diagnosis,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
    return Incident(
        id=1,
        key="k",
        state=IncidentState.OPEN,
        diagnosis=replace(diagnosis, suspect=suspect, neighbours=whom),
        decision=None,
        opened_at=NOW,
        announced_at=None,
        last_seen=NOW,
        resolved_at=None,
        count=1,
    )


def left(incident, here, after=0 * MINUTE, *, pause=0 * MINUTE, remind_every=60 * MINUTE, others=(), happened=()):
    """Return the note of an incident that this master leaves to another one `after` it opened; `pause`: the time since the last line."""
    terms = Terms(policy=POLICY, remind_every=remind_every, verify_for=MINUTE)
    happened = dict.fromkeys(happened, NOW)
    around = Circumstances(terms=terms, started_at=NOW - 60 * MINUTE, others=others, happened=happened)
    here = replace(here, at=NOW + after)
    return leaves_it_to(replace(incident, last_seen=NOW + after - pause), here, around, NOW + after)


def seen_by(address, *others):
    own = frozenset({"127.0.0.1", "172.17.0.1", address})
    return replace(facts(member(), peers=frozenset(others)), addresses=own)


@pytest.mark.parametrize(
    ("mine", "others", "accused", "after"),
    [
        (A, (B, C), B, 10 * MINUTE),  # the first of those who see it
        (C, (A, B), B, 60 * MINUTE),
        (B, (A, C), A, 10 * MINUTE),  # the first is the accused
        (C, (A, B), A, 60 * MINUTE),
        (A, (B,), B, 10 * MINUTE),
    ],
)
def test_first_of_the_others_reports_a_member_that_does_not_recover(mine, others, accused, after):
    here = seen_by(mine, *others)
    assert left(accusing(accused), here, after) is None
    assert f"{accused} reports itself" in left(accusing(accused), here, after - SECOND).text


def test_accused_member_is_called_by_its_name():
    here = replace(seen_by(A, B, C), names={B: "etcd-b"})
    assert left(accusing(B), here).text.startswith("etcd-b reports itself; ")


def shaken(here, since=0 * MINUTE, **answers):
    """Return facts with members, by the last part of their address, that answer a handshake or have not since a time after NOW."""
    leaf = member()[0].certificate
    members = tuple(
        Member(
            name=name,
            group="main",
            address=name,
            port=2380,
            serves=leaf if answers[name] == "peer" else None,
            serves_clients=leaf if answers[name] == "client" else None,
            dialled=f"10.0.0.{'abc'.index(name) + 1}",
        )
        for name in answers
    )
    return replace(
        here, members=members, away={f"main/{name}": NOW + since for name in answers if answers[name] != "peer"}
    )


@pytest.mark.parametrize(
    ("mine", "others", "accused", "answers", "after"),
    [
        (B, (A, C), A, {"a": "", "c": "peer"}, 10 * MINUTE),  # the accused is dead, and B is the first of the rest
        (B, (A, C), A, {"a": "peer", "c": "peer"}, 60 * MINUTE),  # it reports itself, unless it has no agent
        (B, (A, C), A, {"a": "client", "c": "peer"}, 60 * MINUTE),
        (C, (A, B), A, {"a": "", "b": "peer"}, 24 * 60 * MINUTE),  # B reports it
        (C, (A, B), A, {"a": "", "b": ""}, 10 * MINUTE),  # B is dead too
        (C, (A, B), A, {"a": ""}, 60 * MINUTE),  # whether B lives is not known
        (A, (B, C), C, {"b": "peer", "c": ""}, 10 * MINUTE),
    ],
)
def test_first_of_the_living_reports_a_member_that_answers_nowhere(mine, others, accused, answers, after):
    here = shaken(seen_by(mine, *others), **answers)
    assert left(accusing(accused), here, after) is None
    assert left(accusing(accused), here, after - SECOND) is not None


@pytest.mark.parametrize(
    ("mine", "answers", "every", "after"),
    [
        (B, {"a": "peer", "c": "peer"}, 9, 10),  # one that answers is not accused before one that does not
        (B, {"a": "peer", "c": "peer"}, 600, 600),
        (C, {"a": "", "b": "peer"}, 600, 24 * 60),
        (C, {"a": "", "b": "peer"}, 30 * 24 * 60, 30 * 24 * 60),
    ],
)
def test_member_that_answers_is_reported_no_earlier_than_people_are_reminded(mine, answers, every, after):
    here = shaken(seen_by(mine, *{A, B, C} - {mine}), **answers)
    for wait, waits in ((after * MINUTE - SECOND, True), (after * MINUTE, False)):
        note = left(accusing(A), here, wait, remind_every=every * MINUTE)
        assert (note is not None) is waits


@pytest.mark.parametrize(
    ("answers", "after"),
    [
        ({"b": "peer", "c": "client"}, 60 * MINUTE),  # so the member answers, whichever it is
        ({"b": "peer", "c": ""}, 10 * MINUTE),
        ({"b": "peer"}, 10 * MINUTE),  # C was not tried
        ({}, 10 * MINUTE),
    ],
)
def test_member_of_which_only_the_id_is_known_answers_if_all_do(answers, after):
    here = shaken(seen_by(A, B, C), **answers)
    unknown = accusing("etcd member 7f05d841d2cb0013")
    assert left(unknown, here, after - SECOND) is not None
    assert left(unknown, here, after) is None


def test_member_of_which_only_the_id_is_known_is_reported_where_no_peer_is_known():
    unknown = accusing("etcd member 7f05d841d2cb0013")
    assert left(unknown, seen_by(A), 10 * MINUTE - SECOND) is not None
    assert left(unknown, seen_by(A), 10 * MINUTE) is None


@pytest.mark.parametrize(
    ("mine", "accused", "answers"),
    [(B, A, {"a": "", "c": "peer"}), (C, B, {"a": "", "b": ""})],
    ids=["the accused", "the first of the others too"],
)
@pytest.mark.parametrize("began", [0, 5, 40])
def test_member_is_reported_after_ten_minutes_without_an_answer(mine, accused, answers, began):
    """The kubelet waits for up to five minutes between two starts of an etcd."""
    here = shaken(seen_by(mine, *{A, B, C} - {mine}), since=began * MINUTE, **answers)
    for wait in (began, began + 10 - 1 / 60):
        assert left(accusing(accused), here, wait * MINUTE) is not None
    assert left(accusing(accused), here, (began + 10) * MINUTE) is None


def test_lines_about_a_dead_member_and_another_are_taken_for_those_of_the_other():
    here = shaken(seen_by(B, A, C), a="", c="peer")
    note = left(accusing(A, C), here, 60 * MINUTE - SECOND)
    assert note.text.startswith("10.0.0.3 reports itself; ")
    assert left(accusing(A), here, 60 * MINUTE - SECOND) is None


@pytest.mark.parametrize("answers", [{"a": "", "c": "peer"}, {}], ids=["dead", "not tried"])
@pytest.mark.parametrize(
    ("groups", "suspect", "after"),
    [
        (("main", "main"), Suspect.OWN, 60),
        (("main", ""), Suspect.OWN, 60),  # lines do not always tell the group
        (("", "main"), Suspect.OWN, 60),
        (("events", "main"), Suspect.OWN, 10),
        (("main", "main"), Suspect.PEER, 10),
    ],
)
def test_member_is_not_reported_early_beside_a_fault_of_the_whole_group(groups, suspect, after, answers):
    fault, about = (
        replace(each, diagnosis=replace(each.diagnosis, group=group))
        for each, group in zip((accusing(suspect=suspect), accusing(A)), groups, strict=True)
    )
    here = shaken(seen_by(B, A, C), **answers)
    assert left(about, here, after * MINUTE - SECOND, others=[fault]) is not None
    assert left(about, here, after * MINUTE, others=[fault]) is None
    event = left(about, here, MINUTE, others=[fault]).event
    assert (event == SHARED) is (after == 60)
    # The fault is over here, and not yet there.
    assert (left(about, here, 10 * MINUTE, happened=[event]) is not None) is (after == 60)
    assert (left(about, here, MINUTE, others=[fault], happened=[SHARED]).event == SILENT) is bool(answers)


@pytest.mark.parametrize(
    ("answers", "event"),
    [
        ({"a": "peer", "c": ""}, "not reported"),
        ({"a": "", "c": ""}, SILENT),
        ({"c": "peer"}, "not reported"),  # whether A answers is not known
    ],
)
def test_silence_of_a_member_is_recorded(answers, event):
    assert left(accusing(A), shaken(seen_by(B, A, C), **answers), MINUTE).event == event


@pytest.mark.parametrize(
    ("answers", "pause", "waits"),
    [
        ("peer", 2 * MINUTE, True),
        ("peer", 2 * MINUTE - SECOND, False),
        ("", 2 * MINUTE, False),  # it is dead: no failure of it is logged any more
    ],
)
def test_member_that_answers_is_reported_only_while_it_is_refused(answers, pause, waits):
    here = shaken(seen_by(B, A, C), a=answers, c="peer")
    note = left(accusing(A), here, 70 * MINUTE, pause=pause)
    why = "10.0.0.1 was last refused at 2026-11-24 16:48:00 UTC; this master reports it at the next failure"
    assert note == (effects.Note("not reported", why, once=True) if waits else None)


@pytest.mark.parametrize(
    ("whom", "known"),
    [
        ("10.0.0.2", [B]),
        ("10.0.0.2:2380", [B]),
        ("[fd00::2]:2380", ["fd00::2"]),
        ("etcd-b.internal:2380", [B]),
        ("etcd member 0ed3d9c87aff5aaf", [B]),
        ("etcd member 1234", []),
        ("192.0.2.1:2380", []),
        ("", []),
    ],
)
def test_line_names_a_member_by_address_host_or_id(whom, known):
    names = {B: "etcd-b", "etcd-b.internal": "etcd-b", "ed3d9c87aff5aaf": "etcd-b", C: "etcd-c"}
    here = replace(seen_by(A, B, C, "fd00::2"), names=names)
    about = accusing(whom)
    assert accused(about.diagnosis, here.peers, here.names) == known
    # Only a peer is known by an id, also if nobody knows which.
    assert (left(about, here) is not None) is (bool(known) or whom.startswith("etcd member"))


@pytest.mark.parametrize(
    "incident", [accusing("192.0.2.1"), accusing(), accusing(B, suspect=Suspect.OWN)], ids=["outside", "nobody", "own"]
)
def test_fault_that_no_other_member_reports_is_reported_at_once(incident):
    assert left(incident, seen_by(A, B, C)) is None


@pytest.mark.parametrize(
    ("after", "messages", "reason"),
    [
        (
            0 * MINUTE,
            [],
            "10.0.0.2 reports itself; if it does not recover, this master reports it at 2026-11-24 15:50:00 UTC",
        ),
        (10 * MINUTE, [MessageKind.OPENED], None),
    ],
)
def test_member_that_reports_itself_is_recorded_before_it_is_reported(after, messages, reason):
    around = Circumstances(
        terms=Terms(policy=POLICY, remind_every=240 * MINUTE, verify_for=3 * MINUTE), started_at=NOW - DAY
    )
    follow = advance(RecheckKind.ANNOUNCE, accusing(B), seen_by(A, B, C), around, NOW + after)
    notes = [effect for effect in follow if isinstance(effect, effects.Note) and effect.event == "not reported"]

    assert [effect.kind for effect in follow if isinstance(effect, effects.Tell)] == messages
    assert notes == ([effects.Note("not reported", reason, once=True)] if reason else [])
