"""Running programs of the control plane, from a real /proc."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from certmedic.core import planes
from certmedic.core.model import Trust
from certmedic.edge.facts.programs import name_of, programs
from labs.waiting import until

KNOWN = planes.watched_programs()


def test_running_program_is_listed_with_its_start_and_trust(tmp_path):
    scheduler = tmp_path / "kube-scheduler"
    shutil.copy(shutil.which("sleep"), scheduler)
    began = datetime.now(UTC)
    with subprocess.Popen([scheduler, "60"]) as process:
        try:

            def mine():
                return [
                    p
                    for p in programs(lambda pid: Trust.SYSTEM if pid == process.pid else Trust.STRANGER)
                    if p.pid == process.pid
                ]

            until(mine)
            (seen,) = mine()
        finally:
            process.kill()
    assert (seen.name, seen.trust) == ("kube-scheduler", Trust.SYSTEM)
    assert abs(seen.started_at - began) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["/usr/local/bin/kube-apiserver", "--x"], "kube-apiserver"),
        (["/hyperkube", "kube-scheduler"], "kube-scheduler"),
        (["/hyperkube", "scheduler"], "kube-scheduler"),
        (["/hyperkube"], ""),
        (["/usr/local/bin/k3s server"], "k3s"),  # k3s sets its title to one string
        (["grep", "kube-apiserver"], ""),
        ([""], ""),
    ],
)
def test_program_is_known_by_its_executable(argv, name):
    assert name_of(argv, KNOWN) == name


def test_no_proc_means_no_program(tmp_path):
    assert programs(lambda _: Trust.SYSTEM, proc=str(tmp_path)) == ()
    (tmp_path / "stat").write_text("cpu 1\nbtime 1000\n")
    (tmp_path / "12").mkdir()
    (tmp_path / "12/cmdline").write_bytes(b"/usr/bin/etcd\0--name\0")
    assert programs(lambda _: Trust.SYSTEM, proc=str(tmp_path)) == ()  # it ended between the two reads
    (tmp_path / "12/stat").write_text(f"12 (a) b) S {' '.join(['0'] * 18)} {100 * os.sysconf('SC_CLK_TCK')} 0")
    (etcd,) = programs(lambda _: Trust.SYSTEM, proc=str(tmp_path))
    assert (etcd.name, etcd.started_at) == ("etcd", datetime.fromtimestamp(1100, UTC))
