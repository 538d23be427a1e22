"""When a delivery is retried, which expiry warnings are due, and when files count as renewed."""

from __future__ import annotations

from datetime import timedelta

from certmedic.core import message, verdict
from certmedic.core.model import (
    Facts,
)
from labs import values
from labs.values import NOW

HOST = "master-a"


def test_retries_back_off_to_15_minutes_and_end_after_a_day():
    pauses = [(message.retry_at(n, NOW, NOW) - NOW).total_seconds() for n in range(40)]
    assert 5 <= pauses[0] <= 6
    assert all(5 * 2**n <= pauses[n] <= 5 * 2**n * 1.2 for n in range(7))
    assert all(900 <= pause <= 1080 for pause in pauses[8:])
    assert message.retry_at(3, NOW, NOW - timedelta(hours=24)) is not None
    assert message.retry_at(3, NOW, NOW - timedelta(hours=24, seconds=1)) is None
    assert message.retry_at(3, NOW, NOW + timedelta(hours=2)) > NOW  # the clock was set back


def test_message_is_tried_about_100_times_in_a_day_without_network():
    now, attempts = NOW, 0
    while (again := message.retry_at(attempts, now, NOW, key="12abc")) is not None:
        now, attempts = again, attempts + 1
    assert 80 <= attempts <= 110


def test_channels_that_fail_together_retry_at_different_times():
    assert len({message.retry_at(8, NOW, NOW, key=key) for key in ("1a", "1b", "1c", "2a", "2b")}) > 2


def test_files_are_renewed_if_not_after_is_later_in_every_file():
    before = values.facts(values.member(peer_ends=NOW + values.DAY, server_ends=NOW + values.DAY))
    (warning,) = verdict.survey(before, warn_within=timedelta(days=7))
    half = values.facts(values.member(peer_ends=NOW + 700 * values.DAY, server_ends=NOW + values.DAY))
    both = values.facts(values.member(peer_ends=NOW + 700 * values.DAY, server_ends=NOW + 700 * values.DAY))
    assert message.renewed(warning, before)[0] is False
    assert message.renewed(warning, half) == (False, f"{values.VOLUME}/clients/server.crt is not renewed yet")
    good, detail = message.renewed(warning, both)
    assert good
    assert detail.count("2028-10-24 15:40:00 UTC") == 2
    assert message.renewed(warning, Facts(at=NOW, host=HOST))[0] is False  # a missing file is not renewed
