"""The scratch master of the drill: real etcd members whose certificates expire under a stand-in manager."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labs import AGENT, TESTS, pki
from labs import etcd as lab
from labs.drill import etcd, recorded
from labs.drill.master import Master, Member, scratch_master

pytestmark = pytest.mark.long
LIFE = 8.0


def until(condition: Callable[[], object], *, within: float = 60.0) -> object:
    """Wait until a condition returns something true, and return that."""
    deadline = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < deadline, f"did not come about within {within} s"
        time.sleep(0.1)
    return result


def lines(member: Member, pattern: str) -> list[str]:
    """Return the lines of a member's log that match `pattern`."""
    return [line for line in member.log.read_text(errors="replace").splitlines() if re.search(pattern, line)]


def fall_ill(master: Master) -> Member:
    """Wait until member a is healthy and then until it fails; return it."""
    sick = master.members["a"]
    assert master.wait_healthy()
    until(lambda: lines(sick, "remote error: tls: bad certificate"))
    return sick


@pytest.fixture(scope="module")
def program() -> Path:
    return etcd.find()


# ---------------------------------------------------------------- the master


def test_member_fails_at_expiry_and_recovers_by_a_restart(program):
    with scratch_master(program, life=LIFE) as master:
        sick, neighbour = fall_ill(master), master.members["b"]
        before = {path: pki.read(path) for path in (sick.me, sick.server)}
        keys = [path.with_suffix(".key").read_bytes() for path in before]
        inodes = [path.stat().st_ino for path in before]
        ended = f"{sick.ends:%Y-%m-%dT%H:%M:%SZ}"
        assert len({pki.ends(cert) for cert in before.values()}) == 1
        assert not master.healthy("a")
        assert master.healthy("b")  # open connections stay open
        until(lambda: lines(neighbour, f"certificate has expired or is not yet valid: .* is after {ended}"))

        sick.restart()

        assert master.wait_healthy()
        for path, old in before.items():
            new = pki.read(path)
            assert (pki.ends(new) - pki.ends(old)).days >= 729
            assert pki.begins(new) == pki.begins(old) == pki.begins(pki.read(path.with_name("ca.crt")))
        assert [path.with_suffix(".key").read_bytes() for path in before] == keys
        assert [path.stat().st_ino for path in before] == inodes  # written in place
        assert len(lines(sick, f"existing certificate not valid after {ended}; will regenerate")) == 2


def test_old_manager_keeps_an_expired_certificate_until_it_is_moved_aside(program):
    with scratch_master(program, life=LIFE, keep_expired=True) as master:
        sick = fall_ill(master)
        ended, refused = sick.ends, len(lines(sick, "bad certificate"))

        sick.restart()

        # A restarted member opens and accepts many connections a second.
        until(lambda: len(lines(sick, "bad certificate")) > refused + 20)
        assert sick.ends == ended
        assert not master.healthy("a")

        for path in (sick.me, sick.server):
            path.rename(path.with_suffix(".crt.expired"))
        sick.restart()

        assert master.wait_healthy()
        assert (sick.ends - ended).days >= 364  # the short life applies to the first start only


def test_old_manager_reissues_a_certificate_with_other_names(program):
    with scratch_master(program, life=3600, keep_expired=True) as master:
        sick = master.members["a"]
        assert master.wait_healthy()
        before = sick.ends

        at = sick.command.index("--log")
        sick.command[at:at] = ["--dns", "etcd-a.internal.example"]
        sick.restart()

        assert master.wait_healthy()
        assert (sick.ends - before).days >= 363
        assert "etcd-a.internal.example" in pki.hosts(pki.read(sick.me))


