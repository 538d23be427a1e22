from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from certmedic.core import verdict
from certmedic.core.message import events
from certmedic.core.model import Cause, Decision, MessageKind
from certmedic.edge import service
from labs import ROOT, values
from labs.waiting import until

CATALOG = ROOT / "systemd" / "certmedic.catalog"
UNIT = ROOT / "systemd" / "certmedic.service"


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """A socket like that of systemd; yields a reader of its messages."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield lambda: listener.recv(4096).decode()


@pytest.fixture
def journald(tmp_path):
    """A socket like that of journald; yields its path and a reader of one entry."""
    path = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(5)
        yield path, lambda: parsed(listener.recv(1 << 20))


def parsed(data):
    """Read an entry as journald does: NAME, newline, length in 8 bytes, value, newline."""
    fields = {}
    while data:
        name, _, data = data.partition(b"\n")
        assert re.fullmatch(rb"[A-Z][A-Z0-9_]{0,63}", name)
        (length,) = struct.unpack("<Q", data[:8])
        fields[name.decode()] = data[8 : 8 + length].decode()
        assert data[8 + length : 9 + length] == b"\n"
        data = data[9 + length :]
    return fields


@contextlib.contextmanager
def stderr_as_journal(monkeypatch):
    """Make file descriptor 2 a stream to a journald; yield the other end."""
    ours, theirs = socket.socketpair()
    kept = os.dup(2)
    os.dup2(ours.fileno(), 2)
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    theirs.settimeout(5)
    try:
        yield theirs
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        ours.close()
        theirs.close()


# ---------------------------------------------------------------- systemd


def test_systemd_is_notified_of_every_state(systemd):
    service.notify_ready("mode notify;\nSTATUS=forged")
    assert systemd() == "READY=1\nSTATUS=mode notify; STATUS=forged"
    service.notify_status("3 open")
    assert systemd() == "STATUS=3 open"
    service.watchdog()
    assert systemd() == "WATCHDOG=1"
    service.notify_reloading()
    assert systemd().startswith("RELOADING=1\n")
    service.notify_stopping()
    assert systemd().startswith("STOPPING=1\n")


def test_abstract_socket_is_supported(monkeypatch):
    name = f"certmedic-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert service.notify("WATCHDOG=1")
        assert listener.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("path", [None, "", "/nowhere/at/all", "relative", "vsock:2:1234"])
def test_notification_without_systemd_does_nothing(path, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if path is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", path)
    assert service.notify("WATCHDOG=1") is False
    service.notify_ready("x")


def test_systemd_that_does_not_read_blocks_nothing(systemd):
    started = time.monotonic()
    for _ in range(5000):
        service.watchdog()
    assert time.monotonic() - started < 5
    assert systemd() == "WATCHDOG=1"


@pytest.mark.parametrize(
    ("interval", "whom", "seconds"),
    [
        ("60000000", "mine", 60.0),
        ("60000000", None, 60.0),
        ("500000", "mine", 0.5),
        ("60000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_watchdog_interval_is_that_of_systemd_for_this_process(interval, whom, seconds, monkeypatch):
    for name, value in (("WATCHDOG_USEC", interval), ("WATCHDOG_PID", str(os.getpid()) if whom == "mine" else whom)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert service.watchdog_interval() == seconds


def test_signals_set_their_events():
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        stop, reload = threading.Event(), threading.Event()
        service.stop_on_signals(stop, reload)
        os.kill(os.getpid(), signal.SIGHUP)
        until(reload.is_set)
        assert not stop.is_set()
        for number in (signal.SIGTERM, signal.SIGINT):
            stop.clear()
            os.kill(os.getpid(), number)
            until(stop.is_set)
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


# ---------------------------------------------------------------- the journal


def test_journal_entry_arrives_with_all_its_fields(journald, monkeypatch):
    path, entry = journald
    with stderr_as_journal(monkeypatch):
        service.Journal(path).emit({"MESSAGE": "a\nPRIORITY=0\n", "PRIORITY": "4", "CERTMEDIC_CERT": "/ä\udcff\n\0"})
    assert entry() == {
        "MESSAGE": "a\nPRIORITY=0\n",
        "PRIORITY": "4",
        "CERTMEDIC_CERT": "/ä?\n\0",
        "SYSLOG_IDENTIFIER": "certmedic",
    }


@pytest.mark.parametrize("name", ["prod", ""])
def test_journal_entry_has_the_common_fields_that_have_a_value(journald, monkeypatch, name):
    path, entry = journald
    with stderr_as_journal(monkeypatch):
        service.Journal(path, common=lambda: {"CERTMEDIC_CLUSTER": name}).emit({"MESSAGE": "a"})
    assert {"CERTMEDIC_CLUSTER": entry().get("CERTMEDIC_CLUSTER")} == {"CERTMEDIC_CLUSTER": name or None}


def test_field_of_any_length_fits_into_the_datagram(journald, monkeypatch):
    path, entry = journald
    with stderr_as_journal(monkeypatch):
        service.Journal(path).emit({f"CERTMEDIC_{n}": "ä" * 100_000 for n in range(16)})
    assert all(len(value.encode()) <= 8192 for value in entry().values())


@pytest.mark.slow
def test_hanging_journald_blocks_nothing_and_lost_entries_are_counted(journald, monkeypatch):
    path, entry = journald
    with stderr_as_journal(monkeypatch) as stream:
        journal = service.Journal(path)
        started = time.monotonic()
        for number in range(30_000):  # more than both sockets hold
            journal.emit({"MESSAGE": f"{number} " + "x" * 100})
        assert time.monotonic() - started < 30
        assert journal._lost > 0
        first = entry()  # journald reads again
        assert first["MESSAGE"].startswith("0 ")
        lost = journal._lost
        journal.emit({"MESSAGE": "after"})
        report = entry()
        while report["MESSAGE"] != "after":
            report = entry()
        assert report["CERTMEDIC_LOST"] == str(lost)
        assert stream.recv(100).startswith(b"<6>")  # the fallback was tried


def test_missing_socket_sends_the_line_to_stderr_with_its_priority(tmp_path, monkeypatch):
    with stderr_as_journal(monkeypatch) as stream:
        service.Journal(str(tmp_path / "none")).emit({"MESSAGE": "two\nlines", "PRIORITY": "2"})
        assert stream.recv(100) == b"<2>two lines\n"


def test_line_for_a_terminal_is_not_sent_to_journald(journald, monkeypatch, capsys):
    path, _ = journald
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")  # inherited from the service that started the shell
    service.Journal(path).emit({"MESSAGE": "incident 1\nopened", "PRIORITY": "2"})
    assert capsys.readouterr().err == "certmedic: incident 1 opened\n"


def test_closed_stderr_is_no_error(monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    with Path(os.devnull).open("w") as closed:
        pass
    monkeypatch.setattr(sys, "stderr", closed)
    service.Journal().emit({"MESSAGE": "x"})


# ---------------------------------------------------------------- the catalog


def catalog():
    """Return {MESSAGE_ID: catalog text}."""
    parts = re.split(r"^-- ([0-9a-f]{32})\n", CATALOG.read_text("utf-8"), flags=re.MULTILINE)
    assert len(parts[1::2]) == len(set(parts[1::2]))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_events_and_catalog_entries_match():
    ids = [*events.MESSAGE_IDS.values(), *events.OPENED_IDS.values()]
    assert len(ids) == len(set(ids))
    assert set(ids) == set(catalog())


def test_message_ids_never_change():
    """Operators filter by these ids, so the tests hold a second copy."""
    assert events.MESSAGE_IDS["escalated"] == "eca99ba235ca4bc29a688028c8d0d4e2"
    ids = "".join(f"{name}={events.MESSAGE_IDS[name]}\n" for name in sorted(events.MESSAGE_IDS))
    ids += "".join(f"{cause}={events.OPENED_IDS[cause]}\n" for cause in sorted(events.OPENED_IDS))
    assert ids == (ROOT / "tests" / "data" / "message-ids").read_text("utf-8")


@pytest.mark.parametrize("cause", list(events.OPENED_IDS))
def test_run_book_has_meaning_check_remedy_and_warning(cause):
    text = catalog()[events.OPENED_IDS[cause]]
    for head in (
        "What it means",
        "How to check",
        "What to do",
        "What not to do",
        "certmedic show @CERTMEDIC_INCIDENT@",
    ):
        assert head in text, head
    assert "openssl" in text
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith("Subject: "))


def test_catalog_names_only_fields_that_are_written():
    folder = Path(events.__file__).parent
    source = "".join((folder / name).read_text("utf-8") for name in ("events.py", "requests.py"))
    for text in catalog().values():
        for field in re.findall(r"@([A-Z_]+)@", text):
            assert f'"{field}"' in source, field


@pytest.mark.parametrize("cause", list(events.OPENED_IDS))
@pytest.mark.parametrize(
    "event", ["opened", "intent", *(kind for kind in MessageKind if kind is not MessageKind.DIGEST)]
)
def test_every_field_that_the_catalog_shows_is_always_written(event, cause):
    """journalctl shows the name of a missing field, and `openssl x509 -in CERTMEDIC_CERT` is no usable command."""
    facts = values.facts(values.member(peer_ends=values.NOW - values.DAY))
    (diagnosis,) = verdict.survey(facts, warn_within=values.DAY)
    remedy = replace(diagnosis.remedy, commands=(), why="So it is.")
    poor = replace(diagnosis, cause=cause, certificates=(), evidence=(), since=None, effect="", remedy=remedy)
    outcome = "" if event in ("opened", "reminder") else "It went so."
    poor = replace(
        poor, source="docker" if cause is Cause.BLIND else "", evidence=("gone",) if cause is Cause.BLIND else ()
    )
    fields = events.event_fields(event, poor, incident=1, decision=Decision(reason="because"), outcome=outcome)
    shown = set(re.findall(r"@([A-Z_]+)@", catalog()[fields["MESSAGE_ID"]]))
    assert shown <= set(fields)


@pytest.mark.skipif(shutil.which("journalctl") is None, reason="needs journalctl")
def test_journalctl_accepts_the_catalog(tmp_path):
    folder = tmp_path / "usr/lib/systemd/catalog"
    folder.mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    shutil.copy(CATALOG, folder)
    root = f"--root={tmp_path}"
    done = subprocess.run(["journalctl", root, "--update-catalog"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(["journalctl", root, "--list-catalog"], capture_output=True, text=True, check=True)
    assert {line.split()[0] for line in listed.stdout.splitlines()} == set(catalog())
    assert "certmedic" in listed.stdout


# ---------------------------------------------------------------- the unit


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_verifies_the_unit_without_a_fault(tmp_path):
    text = UNIT.read_text("utf-8").replace("/usr/bin/certmedic", shutil.which("true"))
    text = re.sub(r"^Documentation=man:.*\n", "", text, flags=re.MULTILINE)  # the package installs the page
    (tmp_path / "certmedic.service").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", str(tmp_path / "certmedic.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_unit_has_the_documented_settings():
    lines = UNIT.read_text("utf-8").splitlines()
    for line in (
        "Type=notify",
        "Restart=on-failure",
        "RestartPreventExitStatus=2",
        "ExecStart=/usr/bin/certmedic run",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "StateDirectory=certmedic",
        "ConfigurationDirectory=certmedic",
    ):
        assert line in lines, line
    assert any(line.startswith("WatchdogSec=") for line in lines)
