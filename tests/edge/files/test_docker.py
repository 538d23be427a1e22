"""Docker's logs as files: its records, its containers, and the positions that were left over its socket."""

import json
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmedic.core.lines import LIMIT
from certmedic.core.model import Progress, Trust
from certmedic.core.symptoms import NEEDLES
from certmedic.edge.containers import DockerSource
from certmedic.edge.files import source as follow
from certmedic.edge.files.docker import DockerFiles, JsonLines
from certmedic.edge.os import docker_root
from labs.docker import BUSYBOX, start_dockerd
from labs.reading import Reading

BAD = "remote error: tls: bad certificate"
STAMP = "2026-11-24T15:40:{:02}.123456789Z"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(follow, "REPORT_EVERY", 0.1)


def record(text, second=1, stream="stderr"):
    """Return a record as Docker writes it."""
    made = json.dumps(text).replace("<", "\\u003c")
    return f'{{"log":{made},"stream":"{stream}","time":"{STAMP.format(second)}"}}\n'.encode()


def texts(shape, block):
    return [line.text.decode() for line in shape.find(block)]


def test_record_with_a_needle_is_its_text_and_its_time():
    block = record("quiet\n") + record(f'<{BAD}> "x" \\n\n', 7)
    (line,) = JsonLines((b"tls: ",)).find(block)
    assert line.text.decode() == f'<{BAD}> "x" \\n'
    assert line.time == datetime(2026, 11, 24, 15, 40, 7, 123456, UTC)
    assert line.end == len(block)


def test_line_read_over_the_socket_is_known_though_the_file_leaves_zeros_out():
    block = b"".join(record(f"{BAD} {n}\n") for n in range(3)).replace(b".123456789Z", b".12345678Z", 2)
    shape = JsonLines((b"tls: ",), after=("2026-11-24T15:40:01.123456780Z", 1))
    assert texts(shape, block) == [f"{BAD} 1", f"{BAD} 2"]


LONG = 16 * 1024 - len("remote error: tl")


def test_parts_of_a_line_are_put_together_by_stream():
    shape = JsonLines((b"tls: ",))
    assert (
        texts(shape, record("quiet\n") + record(LONG * "x" + "remote error: tl") + record("other\n", stream="stdout"))
        == []
    )
    assert shape.pending
    assert texts(shape, record("s: bad certificate\n") + record(f"{BAD} 2\n")) == [LONG * "x" + BAD, f"{BAD} 2"]
    assert not shape.pending


@pytest.mark.parametrize("before", ["", 16 * 1024 * "x"])
def test_last_words_without_a_line_end_are_a_line(before):
    shape = JsonLines((b"tls: ",))
    block = (record(before) if before else b"") + record(f"{BAD} 1") + record(f"{BAD} 2\n")
    assert texts(shape, block) == [f"{before}{BAD} 1", f"{BAD} 2"]
    assert not shape.pending


@given(
    st.lists(
        st.tuples(st.sampled_from(["quiet", BAD, "<&>\\", "x" * 16_384, "tls", ": "]), st.booleans(), st.booleans()),
        max_size=9,
    ),
    st.integers(0, 9),
)
def test_blocks_hold_the_lines_that_their_records_hold_one_by_one(records, cut):
    made = [record(text + "\n" * ended, stream="stderr" if err else "stdout") for text, ended, err in records]
    alone, shape = JsonLines((b"tls: ",)), JsonLines((b"tls: ",))
    expected = [text for raw in made for text in texts(alone, raw)]
    assert texts(shape, b"".join(made[:cut])) + texts(shape, b"".join(made[cut:])) == expected


def test_line_without_an_end_is_kept_to_its_limit():
    shape = JsonLines((b"tls: ",))
    for _ in range(12):
        assert texts(shape, record("tls: " + 16_384 * "x")) == []
    assert max(map(len, shape._parts.values())) <= LIMIT + 16_389


@pytest.mark.parametrize(
    "raw", [b"tls: \n", b"{tls: }\n", b'["tls: "]\n', b'{"log":5,"x":"tls: "}\n', b"[" * 9999 + b"tls: \n"]
)
def test_damaged_record_hides_no_other(raw):
    assert texts(JsonLines((b"tls: ",)), raw + record(f"{BAD}\n"))[-1] == BAD


