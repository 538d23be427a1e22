"""Positions, incidents, intents and the outbox survive a kill, in whole transactions."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from certmedic.core import codec, verdict
from certmedic.core.decision import History, Policy, decide
from certmedic.core.model import Decision, Diagnosis, Message, MessageKind, Severity, VoterList
from certmedic.edge.store import Store, StoreError, database
from labs import ROOT
from labs.values import DAY, NOW, facts, member

SOON = NOW + timedelta(seconds=1)


def message(kind=MessageKind.OPENED):
    return Message(kind=kind, severity=Severity.CRITICAL, title="t", plain="p", markdown="m", html="h")


HISTORY = History(started_at=NOW - timedelta(hours=1), incident=7)


def diagnosis():
    (expired,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
    return replace(expired, count=3, last_seen=NOW - timedelta(seconds=5))


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "state.sqlite3") as store:
        yield store


@pytest.fixture
def incident(store):
    return store.open_incident(diagnosis(), now=NOW)[0]


def test_values_are_loaded_as_they_were_stored():
    stored = diagnosis()
    policy = Policy(mode="remedy", restart=("etcd-manager",), cooldown=timedelta(0), per_day=1)
    decision = decide(stored, facts(member(peer_ends=NOW - DAY)), HISTORY, policy)

    assert codec.load(Diagnosis, codec.dump(stored)) == stored
    assert codec.load(Decision, codec.dump(decision)) == decision


def test_fields_of_a_later_version_are_ignored():
    text = codec.dump(Decision(reason="r")).replace('"reason"', '"new_in_2030": 1, "reason"')

    assert codec.load(Decision, text) == Decision(reason="r")


def test_positions_survive_a_restart(tmp_path):
    with Store(tmp_path / "s") as store, store.transaction():
        store.settle({"journal": "a", "file:x": "1"})
    with Store(tmp_path / "s") as store, store.transaction():
        store.settle({"journal": "b"})

    with Store(tmp_path / "s") as store:
        assert store.positions() == {"journal": "b", "file:x": "1"}


def test_ended_stream_leaves_no_position(store):
    with store.transaction():
        store.settle({"pod:a": "1", "pod:b": "2"})
    with store.transaction():
        store.settle({"pod:a": None, "pod:c": None})

    assert store.positions() == {"pod:b": "2"}


def test_failed_transaction_changes_nothing(store):
    def fail():
        with store.transaction():
            store.settle({"journal": "a"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert store.positions() == {}


def test_repeated_fault_is_one_incident_until_it_is_resolved(store):
    first, new = store.open_incident(diagnosis(), now=NOW)
    again, newer = store.open_incident(diagnosis(), now=SOON)
    store.resolve(first.id, now=SOON)
    later, newest = store.open_incident(diagnosis(), now=SOON)

    assert (new, newer, newest) == (True, False, True)
    assert first.id == again.id != later.id


def test_ends_that_people_are_to_hear_of_are_those_of_reported_incidents(store, incident):
    store.resolve(incident.id, now=SOON)
    assert store.reported_ends(NOW) == []  # nobody heard of it
    later, _ = store.open_incident(diagnosis(), now=SOON)
    store.announce(later.id, now=SOON)
    assert store.reported_ends(NOW) == []  # it lasts
    store.resolve(later.id, now=SOON)
    for since, ends in ((NOW, [later.id]), (SOON, [later.id]), (SOON + timedelta.resolution, [])):
        assert [each.id for each in store.reported_ends(since)] == ends


def test_each_kind_of_message_except_reminders_is_sent_once(store, incident):
    channels = {"c1": "json://hook"}

    enqueued = [
        store.enqueue(incident.id, message(kind), channels, now=NOW)
        for kind in [MessageKind.OPENED] * 2 + [MessageKind.REMINDER] * 2
    ]

    assert enqueued == [True, False, True, True]


def test_dead_channel_delays_no_other_and_keeps_its_order(store, incident):
    for kind in (MessageKind.OPENED, MessageKind.RESOLVED):
        store.enqueue(incident.id, message(kind), {"dead": "d", "good": "g"}, now=NOW)

    for delivery in store.outbox(now=NOW):
        if delivery.channel == "dead":
            store.undelivered(delivery, "refused", again_at=NOW + timedelta(minutes=1))
        else:
            store.delivered(delivery, now=NOW)

    assert [(d.channel, d.message.kind) for d in store.outbox(now=SOON)] == [("good", "resolved")]
    due = store.outbox(now=NOW + timedelta(minutes=1))
    assert [(d.channel, d.message.kind, d.attempts) for d in due] == [("dead", "opened", 1), ("good", "resolved", 0)]


def test_abandoned_delivery_is_recorded_and_blocks_no_other(store, incident):
    for kind in (MessageKind.OPENED, MessageKind.ESCALATED, MessageKind.RESOLVED):
        store.enqueue(incident.id, message(kind), {"dead": "d"}, now=NOW)
    store.undelivered(store.outbox(now=NOW)[0], "refused for a day", again_at=None)

    assert [d.message.kind for d in store.outbox(now=NOW)] == ["escalated"]
    assert [(m["state"], m["error"]) for m in store.messages(incident.id)] == [
        ("expired", "refused for a day"),
        ("pending", ""),
        ("pending", ""),
    ]


def test_end_of_an_incident_that_a_channel_refused_is_not_sent_to_it(store, incident):
    for kind in (MessageKind.OPENED, MessageKind.RESOLVED):
        store.enqueue(incident.id, message(kind), {"dead": "d", "good": "g"}, now=NOW)
    dead, good = store.outbox(now=NOW)
    store.undelivered(dead, "refused", again_at=None)
    store.delivered(good, now=NOW)

    assert [(d.channel, d.message.kind) for d in store.outbox(now=NOW)] == [("good", "resolved")]


def test_instance_of_alertmanager_keeps_the_time_of_its_last_change(store):
    for minutes, error in ((0, "HTTP 503"), (1, "no answer in time"), (2, ""), (3, "")):
        store.received("am:9093", error, now=NOW + timedelta(minutes=minutes))
        (row,) = store.receivers()
        assert row["error"] == error
        assert datetime.fromisoformat(row["since"]) == NOW + timedelta(minutes=0 if error else 2)


def test_rechecks_are_due_once_each_and_can_be_moved(store):
    store.recheck("incident", 1, NOW)
    store.recheck("incident", 1, SOON)
    store.recheck("inventory", None, NOW)

    assert [(r.kind, r.incident) for r in store.due(now=NOW)] == [("inventory", None)]
    assert store.next_due() == NOW


def test_state_shows_that_another_process_has_written(store):
    with store.transaction():
        store.recheck("inventory", None, NOW)
    before = store.written()
    store.next_due()
    assert store.written() == before
    time.sleep(0.05)  # the kernel's clock of files goes by steps of up to 10 ms
    with Store(store.path) as command, command.transaction():
        command.recheck("digest", None, NOW)
    assert store.written() != before


def test_unresolved_incidents_are_decoded_once_until_something_changes(store, incident, monkeypatch):
    made = []
    load = codec.load
    monkeypatch.setattr(codec, "load", lambda kind, text: (made.append(kind), load(kind, text))[1])

    def seen():
        made.clear()
        return [(i.id, i.announced_at) for i in store.incidents(unresolved=True)], len(made)

    assert seen() == ([(1, None)], 1)
    store.recheck("incident", 1, NOW)
    seen()
    (due,) = store.due(now=NOW)
    store.answer(due, lambda: store.recheck_often("incident", 1, SOON))
    assert seen() == ([(1, None)], 0)

    def undone():
        with store.transaction(), store.savepoint():
            store.announce(1, now=NOW)
            assert seen() == ([(1, NOW)], 1)
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        undone()
    assert seen() == ([(1, None)], 1)
    with Store(store.path) as other:
        other.announce(1, now=SOON)
    assert seen() == ([(1, SOON)], 1)
    assert store.incident(1).announced_at == SOON
    store.resolve(1, now=SOON)
    assert seen() == ([], 0)


@pytest.mark.parametrize("seed", range(5))
def test_unresolved_incidents_are_those_of_the_file_after_any_changes(store, seed):
    """Of this process, of another one, and changes that are undone."""
    dice, made = random.Random(seed), []  # noqa: S311 - the same changes each time

    def change(where):
        match dice.choice(["open", "open", "announce", "escalate", "resolve"]):
            case "open":
                made.append(where.open_incident(replace(diagnosis(), key=f"k/{dice.random()}"), now=NOW)[0])
            case "resolve":
                where.resolve(dice.choice(made).id if made else 1, now=SOON)
            case "escalate":
                where.escalate(dice.choice(made).id if made else 1)
            case _:
                where.announce(dice.choice(made).id if made else 1, now=SOON)

    def undone():
        with store.transaction(), store.savepoint():
            change(store)
            change(store)
            store.incidents(unresolved=True)
            raise ArithmeticError

    for _ in range(60):
        how = dice.random()
        if how < 0.2:
            with contextlib.suppress(ArithmeticError):
                undone()
        elif how < 0.3:
            with Store(store.path) as other:
                change(other)
        else:
            for _ in range(dice.randrange(3)):
                change(store)
        with Store(store.path) as fresh:
            expected = [each for each in fresh.incidents() if each.resolved_at is None]
        assert store.incidents(unresolved=True) == expected
    assert len(expected) > 3


def test_repeated_look_writes_once_and_is_due_at_once_after_a_restart(store):
    with sqlite3.connect(store.path, isolation_level=None) as other:

        def version():
            return other.execute("PRAGMA data_version").fetchone()

        store.recheck_often("incident", 1, NOW)
        before = version()
        for second in range(3):
            (due,) = store.due(now=NOW + timedelta(seconds=second))
            store.answer(due, lambda at=NOW + timedelta(seconds=second + 1): store.recheck_often("incident", 1, at))
        assert version() == before
        assert store.next_due() == NOW + timedelta(seconds=3)

        with Store(store.path) as restarted:
            assert restarted.next_due() == NOW
        other.execute("UPDATE rechecks SET due_at = ?", ((NOW - DAY).isoformat(timespec="microseconds"),))
        assert store.next_due() == NOW - DAY  # a person's command asks for a look


def test_look_that_sets_no_other_time_is_dropped(store):
    store.recheck("incident", 1, NOW)
    store.recheck_often("incident", 2, NOW)
    store.recheck("digest", None, NOW)
    incident, other, digest = store.due(now=NOW)
    store.answer(incident, lambda: None)
    store.answer(other, lambda: store.recheck("incident", 2, NOW))
    store.answer(digest, lambda: store.recheck_by("digest", None, SOON))

    assert [(r.kind, r.incident, r.due) for r in store.due(now=SOON)] == [
        ("incident", 2, NOW),
        ("digest", None, SOON),
    ]
    store.recheck_by("digest", None, SOON + DAY)
    assert len(store.due(now=SOON)) == 2


def test_look_that_fails_leaves_its_recheck_as_it_was(store):
    store.recheck_often("incident", 1, NOW)

    def fail():
        store.recheck_often("incident", 1, SOON)
        raise ValueError

    with pytest.raises(ValueError), store.transaction(), store.savepoint():
        store.answer(store.due(now=NOW)[0], fail)
    assert store.next_due() == NOW


def test_old_resolved_incident_is_dropped_with_its_rows(store, incident):
    store.enqueue(incident.id, message(), {"c": "l"}, now=NOW)
    store.event(incident.id, "opened", "x", now=NOW)
    store.resolve(incident.id, now=NOW)

    store.prune(now=NOW + 91 * DAY)

    assert store.incidents() == []
    assert store.messages() == []
    assert store.events(incident.id) == []


def test_state_of_a_later_version_is_refused_with_a_reason(tmp_path):
    path = tmp_path / "s"
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()

    with pytest.raises(StoreError, match=r"later certmedic \(schema 99"):
        Store(path)


@pytest.mark.parametrize("raw", [b"garbage" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_damaged_state_is_refused_with_its_name(tmp_path, raw):
    path = tmp_path / "s"
    path.write_bytes(raw)

    with pytest.raises(StoreError, match=str(path)):
        Store(path)


def test_state_that_cannot_be_created_is_refused_with_its_name(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="cannot be opened"):
        Store(tmp_path / "file" / "state.sqlite3")


def test_state_is_readable_by_its_owner_only(store):
    assert store.path.stat().st_mode & 0o077 == 0


def test_state_can_be_read_during_a_write(store, tmp_path):
    with store.transaction():
        store.settle({"journal": "a"})
        with Store(store.path, readonly=True) as reader:
            assert reader.positions() == {}

    with Store(store.path, readonly=True) as reader:
        assert reader.positions() == {"journal": "a"}


WRITER = """
import itertools, sys
from pathlib import Path
from certmedic.edge.store import Store
with Store(Path(sys.argv[1])) as store:
    for number in itertools.count(int(store.positions().get("a", 0)) + 1):
        with store.transaction():
            store.settle({"a": str(number)})
            store.settle({"b": str(number)})
