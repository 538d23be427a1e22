"""The loop from a log line to a message, with a real store; machine, hands and channels are simulated."""

import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic import intake, tally
from certmedic.core.incident import LEFT
from certmedic.core.model import Progress, Recheck, SourceDown, SourceStatus, SourceUp
from labs.held import CONF, program, scheduler
from labs.played import OWN_TIME, REFUSED, REFUSING
from labs.values import DAY, NOW, member


def test_line_leads_to_one_action_and_one_message_of_each_kind(lab):
    lab = lab()

    for _ in range(10):
        lab.step(REFUSED)
    lab.go(30)

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == lab.world.kinds("other") == ["opened", "resolved"]
    assert [(i.state, i.count) for i in lab.incidents() if i.severity == "warning"] == [("resolved", 5)]
    assert sum(i.count for i in lab.incidents()) == 10  # the lines after the verification accuse no file
    assert [a.state for a in lab.store.acts()] == ["verified"]


def test_storm_of_equal_lines_is_one_incident_with_a_count(lab):
    lab = lab(mode="notify")

    for _ in range(20):
        lab.step(*[REFUSED] * 100)

    assert [(i.diagnosis.cause, i.count) for i in lab.incidents()] == [("expired", 2000)]
    assert lab.world.kinds() == ["opened"]


@pytest.mark.parametrize(("minutes", "state"), [(15, "open"), (17, "resolved")])
def test_fault_of_a_peer_is_over_after_15_minutes_without_lines(lab, minutes, state):
    lab = lab(member(), mode="notify")
    lab.step(REFUSING)
    for _ in range(minutes):
        lab.step(seconds=60)
    (incident,) = lab.incidents()
    assert (incident.diagnosis.suspect, incident.state) == ("peer", state)


@pytest.mark.slow
def test_copy_from_another_source_is_deduplicated_after_hours_storms_and_kills(lab, monkeypatch):
    monkeypatch.setattr(intake, "JUDGED_AT_ONCE", tally.REMEMBERED_LINES + 1)
    lab = lab(mode="notify")

    lab.step(OWN_TIME, stream="journal")
    lab.kill()
    lab.step(OWN_TIME, stream="docker:c1")
    lab.step(  # more kinds of lines than the memory keeps
        *[OWN_TIME.replace("etcd-a", f"etcd-{number}") for number in range(tally.REMEMBERED_LINES + 1)],
        stream="docker:c1",
    )
    lab.kill()
    lab.step(OWN_TIME, seconds=7200, stream="file:/var/log/etcd.log")

    assert sum(i.count for i in lab.incidents()) == 1 + tally.REMEMBERED_LINES + 1


