"""Equal lines make one fold, and a line from several sources counts once."""

from datetime import timedelta

import pytest

from certmedic import tally
from certmedic.core import echo, symptoms
from certmedic.core.verdict import survey
from certmedic.edge.store import Store
from labs.played import REFUSED, REFUSING
from labs.values import DAY, NOW, entry, facts, member

MINUTE = timedelta(minutes=1)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "state") as state, state.transaction():
        yield state


def sighting(text=REFUSED, *, port=41000, **more):
    return symptoms.parse(entry(text.format(port), **more))


def counted(folds, line):
    seen = folds.lines_of(line.fold) or folds.begin(line.fold, line)
    seen.count(1, line.entry.time, line.entry.time)
    return seen


def is_echo(lines, line):
    return not lines.new_arrivals(echo.words(line), line.entry.stream)


@pytest.mark.parametrize(
    "minutes",
    [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)],  # a source may lag behind by any time
)
def test_fold_spans_its_lines_in_any_order(store, minutes):
    folds = tally.Tally(store)
    for minute in minutes:
        seen = counted(folds, sighting(at=NOW + minute * MINUTE))
    assert (seen.first, seen.last, seen.total) == (NOW, NOW + 2 * MINUTE, 3)


@pytest.mark.parametrize(("before", "is_due"), [(NOW - MINUTE, False), (NOW, True), (NOW + MINUTE, True)])
def test_fold_is_judged_again_once_its_last_diagnosis_is_old_enough(store, before, is_due):
    folds = tally.Tally(store)
    assert folds.is_due(sighting().fold, before)
    counted(folds, sighting()).diagnosed_at = NOW
    assert folds.is_due(sighting().fold, before) is is_due
    assert folds.is_due(sighting(REFUSING).fold, before)


def test_fold_is_new_until_it_is_counted_and_after_it_is_forgotten(store):
    folds = tally.Tally(store)
    assert folds.is_new(sighting().fold)
    own, _ = store.open_incident(survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())[0], now=NOW)
    counted(folds, sighting()).incident = own.id
    counted(folds, sighting(REFUSING))
    assert not folds.is_new(sighting().fold)
    folds.forget(own.id)
    assert store.incidents()[0].count == 1
    assert (folds.is_new(sighting().fold), folds.is_new(sighting(REFUSING).fold)) == (True, False)
    folds.forget()
    assert folds.is_new(sighting(REFUSING).fold)


@pytest.mark.parametrize(("most", "is_kept"), [(1, True), (0, False)])
def test_number_of_folds_in_memory_is_limited(store, monkeypatch, most, is_kept):
    monkeypatch.setattr(tally, "REMEMBERED_FOLDS", most)
    folds = tally.Tally(store)
    counted(folds, sighting())
    folds.write_counts()
    assert folds.is_new(sighting().fold) is not is_kept


@pytest.mark.parametrize("most", [1, 0])  # 0: nothing stays in memory, so the store is read
def test_copy_from_another_source_is_deduplicated_after_the_commit(store, monkeypatch, most):
    monkeypatch.setattr(tally, "REMEMBERED_LINES", most)
    lines = tally.Tally(store)
    assert not is_echo(lines, sighting(stream="journal"))
    lines.write_lines(NOW)
    assert is_echo(lines, sighting(stream="docker:a"))
    assert not is_echo(lines, sighting(stream="docker:a"))
    lines.write_lines(NOW)
    assert is_echo(lines, sighting(stream="journal"))


@pytest.mark.parametrize(("minutes", "is_kept"), [(60, True), (62, False)])
def test_fold_is_forgotten_an_hour_after_its_last_diagnosis(store, minutes, is_kept):
    folds = tally.Tally(store)
    counted(folds, sighting()).diagnosed_at = NOW
    folds.write_counts()
    folds.write_lines(NOW + minutes * MINUTE)
    assert folds.is_new(sighting().fold) is not is_kept


def test_lines_leave_the_memory_after_a_minute(store):
    lines = tally.Tally(store)
    lines.write_lines(NOW)
    assert not is_echo(lines, sighting(stream="journal"))
    lines.write_lines(NOW + MINUTE / 2)
    assert len(lines._lines) == 1
    lines.write_lines(NOW + MINUTE)
    assert len(lines._lines) == 0
    assert is_echo(lines, sighting(stream="docker:a"))
