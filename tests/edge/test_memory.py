"""Garbage is collected every few minutes, however little of it there is."""

import gc

import pytest

from certmedic.edge.os import memory


@pytest.mark.parametrize(("ticks", "times"), [((0, 299), 1), ((0, 299, 300, 301), 2), ((1000, 1300, 1600), 3)])
def test_garbage_is_collected_every_five_minutes(monkeypatch, ticks, times):
    collected = []
    monkeypatch.setattr(gc, "collect", lambda: collected.append(1))
    collector = memory.Collector()
    for tick in ticks:
        collector.turn(float(tick))
    assert len(collected) == times
