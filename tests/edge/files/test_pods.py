"""The logs of pods, as the kubelet and container runtimes write and rotate them."""

from __future__ import annotations

import gzip
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certmedic.core.model import Trust
from certmedic.edge.files import FileSource, PodSource, rotation, tail
from certmedic.edge.files import source as follow
from certmedic.edge.files.formats import Cri
from certmedic.edge.static_pods import StaticPods
from labs.reading import Reading

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


def cri(text: str, tag: str = "F", stream: str = "stderr", second: int = 0) -> str:
    return f"2026-03-01T03:00:{second:02}.123456789Z {stream} {tag} {text}\n"


@pytest.fixture
def pod(tmp_path) -> Path:
    folder = tmp_path / "pods" / "kube-system_etcd-manager-main-m1_3f2c" / "etcd-manager"
    folder.mkdir(parents=True)
    return folder


def pods(pod: Path) -> PodSource:
    return PodSource(NEEDLES, pod.parents[1])


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def static_pods(folder: Path, *names: str) -> StaticPods:
    folder.mkdir()
    for name in names:
        (folder / f"{name}.yaml").write_text(f"metadata:\n  name: {name}\n  namespace: kube-system\n")
    return StaticPods((str(folder),))


@pytest.mark.parametrize(
    ("folder", "trust"),
    [
        (f"kube-system_etcd-manager-main-m1_{'a' * 32}", Trust.SYSTEM),
        ("kube-system_etcd-manager-main-m1_7b0c7a5e-2f50-4f0c-9d7b-0c2a3f6f5a11", Trust.CLUSTER),
        (f"kube-system_etcd-m1_{'a' * 32}", Trust.CLUSTER),
        (f"default_etcd-manager-main-m1_{'a' * 32}", Trust.STRANGER),
    ],
)
def test_trust_of_a_pod_follows_its_folder_and_manifest(tmp_path, folder, trust):
    log = tmp_path / "pods" / folder / "etcd-manager" / "0.log"
    log.parent.mkdir(parents=True)
    source = PodSource(NEEDLES, tmp_path / "pods", static_pods=static_pods(tmp_path / "m", "etcd-manager-main"))
    with ready(Reading(source)) as reading:
        add(log, cri("a b 1 x509:"))
        reading.until(lambda: reading.entries)
    by = reading.entries[0].origin
    assert (by.trust, by.namespace, by.pod) == (trust, *folder.split("_")[:2])


@needs_root
def test_static_pod_folder_of_another_user_is_a_stranger(tmp_path):
    log = tmp_path / "pods" / f"kube-system_etcd-m1_{'a' * 32}" / "etcd" / "0.log"
    log.parent.mkdir(parents=True)
    os.chown(log.parents[1], 1000, 1000)
    with ready(
        Reading(PodSource(NEEDLES, tmp_path / "pods", static_pods=static_pods(tmp_path / "m", "etcd")))
    ) as reading:
        add(log, cri("a b 1 x509:"))
        reading.until(lambda: reading.entries)
    assert reading.entries[0].origin.trust is Trust.STRANGER


def test_pod_line_has_time_pod_and_container(pod):
    add(pod / "0.log", cri("before"))
    with ready(Reading(pods(pod))) as reading:
        add(pod / "0.log", cri("fine") + cri("line 1 x509: bad"))
        reading.until(lambda: reading.entries)
    (entry,) = reading.entries
    assert (entry.text, entry.stream) == ("line 1 x509: bad", f"pod:{pod / '0.log'}")
    assert entry.time == datetime(2026, 3, 1, 3, 0, 0, 123456, UTC)
    assert (entry.origin.pod, entry.origin.container) == ("etcd-manager-main-m1", "etcd-manager")


def test_restarts_new_pods_and_rotation_lose_no_line(pod):
    with ready(Reading(pods(pod))) as reading:
        add(pod / "0.log", cri("a b 1 x509:"))
        reading.until(lambda: len(reading.entries) == 1)
        add(pod / "1.log", cri("a b 2 x509:"))
        reading.until(lambda: len(reading.entries) == 2)
        other = pod.parents[1] / "default_web_77" / "web"
        other.mkdir(parents=True)
        add(other / "0.log", cri("a b 3 x509:"))
        reading.until(lambda: len(reading.entries) == 3)
        (pod / "1.log").rename(pod / "1.log.20260301-030405")
        add(pod / "1.log", cri("a b 4 x509:"))
        reading.until(lambda: len(reading.entries) == 4)
        (pod / "1.log.20260301-030405.gz").write_bytes(gzip.compress((pod / "1.log.20260301-030405").read_bytes()))
        (pod / "1.log.20260301-030405").unlink()
        reading.until_idle()
    assert numbers(reading) == [1, 2, 3, 4]


def test_lines_rotated_by_the_kubelet_during_downtime_are_read(pod):
    add(pod / "0.log", cri("start"))
    with ready(Reading(pods(pod))) as first:
        add(pod / "0.log", cri("a b 1 x509:"))
        first.until(lambda: first.entries)
        first.until_idle()
    add(pod / "0.log", cri("a b 2 x509:"))
    (pod / "0.log.20260301-030405.gz").write_bytes(gzip.compress((pod / "0.log").read_bytes()))
    (pod / "0.log").unlink()
    add(pod / "0.log.20260301-040506", cri("a b 3 x509:"))
    add(pod / "0.log", cri("a b 4 x509:"))
    add(pod / "1.log", cri("a b 5 x509:"))
    with Reading(pods(pod), first.positions) as second:
        second.until(lambda: len(second.entries) == 4)
        second.until_idle()
    assert [n for n in numbers(second) if n != 5] == [2, 3, 4]
    assert sorted(numbers(second)) == [2, 3, 4, 5]


