"""Silences and maintenance windows: the commands manage them, and the service holds back its messages."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certmedic.core import window
from certmedic.edge.store import Store
from labs import AGENT
from labs.played import REFUSED
from labs.values import DAY, NOW, VOLUME, member
from labs.waiting import until


def test_silence_holds_back_only_messages_until_it_ends(service, hook):
    service = service(f"json://127.0.0.1:{hook.port}/")
    service.certificate(DAY * 300)
    service.start()
    until(service.state.exists)
    until(lambda: "watching" in service.log)
    reply = service.ask(
        "silence", "add", "--file", "*/server.crt", "--for", "2h", "--comment", "vendor\x1b[31m is on it"
    )
    assert reply.startswith("silence 1: file */server.crt, until ")
    service.certificate()

    def silenced():
        incidents = json.loads(service.ask("incidents", "--json"))["incidents"]
        return incidents and incidents[0]["silenced"]

    until(silenced)
    until(lambda: "silenced" in service.ask("show", "1").partition("story")[2])
    story = service.ask("show", "1")
    assert re.search(r"silenced +by alice until .* UTC: vendor \[31m is on it \(silence 1\)", story)
    assert "\x1b" not in story
    assert "open, silenced" in service.ask("incidents")
    assert "by alice" in service.ask("status")
    (listed,) = json.loads(service.ask("silence", "list", "--json"))["silences"]
    assert (listed["author"], listed["file"], listed["state"]) == ("alice", "*/server.crt", "active")
    assert service.deliveries() == []

    ended = json.loads(service.ask("silence", "expire", "--json", "1"))
    assert (ended["id"], ended["ends_at"] < listed["ends_at"]) == (1, True)
    service.ask("silence", "expire", "1", code=1)
    until(lambda: service.deliveries() == [("opened", "sent")])
    assert hook.kinds == ["opened"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--for", "2h", "--comment", "x"], "say what"),
        (["--for", "2h", "--comment", "x", "--all", "--cause", "expired"], "say what"),
        (["--for", "2 hours", "--comment", "x", "--all"], 'e.g. "30s"'),
        (["--for", "2h", "--comment", " ", "--all"], "write 1 to 200 characters"),
        (["--for", "2h", "--comment", "x", "--cause", "expird"], "expird"),
        (["--for", "2h", "--comment", "x", "--file", "me.crt"], "begin it with / or *"),
        (["--for", "2h", "--comment", "x", "--all", "--from", "2020-01-01"], "over by now"),
        (["--for", "2h", "--all"], "--comment"),
    ],
)
def test_invalid_silence_is_refused_with_a_hint(service, words, error):
    assert error in service().ask("silence", "add", *words, code=2)


def hold(path, taken):
    """Lock the state for longer than sqlite's timeout."""
    with Store(path) as store, store.transaction():
        taken.set()
        time.sleep(7)


def test_silence_waits_for_a_long_transaction_of_the_service(service):
    service, taken = service(), threading.Event()
    holder = threading.Thread(target=hold, args=(service.state, taken))
    holder.start()
    assert taken.wait(30)
    assert "silence 1" in service.ask("silence", "add", "--all", "--for", "2h", "--comment", "x")
    holder.join()


def test_silence_without_a_state_is_refused(service):
    words = ["silence", "add", "--all", "--for", "2h", "--comment", "x"]
    assert "has the service run?" in service().ask(*words, code=1)


