"""Docker's logs are read as files, and over the socket where they are in no file and the socket may be used."""

import contextlib
import os
import shutil

import pytest

from certmedic.core.symptoms import NEEDLES
from certmedic.edge.containers import source as containers
from certmedic.edge.files import source as files
from certmedic.edge.files.docker import DockerFiles
from certmedic.edge.files.globs import Watch
from certmedic.reader.docker import DockerLogs, time_of
from labs.docker import BUSYBOX, start_dockerd
from labs.reading import Reading

BAD = "remote error: tls: bad certificate"


def test_time_of_the_watch_over_files_serves_the_socket():
    assert time_of(None) is None
    assert time_of("{") is None
    assert time_of("5.5") == "5.5"
    assert time_of(stamped := '{"stamp": "2026-11-24T15:40:01.000000001Z", "count": 2}') == stamped
    assert time_of(str(Watch(time=5.5, globs=("/x",)))) == "5.5"


def test_source_keeps_reading_files_while_the_daemon_does_not_answer(tmp_path):
    root = tmp_path / "data [1]"
    (root / "containers").mkdir(parents=True)
    watch = str(Watch(time=5.5, globs=DockerFiles(NEEDLES, str(root))._globs))
    source = DockerLogs(NEEDLES, base_url=f"unix://{tmp_path}/none.sock")
    with contextlib.closing(source.reads({"docker": watch}.get, print)) as reads:
        next(reads)
    assert isinstance(source._source, DockerFiles)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: dockerd")
@pytest.mark.skipif(shutil.which("dockerd") is None, reason="needs docker.io")
def test_container_with_another_driver_is_read_over_the_socket(monkeypatch):
    for module in (files, containers):
        monkeypatch.setattr(module, "REPORT_EVERY", 0.1)
    with start_dockerd() as docker:
        with Reading(DockerLogs(NEEDLES, base_url=docker.url)) as reading:
            docker.busybox()
            reading.until(lambda: reading.statuses)
            docker("run", "--network=none", BUSYBOX, "echo", f"{BAD} 1")
            loop = f"echo {BAD} 2; sleep 1000"
            docker("run", "-d", "--name=other", "--network=none", "--log-driver=local", BUSYBOX, "sh", "-c", loop)
            reading.until(lambda: len(reading.entries) >= 2)
            docker("exec", "other", "sh", "-c", f"echo {BAD} 3 > /proc/1/fd/1")
            reading.until(lambda: len(reading.entries) >= 3)
            reading.until_idle()
        docker("run", "--network=none", BUSYBOX, "echo", f"{BAD} 4")
        docker("exec", "other", "sh", "-c", f"echo {BAD} 5 > /proc/1/fd/1")
        with Reading(DockerLogs(NEEDLES, base_url=docker.url), reading.positions) as again:
            again.until(lambda: len(again.entries) >= 2)
            again.until_idle()
    assert sorted(reading.texts) == [f"{BAD} 1", f"{BAD} 2", f"{BAD} 3"]
    assert sorted(again.texts) == [f"{BAD} 4", f"{BAD} 5"]
    assert reading.outages == again.outages == []
