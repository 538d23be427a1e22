"""A master's days in compressed time: what the agent holds does not grow. `./dev bench month` plays a month."""

import json
import os
import subprocess
import sys

import pytest

from labs import ROOT


@pytest.mark.slow
@pytest.mark.long
def test_memory_descriptors_and_threads_stay_flat_after_the_first_hour(tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bench.month", "0.13", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("agent", "tests"))},
        capture_output=True,
        check=False,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    played = json.loads(done.stdout)
    first, *_, last = played["hours"]
    assert played["incidents"] >= 20
    assert played["sent"] >= 20
    assert played["open"] == 0
    assert played["faults"] == {}
    assert played["positions"] <= 10
    assert last["memory"] - first["memory"] < 1
    assert last["state"] < 5
    assert last["threads"] == first["threads"]
    assert last["descriptors"] <= 26  # two files of each log, three pods of the CronJob
