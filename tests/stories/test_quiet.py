"""Disk writes of the agent while no line matches."""

from __future__ import annotations

import os
import re
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from labs import waiting
from labs.journal import JOURNALD, start_journald
from labs.proof import Agent


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: journald, mount namespaces")
@pytest.mark.skipif(not Path(JOURNALD).exists(), reason="needs systemd-journald")
def test_positions_are_stored_periodically_and_not_for_every_line():
    with ExitStack() as closing:
        journald = closing.enter_context(start_journald())
        agent = Agent(journald.home, f"unix://{journald.home}/none.sock")
        closing.callback(agent.kill)
        agent.start()
        waiting.until(lambda: {"files", "pods"} <= agent.positions())
        time.sleep(3)  # time for the first inventory

        def calls() -> int:
            counters = Path(f"/proc/{agent.process.pid}/io").read_text()
            return int(re.search(r"syscw: (\d+)", counters)[1])

        before, began = calls(), time.monotonic()
        lines = 0
        while time.monotonic() - began < 10:
            journald.log("no needle", SYSLOG_IDENTIFIER="kubelet")
            lines += 1
            time.sleep(0.02)
        written = calls() - before

        assert lines > 100
        assert written < 10 * 12, f"{written} writes beside {lines} lines in {time.monotonic() - began:.0f} s"
