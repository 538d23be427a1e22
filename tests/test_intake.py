"""The items of a turn are sorted: equal lines together, strangers apart, and what sources say of themselves."""

from datetime import timedelta

import pytest

from certmedic import intake, tally
from certmedic.core.model import Progress, SourceUp, Trust
from certmedic.edge.store import Store
from labs.played import OWN_TIME, REFUSED
from labs.values import NOW, entry

SECOND = timedelta(seconds=1)


@pytest.fixture
def counts(tmp_path):
    with Store(tmp_path / "state") as state, state.transaction():
        yield tally.Tally(state)


def intake_of(counts, *, is_own_probe=lambda _: False, faults=None):
    faults = [] if faults is None else faults
    return intake.Intake(counts, is_own_probe, lambda error, what: faults.append((type(error), what)))


def line(text=REFUSED, *, port=40001, seconds=0, stream="journal", **origin):
    return entry(text.format(port), at=NOW + seconds * SECOND, stream=stream, program="etcd", **origin)


def test_equal_lines_are_taken_together_with_their_first_and_last_time(counts):
    lines = [line(OWN_TIME, port=40000 + number, seconds=seconds) for number, seconds in enumerate([5, 9, 2, 5])]
    taken = intake_of(counts).take(lines, NOW)
    (together,) = taken.lines.values()
    assert (together.times, together.first, together.last) == (4, NOW + 2 * SECOND, NOW + 9 * SECOND)
    assert together.entry is lines[0]
    assert [sighting.entry for sighting in taken.new.values()] == [lines[0]]


@pytest.mark.parametrize(
    "other",
    [line(seconds=1), line(stream="docker:a"), line(REFUSED.replace("etcd-a", "etcd-b")), line(pod="etcd-events")],
    ids=["second", "source", "words", "pod"],
)
def test_lines_that_differ_are_taken_apart(counts, other):
    taken = intake_of(counts).take([line(), other, line(port=40002)], NOW)
    assert [lines.times for lines in taken.lines.values()] == [2, 1]


def test_line_of_a_stranger_is_not_parsed(counts):
    forged = line(trust=Trust.STRANGER)
    taken = intake_of(counts).take([forged], NOW)
    assert (taken.strangers, dict(taken.lines), taken.has_lines) == ([forged], {}, True)


def test_line_that_our_own_handshake_caused_is_left_out(counts):
    own = intake_of(counts, is_own_probe=lambda address: address.endswith(":40001"))
    taken = own.take([line(port=40001), line(port=40002)], NOW)
    assert [lines.times for lines in taken.lines.values()] == [1]


def test_position_of_each_source_is_that_of_its_last_item(counts):
    items = [line(), SourceUp(source="docker"), line(stream="docker:a"), Progress(stream="journal", position="9")]
    taken = intake_of(counts).take(items, NOW)
    assert taken.positions == {"journal": "9", "docker:a": items[2].position}
    assert taken.words == [items[1], items[3]]
    assert taken.has_lines
    assert not intake_of(counts).take(items[3:], NOW).has_lines


def test_line_of_no_interest_moves_the_position_alone(counts):
    taken = intake_of(counts).take([line("started at {}")], NOW)
    assert (dict(taken.lines), list(taken.positions), taken.has_lines) == ({}, ["journal"], True)


@pytest.mark.parametrize(("kinds", "left"), [(intake.JUDGED_AT_ONCE, 0), (intake.JUDGED_AT_ONCE + 3, 3)])
def test_turn_ends_with_enough_new_kinds_of_lines(counts, kinds, left):
    lines = [line(REFUSED.replace("etcd-a", f"etcd-{number}")) for number in range(kinds)]
    taken = intake_of(counts).take(lines, NOW)
    assert (len(taken.new), taken.left) == (intake.JUDGED_AT_ONCE, lines[kinds - left :])


def test_kinds_that_were_just_diagnosed_are_not_new(counts):
    first = intake_of(counts).take([line()], NOW)
    ((fold, sighting),) = first.new.items()
    counts.begin(fold, sighting).diagnosed_at = NOW
    assert intake_of(counts).take([line()], NOW + intake.DIAGNOSE_EVERY - SECOND).new == {}
    assert list(intake_of(counts).take([line()], NOW + intake.DIAGNOSE_EVERY).new) == [fold]


def test_line_that_cannot_be_read_is_reported_and_others_are_taken(counts):
    def broken(address):
        if address.endswith(":40001"):
            raise ValueError(address)
        return False

    faults = []
    taken = intake_of(counts, is_own_probe=broken, faults=faults).take([line(port=40001), line(port=40002)], NOW)
    assert [lines.times for lines in taken.lines.values()] == [1]
    assert faults == [(ValueError, "a line")]
