"""A confined reader, played by a program with its sandbox: a table of what it tries, and what the kernel answers."""

import ctypes
import json
import os
import socket
import subprocess
import sys

import pytest

from certmedic.reader import sandbox
from labs import AGENT

VERSION = ctypes.CDLL(None, use_errno=True).syscall(sandbox._CREATE_RULESET, None, 0, sandbox._VERSION)
PROGRAM = """
import ctypes, json, os, signal, socket, subprocess, sys
from pathlib import Path
from certmedic.reader import sandbox
from certmedic.reader.sandbox import confine
if sys.argv[4] == "no capset":
    sandbox._drop_capabilities = lambda *_: None
home, port, parent = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
confine()
libc = ctypes.CDLL(None, use_errno=True)

def trace():
    if libc.ptrace(16, parent, 0, 0):
        raise PermissionError(ctypes.get_errno(), "ptrace")

def run(word):
    subprocess.run(["sh", "-c", word], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

tries = {
    "read a file": lambda: (home / "file").read_bytes(),
    "list a folder": lambda: os.listdir(home),
    "run a program": lambda: run("cat /dev/null"),
    "write a file": lambda: (home / "file").write_bytes(b"x"),
    "append to a file": lambda: (home / "file").open("ab"),
    "make a file": lambda: (home / "new").touch(),
    "make a folder": lambda: (home / "folder").mkdir(),
    "make a link": lambda: (home / "link").symlink_to("file"),
    "remove a file": lambda: (home / "file").unlink(),
    "move a file": lambda: (home / "file").rename(home / "moved"),
    "write by a program": lambda: run(f"echo x > {home}/file"),
    "truncate a file": lambda: os.truncate(home / "file", 0),
    "trace the agent": trace,
    "read the agent's memory": lambda: open(f"/proc/{parent}/mem", "rb"),
    "read the agent's environment": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
    "connect": lambda: socket.create_connection(("127.0.0.1", port), 2).close(),
    "listen": lambda: socket.create_server(("127.0.0.1", 0)).close(),
    "signal the agent": lambda: os.kill(parent, signal.SIGCONT),
    "become another user": lambda: os.setuid(12345),
}
answers = {}
for what, attempt in tries.items():
    try:
        attempt()
        answers[what] = "done"
    except (OSError, subprocess.CalledProcessError) as error:
        answers[what] = type(error).__name__
print(json.dumps(answers))
"""
ALLOWED = {"read a file", "list a folder", "run a program"}
SINCE = {"truncate a file": 3, "connect": 4, "listen": 4, "signal the agent": 6}


@pytest.mark.slow
@pytest.mark.skipif(VERSION < 1, reason="this kernel has no Landlock")
@pytest.mark.parametrize("system_calls", ["all", "no capset"])  # the unit's filter refuses capset(2)
def test_confined_reader_can_read_and_nothing_else(tmp_path, system_calls):
    (tmp_path / "file").write_bytes(b"as it was")
    (tmp_path / "file").chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = subprocess.run(
            [
                sys.executable,
                "-P",
                "-c",
                PROGRAM,
                str(tmp_path),
                str(server.getsockname()[1]),
                str(os.getpid()),
                system_calls,
            ],
            env={**os.environ, "PYTHONPATH": str(AGENT)},
            capture_output=True,
            text=True,
            check=True,
        )
    answers = json.loads(done.stdout)
    refused = {what for what in answers if what not in ALLOWED and SINCE.get(what, 1) <= VERSION}
    if system_calls != "all":
        refused -= {"become another user", "read the agent's environment"}

    assert {what: answers[what] for what in ALLOWED} == dict.fromkeys(ALLOWED, "done")
    assert {what: answer for what, answer in answers.items() if what in refused and answer == "done"} == {}
    assert (tmp_path / "file").read_bytes() == b"as it was"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


KEPT = """
import sys
from pathlib import Path
from certmedic.reader.sandbox import keep_sight
keep_sight()
status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
print(int(status["CapEff"], 16), int(status["CapPrm"], 16), status["NoNewPrivs"])
print(len(Path(f"/proc/{sys.argv[1]}/environ").read_bytes()))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs capabilities to give up")
def test_process_that_answers_keeps_the_capabilities_to_look():
    done = subprocess.run(
        [sys.executable, "-P", "-c", KEPT, str(os.getpid())],
        env={**os.environ, "PYTHONPATH": str(AGENT)},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, length = done.stdout.splitlines()
    assert kept == f"{1 << 2 | 1 << 19} {1 << 2 | 1 << 19} 1"
    assert int(length) > 0


SEEN = """
import os, sys
home = f"/proc/{sys.argv[1]}"
for name in ("cmdline", "cgroup", "stat", "exe", "root", "ns/net", "fd/0", "environ"):
    try:
        os.readlink(f"{home}/{name}") if name in ("exe", "root", "ns/net", "fd/0") else open(f"{home}/{name}", "rb").read()
        print(name)
    except PermissionError:
        pass
"""
NEEDS = {
    "-all": {"cmdline", "cgroup", "stat"},
    "-all,+dac_read_search": {"cmdline", "cgroup", "stat"},
    "-all,+sys_ptrace": {"cmdline", "cgroup", "stat", "exe", "root", "ns/net"},
    "-all,+dac_read_search,+sys_ptrace": {"cmdline", "cgroup", "stat", "exe", "root", "ns/net", "fd/0", "environ"},
}


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs capabilities to give up")
@pytest.mark.parametrize("capabilities", NEEDS)
def test_another_user_needs_both_capabilities_to_look_at_a_process_of_roots(capabilities):
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]
    limits = [f"--{name}={capabilities}" for name in ("inh-caps", "ambient-caps", "bounding-set")]
    program = ["/usr/bin/python3", "-c", SEEN, str(os.getpid())]
    done = subprocess.run([*user, *limits, *program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == NEEDS[capabilities]


def test_kernel_without_landlock_is_told(monkeypatch):
    class Old:
        prctl = capget = staticmethod(lambda *_: -1)
        syscall = staticmethod(lambda *_: -1)

    monkeypatch.setattr(sandbox.ctypes, "CDLL", lambda *_, **__: Old())
    assert sandbox.confine() == 0
