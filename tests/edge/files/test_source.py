"""Log files that are written, rotated, truncated and removed: real files, a real kernel, no daemon."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import random
import resource
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certmedic.core.model import LogEntry, SourceStatus, Trust
from certmedic.edge.files import FileSource, tail
from certmedic.edge.files import source as follow
from certmedic.edge.files.formats import Plain
from certmedic.edge.files.globs import Watch, expand
from certmedic.edge.files.inotify import Inotify
from certmedic.edge.files.rotation import Content, Position, rotated_names
from labs.reading import Reading, settle
from labs.rotated import Lab

pytestmark = pytest.mark.slow

NEEDLES = (b"x509:", b"remote error: tls")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other users")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(follow, "REPORT_EVERY", 0.1)


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "etcd.log"


def line(number: int) -> str:
    # Like a log line: long, and different at its beginning.
    return f"{number:08} line {number} x509: certificate has expired\n"


def write(path: Path, *wanted: int) -> None:
    with path.open("a") as file:
        file.write("".join(map(line, wanted)))


def numbers(reading: Reading) -> list[int]:
    return [int(text.split()[2]) for text in reading.texts]


def source(log: Path, **options) -> FileSource:
    return FileSource(NEEDLES, [str(log.parent / "etcd*.log")], elsewhere=(), **options)


def ready(reading: Reading) -> Reading:
    """Wait until the reader has opened the existing files."""
    reading.until(lambda: reading.statuses)
    return reading


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_first_scan_leaves_turns_to_other_sources(log):
    logs = [log.with_name(f"etcd{number}.log") for number in range(30)]
    for path in logs:
        write(path, 1)
    items = []
    with contextlib.closing(source(log).reads({}.get, items.append)) as reads:
        pauses = list(itertools.takewhile(lambda pause: pause.seconds == 0.0, reads))
    assert len(pauses) >= len(logs)
    assert [item.position for item in items if isinstance(item, SourceStatus)] == ["30 files"]


# ---------------------------------------------------------------- plain files


def test_old_file_is_read_from_its_end_and_new_file_from_its_beginning(log):
    write(log, 1, 2)
    with ready(Reading(source(log))) as reading:
        write(log, 3)
        write(log.parent / "etcd-events.log", 4, 5)
        reading.until(lambda: len(reading.entries) == 3)
        write(log, 6)
        reading.until(lambda: len(reading.entries) == 4)
        reading.until_idle()
    assert sorted(numbers(reading)) == [3, 4, 5, 6]
    entry = next(entry for entry in reading.entries if entry.text == line(3).rstrip())
    assert (entry.stream, entry.origin.path) == (f"file:{log}", str(log))
    assert abs((datetime.now(UTC) - entry.time).total_seconds()) < 60
    assert (reading.status.seen, reading.status.matched, reading.status.position) == (4, 4, "2 files")


def test_folder_created_later_is_read(tmp_path):
    with ready(Reading(FileSource(NEEDLES, [str(tmp_path / "a/b*/c.log")], elsewhere=()))) as reading:
        for folder in ("b1", "b2"):
            (tmp_path / "a" / folder).mkdir(parents=True)
            write(tmp_path / "a" / folder / "c.log", 1)
            reading.until(lambda folder=folder: [e for e in reading.entries if folder in e.stream])
        shutil.rmtree(tmp_path / "a")
        reading.until(lambda: reading.status.position == "0 files")
        (tmp_path / "a" / "b1").mkdir(parents=True)
        write(tmp_path / "a" / "b1" / "c.log", 7)
        reading.until(lambda: 7 in numbers(reading))
    assert numbers(reading) == [1, 1, 7]


def test_block_size_does_not_change_the_matching_lines(log, monkeypatch):
    rng = random.Random(3)  # noqa: S311 - a seed that can be tried again
    text, expected = "", []
    for number in range(3000):
        text += line(number) if rng.random() < 0.1 else f"{number} fine {'z' * rng.randrange(300)}\n"
        expected += [number] if text.endswith(line(number)) else []
    for size in (64, 1000, 4096, 1 << 20):
        monkeypatch.setattr(tail, "BLOCK", size)
        log.unlink(missing_ok=True)
        with ready(Reading(source(log))) as reading:
            log.write_text(text)
            reading.until(lambda r=reading: len(r.entries) >= len(expected))
            reading.until_idle()
        assert numbers(reading) == expected
        assert reading.status.seen == 3000


def test_backlog_is_read_whole_and_its_lines_are_counted_approximately(log):
    count = 40_000
    text = (line(number) if number % 997 == 0 else f"{number} fine {'z' * (number % 300)}\n" for number in range(count))
    log.write_text("".join(text))
    with ready(
        Reading(source(log), {"files": str(Watch(time=0.0, globs=(str(log.parent / "etcd*.log"),)))})
    ) as reading:
        reading.until(lambda: len(reading.entries) >= len(range(0, count, 997)))
        reading.until_idle()
    assert numbers(reading) == list(range(0, count, 997))
    assert reading.status.seen == pytest.approx(count, rel=0.05)


def test_unfinished_last_line_is_held_and_passed_on_once(log):
    write(log)
    with ready(Reading(source(log))) as reading:
        with log.open("a") as file:
            file.write("line a 1 x509: half")
            file.flush()
            time.sleep(0.2)
            file.write(" and half\nline a 2 x509: never ends")
        reading.until(lambda: len(reading.entries) == 2)
        write(log, 3)
        reading.until(lambda: len(reading.entries) == 3)
        reading.until_idle()
    assert reading.texts[:2] == ["line a 1 x509: half and half", "line a 2 x509: never ends"]
    assert reading.texts[2] == line(3).rstrip()


@pytest.mark.parametrize("block", [100_000, tail.BLOCK, 4 * tail.BLOCK])
def test_overlong_line_is_cut_to_its_beginning(log, block, monkeypatch):
    monkeypatch.setattr(tail, "BLOCK", block)
    write(log)
    with ready(Reading(source(log))) as reading:
        with log.open("a") as file:
            file.write("x509: " + "a" * 1_000_000 + " x509: not again\n" + line(2))
        reading.until(lambda: len(reading.entries) == 2)
        reading.until_idle()
    assert len(reading.texts[0]) == 64 * 1024
    assert reading.texts[1] == line(2).rstrip()


def test_binary_lines_do_no_harm(log):
    write(log)
    with ready(Reading(source(log))) as reading:
        with log.open("ab") as file:
            file.write(
                b"\x00\xff\xfe x509: \r\n\n\r\n" + os.urandom(100_000).replace(b"\n", b"") + b"\n" + line(2).encode()
            )
        reading.until(lambda: len(reading.entries) >= 2)
    assert reading.texts[0] == "\ufffd\ufffd x509: "
    assert reading.texts[-1] == line(2).rstrip()


def test_late_lines_in_a_renamed_file_are_read(log):
    write(log, 1)
    with ready(Reading(source(log))) as reading:
        old = log.open("a")
        old.write(line(2))
        old.flush()
        log.rename(log.with_name("etcd.log.1"))
        old.write(line(3))
        old.flush()
        write(log, 4)
        reading.until(lambda: len(reading.entries) == 3)
        old.write(line(5))
        old.close()
        reading.until(lambda: len(reading.entries) == 4)
        write(log, 6)
        reading.until(lambda: len(reading.entries) == 5)
        reading.until_idle()
    assert numbers(reading) == [2, 3, 4, 5, 6]


def test_several_rotations_at_once_lose_no_line(log):
    write(log, 1)
    with ready(Reading(source(log))) as reading:
        for number in range(2, 12):
            write(log, number)
            for age in range(12, 0, -1):
                older = log.with_name(f"etcd.log.{age}")
                if older.exists():
                    older.rename(log.with_name(f"etcd.log.{age + 1}"))
            log.rename(log.with_name("etcd.log.1"))
        write(log, 12)
        reading.until(lambda: 12 in numbers(reading))
        reading.until_idle()
    assert numbers(reading) == list(range(2, 13))


def test_copytruncate_loses_no_line(log):
    write(log, *range(10))
    with ready(Reading(source(log))) as reading:
        write(log, *range(10, 20))
        shutil.copy(log, log.with_name("etcd.log.1"))
        os.truncate(log, 0)
        write(log, *range(20, 23))
        reading.until(lambda: len(reading.entries) == 13)
        reading.until_idle()
    assert numbers(reading) == list(range(10, 23))
    assert reading.status.detail == ""


def test_file_that_outgrows_its_size_after_copytruncate_loses_no_line(log):
    with ready(Reading(source(log))) as reading:
        write(log, *range(10))
        reading.until(lambda: len(reading.entries) == 10)
        shutil.copy(log, log.with_name("etcd.log.1"))
        os.truncate(log, 0)
        reading.until_idle()
        write(log, *range(10, 40))
        reading.until(lambda: len(reading.entries) == 40)
        write(log, 40)
        reading.until(lambda: len(reading.entries) == 41)
        reading.until_idle()
    assert numbers(reading) == list(range(41))


def test_empty_file_written_after_its_rotation_loses_no_line(log):
    write(log)
    with ready(Reading(source(log))) as reading, log.open("a") as old:
        reading.until_idle()
        log.rename(log.with_name("etcd.log.1"))
        write(log)
        reading.until_idle()
        old.write(line(1))
        old.flush()
        reading.until(lambda: reading.entries)
        write(log, 2)
        reading.until(lambda: len(reading.entries) == 2)
        reading.until_idle()
    assert numbers(reading) == [1, 2]


def test_lines_copied_away_before_the_first_read_are_read(log):
    write(log, 0)
    with ready(Reading(source(log))) as reading:
        write(log, 1)
        reading.until(lambda: reading.entries)
        log.rename(log.with_name("etcd.log.1"))
        log.touch()
        reading.until_idle()
        for number in range(2, 8):
            write(log, number)
            for age in range(number, 0, -1):
                older = log.with_name(f"etcd.log.{age}")
                if older.exists():
                    older.rename(log.with_name(f"etcd.log.{age + 1}"))
            shutil.copy(log, log.with_name("etcd.log.1"))
            os.truncate(log, 0)
            reading.until(lambda n=number: len(reading.entries) >= n)
        reading.until_idle()
    assert numbers(reading) == list(range(1, 8))


def test_truncation_is_noticed_in_a_file_that_outgrew_the_position(log):
    write(log, 0)
    with ready(Reading(source(log))) as reading:
        write(log, 1)
        reading.until(lambda: len(reading.entries) == 1)
        shutil.copy(log, log.with_name("etcd.log.1"))
        os.truncate(log, 0)
        write(log, *range(100, 140))
        reading.until(lambda: len(reading.entries) == 41)
    assert numbers(reading) == [1, *range(100, 140)]


def test_writer_that_does_not_append_leaves_a_hole_and_a_report(log):
    write(log, 0)
    with ready(Reading(source(log))) as reading, log.open("r+") as file:
        file.seek(0, os.SEEK_END)
        file.write(line(1))
        file.flush()
        reading.until(lambda: len(reading.entries) == 1)
        os.truncate(log, 0)
        file.write(line(2) * 1 + line(3))  # the writer keeps its offset: zeros fill the gap
        file.flush()
        reading.until(lambda: len(reading.entries) == 3)
        reading.until_idle()
    assert numbers(reading) == [1, 2, 3]
    assert "was truncated, and no copy holds what followed byte" in reading.status.detail


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("how", ["rename", "copytruncate"])
@pytest.mark.parametrize("names", ["numbers", "dates", "dates before the ending", "lumberjack"])
def test_lines_rotated_during_downtime_are_read_from_rotated_files(log, how, names, compress):
    write(log, 0)
    with ready(Reading(source(log))) as first:
        write(log, 1, 2)
        first.until(lambda: len(first.entries) == 2)
        first.until_idle()
    number = 3
    for turn in range(3):
        write(log, number, number + 1)
        number += 2
        if names == "numbers":
            for age in range(5, 0, -1):
                for end in ("", ".gz"):
                    older = log.with_name(f"etcd.log.{age}{end}")
                    if older.exists():
                        older.rename(log.with_name(f"etcd.log.{age + 1}{end}"))
            target = log.with_name("etcd.log.1")
        elif names == "dates":
            target = log.with_name(f"etcd.log-2026030{turn + 1}")
        elif names == "lumberjack":
            target = log.with_name(f"etcd-2026-03-01T10-11-1{turn}.345.log")
        else:
            target = log.with_name(f"etcd-2026030{turn + 1}.log")
        if how == "rename":
            log.rename(target)
        else:
            shutil.copy(log, target)
            os.truncate(log, 0)
        if compress:
            status = target.stat()
            packed = target.with_name(f"{target.name}.gz")
            packed.write_bytes(gzip.compress(target.read_bytes()))
            os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
            target.unlink()
    write(log, number)
    with Reading(source(log), first.positions) as second:
        second.until(lambda: len(second.entries) == number - 2)
        second.until_idle()
    assert numbers(second) == list(range(3, number + 1))
    assert second.status.detail == ""
    with Reading(source(log), second.positions) as third:
        third.until_idle()
    assert third.entries == []


def test_stop_within_a_rotated_file_resumes_there(log):
    write(log, 0)
    with ready(Reading(source(log))) as first:
        write(log, 1)
        first.until_idle()
    write(log, *range(2, 8))
    log.rename(log.with_name("etcd.log.1"))
    write(log, *range(8, 12))
    with Reading(source(log), first.positions) as second:
        second.until(lambda: len(second.entries) == 10)
    for kept, entry in enumerate(second.entries, start=1):
        positions = {**first.positions, entry.stream: entry.position}
        with Reading(source(log), positions) as third:
            third.until_idle()
        assert numbers(second)[:kept] + numbers(third) == list(range(2, 12))


def test_lost_lines_are_reported(log):
    write(log, 0)
    with ready(Reading(source(log))) as first:
        write(log, 1)
        first.until(lambda: first.entries)
        first.until_idle()
    log.unlink()
    write(log, 2, 3)
    with Reading(source(log), first.positions) as second:
        second.until(lambda: len(second.entries) == 2)
        second.until_idle()
    assert numbers(second) == [2, 3]
    assert f"{log}: what followed byte {len(line(0) + line(1))}, read at 20" in second.status.detail
    assert "is in no file any more" in second.status.detail


def test_damaged_rotated_file_is_reported_and_hides_no_other(log):
    write(log, 0)
    with ready(Reading(source(log))) as first:
        write(log, 1)
        first.until(lambda: first.entries)
        first.until_idle()
    write(log, 2)
    shutil.copy(log, log.with_name("etcd.log.2"))
    packed = gzip.compress(b"".join(line(n).encode() + os.urandom(99).hex().encode() + b"\n" for n in range(3, 5000)))
    log.with_name("etcd.log.1.gz").write_bytes(packed[: len(packed) // 2])
    os.truncate(log, 0)
    write(log, 6000)
    with Reading(source(log), first.positions) as second:
        second.until(lambda: 6000 in numbers(second))
        second.until_idle()
    readable = numbers(second)[1:-1]
    assert len(readable) > 100
    assert numbers(second) == [2, *range(3, 3 + len(readable)), 6000]
    assert "etcd.log.1.gz cannot be read on" in second.status.detail


def test_file_created_during_downtime_is_read_from_its_beginning(log):
    with ready(Reading(source(log))) as first:
        first.until(lambda: "files" in first.positions)
    write(log, 1, 2)
    with Reading(source(log), first.positions) as second:
        second.until(lambda: len(second.entries) == 2)
    assert numbers(second) == [1, 2]


def test_old_file_of_a_new_glob_is_read_from_its_end(tmp_path):
    write(tmp_path / "other.log", 1)
    with ready(Reading(FileSource(NEEDLES, [str(tmp_path / "etcd.log")], elsewhere=()))) as first:
        first.until(lambda: "files" in first.positions)
    with ready(Reading(FileSource(NEEDLES, [str(tmp_path / "*.log")], elsewhere=()), first.positions)) as second:
        write(tmp_path / "other.log", 2)
        second.until(lambda: second.entries)
    assert numbers(second) == [2]


def test_reused_inode_number_is_another_file(log):
    write(log, 0)
    with ready(Reading(source(log))) as first:
        write(log, 1)
        first.until(lambda: first.entries)
        first.until_idle()
    number = log.stat().st_ino
    # The same inode with more bytes but other content: ext4 reuses inode numbers.
    log.write_text(line(7) + line(8) + line(9))
    assert log.stat().st_ino == number
    with Reading(source(log), first.positions) as second:
        second.until(lambda: len(second.entries) == 3)
    assert numbers(second) == [7, 8, 9]


@pytest.mark.parametrize("stored", ["", "nonsense", "[]", '{"offset": 1}', '{"offset": -5, "mark": "", "time": 0}'])
def test_malformed_position_parses_as_none(log, stored):
    assert Position.parse(stored) is None
    write(log, 1)
    with ready(Reading(source(log), {f"file:{log}": stored, "files": stored})) as reading:
        write(log, 2)
        reading.until(lambda: reading.entries)
    assert numbers(reading) == [2]


def test_file_with_several_names_is_read_once(log):
    write(log)
    (log.parent / "etcd-link.log").symlink_to(log)
    os.link(log, log.parent / "etcd-same.log")
    with ready(Reading(source(log))) as reading:
        write(log, 1)
        reading.until_idle()
    assert numbers(reading) == [1]


def test_files_of_another_source_are_not_read(tmp_path):
    pods, links = tmp_path / "pods", tmp_path / "containers"
    pods.mkdir()
    links.mkdir()
    (links / "a.log").symlink_to(pods / "0.log")
    write(pods / "0.log")
    with ready(Reading(FileSource(NEEDLES, [str(links / "*.log")], elsewhere=(str(pods),)))) as reading:
        write(pods / "0.log", 1)
        write(links / "own.log", 2)
        reading.until(lambda: reading.entries)
        reading.until_idle()
    assert numbers(reading) == [2]


def test_deleted_file_is_read_to_its_end_and_closed(log):
    write(log, 0)
    with ready(Reading(source(log))) as reading:
        write(log, 1)
        log.unlink()
        reading.until(lambda: reading.entries)
        reading.until(lambda: reading.status.position == "0 files")
        assert not [
            fd for fd in Path("/proc/self/fd").iterdir() if os.path.lexists(fd) and str(log) in str(fd.readlink())
        ]  # the reader has closed it, so its space is free
        write(log, 2)
        reading.until(lambda: len(reading.entries) == 2)
    assert numbers(reading) == [1, 2]


def test_position_is_kept_as_long_as_a_file_of_the_log_exists(log):
    with ready(Reading(source(log))) as reading:
        write(log, 1)
        reading.until(lambda: numbers(reading) == [1])
        shutil.copy(log, log.with_name("etcd.log.1"))
        log.unlink()
        reading.until(lambda: reading.status.position == "0 files")
        reading.until_idle()
        assert f"file:{log}" in reading.positions
        write(log, 2)
        reading.until(lambda: numbers(reading) == [1, 2])
        log.unlink()
        reading.until(lambda: reading.status.position == "0 files")
        log.with_name("etcd.log.1").unlink()
        reading.until(lambda: f"file:{log}" not in reading.positions)
        write(log, 3)
        reading.until(lambda: numbers(reading) == [1, 2, 3])
        reading.until_idle()
    assert reading.status.detail == ""
    with ready(Reading(source(log), reading.positions)) as again:
        again.until_idle()
    assert again.entries == []


def test_pipes_folders_and_dead_links_do_no_harm(log):
    os.mkfifo(log.parent / "etcd-pipe.log")
    (log.parent / "etcd-folder.log").mkdir()
    (log.parent / "etcd-dead.log").symlink_to(log.parent / "nowhere")
    write(log)
    with ready(Reading(source(log))) as reading:
        write(log, 1)
        reading.until(lambda: reading.entries)
        reading.until(lambda: reading.status.detail)
    assert numbers(reading) == [1]
    assert "cannot be read" in reading.status.detail
    assert reading.outages == []


def trusts(reading: Reading) -> list[Trust]:
    return [entry.origin.trust for entry in reading.entries]


def test_root_file_is_trusted_unless_it_is_world_writable(log):
    log.touch(mode=0o640)
    with ready(Reading(source(log))) as reading:
        write(log, 1)
        reading.until(lambda: len(reading.entries) == 1)
        log.rename(f"{log}.1")
        log.touch()
        log.chmod(0o666)
        write(log, 2)
        reading.until(lambda: len(reading.entries) == 2)
        reading.until_idle()
        assert f"the lines of {log} are recorded and not believed" in reading.status.detail
        assert "is writable by everybody" in reading.status.detail
    assert trusts(reading) == [Trust.SYSTEM, Trust.STRANGER]


@needs_root
def test_file_of_a_user_or_behind_their_link_is_a_stranger(tmp_path):
    mine, target = tmp_path / "a.log", tmp_path / "target"
    for path in (mine, target):
        path.touch()
        os.chown(path, 1000, 1000)
    (tmp_path / "b.log").symlink_to(target)
    os.chown(tmp_path / "b.log", 1000, 1000, follow_symlinks=False)
    with ready(Reading(FileSource(NEEDLES, [f"{tmp_path}/*.log"]))) as reading:
        for path in (mine, target):
            add(path, "x509:\n")
        reading.until(lambda: len(reading.entries) == 2)
    assert trusts(reading) == [Trust.STRANGER, Trust.STRANGER]


@needs_root
def test_link_of_a_user_to_a_root_file_is_not_followed(tmp_path):
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "a.log").symlink_to(tmp_path / "secret")
    os.chown(tmp_path / "a.log", 1000, 1000, follow_symlinks=False)
    with ready(Reading(FileSource(NEEDLES, [f"{tmp_path}/*.log"]))) as reading:
        add(tmp_path / "secret", "x509: secret\n")
        reading.until(lambda: "is a link of uid 1000 to a file of uid 0" in reading.status.detail)
        reading.until_idle()
    assert reading.entries == []


def test_glob_without_a_match_is_no_outage(tmp_path):
    with ready(Reading(FileSource(NEEDLES, [str(tmp_path / "none/*.log")]))) as reading:
        reading.until_idle()
    assert reading.outages == []
    assert reading.status.position == "0 files"


def test_missing_inotify_is_reported_and_files_are_polled(log, monkeypatch):
    def refuse(self) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Inotify, "__init__", refuse)
    write(log, 0)
    with ready(Reading(source(log))) as reading:
        write(log, 1)
        write(log.parent / "etcd-events.log", 2)
        reading.until(lambda: len(reading.entries) == 2)
        log.rename(log.with_name("etcd.log.1"))
        write(log, 3)
        reading.until(lambda: len(reading.entries) == 3)
    assert sorted(numbers(reading)) == [1, 2, 3]
    assert "the kernel gives no inotify" in reading.status.detail


def test_log_created_and_rotated_at_once_is_read(log):
    write(log, 1)
    older, newer = log.with_name("etcd.log.1"), log.with_name("coming")
    with ready(Reading(source(log))) as reading:
        write(log, 2)
        reading.until(lambda: numbers(reading) == [2])
        log.rename(older)
        older.unlink()
        reading.until(lambda: reading.status.position == "0 files")
        for number in (3, 4, 5):
            # No glob matches the file before its last rename, as if both happened between two looks.
            write(newer, number)
            older.rename(log.with_name(f"etcd.log.{5 - number + 2}")) if older.exists() else None
            newer.rename(older)
            reading.until(lambda number=number: number in numbers(reading), within=5)
        reading.until_idle()
    assert numbers(reading) == [2, 3, 4, 5]


def test_idle_files_are_not_polled(log):
    for number in range(200):
        write(log.parent / f"etcd-{number}x.log", 1)
    with ready(Reading(source(log))) as reading:
        reading.until_idle()
        before = resource.getrusage(resource.RUSAGE_SELF)
        began = time.monotonic()
        while time.monotonic() - began < 4:
            reading.until_idle()
        after = resource.getrusage(resource.RUSAGE_SELF)
    assert (after.ru_utime + after.ru_stime) - (
        before.ru_utime + before.ru_stime
    ) < 0.4  # of 4 s, in which the source reports 30 times


@pytest.mark.parametrize("seed", range(8))
def test_rotations_and_restarts_give_every_line_exactly_once(tmp_path, seed):
    lab, rng = Lab(tmp_path / "logs"), random.Random(seed)  # noqa: S311 - a seed that can be tried again
    received: list[LogEntry] = []

    def steps(count: int) -> None:
        for _ in range(count):
            packs = ["pack remove_packed", "pack_delayed"]
            lab.do(rng.choice(["write", "write", "write_little", "rename", "copy truncate", *packs]))
            if rng.random() < 0.15:
                time.sleep(0.05)

    lab.path.touch()
    reading = ready(Reading(lab.source()))
    for _ in range(12):
        steps(rng.randrange(1, 12))
        reading.stop()
        # A crash leaves a prefix of the items stored, together with their position.
        # (A restart before the first report is a first start: no position is stored yet.)
        opened = 0 if reading.earlier else 1 + reading.items.index(reading.statuses[0]) + 1
        items = reading.items[: rng.randrange(opened, len(reading.items) + 1)]
        positions = dict(reading.earlier)
        settle(positions, items)
        received += [item for item in items if isinstance(item, LogEntry)]
        steps(rng.randrange(4))  # while the reader is down
        reading = Reading(lab.source(), positions)
    lab.write()
    reading.until(lambda: any(int(text[:8]) == lab.written - 1 for text in reading.texts))
    reading.until_idle()
    reading.stop()
    received += reading.entries
    assert sorted(int(entry.text[:8]) for entry in received) == list(range(lab.written))
    assert reading.outages == []


# ---------------------------------------------------------------- helpers


def test_rotated_names_are_ordered_by_age(tmp_path):
    names = ["a.log.10", "a.log.2.gz", "a.log.1", "a.log.2", "a.log.3.gz"]
    others = ["a.log", "a.log.bak", "ab.log.1", "a-events.log", "a.log.1.tmp", "b.log.1", "a.logx"]
    for name in names + others:
        (tmp_path / name).touch()
    assert [Path(p).name for p in rotated_names(str(tmp_path / "a.log"))] == [
        "a.log.10",
        "a.log.3.gz",
        "a.log.2",
        "a.log.1",
    ]
    dates = ["d.log-20260301", "d-20260302.log.gz", "d.log.20260303-101112.gz", "d.log-20260304-1772000000"]
    stamps = ["l-2026-03-01T10-11-12.345.log.gz", "l-2026-03-01T10-11-12.346.log", "l-2026-03-02T00-00-00.000.log"]
    for name in dates + stamps:
        (tmp_path / name).touch()
    assert [Path(p).name for p in rotated_names(str(tmp_path / "d.log"))] == dates
    assert [Path(p).name for p in rotated_names(str(tmp_path / "l.log"))] == stamps
    assert rotated_names("/nowhere/at/all.log") == []


def test_expand_finds_files_and_the_folders_to_watch(tmp_path):
    (tmp_path / "a1" / "c").mkdir(parents=True)
    (tmp_path / "a2").mkdir()
    (tmp_path / "a1" / "c" / "x.log").touch()
    files, folders = expand([f"{tmp_path}/a*/c/*.log", f"{tmp_path}/none/deep/y.log"])
    assert files == {f"{tmp_path}/a1/c/x.log"}
    assert folders == {str(tmp_path), f"{tmp_path}/a1/c", f"{tmp_path}/a2"}


def test_watch_covers_files_of_its_globs_and_later_files():
    watch = Watch.parse(str(Watch(time=1000.0, globs=("/var/log/etcd*.log",))))
    assert watch.watched("/var/log/etcd.log")
    assert not watch.watched("/var/log/other.log")


def test_content_refuses_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        Content(str(tmp_path / "pipe"))


def test_plain_finds_lines_with_their_ends():
    block = b"a x509: 1\nb\nc remote error: tls x509: 2\n"
    records = list(Plain(NEEDLES).find(block))
    assert [(block[: record.end].count(b"\n"), record.text) for record in records] == [
        (1, b"a x509: 1"),
        (3, b"c remote error: tls x509: 2"),
    ]