@pytest.mark.parametrize("block", [50, 1 << 20])
def test_parts_are_joined_by_stream_wherever_the_needle_lies(pod, block, monkeypatch):
    monkeypatch.setattr(tail, "BLOCK", block)
    add(pod / "0.log", cri("start"))
    with ready(Reading(pods(pod))) as reading:
        add(
            pod / "0.log",
            cri("a b 1 x5", "P", "stdout")
            + cri("a b 2 x", "P", "stderr")
            + cri("09: out", "F", "stdout")
            + cri("50", "P", "stderr")
            + cri("9: err", "F", "stderr")
            + cri("a b 3 x509: whole", "F:extra"),
        )
        reading.until(lambda: len(reading.entries) == 3)
    assert reading.texts == ["a b 1 x509: out", "a b 2 x509: err", "a b 3 x509: whole"]


def test_position_waits_for_the_last_part_of_a_line(pod):
    add(pod / "0.log", cri("start"))
    with ready(Reading(pods(pod))) as first:
        add(pod / "0.log", cri("a b 1 x5", "P"))
        time.sleep(0.5)
        first.until_idle()
    add(pod / "0.log", cri("09: end", "F"))
    with Reading(pods(pod), first.positions) as second:
        second.until(lambda: second.entries)
    assert second.texts == ["a b 1 x509: end"]


def test_lines_written_and_rotated_during_downtime_are_read(pod):
    with ready(Reading(pods(pod))) as first:
        add(pod / "0.log", cri("a b 1 x509:"))
        first.until(lambda: first.entries)
    add(pod / "0.log", cri("a b 2 x509:"))
    (pod / "0.log").rename(pod / "0.log.20261124-000001")  # and the container was restarted
    add(pod / "1.log", cri("a b 3 x509:"))
    (pod / "1.log").rename(pod / "1.log.20261124-000002")
    add(pod / "1.log", cri("a b 4 x509:"))
    add(pod / "2.log", cri("a b 5 x509:"))
    (pod / "2.log").rename(pod / "2.log.20261124-000003")
    with Reading(pods(pod), first.positions) as second:
        second.until(lambda: len(second.entries) >= 4)
        second.until_idle()
        add(pod / "2.log", cri("a b 6 x509:"))
        second.until(lambda: len(second.entries) >= 5)
    assert sorted(numbers(second)) == [2, 3, 4, 5, 6]
    with Reading(pods(pod), second.positions) as third:
        third.until_idle()
    assert third.entries == []


def test_files_rotated_before_the_first_start_are_not_read(pod):
    add(pod / "0.log", cri("a b 1 x509:"))
    (pod / "0.log").rename(pod / "0.log.20261124-000001")
    os.utime(pod / "0.log.20261124-000001", (time.time() - 60,) * 2)
    add(pod / "1.log", cri("a b 2 x509:"))
    with ready(Reading(pods(pod))) as reading:
        add(pod / "0.log", cri("a b 3 x509:"))
        reading.until(lambda: reading.entries)
        reading.until_idle()
    assert numbers(reading) == [3]


def test_rotated_file_name_gives_the_log_name(tmp_path):
    for name in (
        "a.log.1",
        "b.log.12.gz",
        "c.log-20261124.gz",
        "d-20261124.log",
        "0.log.20261124-1532",
        "e.log",
        "f-1",
        "g-2026-11-24T10-11-12.345.log.gz",
    ):
        (tmp_path / name).touch()
    assert rotation.bases([str(tmp_path), str(tmp_path / "none")]) == {
        f"{tmp_path}/{name}" for name in ("a.log", "b.log", "c.log", "d.log", "0.log", "g.log")
    }


def test_pod_folder_that_appears_late_is_read_from_its_beginning(tmp_path):
    folder = tmp_path / "log" / "pods" / "kube-system_etcd-m1_1" / "etcd"
    (tmp_path / "log").mkdir()
    with Reading(PodSource(NEEDLES, tmp_path / "log" / "pods")) as reading:
        reading.until_idle()
        folder.mkdir(parents=True)
        add(folder / "0.log", cri("a b 1 x509:"))
        reading.until(lambda: reading.entries)
        add(folder / "0.log", cri("a b 2 x509:"))
        reading.until(lambda: len(reading.entries) == 2)
    assert numbers(reading) == [1, 2]


def test_linked_docker_logs_and_the_agents_own_pod_are_not_read(pod, tmp_path):
    docker = tmp_path / "docker.json"
    add(docker, '{"log":"x509:"}\n')
    (pod / "0.log").symlink_to(docker)
    own, strangers = (pod.parents[1] / f"{name}_certmedic_1" / "certmedic" for name in ("kube-system", "default"))
    own.mkdir(parents=True)
    strangers.mkdir(parents=True)
    with ready(Reading(pods(pod))) as reading:
        add(docker, '{"log":"x509:"}\n')
        add(own / "0.log", cri("x509:"))
        add(strangers / "0.log", cri("a b 2 x509:"))
        add(pod / "1.log", cri("a b 1 x509:"))
        reading.until(lambda: len(reading.entries) == 2)
        reading.until_idle()
    assert sorted(numbers(reading)) == [1, 2]


def test_line_without_cri_format_is_taken_unchanged():
    shape = Cri(NEEDLES)
    block = b"x509: bare\nx509:\n2026-13-99 stdout F x509: no time\n \n"
    assert [(record.text, record.time) for record in shape.find(block)] == [
        (b"x509: bare", None),
        (b"x509:", None),
        (b"x509: no time", None),
    ]
