"""The line, from a line that came in to a message that went out, on a real store; only machine, hands and channels are played."""

from datetime import timedelta

import pytest

from certmedic import tally, turn
from certmedic.core.model import Progress, SourceDown, SourceUp
from labs.played import OWN_TIME, REFUSED, REFUSING
from labs.values import DAY, NOW, member


def test_the_whole_story_from_a_line_to_resolved_with_one_act_and_one_message_of_each_kind(lab):
    lab = lab()

    for _ in range(10):
        lab.step(REFUSED)
    lab.go(30)

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == lab.world.kinds("other") == ["opened", "acted", "resolved"]
    assert [(i.state, i.count) for i in lab.incidents() if i.severity == "critical"] == [("resolved", 5)]
    assert sum(i.count for i in lab.incidents()) == 10  # the lines after the verification accuse nothing that is here
    assert [a.state for a in lab.store.acts()] == ["verified"]


def test_a_storm_of_equal_lines_is_one_incident_with_a_counter(lab):
    lab = lab(mode="notify")

    for _ in range(20):
        lab.step(*[REFUSED] * 100)

    assert [(i.diagnosis.cause, i.count) for i in lab.incidents()] == [("expired", 2000)]
    assert lab.world.kinds() == ["opened"]


@pytest.mark.parametrize(("minutes", "state"), [(15, "open"), (17, "resolved")])
def test_fault_of_a_peer_is_over_after_a_quarter_of_an_hour_of_silence(lab, minutes, state):
    lab = lab(member(), mode="notify")
    lab.step(REFUSING)
    for _ in range(minutes):
        lab.step(seconds=60)
    (incident,) = lab.incidents()
    assert (incident.diagnosis.suspect, incident.state) == ("peer", state)


@pytest.mark.slow
def test_a_line_that_comes_again_by_another_source_is_counted_once_after_hours_storms_and_kills(lab, monkeypatch):
    monkeypatch.setattr(turn, "JUDGED_AT_ONCE", tally.REMEMBERED_LINES + 1)
    lab = lab(mode="notify")

    lab.step(OWN_TIME, stream="journal")
    lab.kill()
    lab.step(OWN_TIME, stream="docker:c1")
    lab.step(  # more kinds of lines than are kept in memory
        *[OWN_TIME.replace("etcd-a", f"etcd-{number}") for number in range(tally.REMEMBERED_LINES + 1)],
        stream="docker:c1",
    )
    lab.kill()
    lab.step(OWN_TIME, seconds=7200, stream="file:/var/log/etcd.log")

    assert sum(i.count for i in lab.incidents()) == 1 + tally.REMEMBERED_LINES + 1


