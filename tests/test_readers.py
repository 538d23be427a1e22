"""A blind source is reported once if it lasts, and so is its return; an ordinary restart is not reported."""

import shutil
import threading
from datetime import UTC, datetime, timedelta

import pytest

from certmedic.core import blind
from certmedic.core.incident import life
from certmedic.core.model import Progress, Route, SourceDown, SourceStatus, SourceUp
from certmedic.core.symptoms import NEEDLES
from certmedic.edge import inbox
from certmedic.edge.containers import DockerSource
from labs.docker import start_dockerd
from labs.reading import read_on_thread
from labs.values import NOW, member
from labs.waiting import until


@pytest.fixture
def lab(lab):
    """Return a function that makes a healthy machine with notifications."""
    return lambda *, mode="notify", **notify: lab(member(), mode=mode, notify=notify)


def take(lab, *items):
    lab.loop.step(items, lab.now)


def works(source):
    return SourceStatus(source=source, seen=3, matched=0, lag_seconds=0.0)


def down(source, reason="Connection refused"):
    return SourceDown(source=source, reason=reason)


def last(lab):
    """Return the latest message to the good channel."""
    return lab.store._db.execute("SELECT message FROM messages ORDER BY id DESC LIMIT 1").fetchone()[0]


def test_progress_is_stored_every_five_minutes_and_a_match_at_once(lab):
    lab = lab()

    def stored():
        return {row["source"]: (row["seen"], row["matched"]) for row in lab.store.sources()}, lab.store.positions()

    def report(seen, matched, *, seconds):
        lab.now += timedelta(seconds=seconds)
        status = SourceStatus(source="files", seen=seen, matched=matched, lag_seconds=0.0)
        take(lab, status, Progress(stream="file:/a", position=str(seen)))

    take(lab, works("files"))
    assert stored()[0] == {"files": (3, 0)}
    report(10, 0, seconds=20)
    report(20, 0, seconds=20)
    assert stored() == ({"files": (3, 0)}, {})
    report(30, 1, seconds=10)
    assert stored() == ({"files": (30, 1)}, {})
    report(40, 1, seconds=10)
    assert stored() == ({"files": (30, 1)}, {})
    report(50, 1, seconds=240)
    assert stored() == ({"files": (50, 1)}, {"file:/a": "50"})


def test_first_position_of_a_source_is_stored_at_once(lab):
    lab = lab()
    take(lab, works("journal"), Progress(stream="journal", position="5"))
    assert lab.store.positions() == {"journal": "5"}
    lab.now += timedelta(seconds=10)
    take(lab, Progress(stream="journal", position="9"))
    assert lab.store.positions() == {"journal": "5"}
    lab.kill()
    take(lab, Progress(stream="journal", position="11"))
    assert lab.store.positions() == {"journal": "5"}
    take(lab, Progress(stream="pods", position="1"))
    assert lab.store.positions() == {"journal": "11", "pods": "1"}


def test_metrics_have_what_sources_report_before_it_is_stored(lab):
    lab = lab()
    take(lab, works("files"))
    lab.now += timedelta(seconds=10)
    take(lab, SourceStatus(source="files", seen=70, matched=0, lag_seconds=0.0))
    assert [row["seen"] for row in lab.store.sources()] == [3]
    assert [row["seen"] for row in lab.loop.readers.rows()] == [70]


def test_progress_is_stored_when_the_agent_stops(lab):
    lab = lab()
    take(lab, works("files"))
    take(lab, Progress(stream="file:/a", position="7"))
    lab.loop.run(lambda _: [], lambda: lab.now, lambda: False)
    assert lab.store.positions() == {"file:/a": "7"}


