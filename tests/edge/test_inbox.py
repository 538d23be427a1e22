"""The inbox and sources on threads: no entry is dropped, and whoever puts waits for room."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest

from certmedic.core.model import Item, LogEntry, Progress
from certmedic.edge.inbox import Inbox, on_thread


def entry(number: int, stream: str = "a") -> LogEntry:
    return LogEntry(stream=stream, position=str(number), time=datetime.now(UTC), text=f"line {number}")


def numbers(items: list[Item]) -> list[int]:
    return [int(item.position) for item in items if isinstance(item, LogEntry)]


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


def read(follow, put, resume=lambda stream: None) -> None:
    for pause in on_thread(follow, resume, put, "test"):
        time.sleep(min(pause.seconds, 0.01))


def test_source_on_a_thread_passes_all_its_items_on_before_its_failure():
    items = []

    def follow(resume, put, stop):
        for number in range(5000):
            put(entry(number))
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        read(follow, items.append)
    assert numbers(items) == list(range(5000))


def test_source_on_a_thread_resumes_from_its_last_item_even_before_that_is_passed_on():
    resumed = []

    def follow(resume, put, stop):
        resumed.append(resume("a"))
        put(entry(1))
        put(Progress(stream="b", position="7"))
        resumed.extend((resume("a"), resume("b")))
        put(Progress(stream="b", position=None))
        resumed.append(resume("b"))

    reads = on_thread(follow, {"a": "0"}.get, lambda item: None, "test")
    next(reads)
    deadline = time.monotonic() + 10
    while len(resumed) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert resumed == ["0", "1", "7", None]


def test_close_stops_a_thread_that_waits_for_room():
    ended = threading.Event()

    def follow(resume, put, stop):
        for number in range(100_000):
            if stop.is_set():
                break
            put(entry(number))
        ended.set()

    reads = on_thread(follow, lambda stream: None, lambda item: None, "test")
    next(reads)
    time.sleep(0.1)
    reads.close()
    assert ended.wait(10)
