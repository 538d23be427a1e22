"""A fault that members of a group share is reported by one of them, and by the next if that does not help."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import verdict
from certmedic.core.decision import Policy
from certmedic.core.incident import Circumstances, Incident, IncidentState, RecheckKind, Terms, advance, effects, group
from certmedic.core.model import Action, Decision, Member, MessageKind, RemedyKind, Suspect, WaitsFor
from labs import pki
from labs.values import CLIENTS_CA, DAY, NOW, PEERS_CA, facts, member, stored

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
ENDED = NOW - timedelta(minutes=1)
NOTHING = Decision(reason="no action")
ACTS = Decision(reason="restart", action=Action(kind=RemedyKind.RESTART, container=None, watched=()))
WAITS = Decision(reason="later", waits_for=WaitsFor.TURN)


def leaf(ends, ca=PEERS_CA):
    return stored(ca.leaf("etcd", not_before=NOW - 400 * DAY, not_after=ends), "").certificate


def sick(ends=ENDED, **changed):
    """Return the incident of a machine whose peer certificate has expired."""
    (diagnosis,) = verdict.survey(facts(member(peer_ends=ends)), warn_within=timedelta())
    usual = {
        "id": 1,
        "key": "k",
        "state": IncidentState.OPEN,
        "diagnosis": diagnosis,
        "decision": None,
        "opened_at": NOW,
        "announced_at": None,
        "last_seen": NOW,
        "resolved_at": None,
        "count": 0,
    }
    return Incident(**{**usual, **changed})


def seen(incident, me="b", **others):
    """Return the facts of a machine that serves its faulty certificate, and what the others serve: a date, None, or a member."""
    own = incident.diagnosis.certificates[0]

    def other(name, shown):
        usual = {"name": name, "group": "main", "address": name, "port": 2380, "verified": True}
        if isinstance(shown, dict):
            return Member(**{**usual, "serves": None, **shown})
        return Member(**usual, serves=None if shown is None else leaf(shown))

    mine = Member(name=me, group="main", address=me, port=2380, serves=own, is_self=True)
    return replace(facts(member(peer_ends=ENDED)), members=(mine, *(other(*each) for each in others.items())))


def around(*, mode="notify", started_at=NOW - DAY, left=False, leads=False, **changed):
    happened = {event: NOW for event, is_so in ((group.LEFT, left), (group.LEADS, leads)) if is_so}
    policy = Policy(mode=mode, restart=("etcd-manager",), cooldown=HOUR, per_day=2)
    terms = Terms(policy=policy, remind_every=6 * HOUR, verify_for=timedelta(minutes=3))
    return Circumstances(terms=terms, started_at=started_at, happened=happened, **changed)


def left_to(me="b", *, decision=NOTHING, after=0 * HOUR, incident=None, mode="notify", left=False, **others):
    incident = incident or sick()
    here = seen(incident, me, **others)
    return group.left_to(incident, decision, here, around(mode=mode, left=left), NOW + after)


@pytest.mark.parametrize(
    ("me", "others", "first", "due"),
    [
        ("b", {"a": ENDED, "c": ENDED}, "a", "24 21:40"),  # of those that expired together, the first by name
        ("c", {"a": ENDED, "b": ENDED}, "a", "25 03:40"),
        ("a", {"b": ENDED, "c": ENDED}, None, ""),
        ("b", {"a": ENDED + SECOND, "c": ENDED}, None, ""),
        ("a", {"b": ENDED - SECOND, "c": ENDED}, "b", "24 21:40"),  # the one that expired first
        ("c", {"a": ENDED + HOUR, "b": ENDED - SECOND}, "b", "24 21:40"),
    ],
)
def test_member_whose_certificate_expired_first_reports_the_group(me, others, first, due):
    then = f"if this machine is not fixed by 2026-11-{due}:00 UTC, it reports itself"
    assert left_to(me, **others) == (
        first and effects.Note(group.LEFT, f"{first} reports the group; {then}", once=True)
    )


@pytest.mark.parametrize(
    "other",
    [
        None,  # it does not answer
        NOW + 300 * DAY,
        ENDED - HOUR - SECOND,  # another trouble, which was reported before
        {"serves": leaf(ENDED), "verified": False},  # a stranger at a member's address
        {"serves": leaf(ENDED), "group": "events"},
        {"serves_clients": leaf(ENDED)},  # this machine serves none there
    ],
    ids=["silent", "good", "earlier", "stranger", "other group", "other port"],
)
def test_nobody_else_makes_a_machine_wait(other):
    assert left_to(a=other) is None


def test_another_fault_of_this_machine_is_reported_at_once():
    incident = sick()
    elsewhere = replace(incident.diagnosis, certificates=(leaf(ENDED, CLIENTS_CA),))
    here = seen(incident, a=ENDED)
    assert group.left_to(replace(incident, diagnosis=elsewhere), NOTHING, here, around(), NOW) is None
    accused = replace(incident, diagnosis=replace(incident.diagnosis, suspect=Suspect.PEER))
    assert group.left_to(accused, NOTHING, here, around(), NOW) is None
    assert (group.fellows(accused, here), group.still_sick(accused, here)) == ("", "")


def test_two_members_on_one_machine_are_reported_at_once():
    assert left_to(a=ENDED, c={"serves": leaf(ENDED), "is_self": True}) is None


@pytest.mark.parametrize(("me", "wait"), [("b", 6 * HOUR), ("c", 12 * HOUR)])
def test_machine_reports_itself_after_a_reminder_of_each_before_it(me, wait):
    others = {name: ENDED for name in "abc" if name != me}
    assert left_to(me, **others, after=wait - SECOND) is not None
    assert left_to(me, **others, after=wait) is None


@pytest.mark.parametrize(("left", "waits"), [(False, False), (True, True)])
def test_agent_that_is_installed_on_a_sick_machine_reports_at_once(left, waits):
    incident = sick()
    began = around(left=left, started_at=NOW)
    assert (group.left_to(incident, NOTHING, seen(incident, a=ENDED), began, NOW) is not None) is waits


@pytest.mark.parametrize(
    ("mode", "decision", "a", "left", "waits"),
    [
        ("notify", NOTHING, NOW + DAY, True, True),  # its last message named this member
        ("remedy", ACTS, NOW + DAY, True, True),
        ("remedy", WAITS, NOW + DAY, True, True),
        ("remedy", NOTHING, NOW + DAY, True, False),  # a person is needed here
        ("remedy", ACTS, NOW + DAY, False, False),  # no group was reported
    ],
)
def test_member_stays_silent_after_the_first_is_fixed_if_it_needs_nobody(mode, decision, a, left, waits):
    assert (left_to(mode=mode, decision=decision, left=left, a=a) is not None) is waits


@pytest.mark.parametrize(
    "others",
    [
        {"a": NOW + DAY, "c": NOW + DAY},
        {"a": None, "c": ENDED},  # the first is down: perhaps the kubelet restarts its etcd
        {"a": None, "c": NOW + DAY},
        {"a": {"serves": leaf(NOW + DAY), "verified": False}, "c": ENDED + MINUTE},  # a stranger at its address
        {"a": ENDED - 2 * HOUR, "c": ENDED - 2 * HOUR},
        {},  # a look that saw nobody
    ],
    ids=["fixed", "silent, another sick", "silent, another good", "stranger", "other trouble", "nobody"],
)
def test_report_once_left_to_another_member_is_left_until_the_reminder(others):
    due = "if this machine is not fixed by 2026-11-24 21:40:00 UTC, it reports itself"
    note = effects.Note(group.LEFT, f"the group was reported; {due}", once=True)
    assert left_to(**others) is None
    assert left_to(left=True, **others, after=6 * HOUR - SECOND) == note
    assert left_to(left=True, **others, after=6 * HOUR) is None


@pytest.mark.parametrize(
    ("others", "for_minutes", "waits"),
    [
        ({"a": None, "c": ENDED + MINUTE}, 10 - 1 / 60, True),  # the kubelet waits for at most five between two starts
        ({"a": None, "c": ENDED + MINUTE}, 10, False),
        ({"a": None, "c": NOW + DAY}, 10, True),  # another one was fixed, and the person knows of this one
        ({"a": ENDED, "c": None}, 10, True),  # the first answers
    ],
)
def test_machine_reports_itself_if_another_is_silent_for_longer_than_a_restart_takes(others, for_minutes, waits):
    incident, now = sick(), NOW + HOUR
    silent = next(name for name, shown in others.items() if shown is None)
    here = replace(seen(incident, **others), at=now, away={f"main/{silent}": now - for_minutes * MINUTE})
    assert (group.left_to(incident, NOTHING, here, around(left=True), now) is not None) is waits


def test_report_is_left_to_another_member_while_the_own_etcd_is_down():
    incident = sick()
    here = seen(incident, a=ENDED)
    here = replace(here, members=(replace(here.members[0], serves=None), *here.members[1:]))
    assert group.left_to(incident, NOTHING, here, around(left=True), NOW + HOUR) is not None
    assert (
        group.left_to(incident, NOTHING, here, around(), NOW + HOUR) is None
    )  # it was never seen to be a fault of the group


def test_expired_ca_is_reported_by_one_master():
    ca = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, not_after=ENDED)
    (judged,) = verdict.survey(facts((stored(ca, "/x/ca.crt", "ca"),)), warn_within=timedelta())
    incident = sick(diagnosis=judged)
    mine, theirs, foreign = (leaf(NOW + days * DAY, of) for days, of in ((9, ca), (8, ca), (8, PEERS_CA)))

    def shown(other):
        here = seen(incident, a={"serves": other})
        return replace(here, members=(replace(here.members[0], serves=mine), *here.members[1:]))

    assert group.left_to(incident, NOTHING, shown(theirs), around(), NOW).text.startswith("a reports the group; ")
    assert group.left_to(incident, NOTHING, shown(foreign), around(), NOW) is None


def test_first_message_names_the_others_and_the_last_those_that_are_still_sick():
    incident = sick()
    here = seen(incident, "a", c=ENDED, b=ENDED, d=NOW + DAY)
    follow = advance(RecheckKind.ANNOUNCE, incident, here, around(), NOW)
    assert [e.outcome for e in follow if isinstance(e, effects.Tell)] == ["b, c"]
    assert group.still_sick(incident, here) == "b, c"
    assert group.still_sick(incident, seen(incident, "a", c=ENDED, b=None)) == "c"
    announced = replace(incident, announced_at=NOW)
    healed = replace(facts(member()), members=here.members)
    over = advance(RecheckKind.INCIDENT, announced, healed, around(), NOW)
    (last,) = [e for e in over if isinstance(e, effects.Tell)]
    assert (last.kind, last.sick) == (MessageKind.RESOLVED, "b, c")
    (note,) = [e for e in over if isinstance(e, effects.Note)]
    assert note.text.endswith("; not yet on b, c")


def test_group_that_another_master_reports_is_recorded_and_not_told():
    incident = sick()
    follow = advance(RecheckKind.ANNOUNCE, incident, seen(incident, a=ENDED), around(), NOW)
    assert not [effect for effect in follow if isinstance(effect, effects.Tell)]
    (note,) = [e for e in follow if isinstance(e, effects.Note) and e.event == group.LEFT]
    assert note.text.startswith("a reports the group; ")


HEALED = {"serves": leaf(NOW + 400 * DAY), "verified": True}
NEW = {**HEALED, "serves_clients": leaf(NOW + 400 * DAY, CLIENTS_CA)}
DOWN = {"serves": None, "verified": False}


@pytest.mark.parametrize(
    ("others", "leads", "after", "waits"),
    [
        ({"b": ENDED, "c": NEW}, True, MINUTE, True),
        ({"b": DOWN, "c": NEW}, True, MINUTE, True),  # perhaps it starts again
        ({"b": NEW, "c": HEALED}, True, MINUTE, False),
        ({"b": ENDED, "c": NEW}, True, 6 * HOUR - SECOND, True),
        ({"b": ENDED, "c": NEW}, True, 6 * HOUR, False),  # from now on the others report themselves
        ({}, True, MINUTE, True),  # a look that saw nobody
        ({}, False, MINUTE, False),
        ({"b": ENDED + MINUTE, "c": NEW}, False, 2 * MINUTE, True),  # it expired after the report
        ({"b": ENDED - SECOND, "c": NEW}, False, MINUTE, False),  # it expired before, and reported itself
        ({"b": ENDED + HOUR + SECOND}, False, 2 * HOUR, False),
        ({"b": DOWN, "c": NEW}, False, MINUTE, False),  # it was down before
        ({"b": {**HEALED, "serves": leaf(ENDED), "verified": False}}, False, MINUTE, False),
    ],
)
def test_alert_of_a_group_lasts_until_the_members_that_it_is_for_are_well(others, leads, after, waits):
    incident = sick(state=IncidentState.RESOLVED, announced_at=NOW, resolved_at=NOW + SECOND)
    here = replace(seen(incident, "a", **others), at=NOW + after)
    follow = advance(RecheckKind.GROUP, incident, here, around(leads=leads), NOW + after)
    pause = max(5 * SECOND, after / 24)
    assert [e.at for e in follow if isinstance(e, effects.LookAgain)] == [NOW + after + pause] * waits
    assert [e.text for e in follow if isinstance(e, effects.Note)] == ["b"] * (waits and not leads)


def test_incident_without_a_certificate_awaits_nobody():
    incident = sick(diagnosis=replace(sick().diagnosis, certificates=()))
    here = seen(sick(), "a", b=ENDED)
    assert group.awaits(incident, here, around(), NOW) == []


def test_report_for_others_is_recorded_with_their_names():
    incident = sick()
    for others, names in (({"b": ENDED, "c": ENDED}, ["b, c"]), ({"b": NEW}, [])):
        follow = advance(RecheckKind.ANNOUNCE, incident, seen(incident, "a", **others), around(), NOW)
        assert [e.text for e in follow if isinstance(e, effects.Note) and e.event == group.LEADS] == names


def test_end_that_nobody_was_told_of_awaits_nobody():
    healed = facts(member())
    for incident, looks in ((sick(announced_at=NOW), [RecheckKind.GROUP]), (sick(), [])):
        over = advance(RecheckKind.INCIDENT, incident, healed, around(), NOW)
        assert [e.kind for e in over if isinstance(e, effects.LookAgain)] == looks


# ---------------------------------------------------------------- forecasts

SOON = NOW + 29 * DAY


def warned(ends=SOON, **changed):
    """Return the forecast of a machine whose peer certificate expires."""
    (judged,) = verdict.survey(facts(member(peer_ends=ends)), warn_within=30 * DAY)
    return sick(diagnosis=judged, **changed)


def forecast_left_to(
    me="b",
    *,
    decision=NOTHING,
    after=0 * HOUR,
    incident=None,
    left=False,
    started_at=NOW - DAY,
    days=(30, 14, 7),
    **others,
):
    incident = incident or warned()
    here = seen(incident, me, **others)
    base = around(left=left, started_at=started_at)
    terms = replace(base.terms, warn_days=days)
    note = group.left_to(incident, decision, here, replace(base, terms=terms), NOW + after)
    return note and note.text


@pytest.mark.parametrize(
    ("me", "others", "first"),
    [
        ("b", {"a": SOON, "c": SOON}, "a"),
        ("a", {"b": SOON, "c": SOON}, None),
        ("a", {"b": SOON - SECOND}, "b"),
        ("b", {"a": SOON - HOUR - SECOND}, None),  # another trouble
        ("b", {"a": None}, None),
        ("b", {"a": {"serves": leaf(SOON), "verified": False}}, None),
        ("b", {"a": NOW + 300 * DAY}, None),
    ],
)
def test_member_whose_certificate_expires_first_warns_for_the_group(me, others, first):
    reason = forecast_left_to(me, **others)
    then = "if nothing is renewed here by 2026-12-09 15:40:00 UTC, this machine reports itself"
    assert reason == (first and f"{first} reports the group; {then}")


@pytest.mark.parametrize(
    ("days", "ends", "due"),
    [
        ((30, 14, 7), SOON, SOON - 14 * DAY),
        ((30,), SOON, NOW + (SOON - NOW) / 2),  # no reminder comes: halfway
        ((), NOW + DAY, NOW + DAY),  # when it expires, that is another incident
        ((), NOW + DAY + 2 * SECOND, NOW + DAY / 2 + SECOND),
    ],
)
def test_machine_warns_itself_at_the_next_reminder(days, ends, due):
    incident = warned(ends)
    wait = due - NOW
    for left, others in ((False, {"a": ends}), (True, {}), (True, {"a": NOW + 300 * DAY})):
        more = {"incident": incident, "left": left, "days": days, **others}
        assert forecast_left_to(**more, after=wait - SECOND) is not None
        assert forecast_left_to(**more, after=wait) is None


@pytest.mark.parametrize(
    ("started", "left", "waits"), [(MINUTE, False, False), (MINUTE + SECOND, False, True), (-DAY, True, True)]
)
def test_agent_that_finds_the_forecast_at_its_start_warns_at_once(started, left, waits):
    reason = forecast_left_to(a=SOON, started_at=NOW - started, left=left)
    assert (reason is not None) is waits


@pytest.mark.parametrize(("waits_for", "waits"), [(WaitsFor.APPROVAL, False), (WaitsFor.TURN, True)])
def test_machine_that_needs_an_approval_asks_for_it_itself(waits_for, waits):
    decision = Decision(reason="later", waits_for=waits_for)
    assert (forecast_left_to(a=SOON, decision=decision) is not None) is waits


def test_second_certificate_that_comes_within_the_days_makes_no_machine_report():
    """The files of one master expire seconds apart: the threshold of a later one is no reminder of the forecast."""
    incident = warned(NOW + 30 * DAY)
    later = replace(incident.diagnosis.certificates[0], not_after=NOW + 30 * DAY + SECOND)
    both = replace(incident.diagnosis, certificates=(*incident.diagnosis.certificates, later))
    assert forecast_left_to(a=NOW + 30 * DAY, incident=replace(incident, diagnosis=both), after=MINUTE) is not None


def test_forecast_for_the_group_names_the_others_at_its_beginning_and_end():
    incident = warned()
    here = replace(seen(incident, "a", c=SOON, b=SOON), stored=member(peer_ends=SOON))
    follow = advance(RecheckKind.ANNOUNCE, incident, here, around(), NOW)
    assert [e.outcome for e in follow if isinstance(e, effects.Tell)] == ["b, c"]
    healed = facts(member(peer_ends=NOW + 300 * DAY))
    for leads in (True, False):
        reported = replace(incident, announced_at=NOW)
        over = advance(RecheckKind.INCIDENT, reported, healed, around(leads=leads), NOW)
        (last,) = [e for e in over if isinstance(e, effects.Tell)]
        assert last.outcome.endswith("; each other master reports itself if nothing is renewed there") is leads


@pytest.mark.parametrize(
    ("incident", "reported", "reminder"),
    [
        (sick(), NOW, NOW + 6 * HOUR),
        (sick(), NOW + 6 * HOUR, NOW + 12 * HOUR),
        (warned(), NOW, SOON - 14 * DAY),
        (warned(), SOON - 14 * DAY, SOON - 7 * DAY),
    ],
    ids=["a fault", "left to another", "a forecast", "forecast left to another"],
)
def test_late_report_of_a_machine_is_followed_by_no_reminder_at_once(incident, reported, reminder):
    base = around()
    with_days = replace(base, terms=replace(base.terms, warn_days=(30, 14, 7)))
    incident = replace(incident, announced_at=reported)
    for now, messages in ((reported + SECOND, 0), (reminder - SECOND, 0), (reminder, 1)):
        follow = advance(RecheckKind.REMIND, incident, seen(incident), with_days, now)
        assert len([e for e in follow if isinstance(e, effects.Tell)]) == messages
        (again,) = [e.at for e in follow if isinstance(e, effects.LookAgain)]
        assert (again == reminder) is not bool(messages)
