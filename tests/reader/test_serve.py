"""The reader process: the libraries that it loads, and the cut of items into frames."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from certmedic.core.model import LogEntry, SourceUp
from certmedic.edge.wire import MOST
from certmedic.reader.serve import FRAME, parts
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


def test_items_are_cut_into_parts_that_fit_into_a_frame_in_order():
    items = [replace(ENTRY, position=str(n), text="x" * 60_000) for n in range(20)] + [SourceUp(source="journal")]
    cut = list(parts(items))

    assert [item for part in cut for item in part] == items
    assert len(cut) > 1
    # JSON writes a character with at most six.
    assert 6 * (FRAME + 64 * 1024) < MOST


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
