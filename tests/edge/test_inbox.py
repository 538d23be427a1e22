"""The inbox and the guard of the readers: no entry is dropped, and every outage is reported once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from certmedic.core.model import Item, LogEntry, Progress, SourceDown, SourceUp
from certmedic.edge import inbox as inboxes
from certmedic.edge.inbox import Inbox, WhenThere, read_forever, start


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

    def follow(self, resume, put, stop) -> None:
        self.runs += 1
        last = resume("a")
        self.resumed.append(last)
        for number in range(int(last or 0) + 1, int(last or 0) + 1 + self.per_run):
            put(entry(number))
        self.ends(self.runs)
        stop.wait()


def fail(run: int) -> None:
    raise OSError(f"failure {run}")


def run_until(source, done: Callable[[list[Item]], bool], *, inbox: Inbox | None = None, positions=None) -> list[Item]:
    inbox, stop, items = inbox or Inbox(), threading.Event(), []
    (thread,) = start([source], positions or {}, inbox, stop)
    deadline = time.monotonic() + 30
    try:
        while not done(items):
            assert time.monotonic() < deadline, items
            if (item := inbox.get(0.1)) is not None:
                items.append(item)
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
    return items


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(inboxes, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(inboxes, "LONGEST_PAUSE", 0.2)


def test_get_gives_up_after_its_timeout():
    assert Inbox().get(0.01) is None


def test_put_waits_for_room_and_loses_nothing():
    inbox, put_all = Inbox(size=2), threading.Event()

    def fill() -> None:
        for number in range(10):
            inbox.put(entry(number))
        put_all.set()

    threading.Thread(target=fill, daemon=True).start()
    assert not put_all.wait(0.3)
    assert numbers([inbox.get(5) for _ in range(10)]) == list(range(10))
    assert put_all.wait(5)


def test_stop_frees_a_reader_that_waits_for_room():
    inbox, stop = Inbox(size=1), threading.Event()
    source = Script(lambda run: None, per_run=100)
    (thread,) = start([source], {}, inbox, stop)
    time.sleep(0.1)  # the reader now waits for room, or soon will: stop must free it in both cases
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


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

        def follow(self, resume, put, stop) -> None:
            self.resumed.append(resume("a"))
            put(Progress(stream="a", position=f"p{len(self.resumed)}"))
            raise OSError("again")

    source = Idle()
    run_until(source, lambda items: len(source.resumed) > 2)
    assert source.resumed[:3] == [None, "p1", "p2"]


def test_ended_stream_leaves_no_position(quick):
    class Ending:
        name, required, resumed = "ending", False, []

        def follow(self, resume, put, stop) -> None:
            self.resumed.append(resume("a"))
            put(Progress(stream="a", position=None))
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

        def follow(self, resume, put, stop) -> None:
            return

    items = run_until(Quitter(), lambda items: len(items) > 0)
    assert items == [SourceDown(source="quitter", reason="the reader ended by itself")]


@pytest.mark.slow
def test_recovery_is_reported_once_and_the_next_outage_too(quick):
    class Flaky:
        name, required, runs = "flaky", False, 0

        def follow(self, resume, put, stop) -> None:
            self.runs += 1
            if self.runs in {1, 2, 4}:
                raise ConnectionError("gone")
            for number in range(20):
                put(entry(number))
                stop.wait(0.05)
            if self.runs == 3:
                raise ConnectionError("gone again")
            stop.wait()

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
    monkeypatch.setattr(inboxes, "FIRST_PAUSE", 1.0)
    waits = []

    class Stop(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            if len(waits) == 9:
                self.set()
            return self.is_set()

    def follow(resume, put, stop):
        raise OSError("no")

    source = Script(fail)
    source.follow = follow
    read_forever(source, {}, Inbox(), Stop())
    for wait, expected in zip(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert 0.8 * expected <= wait <= 1.2 * expected
    assert len(set(waits)) > 6  # jitter


def test_readers_are_daemons_named_after_their_sources():
    stop = threading.Event()
    (thread,) = start([Script(lambda run: None)], {}, Inbox(), stop)
    assert (thread.daemon, thread.name) == (True, "script")
    stop.set()
    thread.join(10)


def test_source_is_awaited_silently_and_reported_missing_once_it_was_read(tmp_path, monkeypatch):
    monkeypatch.setattr(inboxes, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(inboxes, "FIRST_PAUSE", 0.05)
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
