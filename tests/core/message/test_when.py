"""When a message is tried again, and which forecasts are due."""

from __future__ import annotations

from datetime import timedelta

from certmedic.core import message, verdict
from certmedic.core.model import (
    Facts,
)
from labs import values
from labs.values import NOW

HOST = "master-a"


def test_pauses_double_to_a_quarter_of_an_hour_and_a_message_is_given_up_after_a_day():
    pauses = [(message.retry_at(n, NOW, NOW) - NOW).total_seconds() for n in range(40)]
    assert 5 <= pauses[0] <= 6
    assert all(5 * 2**n <= pauses[n] <= 5 * 2**n * 1.2 for n in range(7))
    assert all(900 <= pause <= 1080 for pause in pauses[8:])
    assert message.retry_at(3, NOW, NOW - timedelta(hours=24)) is not None
    assert message.retry_at(3, NOW, NOW - timedelta(hours=24, seconds=1)) is None
    assert message.retry_at(3, NOW, NOW + timedelta(hours=2)) > NOW  # a clock that was set back


def test_a_day_without_network_costs_few_attempts():
    now, attempts = NOW, 0
    while (again := message.retry_at(attempts, now, NOW, key="12abc")) is not None:
        now, attempts = again, attempts + 1
    assert 80 <= attempts <= 110


def test_channels_that_fail_together_do_not_come_back_together():
    assert len({message.retry_at(8, NOW, NOW, key=key) for key in ("1a", "1b", "1c", "2a", "2b")}) > 2


def test_a_forecast_is_told_once_for_each_threshold():
    def told(days):
        facts = values.facts(values.member(peer_ends=NOW + days * values.DAY))
        (found,) = verdict.survey(facts, warn_within=timedelta(days=30))
        return message.forecast(found, (30, 14, 7), NOW).key.rpartition("|")[2]

    assert [told(days) for days in (29, 14, 13, 6.5, 0.5)] == ["30", "14", "14", "7", "7"]


def test_renewed_is_a_date_that_moved_in_every_file():
    before = values.facts(values.member(peer_ends=NOW + values.DAY, server_ends=NOW + values.DAY))
    (found,) = verdict.survey(before, warn_within=timedelta(days=7))
    half = values.facts(values.member(peer_ends=NOW + 700 * values.DAY, server_ends=NOW + values.DAY))
    both = values.facts(values.member(peer_ends=NOW + 700 * values.DAY, server_ends=NOW + 700 * values.DAY))
    assert message.renewed(found, before)[0] is False
    assert message.renewed(found, half) == (False, f"{values.VOLUME}/clients/server.crt is not renewed yet")
    good, said = message.renewed(found, both)
    assert good
    assert said.count("2028-10-24 15:40:00 UTC") == 2
    assert message.renewed(found, Facts(at=NOW, host=HOST))[0] is False  # a file that is gone was not renewed
