"""Days of a master in compressed time: nothing that the agent holds grows. `./dev bench month` plays a month."""

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
    early, *_, late = played["hours"]
    assert played["incidents"] >= 20
    assert played["sent"] >= 10
    assert played["open"] == 0
    assert played["faults"] == {}
    assert played["positions"] <= 10
    assert late["memory"] - early["memory"] < 1
    assert late["state"] < 5
    assert late["threads"] == early["threads"]
    assert late["descriptors"] <= 26  # two files of each log, three pods of the CronJob
