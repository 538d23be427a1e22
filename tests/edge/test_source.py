"""Checkpoints, status and waiting times that all sources share."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as some

from certmedic.edge.journal.wait import BUSY_TICK, Wait
from certmedic.edge.source import TICK, Status, from_checkpoint, moment, to_checkpoint


def offset(kept) -> int:
    return int(kept["offset"])


@given(some.integers())
def test_checkpoint_is_read_as_it_was_written(number):
    assert from_checkpoint(to_checkpoint(offset=number), offset) == number


@pytest.mark.parametrize(
    "stored",
    [None, "", "null", "{", "[]", "7", '{"offset": "x"}', '{"offset": []}', '{"offset": 1e999}', "[" * 100_000],
)
def test_malformed_checkpoint_reads_as_none(stored):
    assert from_checkpoint(stored, offset) is None


def test_status_reports_a_repeated_trouble_once(caplog):
    status = Status("files", logging.getLogger("lab"))
    for trouble in ("a.log is gone", "a.log is gone", "b.log is gone", "a.log is gone"):
        status.say(trouble)
    status.say("not for the log", log=False)
    assert [record.getMessage() for record in caplog.records] == [
        "files: a.log is gone",
        "files: b.log is gone",
        "files: a.log is gone",
    ]
    status.seen, status.matched = 7, 2
    assert (status.read[0], status.read[1]) == (7, 2)
    assert status.read[2].endswith(" UTC: not for the log")
    report = status.report(lag=-3.0, position="1 file")
    assert (report.source, report.seen, report.matched, report.lag_seconds) == ("files", 7, 2, 0.0)
    assert report.detail == status.detail


def test_moment_prints_the_time_in_utc():
    assert moment(0.0) == "1970-01-01 00:00:00 UTC"


def test_journal_wait_shrinks_at_once_and_grows_slowly():
    wait = Wait()
    assert wait.seconds == TICK
    wait.learn(1.0, 100)  # 100 entries a second
    assert wait.seconds == pytest.approx(0.1)
    wait.learn(1.0, 10_000)
    assert wait.seconds == BUSY_TICK
    wait.learn(0.05, 0)
    assert BUSY_TICK < wait.seconds < 0.1
    wait.learn(1.0, 4)
    assert wait.seconds == TICK
