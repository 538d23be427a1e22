"""The journal reader against journal files that systemd-journal-remote made."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from systemd.journal import Reader

from certmedic.core.model import Progress, SourceDown, Trust
from certmedic.edge.journal import STREAM, JournalSource, fast_reader
from certmedic.edge.journal import source as journal
from certmedic.edge.static_pods import StaticPods
from labs.journal import BOOT, Record, write_journal
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


def test_systemd_python_has_the_fast_calls():
    """If this test fails, systemd-python has renamed a call: the reader still works, at a fifth of its speed."""
    for name in ("_next", "_get", "_get_cursor", "_get_realtime"):
        assert callable(getattr(Reader, name))


def test_entries_have_time_origin_and_position(tmp_path):
    docker = {
        "_SYSTEMD_UNIT": "docker.service",
        "_SYSTEMD_CGROUP": "/system.slice/docker.service",
        "CONTAINER_NAME": "k8s_etcd_etcd-main-m1_kube-system_3f_0",
    }
    write_journal(tmp_path / "a.journal", [*records(0, 3), *records(3, 2, **docker)])
    with Reading(source(tmp_path)) as reading:
        reading.until_idle()
    first, second, container = reading.entries
    assert (first.text, second.text) == (
        "line 0 x509: certificate has expired",
        "line 2 x509: certificate has expired",
    )
    assert first.time == datetime.fromtimestamp((NOW - 60_000_000) / 1e6, UTC)
    assert first.stream == "journal"
    assert (first.origin.program, first.origin.unit, first.origin.pid) == ("etcd", "etcd.service", 812)
    assert (first.origin.uid, first.origin.trust) == (0, Trust.SYSTEM)
    assert (container.origin.container, container.origin.pod) == (docker["CONTAINER_NAME"], "etcd-main-m1")
    assert (container.origin.namespace, container.origin.trust) == ("kube-system", Trust.CLUSTER)
    assert (reading.status.seen, reading.status.matched, reading.status.lag_seconds) == (5, 3, 0.0)


def test_public_and_fast_calls_read_the_same_entries(tmp_path, monkeypatch):
    write_journal(
        tmp_path / "a.journal",
        [*records(0, 9), Record(message=b"\xff\xfe x509: \x00", usec=NOW - 1000, fields={"_PID": "7"})],
    )
    with Reading(source(tmp_path)) as fast:
        fast.until_idle()
    monkeypatch.setattr(fast_reader, "FastSteps", lambda reader: reader.no_such_call)
    with Reading(source(tmp_path)) as public:
        public.until_idle()
    assert len(fast.entries) == 6
    assert public.entries == fast.entries
    assert public.positions == fast.positions


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("every", [1, 7, 1000])
def test_batch_size_does_not_change_the_entries(tmp_path, monkeypatch, every, public):
    monkeypatch.setattr(journal, "BATCH", 10)
    if public:
        monkeypatch.setattr(fast_reader, "FastSteps", lambda reader: reader.no_such_call)
    wanted = [
        Record(
            message=f"line {n} {'x509:' if n % every == 3 % every else 'fine'}".encode() if n != 5 else None,
            usec=NOW - 9_000_000 + n * 1000,
            monotonic=3_600_000_000 + n * 1000,
            fields={"SYSLOG_IDENTIFIER": "etcd"},
        )
        for n in range(3000)
    ]
    write_journal(tmp_path / "a.journal", wanted[:1700])
    write_journal(tmp_path / "b.journal", wanted[1700:])
    with Reading(source(tmp_path)) as reading:
        reading.until(lambda: reading.statuses and reading.status.seen >= 3000)
        reading.until_idle()
    assert seen(reading) == [n for n in range(3000) if n % every == 3 % every and n != 5]
    assert reading.status.seen == 3000
    for position in (reading.entries[len(reading.entries) // 2].position, reading.entries[-1].position):
        with Reading(source(tmp_path), {STREAM: position}) as again:
            again.until_idle()
        assert again.texts == reading.texts[[e.position for e in reading.entries].index(position) + 1 :]


def test_entries_are_read_singly_after_a_failed_seek(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "BATCH", 10)
    write_journal(tmp_path / "a.journal", records(0, 2000))

    # Some versions of libsystemd do not find the entry of a cursor (systemd issue 31516).
    monkeypatch.setattr(Reader, "test_cursor", lambda self, cursor: False)
    with Reading(source(tmp_path)) as reading:
        reading.until(lambda: len(reading.entries) >= 1000)
        reading.until_idle()
    assert seen(reading) == list(range(0, 2000, 2))
    assert reading.outages == []


def test_second_run_resumes_after_the_last_stored_entry(tmp_path):
    write_journal(tmp_path / "a.journal", records(0, 11))
    with Reading(source(tmp_path)) as first:
        first.until_idle()
    write_journal(tmp_path / "a.journal", records(11, 10))
    with Reading(source(tmp_path), first.positions) as second:
        second.until_idle()
    assert seen(first) + seen(second) == list(range(0, 21, 2))


def test_position_between_two_entries_resumes_there(tmp_path):
    write_journal(tmp_path / "a.journal", records(0, 20))
    with Reading(source(tmp_path)) as first:
        first.until_idle()
    for entry in first.entries:
        with Reading(source(tmp_path), {STREAM: entry.position}) as again:
            again.until_idle()
        assert seen(first) == [n for n in seen(first) if n <= int(entry.text.split()[1])] + seen(again)


def test_position_moves_without_a_match(tmp_path):
    write_journal(tmp_path / "a.journal", records(1, 1))
    with Reading(source(tmp_path)) as reading:
        reading.until(lambda: reading.positions.get(STREAM))
        assert json.loads(reading.positions[STREAM])["usec"] == records(1, 1)[0].usec
        reading.until_idle()
    assert [type(item) for item in reading.items].count(Progress) == 1


def test_first_run_looks_back_ten_minutes(tmp_path):
    write_journal(tmp_path / "a.journal", [*records(0, 5, usec=NOW - 700_000_000), *records(6, 5)])
    with Reading(source(tmp_path)) as reading:
        reading.until_idle()
    assert seen(reading) == [6, 8, 10]


def test_first_run_reads_new_entries_that_are_dated_in_the_past(tmp_path):
    # The clock was ahead at boot and was then set back: new entries are older than ten minutes ago.
    write_journal(tmp_path / "a.journal", records(0, 5, usec=NOW - 7200_000_000))
    with Reading(source(tmp_path)) as reading:
        reading.until_idle()
        write_journal(tmp_path / "a.journal", records(6, 5, usec=NOW - 7100_000_000))
        reading.until(lambda: len(reading.entries) == 3)
    assert seen(reading) == [6, 8, 10]


def test_entries_of_all_boots_are_read(tmp_path):
    write_journal(tmp_path / "a.journal", records(0, 4))
    with Reading(source(tmp_path)) as first:
        first.until_idle()
    # The machine rebooted at 3 a.m. and logged entries before and after.
    write_journal(tmp_path / "a.journal", records(4, 4))
    write_journal(tmp_path / "b.journal", records(8, 4, boot="0" * 31 + "2"))
    with Reading(source(tmp_path), first.positions) as second:
        second.until_idle()
    assert seen(second) == [4, 6, 8, 10]


def test_rotation_and_vacuum_while_reading_lose_no_entry(tmp_path):
    write_journal(tmp_path / "a.journal", records(0, 10))
    with Reading(source(tmp_path)) as reading:
        reading.until_idle()
        write_journal(tmp_path / "b.journal", records(10, 10))
        reading.until(lambda: len(reading.entries) == 10)
        (tmp_path / "a.journal").unlink()  # removed by a vacuum
        reading.until_idle()
        write_journal(tmp_path / "b.journal", records(20, 10))
        reading.until(lambda: len(reading.entries) == 15)
        reading.until_idle()
    assert seen(reading) == list(range(0, 30, 2))
    assert reading.outages == []


def test_journal_file_that_cannot_be_opened_is_tried_again(tmp_path):
    # journald archives a file in two steps; this is the state between them.
    write_journal(tmp_path / "a.journal", records(0, 10))
    with Reading(source(tmp_path)) as first:
        first.until_idle()
    (tmp_path / "aside").mkdir()
    whole = write_journal(tmp_path / "aside" / "b.journal", records(10, 10)).read_bytes()
    (tmp_path / "b.journal").write_bytes(whole[: len(whole) // 2])
    write_journal(tmp_path / "c.journal", records(20, 10))
    with Reading(source(tmp_path), first.positions) as second:
        time.sleep(1)
        assert second.entries == []
        # Another process writes: the reader takes files that this process has open for files of libsystemd.
        command = ["sh", "-c", 'cat >> "$0"', str(tmp_path / "b.journal")]
        subprocess.run(command, input=whole[len(whole) // 2 :], check=True)
        second.until(lambda: len(second.entries) == 10)
        second.until_idle()
    assert seen(second) == list(range(10, 30, 2))
    assert second.status.detail == ""


def test_file_that_is_no_journal_is_reported_and_hides_no_other(tmp_path):
    write_journal(tmp_path / "a.journal", records(0, 10))
    (tmp_path / "b.journal").write_text("no journal at all")
    with Reading(source(tmp_path)) as reading:
        reading.until(lambda: len(reading.entries) == 5)
        reading.until_idle()
        assert f"{tmp_path}/b.journal cannot be opened" in reading.status.detail
        began = time.monotonic()
        write_journal(tmp_path / "c.journal", records(10, 10))
        reading.until(lambda: len(reading.entries) == 10)
        assert time.monotonic() - began < 4  # the reader does not wait for it again
    assert reading.outages == []


def test_dead_cursor_falls_back_to_time_and_reports_the_gap(tmp_path):
    write_journal(tmp_path / "a.journal", records(0, 10))
    with Reading(source(tmp_path)) as first:
        first.until_idle()
    (tmp_path / "a.journal").unlink()
    write_journal(tmp_path / "b.journal", records(100, 10, usec=NOW - 30_000_000))
    with Reading(source(tmp_path), first.positions) as second:
        second.until_idle()
    assert seen(second) == [100, 102, 104, 106, 108]
    assert (
        "is gone from the journal; what was written in the 30 s after it may have been missed" in second.status.detail
    )


def test_entry_moved_to_another_file_is_not_read_again(tmp_path):
    # A flush from /run to /var gives the same entries new sequence numbers, so that the cursor is dead.
    write_journal(tmp_path / "a.journal", records(0, 11))
    with Reading(source(tmp_path)) as first:
        first.until_idle()
    (tmp_path / "a.journal").unlink()
    write_journal(tmp_path / "b.journal", [*records(0, 11), *records(11, 4)])
    with Reading(source(tmp_path), first.positions) as second:
        second.until_idle()
    assert seen(second) == [12, 14]
    assert second.status.detail == ""


def test_journal_ending_before_the_position_is_read_from_its_end_and_reported(tmp_path):
    write_journal(tmp_path / "a.journal", records(0, 10))
    with Reading(source(tmp_path)) as first:
        first.until_idle()
    (tmp_path / "a.journal").unlink()
    write_journal(tmp_path / "b.journal", records(10, 10, usec=NOW - 3600_000_000))
    with Reading(source(tmp_path), first.positions) as second:
        second.until_idle()
        assert second.entries == []
        assert "read from its end on" in second.status.detail
        write_journal(tmp_path / "b.journal", records(20, 10, usec=NOW - 3500_000_000))
        second.until(lambda: len(second.entries) == 5)
    assert seen(second) == [20, 22, 24, 26, 28]


def test_resume_over_several_files_yields_only_new_entries(tmp_path):
    # After a seek to the end, libsystemd still yields an entry of each file (systemd issue 9934).
    write_journal(tmp_path / "z.journal", records(0, 10))
    with Reading(source(tmp_path)) as first:
        first.until_idle()
    (tmp_path / "z.journal").unlink()
    for number, name in enumerate("abcd"):
        wanted = records(10, 20, usec=NOW - 3600_000_000 + number * 100, step=1000 - number)
        write_journal(tmp_path / f"{name}.journal", wanted)
    with Reading(source(tmp_path), first.positions) as second:
        second.until_idle()
        assert second.entries == []
        write_journal(tmp_path / "b.journal", records(40, 4, usec=NOW - 3500_000_000))
        write_journal(tmp_path / "d.journal", records(44, 4, usec=NOW - 3400_000_000))
        second.until(lambda: len(second.entries) >= 4)
        second.until_idle()
    assert seen(second) == [40, 42, 44, 46]


@pytest.mark.parametrize("stored", ["", "nonsense", "[]", '{"cursor": "rubbish"}', '{"cursor": "a", "usec": "b"}'])
def test_malformed_position_parses_as_none(tmp_path, stored):
    write_journal(tmp_path / "a.journal", records(0, 4))
    with Reading(source(tmp_path), {STREAM: stored}) as reading:
        reading.until_idle()
    assert seen(reading) == [0, 2]


def test_malformed_cursor_falls_back_to_its_time(tmp_path):
    write_journal(tmp_path / "a.journal", records(0, 10))
    stored = json.dumps({"cursor": "rubbish", "usec": records(5, 1)[0].usec})
    with Reading(source(tmp_path), {STREAM: stored}) as reading:
        reading.until_idle()
    assert seen(reading) == [6, 8]


def test_only_configured_units_and_identifiers_are_read(tmp_path):
    write_journal(tmp_path / "a.journal", records(0, 1))
    write_journal(tmp_path / "b.journal", records(2, 1, SYSLOG_IDENTIFIER="kubelet", _SYSTEMD_UNIT="kubelet.service"))
    write_journal(tmp_path / "c.journal", records(4, 1, SYSLOG_IDENTIFIER="sshd", _SYSTEMD_UNIT="ssh.service"))
    for options, expected in (
        ({"units": ("kubelet.service",)}, [2]),
        ({"identifiers": ("etcd", "sshd")}, [0, 4]),
        ({"units": ("kubelet.service",), "identifiers": ("etcd",)}, [0, 2]),
    ):
        with Reading(source(tmp_path, **options)) as reading:
            reading.until_idle()
        assert seen(reading) == expected


def test_own_entries_are_not_read_and_a_stranger_cannot_borrow_the_name(tmp_path):
    mallory = {"_UID": "1000", "_SYSTEMD_UNIT": "session-3.scope", "_SYSTEMD_CGROUP": "/user.slice/session-3.scope"}
    write_journal(
        tmp_path / "a.journal",
        [
            *records(0, 1, _SYSTEMD_UNIT="certmedic.service"),
            *records(2, 1, SYSLOG_IDENTIFIER="certmedic", **mallory),
            *records(4, 1, _PID=str(os.getpid())),  # written before this process began, so by another process
            *records(6, 1, _PID=str(os.getpid()), usec=NOW + 3600_000_000),
            *records(8, 1, usec=NOW + 3601_000_000),
            *records(10, 1, _SYSTEMD_UNIT="certmedic-reader.service", usec=NOW + 3602_000_000),
        ],
    )
    with Reading(source(tmp_path)) as reading:
        reading.until_idle()
    assert seen(reading) == [2, 4, 8]
    assert (reading.entries[0].origin.program, reading.entries[0].origin.trust) == ("certmedic", Trust.STRANGER)


def test_stranger_cannot_claim_a_program_a_container_or_a_pid(tmp_path):
    claims = {
        "SYSLOG_IDENTIFIER": "etcd",
        "_COMM": "etcd",
        "_EXE": "/home/mallory/dockerd",
        "_UID": "1000",
        "_SYSTEMD_UNIT": "user@1000.service",
        "_SYSTEMD_CGROUP": "/user.slice/user-1000.slice/user@1000.service/app.slice/docker.service",
        "_TRANSPORT": "journal",
        "CONTAINER_NAME": f"k8s_etcd_etcd-main-m1_kube-system_{'a' * 32}_0",
        "CONTAINER_ID_FULL": "b" * 64,
    }
    pods = tmp_path / "manifests"
    pods.mkdir()
    (pods / "etcd.yaml").write_text("metadata:\n  name: etcd-main\n  namespace: kube-system\n")
    write_journal(tmp_path / "a.journal", records(0, 1, **claims))
    with Reading(source(tmp_path, static_pods=StaticPods((str(pods),)))) as reading:
        reading.until(lambda: reading.entries)
    by = reading.entries[0].origin
    assert (by.trust, by.uid) == (Trust.STRANGER, 1000)
    assert (by.container, by.container_id, by.pod, by.namespace, by.pid) == ("", "", "", "", None)


def test_line_of_a_static_pod_has_origin_system(tmp_path):
    dockerd = {
        "_SYSTEMD_UNIT": "docker.service",
        "_SYSTEMD_CGROUP": "/system.slice/docker.service",
        "CONTAINER_NAME": f"k8s_etcd-manager_etcd-manager-main-m1_kube-system_{'a' * 32}_0",
    }
    pods = tmp_path / "manifests"
    pods.mkdir()
    (pods / "etcd.manifest").write_text('{"metadata": {"namespace": "kube-system", "name": "etcd-manager-main"}}')
    tenant = dockerd | {"CONTAINER_NAME": f"k8s_etcd_etcd-manager-main-m1_default_{'a' * 32}_0"}
    write_journal(tmp_path / "a.journal", [*records(0, 1, **dockerd), *records(2, 1, **tenant)])
    with Reading(source(tmp_path, static_pods=StaticPods((str(pods),)))) as reading:
        reading.until(lambda: len(reading.entries) == 2)
    assert [entry.origin.trust for entry in reading.entries] == [Trust.SYSTEM, Trust.STRANGER]


def test_storm_of_processes_gives_one_origin(tmp_path):
    """Otherwise a stranger could start a process per line and have each line parsed as a new kind."""
    storm = [record for n in range(0, 20, 2) for record in records(n, 1, _PID=str(900 + n), _UID="1000")]
    write_journal(tmp_path / "a.journal", [replace(r, fields={**r.fields, "_SYSTEMD_UNIT": "a.scope"}) for r in storm])
    with Reading(source(tmp_path)) as reading:
        reading.until(lambda: len(reading.entries) == 10)
    assert len({entry.origin for entry in reading.entries}) == 1


def test_configured_unit_is_trusted(tmp_path):
    fields = {"_SYSTEMD_UNIT": "our-etcd.service", "_SYSTEMD_CGROUP": "/system.slice/our-etcd.service", "_UID": "998"}
    write_journal(tmp_path / "a.journal", records(0, 1, **fields))
    for options, trust in (({}, Trust.STRANGER), ({"units": ("our-etcd.service",)}, Trust.SYSTEM)):
        with Reading(source(tmp_path, **options)) as reading:
            reading.until(lambda: reading.entries)
        assert reading.entries[0].origin.trust is trust


def test_binary_huge_and_missing_messages_do_no_harm(tmp_path):
    huge = b"x509: " + b"y" * 300_000
    write_journal(
        tmp_path / "a.journal",
        [
            Record(message=b"a\xff\xfe\x00\x1b[31m x509: b", usec=NOW - 5000),
            Record(message=huge, usec=NOW - 4000),
            Record(message=None, usec=NOW - 3000, fields={"_PID": "1"}),
            Record(message=b"x509: first\nremote error: tls second\n", usec=NOW - 2000),
            Record(message=b"", usec=NOW - 1000),
        ],
    )
    with Reading(source(tmp_path)) as reading:
        reading.until_idle()
    binary, large, two = reading.texts
    assert binary == "a\ufffd\ufffd\x00\x1b[31m x509: b"
    assert len(large) <= 64 * 1024
    assert large.startswith("x509: yyy")
    assert two == "x509: first remote error: tls second"
    assert reading.status.seen == 5


def test_missing_journal_is_an_outage_until_a_journal_appears(tmp_path):
    with Reading(source(tmp_path)) as reading:
        reading.until(lambda: reading.outages)
        (down,) = reading.outages
        assert isinstance(down, SourceDown)
        assert f"no journal file can be read in {tmp_path}" in down.reason
        write_journal(tmp_path / "a.journal", records(0, 4))
        reading.until(lambda: len(reading.entries) == 2)
        reading.until(lambda: len(reading.outages) == 2)
    assert seen(reading) == [0, 2]


def test_missing_journal_folder_is_an_outage_with_a_reason(tmp_path):
    with Reading(source(tmp_path / "nowhere")) as reading:
        reading.until(lambda: reading.outages)
    assert "nowhere" in reading.outages[0].reason


@pytest.mark.parametrize("seed", range(6))
def test_damaged_journal_file_hides_no_other(tmp_path, seed):
    """The other files are read, each entry once, and the reader neither dies nor uses much CPU."""
    rng = random.Random(seed)  # noqa: S311 - a seed that can be tried again
    damaged = write_journal(tmp_path / "a.journal", records(0, 400))
    write_journal(tmp_path / "b.journal", records(1000, 10, usec=NOW - 1000_000))
    size = damaged.stat().st_size
    if seed % 2:
        os.truncate(damaged, rng.randrange(8, size))
    else:
        with damaged.open("r+b") as file:
            for _ in range(200):
                file.seek(rng.randrange(size // 4) if seed else rng.randrange(4096))
                file.write(rng.randbytes(16))
    with Reading(source(tmp_path)) as reading:
        reading.until(lambda: 1008 in seen(reading))
        began = time.process_time()
        reading.until_idle()
        assert time.process_time() - began < 2
    lines = seen(reading)
    assert [n for n in lines if n >= 1000] == [1000, 1002, 1004, 1006, 1008]
    assert len(lines) == len(set(lines))


def test_list_of_journal_files_is_followed_too(tmp_path):
    path = write_journal(tmp_path / "a.journal", records(0, 4))
    with Reading(JournalSource(NEEDLES, path=[str(path)])) as reading:
        reading.until_idle()
        write_journal(path, records(4, 4))
        reading.until(lambda: len(reading.entries) == 4)
    assert seen(reading) == [0, 2, 4, 6]


def test_reader_stops_within_seconds(tmp_path):
    write_journal(tmp_path / "a.journal", records(0, 4))
    reading = Reading(source(tmp_path))
    reading.until_idle()
    began = time.monotonic()
    reading.stop()
    assert time.monotonic() - began < 5
