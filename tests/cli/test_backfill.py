"""`certmedic backfill` judges the lines that the logs still hold, counts each once and changes nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from certmedic.cli import backfill, main
from labs import waiting
from labs.docker import start_dockerd
from labs.journal import JOURNALD, start_journald
from labs.proof import UNIT, Agent, Containers, PlainFile, PodLog, failure


@pytest.mark.parametrize(
    ("text", "ago"),
    [("3d", 3 * 86400), ("-3d", 3 * 86400), ("12h ago", 12 * 3600), ("90m", 5400), ("5 s", 5)],
)
def test_since_accepts_durations_like_journalctl(text, ago):
    since = backfill.since(None, None, text)
    assert abs((datetime.now(UTC) - since).total_seconds() - ago) < 60


def test_since_accepts_dates_and_refuses_nonsense():
    assert backfill.since(None, None, "2026-11-01") == datetime(2026, 11, 1, tzinfo=UTC)
    assert backfill.since(None, None, "2026-11-01T04:00:00+01:00") == datetime(2026, 11, 1, 3, tzinfo=UTC)
    assert backfill.since(None, None, "today") - backfill.since(None, None, "yesterday") == timedelta(days=1)
    with pytest.raises(click.BadParameter, match="is not a time; write"):
        backfill.since(None, None, "a while")


def test_files_and_their_rotated_parts_are_read_from_the_given_time_on(tmp_path):
    log = PlainFile(tmp_path / "tls.log", random.Random(1))  # noqa: S311 - a fixed seed
    written = 0
    for round_ in range(8):
        then = datetime.now(UTC) - timedelta(hours=8 - round_)
        for number in range(written, written + 10):
            log.write([failure(number, then)] * (1 + (number == 79)))
        written += 10
        if round_ < 7:
            log.rotate()
    assert list(tmp_path.glob("*.gz"))
    config = tmp_path / "certmedic.toml"
    config.write_text(
        f'state = "{tmp_path / "state"}"\n[watch]\njournal = false\ndocker = false\npods = false\nfiles = ["{tmp_path}/tls.log"]\n'
    )

    done = CliRunner().invoke(main, ["backfill", "--config", str(config), "--since", "210m", "--json"])

    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert [(row["source"], row["matched"], row["error"]) for row in answer["sources"]] == [("files", 81, "")]
    assert (
        sum(incident["count"] for incident in answer["incidents"]) == 31
    )  # ten an hour for three hours, and the last line came twice
    first = min(datetime.fromisoformat(incident["first_seen"]) for incident in answer["incidents"])
    assert abs(datetime.now(UTC) - timedelta(hours=3) - first) < timedelta(minutes=2)
    assert not (tmp_path / "state").exists()


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: journald, dockerd, mount namespaces")
@pytest.mark.skipif(not Path(JOURNALD).exists(), reason="needs systemd-journald")
@pytest.mark.skipif(shutil.which("dockerd") is None, reason="needs docker.io")
def test_backfill_reads_every_source_and_leaves_the_state_of_a_running_service():
    dice = random.Random(2)  # noqa: S311 - a fixed seed
    with ExitStack() as closing:
        journald, docker = closing.enter_context(start_journald(unit=UNIT)), closing.enter_context(start_dockerd())
        agent = Agent(journald.home, docker.url)
        closing.callback(agent.kill)
        file, pod = PlainFile(agent.home / "log" / "tls.log", dice), PodLog(agent.home / "log" / "pods", dice)
        containers = Containers(docker, dice)
        lines = [failure(number) for number in range(60)]
        for line in lines[:20]:
            journald.log(line, SYSLOG_IDENTIFIER="relay")
        journald.journalctl("--rotate")
        journald.log(lines[20], SYSLOG_IDENTIFIER="relay")
        containers.write(lines[15:30])
        pod.write(lines[30:40])
        pod.rotate()
        pod.write(lines[40:45])
        file.write(lines[10:30])
        file.rotate()
        file.write(lines[45:50])
        file.rotate()
        file.write(lines[50:60])
        agent.start()
        waiting.until(lambda: {"journal", "files", "pods", "docker"} <= agent.positions())
        waiting.until(lambda: set(range(30)) - set(range(21, 30)) <= agent.recorded().keys())
        before = agent.recorded()

        done = agent("backfill", "--since", "1h", "--json")
        plain = agent("backfill", "--since", "1h")
        none = agent("backfill", "--since", "0s", "--json")

        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert {row["source"] for row in answer["sources"]} == {"journal", "docker", "pods", "files"}
        assert [row["error"] for row in answer["sources"]] == [""] * 4
        # By origin: 21 lines of the unit, 24 more of the static pod, 15 more of the file.
        assert sorted(incident["count"] for incident in answer["incidents"]) == [15, 21, 24]
        for incident in answer["incidents"]:
            assert datetime.fromisoformat(incident["first_seen"]) <= datetime.fromisoformat(incident["last_seen"])
        assert (done.stderr, plain.stderr) == (b"", b"")  # no progress: it is quick, and there is no terminal
        assert b"seen     24 times" in plain.stdout
        assert json.loads(none.stdout)["incidents"] == []
        time.sleep(1)
        assert agent.recorded() == before