def test_of_a_flood_of_kinds_some_are_judged_in_a_turn_and_a_kill_loses_none(lab):
    lab = lab(mode="notify")
    kinds = [OWN_TIME.replace("etcd-a", f"etcd-{number}") for number in range(5 * turn.JUDGED_AT_ONCE // 2)]

    lab.step(*kinds)
    assert sum(i.count for i in lab.incidents()) == turn.JUDGED_AT_ONCE
    settled = lab.store.positions()["journal"]
    lab.kill()
    lab.position = int(settled)
    lab.step(*kinds[lab.position :])
    lab.go(3)

    assert sum(i.count for i in lab.incidents()) == len(kinds)


def test_what_two_containers_say_alike_in_the_same_second_is_two_lines(lab):
    lab = lab(mode="notify")

    for stream in ("docker:main", "docker:events", "journal", "journal", "file:/var/log/etcd.log"):
        lab.step(OWN_TIME, stream=stream)

    assert sum(i.count for i in lab.incidents()) == 2


@pytest.mark.parametrize(("mode", "kinds"), [("observe", []), ("notify", ["opened"])])
def test_without_leave_to_act_nothing_is_touched(lab, mode, kinds):
    lab = lab(mode=mode)

    for _ in range(60):
        lab.step(REFUSED)

    assert lab.world.restarts == []
    assert lab.world.kinds() == kinds
    assert len(lab.incidents()) == 1


def test_a_sick_neighbour_is_named_and_nothing_here_is_touched(lab):
    lab = lab(member())

    for _ in range(60):
        lab.step(REFUSING)

    assert lab.world.restarts == []
    assert [(i.diagnosis.suspect, i.diagnosis.neighbours) for i in lab.incidents()] == [("peer", ("10.0.0.2",))]
    assert lab.world.kinds() == ["opened"]


def test_forged_lines_on_a_healthy_master_cause_no_act_and_no_message(lab):
    lab = lab(member())

    for _ in range(100):
        lab.step(*[REFUSED] * 100)

    assert lab.world.restarts == []
    assert lab.world.sent == []


def test_when_a_person_cures_it_that_is_verified_and_said(lab):
    lab = lab(mode="notify")
    for _ in range(10):
        lab.step(REFUSED)

    lab.world.files = member()
    lab.go(30)

    assert lab.world.kinds() == ["opened", "resolved"]


def test_what_is_over_before_it_was_told_is_not_told(lab):
    lab = lab(mode="notify")
    lab.step(REFUSED)
    lab.world.files = member()
    lab.go(30)

    assert lab.world.sent == []
    assert [i.state for i in lab.incidents()] == ["resolved"]


def test_a_line_is_judged_by_files_that_came_a_moment_before_it(lab):
    there = member(peer_ends=NOW - DAY)
    lab = lab(())
    lab.step()
    lab.world.files = there
    lab.step(REFUSED)
    assert [incident.diagnosis.cause for incident in lab.incidents()] == ["expired"]


def test_a_dead_channel_delays_no_other_and_gets_everything_later(lab):
    lab = lab(dead={"other"})
    for _ in range(10):
        lab.step(REFUSED)
    lab.go(30)
    assert lab.world.kinds() == ["opened", "acted", "resolved"]
    assert lab.world.kinds("other") == []

    lab.world.dead.clear()
    lab.go(400)

    assert lab.world.kinds("other") == ["opened", "acted", "resolved"]


def test_reminders_come_at_their_interval_until_it_is_over(lab):
    lab = lab(mode="notify")
    lab.step(REFUSED)
    for _ in range(3):
        lab.step(seconds=5)
    for _ in range(13):
        lab.step(seconds=3600)

    assert lab.world.kinds() == ["opened", "reminder", "reminder"]


def test_a_line_that_comes_in_by_two_sources_is_counted_once(lab):
    lab = lab(mode="notify")
    moment = NOW + timedelta(seconds=1)

    lab.step(REFUSED.format(1), at=moment)
    lab.step(REFUSED.format(1), at=moment, stream="docker:c1")
    lab.step(REFUSED.format(1), at=moment + timedelta(seconds=1), stream="docker:c1")

    assert [i.count for i in lab.incidents()] == [2]


def test_our_own_probe_is_no_sighting(lab):
    lab = lab(member())

    lab.step(
        'rejected connection from "127.0.0.1:9" (error "tls: client didn\'t provide a certificate", ServerName "")'
    )

    assert lab.incidents() == []


def test_what_expires_while_nothing_is_logged_is_told_as_it_does(lab):
    # As etcd 3.2 has it, which logs nothing of the clients that it refuses.
    lab = lab(member(peer_ends=NOW + timedelta(seconds=90)))
    lab.go(90)
    assert [one.diagnosis.cause for one in lab.incidents()] == ["expires_soon"]
    lab.go(30)
    assert lab.world.kinds() == ["opened", "opened"]
    assert lab.incidents()[0].diagnosis.cause == "expired"


def test_the_silent_case_is_told_without_a_line(lab):
    lab = lab(mode="notify")
    lab.go(5)

    assert [(i.diagnosis.cause, i.count) for i in lab.incidents()] == [("expired", 0)]
    assert lab.world.kinds() == ["opened"]


def test_forecasts_are_told_once_for_each_threshold_and_end_when_renewed(lab):
    lab = lab(member(peer_ends=NOW + 10 * DAY), mode="notify")
    lab.go(5)
    for _ in range(24 * 4):
        lab.step(seconds=3600)
    told = [i.key.rpartition("|")[2] for i in reversed(lab.incidents())]

    lab.world.files = member()
    for _ in range(3):
        lab.step(seconds=700)

    assert told == ["14", "7"]
    assert {i.state for i in lab.incidents()} == {"resolved"}


@pytest.mark.parametrize(("of_plane", "told"), [({"kops": (5, 2)}, []), ({"kops": (12,), "k3s": (5,)}, ["12"])])
def test_a_plane_of_its_own_thresholds_is_told_of_at_those(lab, of_plane, told):
    lab = lab(member(peer_ends=NOW + 10 * DAY), mode="notify", of_plane=of_plane)
    lab.go(5)
    for _ in range(24 * 4):
        lab.step(seconds=3600)

    assert [i.key.rpartition("|")[2] for i in lab.incidents()] == told


def test_a_blind_source_is_told_to_the_journal_once_and_its_return_too(lab):
    lab = lab(member())

    lab.loop.step([SourceDown(source="docker", reason="no socket"), SourceUp(source="docker")], NOW)

    assert [f["CERTMEDIC_EVENT"] for f in lab.world.journal] == ["source-blind", "source-back"]
    assert lab.store.sources()[0]["down"] == ""


def test_positions_move_with_lines_and_without(lab):
    lab = lab(member())

    lab.loop.step([Progress(stream="file:/x", position="7")], NOW)
    lab.step("nothing of interest")

    assert lab.store.positions() == {"file:/x": "7", "journal": "1"}

    lab.loop.step([Progress(stream="file:/x", position="8"), Progress(stream="file:/x", position=None)], NOW)

    assert lab.store.positions() == {"journal": "1"}


def test_where_nothing_comes_and_nothing_is_due_no_turn_is_made_and_what_is_due_is_done_at_its_time(lab, monkeypatch):
    lab, turns = lab(), []
    lab.step(REFUSED)
    begin = lab.loop.begin
    monkeypatch.setattr(lab.loop, "begin", lambda items, now: (turns.append(now), begin(items, now)))

    def quiet(seconds):
        lab.now += timedelta(seconds=seconds)
        return ()

    def run_until(end):
        lab.loop.run(quiet, lambda: lab.now, lambda: lab.now < end)

    run_until(NOW + timedelta(minutes=10))
    made = len(turns)
    assert lab.world.kinds() == ["opened", "acted", "resolved"]
    assert made < 60  # of some 600 seconds

    lab.now -= timedelta(hours=1)
    run_until(lab.now + timedelta(seconds=2))
    assert len(turns) > made  # the clock was set back
