"""Sources are read by turns: no entry is dropped, every outage is reported once, and none waits for a busy one."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from certmedic.core.model import Item, LogEntry, Progress, SourceDown, SourceUp
from certmedic.edge import roundrobin
from certmedic.edge.roundrobin import RoundRobin, WhenThere
from certmedic.edge.source import AT_ONCE, ONE_TICK, TICK, Pause


def entry(number: int, stream: str = "a") -> LogEntry:
    return LogEntry(stream=stream, position=str(number), time=datetime.now(UTC), text=f"line {number}")


def numbers(items: list[Item]) -> list[int]:
    return [int(item.position) for item in items if isinstance(item, LogEntry)]


class Script:
    """A source that puts `per_run` numbered entries from its position on, then calls `ends` with the number of the run."""

    name = "script"
    required = False

    def __init__(self, ends: Callable[[int], None], per_run: int = 3) -> None:
        self.ends, self.per_run, self.runs, self.resumed = ends, per_run, 0, []

    def reads(self, resume, put):
        self.runs += 1
        last = resume("a")
        self.resumed.append(last)
        for number in range(int(last or 0) + 1, int(last or 0) + 1 + self.per_run):
            put(entry(number))
        self.ends(self.runs)
        while True:
            yield ONE_TICK


def fail(run: int) -> None:
    raise OSError(f"failure {run}")


def run_until(source, done: Callable[[list[Item]], bool], *, positions=None) -> list[Item]:
    items: list[Item] = []
    rounds = RoundRobin([source], positions or {}, items.append)
    deadline = time.monotonic() + 30
    while not done(items):
        assert time.monotonic() < deadline, items
        time.sleep(min(rounds.go_round(), 0.02))
    rounds.close()
    return items


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(roundrobin, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(roundrobin, "LONGEST_PAUSE", 0.2)


def test_first_run_resumes_from_the_stored_position():
    source = Script(lambda run: None)
    items = run_until(source, lambda items: len(items) == 3, positions={"a": "41"})
    assert numbers(items) == [42, 43, 44]


def test_failed_reader_resumes_after_its_last_entry(quick):
    source = Script(fail)
    items = run_until(source, lambda items: len(numbers(items)) >= 12, positions={"a": "7"})
    assert numbers(items)[:12] == list(range(8, 20))
    assert source.resumed[:3] == ["7", "10", "13"]


def test_progress_moves_the_position_to_resume_from(quick):
    class Idle:
        name, required, resumed = "idle", False, []

        def reads(self, resume, put):
            self.resumed.append(resume("a"))
            put(Progress(stream="a", position=f"p{len(self.resumed)}"))
            yield ONE_TICK
            raise OSError("again")

    source = Idle()
    run_until(source, lambda items: len(source.resumed) > 2)
    assert source.resumed[:3] == [None, "p1", "p2"]


def test_ended_stream_leaves_no_position(quick):
    class Ending:
        name, required, resumed = "ending", False, []

        def reads(self, resume, put):
            self.resumed.append(resume("a"))
            put(Progress(stream="a", position=None))
            yield ONE_TICK
            raise OSError("again")

    source = Ending()
    run_until(source, lambda items: len(source.resumed) > 1, positions={"a": "7"})
    assert source.resumed[:2] == ["7", None]


def test_outage_is_reported_once_with_its_first_reason(quick):
    items = run_until(Script(fail), lambda items: len(numbers(items)) >= 15)
    downs = [item for item in items if isinstance(item, SourceDown)]
    assert [(down.source, down.reason) for down in downs] == [("script", "failure 1")]
    assert not [item for item in items if isinstance(item, SourceUp)]


def test_reader_that_returns_unasked_is_an_outage(quick):
    class Quitter:
        name, required = "quitter", True

        def reads(self, resume, put):
            yield ONE_TICK

    items = run_until(Quitter(), lambda items: len(items) > 0)
    assert items == [SourceDown(source="quitter", reason="the reader ended by itself")]


@pytest.mark.slow
def test_recovery_is_reported_once_and_the_next_outage_too(quick):
    class Flaky:
        name, required, runs = "flaky", False, 0

        def reads(self, resume, put):
            self.runs += 1
            if self.runs in {1, 2, 4}:
                raise ConnectionError("gone")
            for number in range(20):
                put(entry(number))
                yield Pause(0.05)
            if self.runs == 3:
                raise ConnectionError("gone again")
            yield Pause(60.0)

    def outages(items: list[Item]) -> list[Item]:
        return [item for item in items if isinstance(item, SourceDown | SourceUp)]

    items = run_until(Flaky(), lambda items: len(outages(items)) == 4 and len(numbers(items)) == 40)
    assert outages(items) == [
        SourceDown(source="flaky", reason="gone"),
        SourceUp(source="flaky"),
        SourceDown(source="flaky", reason="gone again"),
        SourceUp(source="flaky"),
    ]


def test_pauses_grow_up_to_a_limit(monkeypatch):
    waits = []

    def pause(seconds):
        waits.append(seconds)
        return AT_ONCE

    monkeypatch.setattr(roundrobin, "Pause", pause)
    run_until(Script(fail), lambda items: len(waits) == 9)
    for wait, expected in zip(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert 0.8 * expected <= wait <= 1.2 * expected
    assert len(set(waits)) > 6  # jitter


class Steps:
    """A source that makes one pause after each step, and notes what it is sent."""

    required = False

    def __init__(self, pause: Pause, name: str = "steps") -> None:
        self.name, self.pause, self.sent = name, pause, []

    def reads(self, resume, put):
        while True:
            try:
                self.sent.append((yield self.pause))
            except (OSError, ValueError) as error:
                self.sent.append(error)


def test_source_with_much_to_read_leaves_turns_to_the_others():
    busy, idle = Steps(AT_ONCE, "busy"), Steps(Pause(0.05), "idle")
    rounds = RoundRobin([busy, idle], {}, print)
    assert [rounds.go_round() for _ in range(6)] == [0.0] * 6
    assert (len(busy.sent), len(idle.sent)) == (5, 0)
    time.sleep(0.05)
    assert rounds.go_round() == 0.0
    assert (len(busy.sent), len(idle.sent)) == (6, 1)


def test_round_lasts_until_a_source_is_due_and_a_tick_at_most():
    assert 0.0 < RoundRobin([Steps(Pause(0.05)), Steps(Pause(60.0))], {}, print).go_round() <= 0.06
    # A source that looks, or is due after the next tick, goes on with a tick: one wake-up serves all.
    for sources in ([Steps(Pause(60.0))], [], [Steps(Pause(0.05, list))]):
        assert RoundRobin(sources, {}, print).go_round() == pytest.approx(TICK, abs=0.01)
    rounds = RoundRobin([later := Steps(Pause(1.5 * TICK))], {}, print)
    rounds.go_round()
    time.sleep(TICK)
    assert rounds.go_round() == pytest.approx(TICK, abs=0.01)
    time.sleep(TICK)
    rounds.go_round()
    assert later.sent == [None]


def test_source_that_looks_goes_on_once_there_is_something_or_it_is_due():
    new, looked = [], []
    source = Steps(Pause(0.2, lambda: looked.append(1) or new))
    rounds = RoundRobin([source], {}, print)
    for _ in range(3):
        rounds.go_round()
    assert (source.sent, len(looked)) == ([], 2)
    new.append(1)
    rounds.go_round()
    assert source.sent == [True]
    new.clear()
    rounds.go_round()
    assert source.sent == [True]
    time.sleep(0.21)
    rounds.go_round()
    assert source.sent == [True, None]


@pytest.mark.parametrize("kind", [OSError, ValueError])
def test_look_that_fails_is_a_failure_within_the_source(kind):
    def fail():
        raise kind("damaged")

    source = Steps(Pause(60.0, fail))
    rounds = RoundRobin([source], {}, print)
    rounds.go_round()
    rounds.go_round()
    assert [str(sent) for sent in source.sent] == ["damaged"]


def test_close_ends_each_source():
    ended = []

    class Held(Script):
        def reads(self, resume, put):
            try:
                yield ONE_TICK
                yield ONE_TICK
            finally:
                ended.append(self.name)

    rounds = RoundRobin([Held(fail), Held(fail)], {}, print)
    rounds.go_round()
    rounds.close()
    assert ended == ["script", "script"]


def test_source_is_awaited_silently_and_reported_missing_once_it_was_read(tmp_path, monkeypatch):
    monkeypatch.setattr(roundrobin, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(roundrobin, "FIRST_PAUSE", 0.05)
    path = tmp_path / "docker.sock"
    script = Script(lambda run: path.unlink(missing_ok=True) or fail(run))
    source = WhenThere(script, str(path))
    assert not source.there
    appears = time.monotonic() + 0.5

    def done(items):
        if not script.runs:
            assert items == []
            if time.monotonic() > appears:
                path.touch()
        return script.runs >= 3

    items = run_until(source, done)

    assert source.there
    assert numbers(items)[:3] == [1, 2, 3]
    assert [item.reason for item in items if isinstance(item, SourceDown)] == ["failure 1"]


def test_stop_does_not_wait_for_an_absent_source(tmp_path):
    run_until(WhenThere(Script(fail), str(tmp_path / "never")), lambda items: True)