def test_manager_without_a_ca_names_the_missing_file(tmp_path):
    arguments = ["--member", "etcd-a", "--volume", str(tmp_path), "--authorities", str(tmp_path), "--", "etcd"]
    done = subprocess.run(
        [sys.executable, "-m", "labs.drill.standin", *arguments],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"{tmp_path}/etcd-peers-ca.crt" in done.stdout
    assert not done.stderr


DRILL = """
import signal, sys, time
from labs.drill import etcd, master
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores SIGINT for background jobs
with master.scratch_master(etcd.find(), life=3600) as made:
    assert made.wait_healthy()
    print(made.root, *(member.process.pid for member in made.members.values()), flush=True)
    time.sleep(600)
"""


def running(groups: list[int]) -> list[str]:
    """Return the command lines that still run in these process groups: a group is a stand-in and its etcd."""
    processes = subprocess.run(
        ["ps", "-e", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 2) for line in processes.splitlines()]
    return [args for group, state, *args in rows if int(group) in groups and not state.startswith("Z")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_no_process_survives_the_drill(number, program):
    drill = subprocess.Popen(
        [sys.executable, "-c", DRILL],
        env={**os.environ, "PYTHONPATH": f"{AGENT}:{TESTS}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with drill:
        root, *pids = drill.stdout.readline().split()
        groups = [int(pid) for pid in pids]
        assert len(running(groups)) == 6

        drill.send_signal(number)

        drill.wait(60)
        until(lambda: not running(groups))
    if number == signal.SIGINT:
        assert not Path(root).exists()
    shutil.rmtree(root, ignore_errors=True)


# ---------------------------------------------------------------- the source of etcd


@pytest.fixture
def bare_machine(tmp_path, monkeypatch):
    """Hide etcd from PATH and use an empty cache; return the folder of programs."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name != "etcd":
            programs.joinpath(program.name).symlink_to(program)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("CERTMEDIC_CACHE", str(tmp_path / "cache"))
    return programs


@pytest.mark.parametrize("lists", ["apt's lists", "no lists"])
def test_etcd_is_unpacked_from_the_package_if_missing(lists, bare_machine, tmp_path, monkeypatch):
    if lists == "no lists":  # like a Debian image without apt lists
        (tmp_path / "apt.conf").write_text(f'Dir::State::lists "{tmp_path}/none/";\n')
        monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    try:
        program = etcd.find()
    except etcd.EtcdMissingError as error:
        if re.search("resolve|connect|Failed to fetch", str(error)):
            pytest.skip(f"the mirror cannot be reached: {error}")
        raise
    assert program == tmp_path / "cache/etcd/usr/bin/etcd"
    assert etcd.version(program).startswith("3.")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["etcd"]

    bare_machine.joinpath("apt-get").unlink()
    assert etcd.find() == program  # now from the cache


def test_missing_etcd_error_lists_every_attempt(bare_machine, tmp_path):
    for program in bare_machine.iterdir():
        program.unlink()
    broken = bare_machine / "etcd"
    broken.write_text("#!/bin/false\n")
    broken.chmod(0o755)
    with pytest.raises(etcd.EtcdMissingError) as raised:
        etcd.find()
    attempts = str(raised.value).splitlines()
    assert attempts[0] == f"{broken}: does not run"
    assert attempts[1] == f"{tmp_path}/cache/etcd: no etcd there"
    assert attempts[2] == "apt-get download etcd-server: there is no apt-get here"


# ---------------------------------------------------------------- the recording, for machines without etcd


def test_recording_is_small_and_holds_no_key():
    files = [path for path in recorded.FOLDER.rglob("*") if path.suffix in (".log", ".crt", ".json", ".md")]
    assert len(files) >= 14
    assert sum(path.stat().st_size for path in files) < 100 * 1024
    assert not [path for path in files if "PRIVATE" in path.read_text()]


def test_recording_is_judged_at_every_playback():
    printed: list[str] = []
    assert recorded.play(lambda text="", **_: printed.append(text)) == 0
    output = "\n".join(printed)
    assert printed[0].startswith("RECORDED ")
    assert "/pki/etcd-cluster-token-etcd/peers/me.crt" in output
    assert 'rejected connection from "10.77.0.12:' in output
    assert output.index("EXPIRED") < output.index("failing line") < output.index("restart ") < output.index("reissued")


def test_installed_files_hold_no_part_of_the_drill():
    product = [
        path for part in ("agent/certmedic", "packaging", "systemd") for path in (AGENT.parent / part).rglob("*")
    ]
    files = [path for path in product if path.is_file() and "__pycache__" not in path.parts]
    assert len(files) > 100
    assert not [path for path in files if path.suffix in (".crt", ".key", ".log")]
    assert not [
        path
        for path in files
        if re.search(r"drill|stand-?in\b|ca=True", path.read_text(errors="replace"), re.IGNORECASE)
    ]


# ---------------------------------------------------------------- planted faults


@pytest.mark.parametrize(
    ("name", "version", "logger"),
    [
        ("healthy", "3.4", "zap"),
        ("both-expired-one", "3.4", "capnslog"),
        ("peer-san-mismatch-one", "3.4", "zap"),
        ("peer-wrong-ca-one", "3.5", "zap"),
    ],
)
def test_planted_fault_shows_in_the_logs_of_the_expected_members(name, version, logger, tmp_path):
    story = lab.scenario(name, tmp_path, logger=logger, version=version)
    assert story.etcd.startswith(f"{version}.")
    for key, member in story.members.items():
        faults = [line for line in member.log.read_text().splitlines() if lab.FAULT.search(line)]
        assert bool(faults) == (story.expect[key]["suspect"] != "none"), faults[:3]
        if story.expect[key]["suspect"] == "own":
            assert "remote error: tls: bad certificate" in faults[0]
            assert all((member.pki / file).exists() for file in story.expect[key]["certificates"])
