"""The files by which systemd announces a shutdown."""

import os
from datetime import UTC, datetime

import pytest

from certmedic.edge.facts.shutdown import NOLOGIN, SCHEDULED, shutdown_at

TEXT = b"USEC=1764440000000000\nWARN_WALL=1\nMODE=reboot\n"
AT = datetime(2025, 11, 29, 18, 13, 20, tzinfo=UTC)


@pytest.fixture
def run(tmp_path):
    (tmp_path / SCHEDULED).parent.mkdir(parents=True)
    return tmp_path


def test_scheduled_shutdown_and_one_that_has_begun_are_read(run):
    assert shutdown_at(str(run)) is None
    (run / SCHEDULED).write_bytes(TEXT)
    assert shutdown_at(str(run)) == AT
    (run / NOLOGIN).touch()
    os.utime(run / NOLOGIN, (5, 5))
    assert shutdown_at(str(run)) == datetime.fromtimestamp(5, UTC)


@pytest.mark.parametrize("text", [b"", b"USEC=soon\n", b"USEC=" + b"9" * 18, b"\xff" * 9])
def test_file_without_a_time_announces_nothing(run, text):
    (run / SCHEDULED).write_bytes(text)
    assert shutdown_at(str(run)) is None