def test_lasting_blindness_is_reported_once_then_reminded_and_resolved(lab):
    lab = lab(mode="remedy", remind_every=timedelta(hours=6))
    take(lab, works("docker"), down("docker"))
    lab.go(88)
    assert lab.incidents() == []
    lab.go(6)
    (incident,) = lab.incidents()
    assert (incident.diagnosis.cause, incident.diagnosis.source, incident.severity) == ("blind", "docker", "warning")
    assert incident.diagnosis.since == NOW
    assert lab.world.kinds() == ["opened"]
    assert "docker cannot be read. Find out why" in last(lab)
    assert "Connection refused" in last(lab)
    assert lab.store.acts() == []
    assert "no act" in lab.incidents()[0].decision.reason

    for _ in range(7):
        lab.step(seconds=3600)
    assert lab.world.kinds() == ["opened", "reminder"]
    take(lab, SourceUp(source="docker"))
    lab.go(240)
    assert lab.world.kinds() == ["opened", "reminder"]  # the source might fail again at once
    lab.go(120)
    assert lab.world.kinds() == ["opened", "reminder", "resolved"]
    assert "docker is read again since 2026-11-24 22:41" in last(lab)
    lab.go(120)
    assert lab.world.kinds() == ["opened", "reminder", "resolved"]
    assert {i.state for i in lab.incidents()} == {"resolved"}
    assert [f["CERTMEDIC_EVENT"] for f in lab.world.journal] == [
        "source-blind",
        "opened",
        "reminder",
        "source-back",
        "resolved",
    ]


def test_ordinary_restarts_of_a_daemon_are_no_incident(lab):
    lab = lab()
    for _ in range(20):
        take(lab, works("docker"), down("docker"))
        lab.go(60)
        take(lab, SourceUp(source="docker"))
        lab.go(5)
    assert lab.incidents() == []
    assert lab.world.sent == []


def test_source_that_returns_before_its_announcement_sends_no_message(lab):
    lab = lab(group_for=timedelta(seconds=30))
    take(lab, works("docker"), down("docker"))
    lab.go(100)
    take(lab, SourceUp(source="docker"))
    lab.go(60)
    assert [i.state for i in lab.incidents()] == ["resolved"]
    assert lab.world.sent == []


def test_source_that_fails_repeatedly_is_reported_once(lab):
    lab = lab()
    take(lab, works("docker"))
    for _ in range(10):
        take(lab, down("docker"))
        lab.go(180)
        take(lab, SourceUp(source="docker"))
        lab.go(120)
    assert lab.world.kinds() == ["opened"]
    lab.go(300)
    assert lab.world.kinds() == ["opened", "resolved"]


@pytest.mark.parametrize(("source", "kinds"), [("journal", ["opened"]), ("docker", [])])
def test_source_that_never_worked_is_reported_only_if_it_is_configured(lab, source, kinds):
    lab = lab()
    take(lab, down(source))
    lab.go(300)
    assert lab.world.kinds() == kinds


def test_loss_of_the_watch_over_certificate_folders_is_not_reported(lab):
    lab = lab()
    take(lab, works("certificates"), down("certificates"))
    lab.go(300)
    assert lab.incidents() == []


def test_restart_of_the_agent_neither_repeats_nor_loses_a_message_about_a_source(lab):
    lab = lab()
    take(lab, works("journal"), down("journal"))
    for _ in range(3):  # as the watchdog kills the agent
        lab.go(60)
        lab.kill()
        take(lab, down("journal"))
    lab.go(10)
    assert lab.world.kinds() == ["opened"]
    for _ in range(3):
        lab.kill()
        take(lab, down("journal"))
        lab.go(200)
    assert lab.world.kinds() == ["opened"]
    assert lab.incidents()[0].diagnosis.since == NOW

    lab.kill()  # the source now works, and its reader does not report the earlier failure
    for _ in range(80):
        take(lab, works("journal"))
        lab.go(5)
    assert lab.world.kinds() == ["opened", "resolved"]
    assert lab.store.sources()[0]["down"] == ""