def test_needle_outside_of_the_text_is_no_line():
    block = record("quiet\n").replace(b'"time"', b'"attrs":{"tag":"tls: "},"time"')
    assert texts(JsonLines((b"tls: ",)), block) == []


def test_lines_that_were_read_over_the_socket_are_not_read_again():
    shape = JsonLines((b"tls: ",), after=(STAMP.format(2), 2))
    block = b"".join(record(f"tls: {number}\n", second) for number, second in enumerate((1, 2, 2, 2, 3, 1)))
    assert texts(shape, block) == ["tls: 3", "tls: 4", "tls: 5"]


# ---------------------------------------------------------------- a folder like Docker's

ETCD = "k8s_etcd-manager_etcd-manager-main-m1_kube-system_0123456789abcdef0123456789abcdef_0"


class Root:
    """A folder laid out like Docker's, since a real daemon cannot be made to write everything."""

    def __init__(self, path):
        self.path = path
        (path / "containers").mkdir(parents=True)

    def container(self, letter, name, *, labels=None, driver="json-file", config=None):
        home = self.path / "containers" / (64 * letter)
        home.mkdir()
        details = {"ID": home.name, "Name": f"/{name}", "Config": {"Image": "etcd:3", "Labels": labels}}
        (home / "config.v2.json").write_text(config or json.dumps(details))
        (home / "hostconfig.json").write_text(json.dumps({"LogConfig": {"Type": driver}}))
        log = home / f"{home.name}-json.log"
        log.touch()
        return log


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path / "docker")


def add(log, *lines):
    with log.open("ab") as file:
        file.write(b"".join(record(f"{line}\n") for line in lines))


def test_lines_have_the_origin_of_their_container(root):
    log = root.container("a", "web", labels={"app": "x"})
    with Reading(DockerFiles(NEEDLES, str(root.path))) as reading:
        reading.until(lambda: reading.statuses)
        add(log, BAD)
        reading.until(lambda: reading.entries)
    (entry,) = reading.entries
    assert (entry.stream, entry.text) == (f"docker:{64 * 'a'}", BAD)
    assert (entry.origin.container, entry.origin.image, entry.origin.trust) == ("web", "etcd:3", Trust.STRANGER)


@pytest.mark.parametrize(
    ("options", "read"),
    [
        ({}, {"web", ETCD}),
        ({"names": ["*etcd*"]}, {ETCD}),
        ({"names": ["etcd-manager-main-*"]}, {ETCD}),
        ({"labels": ["app"]}, {"web"}),
        ({"labels": ["app=y"]}, set()),
        ({"own": ["a" * 64]}, {ETCD}),
    ],
)
def test_only_wanted_containers_are_read(root, options, read):
    logs = [root.container("a", "web", labels={"app": "x"}), root.container("b", ETCD)]
    logs.append(root.container("c", "k8s_POD_x_y_z_0", labels={"io.kubernetes.docker.type": "podsandbox"}))
    logs.append(root.container("d", "broken", config="{"))
    with Reading(DockerFiles(NEEDLES, str(root.path), **options)) as reading:
        reading.until(lambda: reading.statuses)
        for log in logs:
            add(log, BAD)
        reading.until_idle()
    assert {entry.origin.container for entry in reading.entries} == read


def test_configured_container_is_evidence_for_messages_only(root):
    log = root.container("a", "web")
    with Reading(DockerFiles(NEEDLES, str(root.path), names=["web"])) as reading:
        reading.until(lambda: reading.statuses)
        add(log, BAD)
        reading.until(lambda: reading.entries)
    assert reading.entries[0].origin.trust is Trust.CLUSTER


def test_position_of_a_removed_container_is_dropped(root):
    log = root.container("a", "web")
    with Reading(DockerFiles(NEEDLES, str(root.path))) as reading:
        reading.until(lambda: reading.statuses)
        add(log, BAD)
        reading.until(lambda: reading.entries)
        shutil.rmtree(log.parent)
        gone = Progress(stream=f"docker:{64 * 'a'}", position=None)
        reading.until(lambda: gone in reading.items)