def test_shell_completes_incidents_and_silences(service, hook):
    service = service(f"json://127.0.0.1:{hook.port}/")
    service.certificate()
    service.start()
    until(lambda: service.deliveries() == [("opened", "sent")])
    service.ask("silence", "add", "--cause", "expired", "--for", "2h", "--comment", "known")

    def offered(words):
        done = subprocess.run(
            [sys.executable, "-c", "from certmedic.cli import main; main(prog_name='certmedic')"],
            env={
                **os.environ,
                "PYTHONPATH": str(AGENT),
                "_CERTMEDIC_COMPLETE": "zsh_complete",
                "COMP_WORDS": words,
                "COMP_CWORD": str(len(words.split())),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    config = f"--config {service.home}/certmedic.toml"
    assert "1\nopen, expired, own" in offered(f"certmedic show {config} ")
    assert "1\nopen, expired, own" in offered(f"certmedic approve {config} ")
    assert "1\ncause expired, known" in offered(f"certmedic silence expire {config} ")
    assert offered("certmedic show --config /nowhere.toml ").strip() == ""


@pytest.mark.parametrize(
    ("conditions", "quiet"),
    [
        ({"cause": "expired"}, True),
        ({"plane": "kops"}, True),
        ({"file": "*/peers/me.crt"}, True),
        ({"cause": "expired", "plane": "kops", "file": f"{VOLUME}/*"}, True),
        ({}, True),
        ({"cause": "ca_expired"}, False),
        ({"plane": "kubeadm"}, False),
        ({"file": "*/server.crt"}, False),
        ({"cause": "expired", "plane": "kubeadm"}, False),
        ({"starts_at": NOW + timedelta(hours=1)}, False),
    ],
)
def test_silence_covers_only_an_incident_that_meets_all_its_conditions(lab, conditions, quiet):
    lab = lab(mode="notify")
    lab.hush(**conditions)
    for _ in range(10):
        lab.step(REFUSED)
    assert lab.world.kinds() == ([] if quiet else ["opened"])
    assert any(event["what"] == "silenced" for event in lab.store.events(1)) is quiet


def test_silence_of_one_file_does_not_cover_an_incident_with_two_files(lab):
    lab = lab(member(peer_ends=NOW - DAY, server_ends=NOW - DAY), mode="notify")
    lab.hush(file="*/peers/me.crt")
    for _ in range(10):
        lab.step(REFUSED)
    assert lab.world.kinds() == ["opened"]


def test_silenced_incident_is_cured_and_resolved_without_messages(lab):
    lab = lab()
    lab.hush(cause="expired")
    for _ in range(5):
        lab.step(REFUSED)
    lab.go(30)
    assert len(lab.world.restarts) == 1
    assert [i.state for i in lab.incidents()] == ["resolved"]
    assert lab.world.sent == []
    assert lab.store.messages() == []
    reasons = [event["said"] for event in lab.store.events(1) if event["what"] == "silenced"]
    assert reasons == ["by alice until 2026-11-24 17:40:00 UTC: known (silence 1)"]
    assert {f["CERTMEDIC_EVENT"] for f in lab.world.journal} >= {"opened", "intent", "acted", "resolved"}


def test_open_incident_is_announced_once_when_its_silence_ends(lab):
    lab = lab(mode="notify")
    lab.hush(hours=7, cause="expired")
    for _ in range(8 * 12):
        lab.step(seconds=300)
    assert lab.world.kinds() == ["opened"]


def test_action_that_failed_during_a_silence_is_reported_when_the_silence_ends(lab):
    lab = lab(renews=False)
    lab.hush(hours=0.1, cause="expired")
    for _ in range(120):
        lab.step(REFUSED)
    assert [i.state for i in lab.incidents()] == ["escalated"]
    assert lab.world.sent == []
    for _ in range(30):
        lab.step(seconds=30)
    assert lab.world.kinds() == ["escalated"]


def test_silence_holds_back_reminders_but_not_the_end_of_an_announced_incident(lab):
    lab = lab(mode="notify")
    for _ in range(5):
        lab.step(REFUSED)
    lab.hush(hours=20)
    for _ in range(13):
        lab.step(seconds=3600)
    lab.world.files = member()
    lab.go(30)
    assert lab.world.kinds() == ["opened", "resolved"]


# ---------------------------------------------------------------- maintenance windows

SUNDAY = datetime(2026, 11, 29, 2, 0, tzinfo=UTC)
EVERY_SUNDAY = {"maintenance": (window.parse("Sun 02:00-04:00 UTC"),)}


def test_incident_in_a_maintenance_window_is_announced_after_the_window(lab):
    lab = lab(member(peer_ends=SUNDAY - DAY), mode="notify", notify=EVERY_SUNDAY)
    lab.now = SUNDAY + timedelta(minutes=5)
    for _ in range(11):
        lab.step(REFUSED, seconds=600)
    assert lab.world.sent == []
    assert [i.state for i in lab.incidents()] == ["open"]
    reasons = [event["said"] for event in lab.store.events(1) if event["what"] == "silenced"]
    assert reasons == ["maintenance window Sun 02:00-04:00 UTC, until 2026-11-29 04:00:00 UTC"]
    for _ in range(3):
        lab.step(seconds=600)
    assert lab.world.kinds() == ["opened"]


def test_incident_cured_within_a_maintenance_window_sends_no_message(lab):
    lab = lab(member(peer_ends=SUNDAY - DAY), notify=EVERY_SUNDAY)
    lab.now = SUNDAY + timedelta(minutes=5)
    lab.kill()
    for _ in range(5):
        lab.step(REFUSED)
    lab.go(30)
    assert len(lab.world.restarts) == 1
    assert [i.state for i in lab.incidents()] == ["resolved"]
    assert lab.store.messages() == []


def test_end_of_an_announced_incident_is_sent_within_a_maintenance_window(lab):
    lab = lab(member(peer_ends=SUNDAY - 3 * DAY), mode="notify", notify=EVERY_SUNDAY)
    lab.now = SUNDAY - timedelta(minutes=5)
    for _ in range(5):
        lab.step(REFUSED)
    assert lab.world.kinds() == ["opened"]
    lab.step(seconds=600)
    lab.world.files = tuple(replace(file) for file in member())
    lab.go(30)
    assert lab.world.kinds() == ["opened", "resolved"]


def test_commands_and_login_line_show_a_maintenance_window(service, hook, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    always = 'wall = false\nmaintenance = ["00:00-12:00 UTC", "12:00-00:00 UTC"]'
    service = service(f"json://127.0.0.1:{hook.port}/", notify=always, environ={"RUNTIME_DIRECTORY": str(run)})
    service.certificate()
    service.start()
    until(lambda: "watching" in service.log)
    until(lambda: json.loads(service.ask("incidents", "--json"))["incidents"])
    until(lambda: "silenced" in service.ask("show", "1").partition("story")[2])
    assert re.search(r"silenced +maintenance window (00:00-12|12:00-00):00 UTC, until ", service.ask("show", "1"))
    assert "maintenance window" in service.ask("status")
    (window,) = json.loads(service.ask("status", "--json"))["maintenance"]
    assert window["window"] in ("00:00-12:00 UTC", "12:00-00:00 UTC")
    assert "open, silenced" in service.ask("incidents")
    motd = run / "motd"
    until(lambda: motd.exists() and "silenced, maintenance window, until" in motd.read_text())
    assert service.deliveries() == []
    assert hook.requests == []
