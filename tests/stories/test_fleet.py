"""`certmedic fleet` on a hundred clusters of three masters in a real Prometheus: result, time and memory."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from labs import AGENT
from labs.fleets import made, write_data
from labs.prometheus import prometheus

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus")

MOST_MEMORY = 100 * 1024  # KiB


def test_hundred_clusters_need_less_than_100_mib(tmp_path):
    now = datetime.now(UTC).replace(microsecond=0)
    write_data(tmp_path / "prometheus", made(100, now), now)
    with prometheus(tmp_path / "prometheus", {}) as server:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", CODE, server.url],
            env={**os.environ, "PYTHONPATH": str(AGENT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    memory = int(done.stderr)
    seen = json.loads(done.stdout)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # The time depends on what else this machine does, so it is printed and not judged.
    sys.stdout.write(f"fleet of 100 clusters: {took:.2f} s, {cpu:.2f} s of processor, {memory / 1024:.0f} MiB\n")

    assert memory < MOST_MEMORY
    assert (len(seen["clusters"]), sum(len(each["masters"]) for each in seen["clusters"])) == (100, 300)
    assert (len(seen["incidents"]), len(seen["expiries"])) == (10, 7500)
    assert all(len(incident["reporters"]) == 3 for incident in seen["incidents"])
    assert sum(master["silent"] for each in seen["clusters"] for master in each["masters"]) == 7


# The command, and then its peak of memory in KiB. Unlike ru_maxrss, VmHWM does not begin with the memory of the process that forked.
CODE = """
import re, sys
from certmedic.cli import main
try:
    main(["fleet", "--json", "--prometheus", sys.argv[1]])
finally:
    sys.stdout.flush()
    print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""