"""


@pytest.mark.slow
def test_kill_at_any_moment_leaves_whole_transactions(tmp_path):
    path, last = tmp_path / "s", 0
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], env={**os.environ, "PYTHONPATH": "agent"})
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            time.sleep(0.05)
            if path.exists() and _read(path) > last + 20:
                break
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        with Store(path) as store:
            positions = store.positions()
        assert positions["a"] == positions["b"]
        assert int(positions["a"]) > last
        last = int(positions["a"])


def _read(path):
    try:
        with Store(path, readonly=True) as store:
            return int(store.positions().get("a", 0))
    except (StoreError, sqlite3.Error):
        return 0


def test_survey_gives_the_diagnosis_that_other_tests_use():
    assert [d.cause for d in verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())] == ["expired"]


VERSION_1 = (ROOT / "tests/data/state-1.sql").read_text()


def columns(store):
    """Return {table or index: its columns}, independent of the spelling of the schema."""
    tables = {}
    for kind, name in store._db.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"):
        pragma = "table_info" if kind == "table" else "index_info"
        tables[name] = [tuple(row) for row in store._db.execute(f"PRAGMA {pragma}({name})")]
    return tables


def test_state_of_version_1_is_migrated_and_keeps_its_rows(tmp_path):
    old = sqlite3.connect(tmp_path / "s")
    old.executescript(VERSION_1)
    old.executescript("INSERT INTO positions VALUES ('journal', 'a');PRAGMA user_version = 1;")
    old.close()

    with Store(tmp_path / "s") as store, Store(tmp_path / "new") as new:
        assert store.positions() == {"journal": "a"}
        with store.transaction():
            store.remember({7: {"journal": 2}}, now=NOW)
        assert store.brought(7) == {"journal": 2}
        assert store._db.execute("PRAGMA user_version").fetchone()[0] == database.VERSION
        assert {"lines_by_age", "strangers", "silences"} <= set(columns(new))
        assert columns(store) == columns(new)


def test_state_of_version_1_is_read_by_a_command_before_the_agent_migrates_it(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "s")) as old:
        old.executescript(VERSION_1)
        old.executescript("INSERT INTO positions VALUES ('journal', 'a');PRAGMA user_version = 1;")
    with Store(tmp_path / "s", readonly=True) as store:
        assert store.positions() == {"journal": "a"}
        assert store.receivers() == []
    with contextlib.closing(sqlite3.connect(tmp_path / "s")) as kept:
        assert kept.execute("PRAGMA user_version").fetchone()[0] == 1


def test_members_are_stored_as_etcd_reported_them(tmp_path):
    rosters = {"/me.crt": VoterList(by="boot/7/100", voters=(("a", "10.0.0.1", 2380), ("b", "10.0.0.2", 2380)))}
    with Store(tmp_path / "s") as store:
        store.keep_members({"/me.crt": replace(rosters["/me.crt"], by="before")})
        store.keep_members(rosters)
    with Store(tmp_path / "s") as store:
        assert store.members() == rosters


def test_failed_migration_leaves_the_state_unchanged(tmp_path, monkeypatch):
    old = sqlite3.connect(tmp_path / "s")
    old.executescript(f"{VERSION_1};PRAGMA user_version = 1;")
    old.close()
    monkeypatch.setattr(database, "MIGRATIONS", (("CREATE TABLE new (a)", "no statement"),))

    with pytest.raises(StoreError, match="syntax"):
        Store(tmp_path / "s")

    with contextlib.closing(sqlite3.connect(tmp_path / "s")) as kept:
        assert kept.execute("PRAGMA user_version").fetchone()[0] == 1
        assert kept.execute("SELECT count(*) FROM sqlite_master WHERE name = 'new'").fetchone()[0] == 0


def test_lines_are_remembered_for_two_days_and_up_to_a_limit(store, monkeypatch):
    for number in range(10):
        store.remember({number: {"journal": 1}}, now=NOW + timedelta(hours=number))
    store.prune(now=NOW + timedelta(hours=53))
    assert [number for number in range(10) if store.brought(number)] == [5, 6, 7, 8, 9]
    monkeypatch.setattr("certmedic.edge.store.state.MOST_LINES", 2)
    store.prune(now=NOW)
    assert [number for number in range(10) if store.brought(number)] == [7, 8, 9]
