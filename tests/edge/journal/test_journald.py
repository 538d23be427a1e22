"""The journal reader against a real journald."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest
from systemd.journal import Reader

from certmedic.edge.journal import STREAM, JournalSource
from certmedic.edge.journal import source as journal
from labs.journal import BOOT, Journald, Record, start_journald, write_journal
from labs.reading import Reading

NEEDLES = (b"x509:", b"remote error: tls")  # the kernel, for instance, prints x509 without a colon
NOW = int(time.time() * 1e6)
ETCD = {
    "SYSLOG_IDENTIFIER": "etcd",
    "_UID": "0",
    "_PID": "812",
    "_SYSTEMD_UNIT": "etcd.service",
    "_SYSTEMD_CGROUP": "/system.slice/etcd.service",
}


@pytest.fixture(autouse=True)
def _now():
    """Set NOW for each test: a whole test run takes longer than a reader looks back."""
    global NOW  # noqa: PLW0603 - the helpers below count from it
    NOW = int(time.time() * 1e6)


need_remote = pytest.mark.skipif(
    not Path("/lib/systemd/systemd-journal-remote").exists(), reason="needs systemd-journal-remote"
)
pytestmark = [need_remote, pytest.mark.slow]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="journald starts as root only")


def records(first: int, count: int, *, usec: int | None = None, boot: str = BOOT, step: int = 1000, **fields: str):
    """Return `count` records numbered from `first`, `step` microseconds apart; those with an even number hold a needle."""
    usec = NOW - 60_000_000 + first * step if usec is None else usec
    return [
        Record(
            message=f"line {first + i} {'x509: certificate has expired' if (first + i) % 2 == 0 else 'fine'}".encode(),
            usec=usec + i * step,
            monotonic=(usec + i * step - NOW) + 360_000_000_000,
            boot=boot,
            fields={**ETCD, **fields},
        )
        for i in range(count)
    ]


@pytest.fixture(autouse=True)
def _quick_reports(monkeypatch):
    monkeypatch.setattr(journal, "REPORT_EVERY", 0.1)


def seen(reading: Reading) -> list[int]:
    return [int(text.split()[1]) for text in reading.texts]


def source(path: Path, **options) -> JournalSource:
    return JournalSource(NEEDLES, path=path, **options)


@pytest.mark.real
@needs_root
def test_rotation_vacuum_and_restarts_of_journald_lose_no_entry():
    rng = random.Random(7)  # noqa: S311 - a seed that can be tried again
    with start_journald() as journald:
        positions, received, written = {}, [], 0
        reading = Reading(source(journald.volatile))

        for round_ in range(24):
            for _ in range(rng.randrange(1, 60)):
                journald.log(f"line {written} x509:", SYSLOG_IDENTIFIER="etcd")
                journald.log("noise", SYSLOG_IDENTIFIER="kubelet")
                written += 1
            journald.journalctl("--sync")  # a killed journald loses the entries still in its socket
            match rng.choice(["rotate", "restart", "kill", "reader", "vacuum"]) if round_ else "rotate":
                case "rotate":
                    journald.journalctl("--rotate")
                case "vacuum":
                    reading.until_idle()  # a vacuum may delete entries that are not read yet
                    journald.journalctl("--rotate", "--vacuum-files=2")
                case "restart" | "kill" as how:
                    journald.stop(kill=how == "kill")
                    journald.start()
                case "reader":
                    reading.stop()
                    positions, received = reading.positions, received + seen(reading)
                    reading = Reading(source(journald.volatile), positions)
        journald.journalctl("--sync")
        reading.until_idle()
        reading.stop()
        assert received + seen(reading) == list(range(written))
        assert reading.outages == []


@pytest.mark.real
@needs_root
def test_entries_of_the_agent_itself_are_not_read():
    with start_journald() as journald:
        with Reading(source(journald.volatile)) as reading, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.connect(str(journald.socket))
            own.sendall(b"MESSAGE=line 1 x509: of our own\n")
            journald.log("line 2 x509: of another")
            reading.until(lambda: 2 in seen(reading))
        assert seen(reading) == [2]


@pytest.mark.real
@needs_root
def test_journal_of_hundreds_of_files_is_read_once_and_resumed_anywhere():
    with start_journald("RuntimeMaxFiles=1000") as journald:
        for number in range(300):
            journald.log(f"line {number} x509:")
            journald.journalctl("--rotate")
        assert len(list(journald.volatile.rglob("*.journal"))) > 300
        with Reading(source(journald.volatile)) as reading:
            reading.until_idle()
            journald.log("line 300 x509:")
            journald.journalctl("--rotate")
            journald.log("line 301 x509:")
            reading.until(lambda: len(reading.entries) >= 302)
            reading.until_idle()
        assert seen(reading) == list(range(302))
        assert reading.status.detail == ""
        for entry in (reading.entries[0], reading.entries[150], reading.entries[299], reading.entries[301]):
            with Reading(source(journald.volatile), {STREAM: entry.position}) as again:
                again.until_idle()
            assert seen(again) == list(range(int(entry.text.split()[1]) + 1, 302))

        # The reader raises the soft limit of a shell. If the hard limit is too low, it fails before it skips an entry.
        with Beside(journald, "prlimit", "--nofile=100:4096") as reader:
            reader.until(301)
        assert reader.found == list(range(302))
        with Beside(journald, "prlimit", "--nofile=100:200") as reader:
            reader.until_it_fails()
        assert reader.found == []
        assert "files, and this process may open only 100 in all: raise LimitNOFILE= of its unit" in reader.stderr


def test_missing_inotify_is_reported_and_journal_files_are_polled(tmp_path, monkeypatch):
    def refuse(self) -> int:
        raise OSError(
            24, "Too many open files"
        )  # the limit fs.inotify.max_user_instances, shared by all programs of a master

    monkeypatch.setattr(Reader, "fileno", refuse)
    write_journal(tmp_path / "a.journal", records(0, 10))
    with Reading(source(tmp_path)) as reading:
        reading.until_idle()
        write_journal(tmp_path / "b.journal", records(10, 10))
        reading.until(lambda: len(reading.entries) == 10)
        (tmp_path / "a.journal").unlink()
        write_journal(tmp_path / "c.journal", records(20, 10))
        reading.until(lambda: len(reading.entries) == 15)
    assert seen(reading) == list(range(0, 30, 2))
    assert "the kernel gives no inotify (Too many open files)" in reading.status.detail
    assert reading.outages == []


def test_new_journal_files_are_found_after_a_silent_inotify_failure(tmp_path, monkeypatch):
    # With fs.inotify.max_user_watches used up, libsystemd returns a descriptor that never becomes ready.
    monkeypatch.setattr(journal, "LOOK_EVERY", 0.5)
    monkeypatch.setattr(Reader, "process", lambda self: 0)
    write_journal(tmp_path / "a.journal", records(0, 10))
    with Reading(source(tmp_path)) as reading:
        reading.until_idle()
        write_journal(tmp_path / "b.journal", records(10, 10))
        reading.until(lambda: len(reading.entries) == 10)
    assert seen(reading) == list(range(0, 20, 2))


# The reader runs in the mount namespace of journald: it reads the volatile and the persistent journal there.
_READER = """
import json, sys, threading
from certmedic.edge.journal import JournalSource
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
def put(item):
    print(json.dumps([type(item).__name__, getattr(item, "text", "")]), flush=True)