def test_source_that_returned_while_the_agent_was_stopped_is_not_reported(lab):
    lab = lab()
    take(lab, works("docker"), down("docker"))
    lab.now += timedelta(minutes=20)
    lab.kill()
    for _ in range(40):
        take(lab, works("docker"))
        lab.go(5)
    assert lab.incidents() == []
    assert lab.store.sources()[0]["down"] == ""


def test_source_without_a_status_after_a_restart_of_the_agent_is_still_blind(lab):
    lab = lab()
    take(lab, works("docker"), down("docker"))
    lab.kill()
    lab.go(100)
    assert lab.world.kinds() == ["opened"]


@pytest.mark.parametrize(("seconds", "reads"), [(29, False), (30, True)])
def test_source_that_was_blind_at_the_stop_reads_again_after_half_a_minute(lab, seconds, reads):
    lab = lab()
    take(lab, works("docker"), down("docker"))
    lab.kill()
    take(lab, works("docker"))
    lab.now += timedelta(seconds=seconds)
    take(lab, works("docker"))
    assert (lab.store.sources()[0]["down"] == "") is reads


def test_incident_of_a_source_that_is_no_longer_configured_is_resolved(lab):
    lab = lab()
    take(lab, works("docker"), down("docker"))
    lab.go(100)
    lab.sources = {"journal": True}
    lab.kill()
    lab.go(2)
    assert lab.world.kinds() == ["opened", "resolved"]
    assert "docker is no longer read: the configuration has changed" in last(lab)
    assert lab.store.sources() == []


def test_incident_of_a_source_is_silenced_and_routed_by_its_cause(lab):
    lab = lab(route=(Route(tag="eyes", cause="blind"),))
    tags = []
    lab.world.channels = lambda severity, tag="": tags.append(tag) or []
    lab.hush(hours=1, cause="blind")
    take(lab, works("docker"), down("docker"))
    lab.go(200)
    assert [e["what"] for e in lab.store.events(1)] == ["opened", "decided", "silenced"]
    assert tags == []
    for _ in range(3):
        lab.step(seconds=1800)
    assert tags == ["eyes"]


def test_each_blind_source_is_reported_at_its_time(lab):
    lab = lab()
    take(lab, works("docker"), down("docker"))
    lab.go(60)
    take(lab, down("journal"))
    lab.go(40)
    assert [i.diagnosis.source for i in lab.incidents()] == ["docker"]
    lab.go(60)
    assert [i.diagnosis.source for i in lab.incidents()] == ["journal", "docker"]


@pytest.mark.real
@pytest.mark.skipif(shutil.which("dockerd") is None, reason="needs dockerd")
def test_loss_and_return_of_a_real_daemon_are_reported(lab, monkeypatch):
    lab, box, stop = lab(), inbox.Inbox(), threading.Event()
    monkeypatch.setattr(blind, "GRACE", timedelta(seconds=3))
    monkeypatch.setattr(blind, "STEADY", timedelta(seconds=3))
    monkeypatch.setattr(life, "QUIET_LOOK_EVERY", timedelta(seconds=1))
    with start_dockerd() as daemon:
        try:
            read_on_thread([DockerSource(NEEDLES, base_url=daemon.url)], {}, box.put, stop)

            def turned(kinds):
                lab.loop.step(box.drain(0.2), datetime.now(UTC))
                return lab.world.kinds() == kinds

            until(lambda: turned([]) and lab.store.sources())
            daemon.stop()
            until(lambda: turned(["opened"]))
            assert "docker cannot be read" in last(lab)
            assert "the Docker daemon" in last(lab)
            daemon.start()
            until(lambda: turned(["opened", "resolved"]), seconds=120)
        finally:
            stop.set()


def test_every_source_has_an_effect_and_a_command_for_its_report():
    for source in blind.SOURCES:
        diagnosis = blind.diagnose(source, "gone", NOW)
        assert diagnosis.effect.startswith("certmedic does not see ")
        assert diagnosis.remedy.command
