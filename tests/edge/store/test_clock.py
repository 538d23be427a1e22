"""A clock that goes back: no past event lies in the future, and no permission holds too long."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core.model import Severity, Silence
from certmedic.edge.store import Store
from certmedic.edge.store.clock import APPROVAL_HOLDS, HAPPENED
from labs.played import REFUSED, sick
from labs.values import DAY, NOW, member

AHEAD = NOW + 400 * DAY


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s") as opened:
        yield opened


def back(store, now=NOW):
    with store.transaction():
        store.clock_went_back(now, latest=now)


def test_times_of_past_events_are_clamped_to_the_present(lab):
    lab = lab(sick())
    lab.now = AHEAD
    lab.suffer(40)
    lab.store.stranger("uid 1", "expired", "x", times=1, first=AHEAD, last=AHEAD)
    lab.store.source_state("journal", down="x", now=AHEAD)
    lab.store.received("am:9093", "HTTP 503", now=AHEAD)
    for file in (member(peer_ends=AHEAD)[0], member(peer_ends=AHEAD + DAY)[0]):
        lab.store.keep_certificates([replace(file, modified=AHEAD)], now=AHEAD)
    back(lab.store)
    for table, columns in {**HAPPENED, "actions": ("at", "ended_at")}.items():
        rows = lab.store._db.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - names of our own
        assert rows, table
        for row in rows:
            assert all(
                row[column] is None or row[column] <= NOW.isoformat(timespec="microseconds") for column in columns
            )


def test_approval_holds_for_four_hours_at_most(store):
    store._db.execute("PRAGMA foreign_keys = OFF")
    store.approve(1, "jane", until=AHEAD)
    back(store)
    assert store.approved(1, now=NOW + APPROVAL_HOLDS - timedelta(seconds=1)) == "jane"
    assert store.approved(1, now=NOW + APPROVAL_HOLDS) == ""


def silence(starts, hours=2):
    return Silence(
        id=0,
        cause="",
        file="",
        plane="",
        author="a",
        comment="",
        starts_at=starts,
        ends_at=starts + timedelta(hours=hours),
    )


def test_silence_made_while_the_clock_was_ahead_keeps_its_length(store):
    with store.transaction():
        store.silence(silence(AHEAD), now=AHEAD)
        store.silence(silence(NOW + 3 * DAY), now=NOW - DAY)  # planned while the clock was right
    back(store)
    made, planned = store.silences()
    assert (made.starts_at, made.ends_at) == (NOW, NOW + timedelta(hours=2))
    assert planned.starts_at == NOW + 3 * DAY


def test_reset_clears_the_failures_before_it_and_no_later_one(lab):
    lab = lab(sick(), fails="docker says no")
    lab.now = AHEAD
    for _ in range(20):
        lab.step(REFUSED)
    assert lab.store.tripped()
    lab.store.reset("jane", now=lab.now + timedelta(seconds=1))
    back(lab.store, NOW)
    assert lab.store.tripped() == ""


def test_failure_after_a_reset_trips_even_with_both_in_the_future(lab):
    lab = lab(sick(), fails="docker says no")
    lab.now = AHEAD
    lab.store.reset("jane", now=lab.now)
    for _ in range(20):
        lab.step(REFUSED)
    back(lab.store, NOW)
    assert "docker says no" in lab.store.tripped()


def test_delivery_is_retried_soon_after_the_clock_goes_back(lab):
    lab = lab(sick(), mode="notify")
    lab.world.dead = {"good", "other"}
    lab.now = AHEAD
    lab.suffer(10)
    back(lab.store)
    assert lab.store.next_due() <= NOW + timedelta(minutes=20)
    assert [row["label"] for row in lab.store.channels()] == ["json://good", "json://other"]
    assert Severity.CRITICAL in {incident.diagnosis.severity for incident in lab.incidents()}