for pause in JournalSource((b"x509:",)).reads(lambda stream: None, put):
    if stop.wait(min(pause.seconds, 0.1)):
        break
"""


class Beside:
    """A child process that reads the journal of this journald; a context manager that stops it at the end."""

    def __init__(self, journald: Journald, *prefix: str) -> None:
        self.found: list[int] = []  # line numbers
        self.stderr = ""  # its standard error
        self._process = subprocess.Popen(
            ["nsenter", f"--target={journald.process.pid}", "--mount", *prefix, sys.executable, "-c", _READER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(journal.__file__).parents[3])},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        rest, self.stderr = self._process.communicate("", timeout=30)
        for line in rest.splitlines():
            self._take(line)

    def until(self, number: int) -> None:
        while number not in self.found:
            line = self._process.stdout.readline()
            assert line, self._process.stderr.read()
            self._take(line)

    def until_it_fails(self) -> None:
        assert self._process.wait(30) != 0

    def _take(self, line: str) -> None:
        kind, text = json.loads(line)
        if kind == "LogEntry":
            self.found.append(int(text.split()[1]))


@pytest.mark.real
@needs_root
def test_journal_that_becomes_persistent_loses_no_entry():
    with start_journald() as journald, Beside(journald) as reader:
        for number in range(60):
            journald.log(f"line {number} x509:")
            if number == 20:
                journald.persistent.mkdir()
                journald.journalctl("--flush")
            if number == 40:
                assert not list(journald.volatile.rglob("*.journal"))
                journald.journalctl("--rotate")
            time.sleep(0.02)
        reader.until(59)
    assert reader.found == list(range(60))