def test_flood_of_kinds_is_judged_in_parts_and_a_kill_loses_none(lab):
    lab = lab(mode="notify")
    kinds = [OWN_TIME.replace("etcd-a", f"etcd-{number}") for number in range(5 * intake.JUDGED_AT_ONCE // 2)]

    lab.step(*kinds)
    assert sum(i.count for i in lab.incidents()) == intake.JUDGED_AT_ONCE
    settled = lab.store.positions()["journal"]
    lab.kill()
    lab.position = int(settled)
    lab.step(*kinds[lab.position :])
    lab.go(3)

    assert sum(i.count for i in lab.incidents()) == len(kinds)


def test_equal_lines_of_two_containers_in_one_second_count_twice(lab):
    lab = lab(mode="notify")

    for stream in ("docker:main", "docker:events", "journal", "journal", "file:/var/log/etcd.log"):
        lab.step(OWN_TIME, stream=stream)

    assert sum(i.count for i in lab.incidents()) == 2


@pytest.mark.parametrize(("mode", "kinds"), [("observe", []), ("notify", ["opened"])])
def test_agent_does_not_act_in_modes_that_only_watch(lab, mode, kinds):
    lab = lab(mode=mode)

    for _ in range(60):
        lab.step(REFUSED)

    assert lab.world.restarts == []
    assert lab.world.kinds() == kinds
    assert len(lab.incidents()) == 1


def test_faulty_peer_is_reported_and_causes_no_action_here(lab):
    lab = lab(member())

    for _ in range(60):
        lab.step(REFUSING)
    assert lab.world.kinds() == []  # it reports itself
    for _ in range(22):
        lab.step(REFUSING, seconds=30)

    assert lab.world.restarts == []
    assert [(i.diagnosis.suspect, i.diagnosis.neighbours) for i in lab.incidents()] == [("peer", ("10.0.0.2",))]
    assert lab.world.kinds() == ["opened"]


def test_forged_lines_on_a_healthy_master_cause_no_action_and_no_message(lab):
    lab = lab(member())

    for _ in range(100):
        lab.step(*[REFUSED] * 100)

    assert lab.world.restarts == []
    assert lab.world.sent == []


def test_cure_by_a_person_is_verified_and_reported(lab):
    lab = lab(mode="notify")
    for _ in range(10):
        lab.step(REFUSED)

    lab.world.files = member()
    lab.go(30)

    assert lab.world.kinds() == ["opened", "resolved"]


def test_incident_that_is_over_before_its_announcement_is_not_announced(lab):
    lab = lab(mode="notify")
    lab.step(REFUSED)
    lab.world.files = member()
    lab.go(30)

    assert lab.world.sent == []
    assert [i.state for i in lab.incidents()] == ["resolved"]


def test_message_does_not_wait_for_files_that_change_in_its_turn(lab):
    def seconds_until_told(*items):
        made = lab(mode="notify")
        made.step(REFUSED)
        began = made.now
        while not made.world.sent:
            made.now += timedelta(seconds=1)
            made.loop.step([replace(item, due=made.now) for item in items], made.now)
            assert made.now - began < timedelta(minutes=5)
        return (made.now - began).total_seconds()

    changed = Recheck(kind="inventory", incident=None, due=NOW)  # e.g. etcd writes a file beside its certificates
    assert seconds_until_told(changed) == seconds_until_told()


def test_line_is_judged_by_files_that_appeared_just_before_it(lab):
    there = member(peer_ends=NOW - DAY)
    lab = lab(())
    lab.step()
    lab.world.files = there
    lab.step(REFUSED)
    assert [incident.diagnosis.cause for incident in lab.incidents()] == ["expired"]


def test_dead_channel_delays_no_other_channel_and_catches_up_later(lab):
    lab = lab(dead={"other"})
    for _ in range(10):
        lab.step(REFUSED)
    lab.go(30)
    assert lab.world.kinds() == ["opened", "resolved"]
    assert lab.world.kinds("other") == []

    lab.world.dead.clear()
    lab.go(400)

    assert lab.world.kinds("other") == ["opened", "resolved"]


def test_reminders_come_at_their_interval(lab):
    lab = lab(mode="notify")
    lab.step(REFUSED)
    for _ in range(3):
        lab.step(seconds=5)
    for _ in range(13):
        lab.step(seconds=3600)

    assert lab.world.kinds() == ["opened", "reminder", "reminder"]


def test_line_from_two_sources_counts_once(lab):
    lab = lab(mode="notify")
    moment = NOW + timedelta(seconds=1)

    lab.step(REFUSED.format(1), at=moment)
    lab.step(REFUSED.format(1), at=moment, stream="docker:c1")
    lab.step(REFUSED.format(1), at=moment + timedelta(seconds=1), stream="docker:c1")

    assert [i.count for i in lab.incidents()] == [2]


def test_line_that_our_own_probe_causes_is_no_sighting(lab):
    lab = lab(member())

    lab.step(
        'rejected connection from "127.0.0.1:9" (error "tls: client didn\'t provide a certificate", ServerName "")'
    )

    assert lab.incidents() == []


def test_expiry_is_reported_at_its_time_without_any_line(lab):
    # etcd 3.2 logs nothing about clients that it rejects.
    lab = lab(member(peer_ends=NOW + timedelta(seconds=90)))
    lab.go(90)
    assert [incident.diagnosis.cause for incident in lab.incidents()] == ["expires_soon"]
    lab.go(30)
    assert lab.world.kinds() == ["opened", "opened"]
    assert lab.incidents()[0].diagnosis.cause == "expired"


LATE = (
    'E1124 15:41:31.000000       1 authentication.go:63] "Unable to authenticate the request" err="[x509: certificate has expired or'
    ' is not yet valid: current time 2026-11-24T15:41:31Z is after 2026-11-24T15:41:30Z]"'
)


@pytest.mark.parametrize("lines", [(), (LATE,)])  # the line names no serial, and alone leads to a likely holder only
def test_renewal_that_nobody_read_again_is_one_trouble_of_three_messages(lab, lines):
    ends = replace(scheduler().certificate, not_after=NOW + timedelta(seconds=90), fingerprint="f", serial="ab")
    lab = lab((replace(scheduler(), certificate=ends),), mode="notify")
    lab.world.programs = (program(started=NOW - DAY),)
    lab.go(10)
    lab.world.files = (replace(scheduler(), modified=lab.now),)
    lab.go(81)
    lab.step(*lines)
    lab.go(100)
    assert [i.diagnosis.cause for i in lab.incidents() if i.state == "open"] == ["stale_in_memory"]
    assert lab.world.kinds() == ["opened", "opened"]
    lab.world.programs = (program(started=lab.now),)
    lab.go(90)
    assert lab.world.kinds() == ["opened", "opened", "resolved"]
    assert {i.state for i in lab.incidents()} == {"resolved"}


def test_holder_of_a_renewed_file_is_looked_for_when_the_old_certificate_expires(lab):
    ends = replace(scheduler().certificate, not_after=NOW + timedelta(minutes=13), fingerprint="f", serial="ab")
    lab = lab((replace(scheduler(), certificate=ends),), mode="notify")
    lab.world.programs = (program(started=NOW - DAY),)
    lab.go(10)
    lab.world.files = (replace(scheduler(), modified=lab.now),)
    for _ in range(14 * 6):
        lab.step(seconds=10)
    assert [i.diagnosis.cause for i in lab.incidents() if i.state == "open"] == ["stale_in_memory"]


def test_restart_in_time_ends_the_forecast_of_a_renewed_file(lab):
    ends = replace(scheduler().certificate, not_after=NOW + 20 * DAY)
    lab = lab((replace(scheduler(), certificate=ends),), mode="notify")
    lab.world.programs = (program(started=NOW - DAY),)
    lab.go(10)
    lab.world.files = (replace(scheduler(), modified=lab.now),)
    lab.go(90)
    assert lab.world.kinds() == ["opened"]
    (forecast,) = lab.incidents()
    assert "Renew nothing" in forecast.diagnosis.remedy.why
    lab.world.programs = (program(started=lab.now),)
    lab.go(90)
    assert lab.world.kinds() == ["opened", "resolved"]


def test_expired_file_is_reported_without_any_line(lab):
    lab = lab(mode="notify")
    lab.go(5)

    assert [(i.diagnosis.cause, i.count) for i in lab.incidents()] == [("expired", 0)]
    assert lab.world.kinds() == ["opened"]


def test_expiry_warnings_come_once_for_each_threshold_and_end_with_a_renewal(lab):
    lab = lab(member(peer_ends=NOW + 10 * DAY), mode="notify")
    lab.go(5)
    for _ in range(24 * 4):
        lab.step(seconds=3600)
    assert lab.world.kinds() == ["opened", "reminder"]

    lab.world.files = member()
    for _ in range(3):
        lab.step(seconds=700)

    assert [i.state for i in lab.incidents()] == ["resolved"]
    assert lab.world.kinds() == ["opened", "reminder", "resolved"]


@pytest.mark.parametrize(
    ("of_plane", "kinds"),
    [({"kops": (5, 2)}, []), ({"kops": (12, 8, 7), "k3s": (5,)}, ["opened", "reminder", "reminder"])],
)
def test_expiry_warnings_come_at_the_thresholds_of_the_plane(lab, of_plane, kinds):
    lab = lab(member(peer_ends=NOW + 10 * DAY), mode="notify", of_plane=of_plane)
    lab.go(5)
    for _ in range(24 * 4):
        lab.step(seconds=3600)

    assert lab.world.kinds() == kinds


def test_channel_that_is_configured_later_hears_of_what_is_broken_already(lab, monkeypatch):
    lab = lab(mode="notify")
    channels = lab.world.channels
    monkeypatch.setattr(lab.world, "channels", lambda severity, tag="": [])
    lab.suffer(20)
    assert lab.incidents()[0].announced_at is not None
    assert lab.world.kinds() == []

    monkeypatch.setattr(lab.world, "channels", channels)
    lab.kill()  # a reload replaces the process
    lab.suffer(20)
    lab.kill()
    lab.suffer(20)
    assert lab.world.kinds() == ["opened"]


@pytest.mark.parametrize(("before", "reason"), [(50, "10.0.0.2 reports itself"), (70, "it was last seen before")])
def test_fault_that_was_over_before_the_first_start_is_not_reported(lab, before, reason):
    lab = lab(member())
    lab.step(REFUSING, at=NOW - timedelta(seconds=before))
    lab.go(60)
    assert [incident.diagnosis.suspect for incident in lab.incidents()] == ["peer"]
    (incident,) = lab.incidents()
    (event,) = [event for event in lab.store.events(incident.id) if event["what"] == "not reported"]
    assert event["said"].startswith(reason)
    assert lab.world.kinds() == []

    for _ in range(24):
        lab.step(REFUSING, seconds=30)
    assert lab.world.kinds() == ["opened"]


def test_loss_and_return_of_a_source_are_journal_entries(lab):
    lab = lab(member())

    lab.loop.step([SourceDown(source="docker", reason="no socket"), SourceUp(source="docker")], NOW)

    assert [f["CERTMEDIC_EVENT"] for f in lab.world.journal] == ["source-blind", "source-back"]
    assert lab.store.sources()[0]["down"] == ""


def test_positions_move_with_lines_and_with_progress(lab):
    lab = lab(member())

    lab.loop.step([Progress(stream="file:/x", position="7")], NOW)
    lab.step("nothing of interest")

    assert lab.store.positions() == {"file:/x": "7", "journal": "1"}

    lab.loop.step([Progress(stream="file:/x", position="8"), Progress(stream="file:/x", position=None)], NOW)

    assert lab.store.positions() == {"journal": "1"}


def test_nothing_is_written_while_nothing_happens(lab):
    lab = lab(member(peer_ends=NOW - DAY), mode="notify")
    other = sqlite3.connect(lab.store.path, isolation_level=None)
    lab.go(60)
    assert lab.world.kinds() == ["opened"]

    def version():  # changes whenever another connection has written
        return other.execute("PRAGMA data_version").fetchone()

    def minutes(count, seen):
        for minute in range(count):
            status = SourceStatus(source="docker", seen=seen(minute), matched=0, lag_seconds=0.0)
            lab.loop.step([status, Progress(stream="docker", position=f"{lab.now}")], lab.now)
            for _ in range(4):
                lab.step(seconds=15)

    minutes(10, lambda _: 3)
    before = version()
    minutes(30, lambda _: 3)
    assert version() == before
    minutes(6, lambda minute: 4 + minute)
    assert version() != before


def test_loop_makes_a_turn_only_for_new_items_or_due_rechecks(lab, monkeypatch):
    lab, turns = lab(), []
    lab.step(REFUSED)
    begin = lab.loop.begin
    monkeypatch.setattr(lab.loop, "begin", lambda items, now: (turns.append(now), begin(items, now)))

    def quiet(seconds):
        lab.now += timedelta(seconds=seconds)
        return ()

    def run_until(end):
        lab.loop.run(quiet, lambda: lab.now, lambda: lab.now < end)

    run_until(NOW + timedelta(minutes=10, seconds=10))
    made = len(turns)
    assert lab.world.kinds() == ["opened", "resolved"]
    assert made < 60  # of some 600 seconds

    lab.now -= timedelta(hours=1)
    run_until(lab.now + timedelta(seconds=3))
    assert len(turns) > made  # the clock was set back


def test_journal_reports_the_end_of_a_forecast_that_came_true(lab):
    lab = lab(member(peer_ends=NOW + 5 * DAY), mode="notify")
    lab.go(5)
    lab.step(seconds=5 * DAY.total_seconds())
    lab.go(5)

    assert [(i.diagnosis.cause, i.state) for i in lab.incidents()] == [
        ("expired", "open"),
        ("expires_soon", "resolved"),
    ]
    ends = [entry for entry in lab.world.journal if entry["CERTMEDIC_EVENT"] == "resolved"]
    assert [(entry["CERTMEDIC_INCIDENT"], entry["CERTMEDIC_OUTCOME"]) for entry in ends] == [
        ("1", "superseded by incident 2: expired")
    ]


@pytest.mark.parametrize(("left", "kinds"), [(False, ["opened", "resolved"]), (True, ["opened"])])
def test_forecast_that_came_true_and_was_cured_before_the_report_has_an_end(lab, left, kinds):
    """Unless another master reports the incident: its end is the end of them all."""
    lab = lab(member(peer_ends=NOW + 5 * DAY), mode="notify")
    lab.go(5)
    assert lab.world.kinds() == ["opened"]
    lab.step(seconds=5 * DAY.total_seconds())
    number = lab.incidents()[0].id
    if left:
        with lab.store.transaction():
            lab.store.event_once(number, LEFT, "master-b reports it", now=lab.now)
    lab.world.files = member()
    lab.go(30)

    assert [(i.diagnosis.cause, i.state, i.announced_at is None) for i in lab.incidents()] == [
        ("expired", "resolved", True),
        ("expires_soon", "resolved", False),
    ]
    assert lab.world.kinds() == kinds
    keys = {letter.key for letter in lab.world.letters}
    assert len(keys) == 1  # one thread


@pytest.mark.parametrize("mode", ["notify", "approve", "remedy"])
def test_renewal_after_expiry_leaves_only_the_restart_of_its_holders_to_do(lab, mode):
    ends = replace(scheduler().certificate, not_after=NOW - timedelta(seconds=1), fingerprint="f", serial="ab")
    lab = lab((replace(scheduler(), certificate=ends),), mode=mode)
    lab.world.programs = (program(started=NOW - DAY),)
    lab.step()
    lab.world.files = (replace(scheduler(), modified=lab.now),)  # before the report
    lab.go(200)

    (incident,) = lab.incidents()
    assert incident.diagnosis.remedy.why.startswith("The files are good by now. Restart kube-scheduler (process 7).")
    (letter,) = lab.world.letters
    assert "Restart it (command below): that fixes it." in letter.plain
    assert f"does not act: {CONF} has been renewed meanwhile (to pass: restart kube-scheduler)" in letter.plain
    lab.world.programs = (program(started=lab.now),)
    lab.go(60)
    assert lab.world.kinds() == ["opened", "resolved"]


def test_reported_incident_names_the_restart_that_is_left_after_the_renewal(lab):
    ends = replace(scheduler().certificate, not_after=NOW - timedelta(seconds=1), fingerprint="f", serial="ab")
    lab = lab((replace(scheduler(), certificate=ends),), mode="notify")
    lab.world.programs = (program(started=NOW - DAY),)
    lab.go(60)
    assert lab.world.kinds() == ["opened"]
    assert "kubeadm" in lab.incidents()[0].diagnosis.remedy.command
    lab.world.files = (replace(scheduler(), modified=lab.now),)
    lab.go(60)

    (incident,) = lab.incidents()
    assert incident.diagnosis.remedy.why.startswith("The files are good by now. Restart kube-scheduler (process 7).")
    assert lab.world.kinds() == ["opened"]
