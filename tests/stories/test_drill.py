"""`./dev drill`: its events in order, in about a minute, without root, Docker or systemd."""

import os
import subprocess
import sys
import time

import pytest

from labs import AGENT, TESTS
from labs.receivers import Hook

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(180)]


def drill(*words, **environ):
    """Run the drill to its end."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "labs.drill", *words],
        env={**os.environ, "PYTHONPATH": f"{AGENT}:{TESTS}", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


def test_drill_prints_its_events_in_order_and_ends_well():
    began = time.monotonic()

    done = drill()

    story = [
        "healthy",
        "issued",
        "EXPIRED",
        "failing line",
        "message",
        "restart",
        "reissued",
        "resolved",
        "the end",
    ]
    places = [done.stdout.find(f"  {what} ") for what in story]
    assert done.returncode == 0, done.stdout + done.stderr
    assert -1 not in places, done.stdout
    assert places == sorted(places), done.stdout
    # The line and the date of the file are seen at about the same time, in either order.
    assert places[2] < done.stdout.find("  sighting ") < places[4], done.stdout
    assert "one restart, verified, resolved" in done.stdout
    assert time.monotonic() - began < 90


def test_old_manager_is_not_restarted_and_the_message_arrives():
    with Hook() as received:
        done = drill("--old", "--notify", received.url)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "no blind restart was made" in done.stdout
    assert ["[DRILL]" in title for title in received.titles] == [True]
    assert "SECRET" not in done.stdout + done.stderr


def test_recording_is_judged_and_marked_if_there_is_no_etcd(tmp_path):
    done = drill(PATH="/nowhere", CERTMEDIC_CACHE=str(tmp_path))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "recorded" in done.stdout.lower()
    assert "expired" in done.stdout
