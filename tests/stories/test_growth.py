"""The memory and open files of the readers do not grow with lines, rotations, files and pods."""

from __future__ import annotations

import ctypes
import gc
import gzip
import os
import shutil
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from certmedic.core.model import LogEntry, SourceDown, SourceStatus
from certmedic.edge.files import FileSource, PodSource, tail
from certmedic.edge.files import source as follow
from certmedic.edge.journal import JournalSource
from certmedic.edge.journal import source as journal
from labs import waiting
from labs.journal import REMOTE, Record, write_journal
from labs.reading import read_on_thread, settle

pytestmark = pytest.mark.slow

NEEDLES = (b"x509:", b"remote error: tls")
ROUNDS = 12
LOOKS = (3, 7, 11)  # rounds after which memory is measured: the first includes all permanent allocations


class _Heap(ctypes.Structure):
    """The result of mallinfo2(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


class Drain:
    """Runs a source as the reader does, counts its entries and keeps none."""

    def __init__(self, source) -> None:
        self.positions: dict[str, str] = {}
        self.entries = 0
        self.idle = 0
        self.down: list[str] = []
        self._stop = threading.Event()
        self._thread = read_on_thread([source], {}, self.put, self._stop)

    def put(self, item) -> None:
        settle(self.positions, [item])
        self.entries += isinstance(item, LogEntry)
        self.idle += isinstance(item, SourceStatus) and not item.lag_seconds
        if isinstance(item, SourceDown):
            self.down.append(item.reason)

    def until(self, entries: int) -> None:
        waiting.until(lambda: self.entries >= entries)
        before = self.idle
        waiting.until(lambda: self.idle >= before + 2)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        assert self.down == []


def kept() -> dict[str, int]:
    """Return the bytes that Python holds for the readers, those that the C library holds, and the number of open files."""
    gc.collect()
    ours = tracemalloc.Filter(inclusive=True, filename_pattern="*/certmedic/edge/*", all_frames=True)
    traces = tracemalloc.take_snapshot().filter_traces([ours]).statistics("filename")
    heap = ctypes.CDLL(None).mallinfo2
    heap.restype = _Heap
    heap_info = heap()
    return {
        "python": sum(trace.size for trace in traces),
        "c": heap_info.uordblks + heap_info.hblkhd,
        "files": len(list(Path("/proc/self/fd").iterdir())),
    }


@contextmanager
def _traced():
    tracemalloc.start(8)
    try:
        yield
    finally:
        tracemalloc.stop()


def grown(drain: Drain, one_round: Callable[[int], int]) -> dict[str, int]:
    """Run rounds, each of which returns the total of entries due; return the smallest growth between two measurements.

    Other memory of the process grows in single steps; a leak grows all the time.
    """
    looks = []
    with _traced():
        for number in range(ROUNDS):
            drain.until(one_round(number))
            if number in LOOKS:
                looks.append(kept())
        drain.stop()
    return {what: min(after[what] - before[what] for before, after in pairwise(looks)) for what in looks[0]}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for module in (journal, follow):
        monkeypatch.setattr(module, "REPORT_EVERY", 0.05)
    monkeypatch.setattr(tail, "LINGER", 0.2)


@pytest.mark.skipif(not Path(REMOTE).exists(), reason="needs systemd-journal-remote")
def test_journal_reader_does_not_grow_over_entries_and_rotations(tmp_path):
    start = int(time.time() * 1e6) - 500_000_000

    def one_round(number: int) -> int:
        # Each round writes a new file and removes the one of three rounds before, so that positions end too.
        write_journal(
            tmp_path / f"{number}.journal",
            [
                Record(
                    message=f"{number} {i} {'x509:' if i % 5 == 0 else 'fine'}".encode(),
                    usec=start + (number * 1000 + i) * 1000,
                    monotonic=3_600_000_000 + (number * 1000 + i) * 1000,
                )
                for i in range(1000)
            ],
        )
        (tmp_path / f"{number - 3}.journal").unlink(missing_ok=True)
        return 200 * (number + 1)

    write_journal(tmp_path / "first.journal", [Record(message=b"fine", usec=start - 1000, monotonic=3_500_000_000)])
    more = grown(Drain(JournalSource(NEEDLES, path=tmp_path)), one_round)

    assert more["files"] <= 0
    assert more["python"] < 10_000
    assert more["c"] < 100_000


def test_file_reader_does_not_grow_over_lines_and_rotations(tmp_path):
    log = tmp_path / "etcd.log"
    log.touch()

    def one_round(number: int) -> int:
        with log.open("a") as file:
            file.writelines(f"{number} {i} {'x509:' if i % 5 == 0 else 'fine'}\n" for i in range(1000))
        (tmp_path / "etcd.log.1").unlink(missing_ok=True)
        if number % 2:
            shutil.copy(log, tmp_path / "etcd.log.1")
            os.truncate(log, 0)
        else:
            log.rename(tmp_path / "etcd.log.1")
            log.touch()
        return 200 * (number + 1)

    drain = Drain(FileSource(NEEDLES, [str(log)], elsewhere=()))
    waiting.until(lambda: drain.idle)
    more = grown(drain, one_round)

    assert more["files"] <= 1
    assert more["python"] < 10_000
    assert more["c"] < 100_000


def test_pod_reader_does_not_grow_over_short_lived_pods(tmp_path):
    def one_round(number: int) -> int:
        for job in range(20):
            folder = tmp_path / f"default_job-{number}-{job}_7f3a" / "job"
            folder.mkdir(parents=True)
            (folder / "0.log").write_text("2026-03-01T03:00:00.123456789Z stderr F x509: bad\n")
        drain.until(20 * (number + 1))
        for folder in tmp_path.glob(f"default_job-{number}-*/job"):
            if folder.parent.name.endswith(("0_7f3a", "5_7f3a")):
                (folder / "0.log.20260301-030405.gz").write_bytes(gzip.compress((folder / "0.log").read_bytes()))
                (folder / "0.log").unlink()
        drain.until(0)
        for folder in tmp_path.glob("default_job-*"):
            shutil.rmtree(folder)
        waiting.until(lambda: drain.positions.keys() <= {"pods"})
        return 20 * (number + 1)

    drain = Drain(PodSource(NEEDLES, tmp_path))
    waiting.until(lambda: drain.idle)
    more = grown(drain, one_round)

    assert drain.entries == 20 * ROUNDS
    assert more["files"] <= 0
    assert more["python"] < 10_000
    assert more["c"] < 100_000
