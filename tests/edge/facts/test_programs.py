"""Running programs of the control plane, from a real /proc."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from certmedic.core import planes
from certmedic.core.model import Trust
from certmedic.core.origin import Process
from certmedic.edge.facts.processes import network_of
from certmedic.edge.facts.programs import ProcessSeen, details, holders, name_of, programs, seen_programs
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
                    for p in programs(
                        seen_programs(), lambda at: Trust.SYSTEM if at.pid == process.pid else Trust.STRANGER
                    )
                    if p.pid == process.pid
                ]

            until(mine)
            (seen,) = mine()
        finally:
            process.kill()
    assert (seen.name, seen.trust) == ("kube-scheduler", Trust.SYSTEM)
    assert abs(seen.started_at - began) < timedelta(seconds=5)


@pytest.mark.parametrize(("name", "trust"), [("kubeadm", Trust.SYSTEM), ("kubelet", Trust.STRANGER)])
def test_tool_is_believed_if_root_runs_it_in_a_session(name, trust):
    process = Process(uid=0, exe=f"/usr/bin/{name}", cgroup="/user.slice/user-0.slice/session-1.scope")
    (seen,) = programs([ProcessSeen(pid=7, process=process, name=name)], lambda _: Trust.STRANGER)
    assert seen.trust is trust


def test_details_of_a_process_come_by_its_environment_and_end_with_it():
    with subprocess.Popen(["sleep", "60"], env={"ETCD_NAME": "a", "ETCD_CERT_FILE": "/x/server.crt"}) as process:
        try:
            until(lambda: [known for known in details([process.pid]) if known.named])
            (known,) = details([process.pid, 2**22 + 1])
        finally:
            process.kill()
    assert [(use, path.endswith("/x/server.crt")) for use, path in known.named] == [("server", True)]
    assert (known.cluster, known.closed, known.network) == (None, "", network_of("self"))
    assert f"/{process.pid}/" in known.start
    assert details([process.pid]) == ()


def test_socket_is_held_by_the_process_that_opened_it():
    with socket.create_server(("127.0.0.1", 0)) as server:
        inode = os.fstat(server.fileno()).st_ino
        ((known, by),) = holders([inode])
    assert (known, os.getpid() in {seen.pid for seen in by}) == (inode, True)


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
    assert seen_programs(proc=str(tmp_path)) == ()
    (tmp_path / "stat").write_text("cpu 1\nbtime 1000\n")
    (tmp_path / "12").mkdir()
    (tmp_path / "12/cmdline").write_bytes(b"/usr/bin/etcd\0--name\0")
    assert seen_programs(proc=str(tmp_path)) == ()  # it ended between the two reads
    (tmp_path / "12/comm").write_text("etcd\n")
    (tmp_path / "12/comm").write_text("(a) b\n")
    (tmp_path / "12/stat").write_text(f"12 (a) b) S {' '.join(['0'] * 18)} {100 * os.sysconf('SC_CLK_TCK')} 0")
    assert seen_programs(proc=str(tmp_path)) == ()  # nobody tells its cgroup
    (tmp_path / "12/cgroup").write_text("0::/system.slice/etcd.service\n")
    (etcd,) = programs(seen_programs(proc=str(tmp_path)), lambda _: Trust.SYSTEM)
    assert (etcd.name, etcd.started_at) == ("etcd", datetime.fromtimestamp(1100, UTC))
