"""The reader process: the libraries that it loads, and when items are sent in frames."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from certmedic.core.model import LogEntry, Progress, SourceUp
from certmedic.edge.wire import BEAT, MOST, WireError, items_of
from certmedic.reader import serve
from certmedic.reader.serve import FIRST, FRAME
from labs import AGENT

ENTRY = LogEntry(stream="journal", position="1", time=datetime(2026, 11, 24, tzinfo=UTC), text="x")
HEAVY = (
    "cryptography",
    "OpenSSL",
    "click",
    "rich",
    "apprise",
    "sqlite3",
    "requests",
    "prometheus_client",
    "ssl",
    "email",
    "difflib",
    "shutil",
)


class Sent:
    """The connection to the agent, by its Protocol: the frames, as they were sent."""

    def __init__(self) -> None:
        self.frames, self.gone = [], False

    def send(self, value) -> None:
        if self.gone:
            raise WireError("takes nothing: Broken pipe")
        self.frames.append(items_of(value))


@pytest.fixture
def outgoing(monkeypatch):
    monkeypatch.setattr(serve.time, "monotonic", lambda: 100.0)
    sent = Sent()
    return serve.Outgoing(sent), sent


REPORT = Progress(stream="journal", position="1")


def test_items_are_cut_into_frames_in_order(outgoing):
    out, sent = outgoing
    items = [replace(ENTRY, position=str(n), text="x" * 60_000) for n in range(20)] + [SourceUp(source="journal")]
    for item in items:
        out.put(item)
    out.send(100.0)

    assert [item for frame in sent.frames for item in frame] == items
    assert len(sent.frames) > 1
    # JSON writes a character with at most six.
    assert 6 * (FRAME + 64 * 1024) < MOST


def test_many_small_items_fill_a_frame_too(outgoing):
    out, sent = outgoing
    for number in range(10_000):
        out.put(Progress(stream=f"pod:{number}", position="1"))
    assert 1 < len(sent.frames) < 100


@pytest.mark.parametrize(
    ("item", "at", "due"),
    [
        (None, 100.0, 100.0 + BEAT),  # a sign of life
        (ENTRY, 100.0 + FIRST, 0.0),
        (SourceUp(source="journal"), 100.0 + FIRST, 0.0),
        (REPORT, 100.0 + FIRST, 100.0 + BEAT),
        (REPORT, 100.0 + FIRST - 1, 0.0),  # at first, nothing waits
    ],
)
def test_lines_and_failures_are_due_at_once_and_reports_with_the_next_frame(outgoing, monkeypatch, item, at, due):
    out, _ = outgoing
    assert out.due == 0.0
    out.send(100.0)
    monkeypatch.setattr(serve.time, "monotonic", lambda: at)
    if item:
        out.put(item)
    assert out.due == due


def test_frame_holds_the_reports_before_it(outgoing):
    out, sent = outgoing
    out.send(100.0)
    for item in (REPORT, ENTRY):
        out.put(item)
    out.send(101.0)
    assert sent.frames == [[], [REPORT, ENTRY]]


def test_agent_that_is_gone_ends_the_round_and_is_no_failure_of_a_source(outgoing):
    out, sent = outgoing
    out.send(100.0)
    sent.gone = True
    for _ in range(10):
        out.put(replace(ENTRY, text="x" * 60_000))
    assert out.due == 0.0
    with pytest.raises(WireError, match="Broken pipe"):
        out.send(100.0)


@pytest.mark.slow
def test_reader_loads_no_library_that_it_does_not_need():
    code = (
        "import json, sys; from certmedic.reader import serve, sources; from certmedic.edge.facts import sight; from certmedic.edge.wire import Watching;"
        "sources.sources(Watching(journal=True, docker=None, docker_url='unix:///x', pods='/var/log/pods', files=('/var/log/x',)));"
        "print(json.dumps(sorted(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(AGENT)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, env=environment
    )

    assert [name for name in json.loads(done.stdout) if name in HEAVY] == []
