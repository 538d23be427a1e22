"""The Docker reader against a real daemon; rare replies of the daemon are fed to the parser alone."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certmedic.core.model import SourceDown, SourceUp, Trust
from certmedic.edge.containers import DockerSource, daemon, own_ids
from certmedic.edge.containers import source as containers
from certmedic.edge.containers.daemon import Daemon, DockerError
from certmedic.edge.containers.stream import Position, Stream
from certmedic.edge.os import docker as docker_api
from certmedic.edge.static_pods import StaticPods
from labs.docker import BUSYBOX, Docker, start_dockerd
from labs.reading import Reading

NEEDLES = (b"x509:", b"remote error: tls")
real = [
    pytest.mark.real,
    pytest.mark.skipif(os.geteuid() != 0, reason="a Docker daemon starts as root only"),
    pytest.mark.skipif(not Path("/usr/sbin/dockerd").exists(), reason="needs docker.io"),
]


def marked(*marks):
    def mark(test):
        for marker in marks:
            test = marker(test)
        return test

    return mark


needs_docker = marked(*real)


@pytest.fixture(scope="session")
def docker() -> Docker:
    with start_dockerd() as daemon:
        daemon.busybox()
        yield daemon


@pytest.fixture(autouse=True)
def _quick_reports(monkeypatch):
    monkeypatch.setattr(containers, "REPORT_EVERY", 0.1)
    monkeypatch.setattr(containers, "AGAIN_AFTER", 0.3)
    monkeypatch.setattr(containers, "SILENCE", 2.0)


@pytest.fixture
def run(docker):
    """Start containers that are gone after the test."""
    ids = []

    def start(script: str, *options: str) -> str:
        id_ = docker("run", "-d", "--network=none", *options, BUSYBOX, "sh", "-c", script)
        ids.append(id_)
        return id_

    yield start
    if ids:
        docker("rm", "-f", *ids)


def numbers(reading: Reading) -> list[int]:
    return [int(text.split()[1]) for text in reading.texts]


def source(daemon: Docker, **options) -> DockerSource:
    return DockerSource(NEEDLES, base_url=daemon.url, **options)


COUNT = 'i={first}; while [ $i -lt {end} ]; do echo "line $i x509: bad"; echo noise; i=$((i+1)); done'


def count(first: int, end: int) -> str:
    return COUNT.format(first=first, end=end)


# ---------------------------------------------------------------- a real daemon


@needs_docker
def test_line_has_time_container_image_and_pod(docker, run):
    name = "k8s_etcd-manager_etcd-manager-main-m1_kube-system_3f2c_0"
    id_ = run("echo 'line 1 x509: bad' >&2; echo fine; sleep 600", f"--name={name}")
    with Reading(source(docker)) as reading:
        reading.until(lambda: reading.entries)
        reading.until_idle()
    (entry,) = reading.entries
    assert (entry.text, entry.stream) == ("line 1 x509: bad", f"docker:{id_}")
    assert abs((datetime.now(UTC) - entry.time).total_seconds()) < 60
    origin = entry.origin
    assert (origin.container, origin.container_id, origin.image) == (name, id_, BUSYBOX)
    assert origin.pod == "etcd-manager-main-m1"
    assert (reading.status.seen, reading.status.matched, reading.status.detail) == (2, 1, "")
    assert reading.status.lag_seconds == 0


@needs_docker
def test_container_trust_comes_from_its_name_and_never_from_a_label(docker, run, tmp_path):
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    (manifests / "etcd.yaml").write_text("metadata:\n  name: etcd-manager-main\n  namespace: kube-system\n")
    static = f"k8s_etcd-manager_etcd-manager-main-m1_kube-system_{'a' * 32}_0"
    labels = [f"--label=io.kubernetes.pod.{key}" for key in ("namespace=kube-system", "name=etcd", f"uid={'a' * 32}")]
    wanted = {
        run("echo 'line 1 x509:'; sleep 600", f"--name={static}"): Trust.SYSTEM,
        run("echo 'line 2 x509:'; sleep 600", "--name=k8s_etcd_etcd-manager-main-m1_default_b_0"): Trust.STRANGER,
        run("echo 'line 3 x509:'; sleep 600", "--name=own-etcd", *labels): Trust.CLUSTER,
        run("echo 'line 4 x509:'; sleep 600", "--name=web", *labels): Trust.STRANGER,
    }
    options = {"names": ("own-*", "k8s_*"), "labels": ("io.kubernetes.pod.name",)}
    with Reading(source(docker, static_pods=StaticPods((str(manifests),)), **options)) as reading:
        reading.until(lambda: len(reading.entries) == 4)
    assert {entry.origin.container_id: entry.origin.trust for entry in reading.entries} == wanted


@needs_docker
def test_running_ended_and_later_containers_are_all_read(docker, run):
    ended = run(count(0, 5))
    docker("wait", ended)
    run(count(10, 15) + "; sleep 600")
    with Reading(source(docker)) as reading:
        reading.until(lambda: len(reading.entries) == 10)
        run(count(20, 25))  # starts and ends at once
        reading.until(lambda: len(reading.entries) == 15)
    assert sorted(numbers(reading)) == [*range(5), *range(10, 15), *range(20, 25)]
    assert reading.outages == []


@needs_docker
def test_restarted_container_is_resumed_without_repeats(docker, run):
    id_ = run('echo "line $$ x509:"; sleep 600')
    with Reading(source(docker)) as reading:
        for times in range(1, 4):
            reading.until(lambda times=times: len(reading.entries) == times)
            docker("restart", "-t", "0", id_)
        reading.until(lambda: len(reading.entries) == 4)
        reading.until_idle()
    assert len(reading.entries) == 4


@needs_docker
def test_replacement_under_the_same_name_is_read_too(docker, run):
    first = run("echo 'line 1 x509:'; sleep 600", "--name=etcd")
    with Reading(source(docker, names=("etcd",))) as reading:
        reading.until(lambda: numbers(reading) == [1])
        docker("rm", "-f", first)
        second = run("echo 'line 2 x509:'; sleep 600", "--name=etcd")
        reading.until(lambda: numbers(reading) == [1, 2])
    assert [entry.origin.container_id for entry in reading.entries] == [first, second]


@needs_docker
@pytest.mark.parametrize("tty", [False, True])
def test_reader_stopped_anywhere_resumes_without_loss_or_repeats(docker, run, tty):
    # Lines come in bursts that share a timestamp. Each run of the reader stops at an arbitrary line.
    total = 600
    run(
        f"{count(0, 200)}; sleep 1; {count(200, 400)}; sleep 1; {count(400, total)}; sleep 600",
        *(["-t"] if tty else []),
    )
    rng, received, positions = random.Random(tty), [], {}  # noqa: S311 - a seed that can be tried again
    for _ in range(60):
        with Reading(source(docker), positions) as reading:
            wanted = rng.randrange(1, 30)
            wanted = min(wanted, total - len(received))
            reading.until(lambda r=reading, w=wanted: len(r.entries) >= w)
        # A crash leaves the entries up to some point stored, and no later one.
        kept = rng.randrange(min(wanted, len(reading.entries)) + 1)
        received += numbers(reading)[:kept]
        if kept:
            positions = {reading.entries[kept - 1].stream: reading.entries[kept - 1].position}
        if len(received) == total:
            break
    else:
        with Reading(source(docker), positions) as reading:
            reading.until(lambda r=reading, seen=tuple(received): len(seen) + len(r.entries) >= total)
            reading.until_idle()
        received += numbers(reading)
    assert received == list(range(total))


@needs_docker
def test_log_rotated_by_the_daemon_is_read_whole_and_resumed_in_rotated_files(docker, run):
    total = 900
    script = f'i=0; while [ $i -lt {total} ]; do echo "line $i x509: bad"; i=$((i+1)); sleep 0.002; done; sleep 600'
    id_ = run(script, "--log-opt=max-size=8k", "--log-opt=max-file=100")
    received, positions = [], {}
    for until in (100, 500, total):
        with Reading(source(docker), positions) as reading:
            wanted = until - len(received)
            reading.until(lambda r=reading, w=wanted: len(r.entries) >= w)
        received, positions = received + numbers(reading), reading.positions
        time.sleep(0.5)  # the daemon rotates the log meanwhile
    assert received == [int(line.split()[1]) for line in docker("logs", id_).splitlines()] == list(range(total))


@needs_docker
@pytest.mark.parametrize("tty", [False, True])
def test_stream_that_the_daemon_stops_feeding_is_requested_again(docker, run, monkeypatch, tty):
    dry, opened = socket.socketpair(), Daemon.open

    def once_dry(self, path: str, **query: str):
        if "follow" in query and not hasattr(self, "was_dry"):
            self.was_dry = True
            return dry[0], b""
        return opened(self, path, **query)

    monkeypatch.setattr(containers, "SILENCE", 0.5)
    monkeypatch.setattr(Daemon, "open", once_dry)
    run(f"{count(0, 3)}; sleep 600", *(["-t"] if tty else []))
    with Reading(source(docker)) as reading:
        reading.until(lambda: len(reading.entries) >= 3)
        reading.until_idle()
    dry[1].close()
    assert numbers(reading) == [0, 1, 2]
    assert "had stopped sending the log of" in reading.status.detail
    assert reading.outages == []


@needs_docker
def test_new_container_is_read_from_its_beginning_after_a_long_downtime(docker, run):
    with Reading(source(docker, lookback=0)) as first:
        first.until(lambda: "docker" in first.positions)
    positions = {**first.positions, "docker": str(time.time() - 3600)}
    ended = run(count(0, 3))
    docker("wait", ended)
    with Reading(source(docker, lookback=0), positions) as second:
        second.until(lambda: len(second.entries) >= 3)
    assert numbers(second) == [0, 1, 2]


@needs_docker
def test_first_watch_looks_back_for_a_limited_time(docker, run):
    run(f"{count(0, 3)}; sleep 4; {count(3, 6)}; sleep 600")
    time.sleep(2)
    with Reading(source(docker, lookback=0.5)) as reading:
        reading.until(lambda: len(reading.entries) >= 3)
        reading.until_idle()
    assert numbers(reading) == [3, 4, 5]


@needs_docker
@pytest.mark.parametrize("tty", [False, True])
def test_lines_that_the_daemon_splits_are_joined(docker, run, tty):
    script = (
        "echo 'line 1 x509:'; "
        "printf 'line 2 '; head -c 40000 /dev/zero | tr '\\0' a; echo ' x509: tail'; "
        # The needle lies across the daemon's cut at 16 KiB.
        "printf 'line 3 '; head -c 16374 /dev/zero | tr '\\0' b; echo 'x509: cut'; "
        "printf 'line 4 x509: '; head -c 300000 /dev/zero | tr '\\0' c; echo end; "
        "echo 'line 5 x509:'; printf 'line 6 x509: without an end'; sleep 2"
    )
    run(script, *(["-t"] if tty else []))
    with Reading(source(docker)) as reading:
        reading.until(lambda: len(reading.entries) == 6)
    assert numbers(reading) == [1, 2, 3, 4, 5, 6]
    second, third, fourth, _, sixth = reading.texts[1:]
    assert second == f"line 2 {'a' * 40000} x509: tail"
    assert third == f"line 3 {'b' * 16374}x509: cut"
    assert len(fourth) == 64 * 1024
    assert set(fourth[13:]) == {"c"}
    assert sixth == "line 6 x509: without an end"


@needs_docker
def test_interleaved_stdout_and_stderr_are_both_read_whole(docker, run):
    run('i=0; while [ $i -lt 200 ]; do echo "line $i x509: out"; echo "line $i x509: err" >&2; i=$((i+1)); done')
    with Reading(source(docker)) as reading:
        reading.until(lambda: len(reading.entries) == 400)
    assert sorted(t for t in reading.texts if "out" in t) == sorted(f"line {i} x509: out" for i in range(200))
    assert sorted(t for t in reading.texts if "err" in t) == sorted(f"line {i} x509: err" for i in range(200))


@needs_docker
def test_only_configured_names_pods_and_labels_are_read(docker, run):
    run("echo 'line 1 x509:'", "--name=k8s_etcd_etcd-main-a_kube-system_1_0")
    run("echo 'line 2 x509:'", "--label=io.kubernetes.pod.name=etcd-events-a", "--label=role=store")
    run("echo 'line 3 x509:'", "--label=role=web")
    run("echo 'line 4 x509:'", "--label=role=web", "--label=io.kubernetes.docker.type=podsandbox")
    for options, expected in (
        ({}, [1, 2, 3]),
        ({"names": ("etcd-main-*",)}, [1]),
        ({"names": ("k8s_etcd_*",)}, [1]),
        ({"labels": ("role",)}, [2, 3]),
        ({"labels": ("role=store",)}, [2]),
        ({"names": ("etcd-*",), "labels": ("role=web",)}, [1, 2, 3]),
    ):
        with Reading(source(docker, **options)) as reading:
            reading.until(lambda r=reading, e=expected: len(r.entries) >= len(e))
            reading.until_idle()
        assert sorted(numbers(reading)) == expected


@needs_docker
def test_unreadable_log_driver_is_reported_once(docker, run):
    id_ = run("echo 'line 1 x509:'; sleep 600", "--log-driver=none", "--name=mute")
    run("echo 'line 2 x509:'; sleep 600")
    with Reading(source(docker)) as reading:
        reading.until(lambda: numbers(reading) == [2])
        reading.until(lambda: reading.statuses and reading.status.detail)
        detail = reading.status.detail
        assert "the log of mute cannot be read: " in detail
        assert "configured logging driver does not support reading" in detail
        docker("restart", "-t", "0", id_)
        reading.until_idle()
    assert reading.status.detail == detail
    assert reading.outages == []


@needs_docker
def test_removed_container_leaves_no_position(docker, run):
    stays = run("echo 'line 0 x509:'; sleep 600")
    with Reading(source(docker)) as reading:
        for number, options in enumerate(((), ("-t",), ("--log-driver=none",)), start=1):
            gone = docker(
                "run", "-d", *options, "--network=none", BUSYBOX, "sh", "-c", f"echo 'line {number} x509:'; sleep 600"
            )
            known = (lambda n=number: n in numbers(reading)) if number < 3 else lambda: reading.status.detail
            reading.until(known)
            docker("rm", "-f", gone)
        reading.until(lambda: {s for s in reading.positions if ":" in s} == {f"docker:{stays}"})
        reading.until_idle()
    assert numbers(reading) == [0, 1, 2]


@needs_docker
def test_daemon_restart_is_an_outage_and_loses_no_line():
    script = 'i=0; while [ $i -lt 100000 ]; do echo "line $i x509:"; i=$((i+1)); sleep 0.05; done'
    with start_dockerd("--live-restore") as daemon:
        daemon.busybox()
        id_ = daemon("run", "-d", "--network=none", BUSYBOX, "sh", "-c", script)
        with Reading(source(daemon)) as reading:
            reading.until(lambda: len(reading.entries) > 10)
            for _ in range(2):
                daemon.stop()
                reading.until(lambda: isinstance(reading.outages[-1] if reading.outages else None, SourceDown))
                daemon.start()
                reading.until(lambda: isinstance(reading.outages[-1], SourceUp))
            more = len(reading.entries) + 20
            reading.until(lambda: len(reading.entries) > more)
        # A stopping daemon may lose a line before it writes it to its file: only lines in the file count.
        kept = [int(line.split()[1]) for line in daemon("logs", id_).splitlines()]
    assert numbers(reading) == kept[: len(reading.entries)]
    assert [type(outage) for outage in reading.outages] == [SourceDown, SourceUp] * 2


# ---------------------------------------------------------------- no daemon, or a faulty one


def test_missing_socket_is_an_outage_with_a_reason(tmp_path):
    with Reading(DockerSource(NEEDLES, base_url=f"unix://{tmp_path}/none.sock")) as reading:
        reading.until(lambda: reading.outages)
    assert f"no Docker daemon answers at {tmp_path}/none.sock (No such file or directory)" in reading.outages[0].reason


@pytest.mark.parametrize("url", ["tcp://10.0.0.1:2375", "http://x", "docker.sock"])
def test_daemon_on_another_machine_is_an_outage_with_a_reason(url):
    with Reading(DockerSource(NEEDLES, base_url=url)) as reading:
        reading.until(lambda: reading.outages)
    assert reading.outages[0].reason.startswith(f"{url}: only a daemon on this machine can be read")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.0 200 OK\r\n\r\nrubbish\n", "with no JSON"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "SSH-2.0"),
        (b'HTTP/1.1 403 Forbidden\r\n\r\n{"message": "not allowed"}', "not allowed"),
    ],
)
def test_other_program_behind_the_socket_is_an_outage_with_a_reason(tmp_path, answer, reason):
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    server.listen(8)

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            client.recv(65536)
            client.sendall(answer)
            client.close()

    threading.Thread(target=serve, daemon=True).start()
    with Reading(DockerSource(NEEDLES, base_url=f"unix://{tmp_path}/s")) as reading:
        reading.until(lambda: reading.outages)
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    assert reason in reading.outages[0].reason


@pytest.mark.slow
@pytest.mark.parametrize("begun", [b"", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_reply_that_drips_is_given_up_at_the_deadline(tmp_path, monkeypatch, begun):
    monkeypatch.setattr(daemon, "DEADLINE", 1.0)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(1)

        def drip() -> None:
            client, _ = server.accept()
            with client, contextlib.suppress(OSError):
                client.sendall(begun)
                for _ in range(300):
                    client.sendall(b" ")
                    time.sleep(0.1)

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(DockerError, match="no whole answer within 1 s"):
            Daemon(f"unix://{tmp_path}/s").get("/containers/json")
        assert time.monotonic() - began < 5


def test_endless_reply_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(docker_api, "MOST_READ", 100_000)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(1)

        def pour() -> None:
            client, _ = server.accept()
            with client, contextlib.suppress(OSError):
                client.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                while True:
                    client.sendall(b" " * 65536)

        threading.Thread(target=pour, daemon=True).start()
        with pytest.raises(DockerError, match="more than 100000 bytes"):
            Daemon(f"unix://{tmp_path}/s").get("/containers/json")


def test_own_container_is_recognised_and_a_host_is_not_taken_for_a_container(tmp_path):
    own, other = "a" * 64, "b" * 64
    mountinfo, cgroup = tmp_path / "mountinfo", tmp_path / "cgroup"
    mountinfo.write_text(
        f"600 590 8:1 /var/lib/docker/containers/{own}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
        f"601 590 8:1 / /var/lib/docker/containers/{other}/mounts/shm rw - tmpfs shm rw\n"
    )
    cgroup.write_text("0::/\n")
    assert own_ids(mountinfo, cgroup) == {own}
    cgroup.write_text(f"12:cpu:/kubepods/burstable/pod1/{other}\n")
    assert own_ids(mountinfo, cgroup) == {own, other}
    mountinfo.write_text(f"601 590 8:1 / /var/lib/docker/containers/{other}/mounts/shm rw - tmpfs shm rw\n")
    cgroup.write_text("0::/system.slice/certmedic.service\n")
    assert own_ids(mountinfo, cgroup) == frozenset()
    assert own_ids(tmp_path / "none", tmp_path / "none") == frozenset()


# ---------------------------------------------------------------- the parser without a daemon


def stamp(nanos: int) -> str:
    return f"2026-03-01T03:00:00.{nanos:09}Z"


def frame(text: bytes, nanos: int = 0, kind: int = 2) -> bytes:
    body = f"{stamp(nanos)} ".encode() + text
    return bytes([kind, 0, 0, 0]) + len(body).to_bytes(4, "big") + body


def feed(log: Stream, data: bytes, sizes) -> list[str]:
    lines, at = [], 0
    while at < len(data):
        size = next(sizes)
        lines += [text.decode().strip() for _, text in log.feed(data[at : at + size])]
        at += size
    return lines + [text.decode().strip() for _, text in log.finish()]


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_lines_do_not_depend_on_block_boundaries(tty, seed):
    rng = random.Random(seed)  # noqa: S311 - a seed that can be tried again
    data, expected = b"", []
    for number in range(300):
        text = f"line {number} " + "z" * rng.randrange(200) + (" x509: bad" if rng.random() < 0.3 else "")
        expected += [text] if "x509:" in text else []
        nanos = number // 3
        data += (
            f"{stamp(nanos)} {text}\r\n".encode() if tty else frame(text.encode() + b"\n", nanos, rng.choice([1, 2]))
        )
    log = Stream(needles=NEEDLES, tty=tty, resumed=None)
    assert feed(log, data, iter(lambda: rng.choice([1, 2, 7, 8, 9, 100, 5000]), None)) == expected
    assert log.seen == 300
    assert log.position == Position(stamp(99), 3)


@pytest.mark.parametrize("handled", range(13))
def test_handled_lines_of_one_timestamp_are_skipped_by_count(handled):
    data = b"".join(frame(f"line {n} x509:\n".encode(), nanos=n // 4) for n in range(12))
    first = Stream(needles=NEEDLES, tty=False, resumed=None)
    positions = [position for position, _ in first.feed(data)]
    resumed = positions[handled - 1] if handled else None
    since = stamp(0) if resumed is None else resumed.stamp
    # The daemon sends the lines from that timestamp on.
    again = b"".join(frame(f"line {n} x509:\n".encode(), nanos=n // 4) for n in range(12) if stamp(n // 4) >= since)
    second = Stream(needles=NEEDLES, tty=False, resumed=resumed)
    assert [text for _, text in second.feed(again)] == [f"line {n} x509:\n".encode() for n in range(handled, 12)]
    assert not second.lost


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_lines_that_the_daemon_repeats_are_read_once(tty, size):
    def sent(nanos: int) -> bytes:
        text = f"x509: bad {nanos // 2}"  # a program may print the same line twice
        return f"{stamp(nanos)} {text}\r\n".encode() if tty else frame(f"{text}\n".encode(), nanos)

    def received(resumed: Position | None, *sequence: int) -> list[str]:
        log = Stream(needles=NEEDLES, tty=tty, resumed=resumed)
        return feed(log, b"".join(map(sent, sequence)), iter(lambda: size, None))

    expected = [f"x509: bad {nanos // 2}" for nanos in range(7)]
    assert received(None, 0, 1, 2, 2, 3, 4) == expected[:5]
    assert received(None, 0, 1, 2, 3, 4, 2, 3, 4, 5) == expected[:6]
    assert received(Position(stamp(2), 1), 2, 3, 4, 2, 3, 4, 5, 6) == expected[3:]


def test_rotation_past_the_position_is_noticed():
    log = Stream(needles=NEEDLES, tty=False, resumed=Position(stamp(5), 1))
    assert [text for _, text in log.feed(frame(b"line x509:\n", nanos=9))] == [b"line x509:\n"]
    assert log.lost


def test_parts_of_stdout_and_stderr_are_not_mixed():
    log = Stream(needles=NEEDLES, tty=False, resumed=None)
    data = frame(b"out x5", kind=1) + frame(b"err x5", kind=2) + frame(b"09: o\n", kind=1) + frame(b"09: e\n", kind=2)
    assert [text for _, text in log.feed(data)] == [b"out x509: o\n", b"err x509: e\n"]
    assert log.position == Position(stamp(0), 4)


def test_only_a_clock_that_goes_back_moves_the_position_back():
    log = Stream(needles=NEEDLES, tty=False, resumed=None)
    assert len(list(log.feed(frame(b"x509: a\n", nanos=100) + frame(b"x509: b\n", nanos=99)))) == 2
    assert log.position == Position(stamp(100), 1)
    earlier = frame(b"x509: c\n").replace(b"T03:00:00", b"T02:59:58")
    assert len(list(log.feed(earlier))) == 1
    assert log.position.stamp.startswith("2026-03-01T02:59:58")


def test_unfinished_line_has_no_position():
    log = Stream(needles=NEEDLES, tty=False, resumed=None)
    assert list(log.feed(frame(b"half a line"))) == []
    assert log.position is None


def test_bytes_that_are_no_log_are_refused():
    for data in (b"HTTP/1.1 400 Bad Request\r\n", b"\x09\0\0\0\0\0\0\x01a", b"\x01\0\0\0\xff\xff\xff\xff"):
        with pytest.raises(DockerError, match="not made of frames"):
            list(Stream(needles=NEEDLES, tty=False, resumed=None).feed(data))


def test_line_without_a_timestamp_is_read_with_the_present_time():
    log = Stream(needles=NEEDLES, tty=True, resumed=None)
    ((position, text),) = log.feed(b"\xff\xfe x509: is not a timestamp, and this line is long enough for one x509:\n")
    assert abs((datetime.now(UTC) - position.time).total_seconds()) < 60
    assert b"x509:" in text


@pytest.mark.parametrize(
    "stored", [None, "", "7", "{}", '{"stamp": "yesterday", "count": 1}', '{"stamp": 5, "count": 5}']
)
def test_malformed_position_parses_as_none(stored):
    assert Position.parse(stored) is None


def test_position_survives_storing():
    position = Position(stamp(123), 4)
    assert Position.parse(str(position)) == position
    assert position.since == f"{datetime(2026, 3, 1, 3, tzinfo=UTC).timestamp():.0f}.000000123"
    assert json.loads(str(position)) == {"stamp": stamp(123), "count": 4}