def test_container_that_ran_while_nobody_watched_is_read_after_an_upgrade(root):
    earlier = {"docker": str(time.time() - 60)}  # as it is stored over the socket
    add(root.container("a", "web"), BAD)
    with Reading(DockerFiles(NEEDLES, str(root.path)), earlier) as reading:
        reading.until(lambda: reading.entries)
    assert reading.texts == [BAD]


@pytest.mark.parametrize(("age", "read"), [(60, [BAD]), (3600, [])])
def test_container_made_shortly_before_the_first_watch_is_read_from_its_beginning(root, age, read):
    made = datetime.fromtimestamp(time.time() - age, UTC).isoformat()
    config = json.dumps(
        {"ID": 64 * "a", "Name": "/web", "Created": made, "Config": {"Image": "etcd:3", "Labels": None}}
    )
    log = root.container("a", "web", config=config)
    add(log, BAD)
    with Reading(DockerFiles(NEEDLES, str(root.path))) as reading:
        reading.until(lambda: reading.statuses)
        add(log, f"{BAD} at last")
        reading.until(lambda: f"{BAD} at last" in reading.texts)
    assert reading.texts == [*read, f"{BAD} at last"]


# ---------------------------------------------------------------- a real daemon

real = [
    pytest.mark.real,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: dockerd"),
    pytest.mark.skipif(shutil.which("dockerd") is None, reason="needs docker.io"),
]


@pytest.fixture(scope="module")
def daemon():
    with start_dockerd() as docker:
        docker.busybox()
        yield docker


def test_folder_of_dockers_data_is_that_of_its_settings(tmp_path, monkeypatch):
    settings = tmp_path / "daemon.json"
    monkeypatch.setattr(docker_root, "SETTINGS", str(settings))
    assert docker_root.data_root("unix:///none.sock") == docker_root.ROOT
    for text, folder in (('{"data-root":"/mnt/d"}', "/mnt/d"), ("{", docker_root.ROOT), ("[]", docker_root.ROOT)):
        settings.write_text(text)
        assert docker_root.data_root("unix:///none.sock") == folder


@pytest.mark.slow
class TestRealDaemon:
    pytestmark = real

    def test_upgrade_from_the_socket_reads_each_line_once_through_rotations(self, daemon):
        options = ["--log-opt=max-size=20k", "--log-opt=max-file=9", "--network=none"]
        script = f"for n in $(seq 400); do echo {BAD} $n; done; sleep 1000"
        number = daemon("run", "-d", *options, BUSYBOX, "sh", "-c", script)
        with Reading(DockerSource(NEEDLES, base_url=daemon.url)) as before:
            before.until(lambda: len(before.entries) >= 400)
            before.until_idle()
        daemon("exec", number, "sh", "-c", f"for n in $(seq 401 900); do echo {BAD} $n; done > /proc/1/fd/1")
        root = docker_root.data_root(daemon.url)
        assert root == str(daemon.home / "data")
        assert number in docker_root.ids(root)
        assert docker_root.driver(root, number) == "json-file"
        with Reading(DockerFiles(NEEDLES, root), before.positions) as after:
            after.until(lambda: len(after.entries) >= 500)
            after.until_idle()
            daemon("restart", "--time=0", number)
            after.until(lambda: len(after.entries) >= 900)
        numbers = [int(text.rpartition(" ")[2]) for text in after.texts]
        assert numbers == [*range(401, 901), *range(1, 401)]

    def test_long_line_is_read_as_it_was_written(self, daemon):
        root = docker_root.data_root(daemon.url)
        with Reading(DockerFiles(NEEDLES, root, names=["long"])) as reading:
            reading.until(lambda: reading.statuses)
            script = f"printf '%040000d' 0; echo ' {BAD}'"
            daemon("run", "--network=none", "--name=long", BUSYBOX, "sh", "-c", script)
            reading.until(lambda: reading.entries)
        assert reading.texts == ["0" * 40000 + f" {BAD}"]
        assert Path(root).is_dir()
