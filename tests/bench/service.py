"""The service on a running journal: how soon a line is recorded, what it costs to wait, how soon it is ready."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench import lines
from bench.catchup import PATTERN, Say
from bench.measure import FailedError, run
from bench.tree import used
from bench.verdicts import Row, Verdict
from labs import waiting
from labs.docker import start_dockerd
from labs.journal import Journald, start_journald

FAULT = 'E{klog}       1 authentication.go:63] "Unable to authenticate the request" err="[x509: certificate signed by unknown authority, verifying certificate SN={number} failed]"'


@contextmanager
def background(journald: Journald, rate: float) -> Iterator[None]:
    """Write lines of no interest into a journal, so many a second, evenly."""
    # A program with a command line of a usual length: that of one in an argument would be stored compressed, which costs each
    # reader as much again.
    process = subprocess.Popen([sys.executable, "-P", "-m", "bench.noise", str(journald.socket), str(rate)])
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def inside(journald: Journald, *command: str) -> list[str]:
    """Return a command line that runs where this journald's files are the machine's."""
    assert journald.process is not None
    return ["nsenter", f"--target={journald.process.pid}", "--mount", *command]


def latency(samples: int, _rounds: int, say: Say) -> Row:
    """Write failures one by one beside 200 lines of noise a second, and see when each is recorded."""
    with start_journald() as journald, tempfile.TemporaryDirectory() as folder:
        agent = subprocess.Popen(
            inside(journald, sys.executable, "-P", "-m", "bench.live", folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert agent.stdout is not None
        if agent.stdout.readline() != "READY\n":
            raise FailedError("the agent did not start")
        written: dict[str, float] = {}
        dice = random.Random(11)  # noqa: S311 - no secret hangs on it
        with background(journald, 200), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.connect(str(journald.socket))
            time.sleep(3)  # the first diagnosis waits for the first inventory
            say(f"{samples} failures, one every 0.1 s")
            for number in range(samples):
                serial, now = str(1000 + number), datetime.now(UTC)
                text = FAULT.format(klog=f"{now:%m%d %H:%M:%S.%f}", number=serial)
                written[serial] = time.time()
                out.send(f"SYSLOG_IDENTIFIER=kube-apiserver\nPRIORITY=3\nMESSAGE={text}\n".encode())
                time.sleep(dice.uniform(0.05, 0.15))
            time.sleep(2)
        agent.send_signal(signal.SIGTERM)
        recorded = json.loads(agent.communicate(timeout=30)[0])
    lost = written.keys() - recorded.keys()
    if lost:
        raise FailedError(f"{len(lost)} of {samples} failures were not recorded")
    took = sorted(1000 * (recorded[serial] - at) for serial, at in written.items())
    p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
    verdicts = [
        Verdict(what="p50", reached=p50, to_reach=20, unit="ms", at_most=True),
        Verdict(what="p99", reached=p99, to_reach=100, unit="ms", at_most=True, note=f"the longest {took[-1]:.0f} ms"),
    ]
    return Row(f"live, {samples} failures, 200 lines/s beside", {}, verdicts, {"milliseconds": took})


@contextmanager
def agent_running(journald: Journald, folder: Path, docker_url: str) -> Iterator[tuple[int, float]]:
    """Run the service with all its sources; yields its pid and how long it took to be ready."""
    config = folder / "certmedic.toml"
    config.write_text(
        f'mode = "observe"\nstate = "{folder / "state"}"\n[watch]\njournal = true\ndocker = true\npods = true\n'
        f'files = ["{folder}/etcd*.log"]\n'
    )
    (folder / "etcd.log").touch()
    (journald.home / "log" / "pods").mkdir(exist_ok=True)
    with ready_agent(journald, config, docker_url) as started:
        yield started


@contextmanager
def ready_agent(journald: Journald, config: Path, docker_url: str = "") -> Iterator[tuple[int, float]]:
    """Run the service with a configuration file; yields its pid and how long it took to be ready."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        address = f"\0certmedic-bench-{os.getpid()}-{time.monotonic_ns()}"
        ready.bind(address)
        ready.settimeout(1)
        began = time.perf_counter()
        agent = subprocess.Popen(
            inside(journald, sys.executable, "-P", "-m", "certmedic", "run", "--config", str(config)),
            env={
                **os.environ,
                "NOTIFY_SOCKET": f"@{address[1:]}",
                **({"DOCKER_HOST": docker_url} if docker_url else {}),
            },
            stderr=subprocess.DEVNULL,
        )
        try:
            while "READY=1" not in _received(ready, agent):
                pass
            yield agent.pid, time.perf_counter() - began
        finally:
            agent.terminate()
            agent.wait(30)


def _received(ready: socket.socket, agent: subprocess.Popen[bytes]) -> str:
    """Return what the agent tells its service manager next."""
    for _ in range(60):
        with contextlib.suppress(TimeoutError):
            return ready.recv(4096).decode()
        if agent.poll() is not None:
            break
    raise FailedError(f"the agent is not ready (it ended with {agent.poll()})")


@contextmanager
def fail2ban_running(journald: Journald, folder: Path) -> Iterator[int]:
    """Run fail2ban's server on the same journal, with one jail that looks for the same words; yields its pid."""
    for name in ("filter.d", "action.d", "jail.d"):
        (folder / name).mkdir(parents=True)
    (folder / "fail2ban.conf").write_text(
        "[Definition]\nloglevel = ERROR\nlogtarget = /dev/null\nsyslogsocket = auto\n"
        f"socket = {folder}/socket\npidfile = {folder}/pid\ndbfile = None\ndbpurgeage = 1d\n"
    )
    (folder / "filter.d" / "tls.conf").write_text(f"[Definition]\nfailregex = (?:{PATTERN})<F-ID>.*</F-ID>\n")
    (folder / "action.d" / "none.conf").write_text("[Definition]\nactionban = true\nactionunban = true\n")
    (folder / "jail.conf").write_text(
        "[tls]\nenabled = true\nbackend = systemd\nfilter = tls\naction = none\nmaxretry = 5\nfindtime = 600\nbantime = 60\n"
    )
    server = subprocess.Popen(
        inside(
            journald,
            "fail2ban-server",
            "-f",
            "-c",
            str(folder),
            "-s",
            f"{folder}/socket",
            "-p",
            f"{folder}/pid",
            "start",
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def up() -> bool:
            client = ["fail2ban-client", "-c", str(folder), "-s", f"{folder}/socket", "status", "tls"]
            return subprocess.run(client, capture_output=True, check=False).returncode == 0

        waiting.until(up)
        yield server.pid
    finally:
        server.terminate()
        server.wait(30)


def idle(seconds: int, _rounds: int, say: Say) -> Row:
    """Watch what both cost while 100 lines of no interest are written a second."""
    with start_journald() as journald, start_dockerd() as docker, tempfile.TemporaryDirectory() as folder:
        say("fail2ban and certmedic start")
        with (
            fail2ban_running(journald, Path(folder) / "fail2ban") as fail2ban,
            agent_running(journald, Path(folder), docker.url) as (agent, _),
            background(journald, 100),
        ):
            time.sleep(10)
            say(f"{seconds} s of 100 lines/s")
            began, before = time.monotonic(), {pid: used(pid).cpu for pid in (agent, fail2ban)}
            time.sleep(seconds)
            passed = time.monotonic() - began
            after = {pid: used(pid) for pid in (agent, fail2ban)}
    shares = {pid: 100 * (after[pid].cpu - before[pid]) / passed for pid in after}
    we, they = after[agent], after[fail2ban]
    verdicts = [
        Verdict(what="CPU", reached=shares[agent], to_reach=0.5, unit="% of a core", at_most=True),
        Verdict(
            what="CPU, fail2ban's", reached=shares[agent], to_reach=shares[fail2ban], unit="% of a core", at_most=True
        ),
        Verdict(
            what="PSS of all its processes",
            reached=we.pss,
            to_reach=48,
            unit="MiB",
            at_most=True,
            note=f"of its own {we.own:.0f}; fail2ban's {they.pss:.0f} and {they.own:.0f}",
        ),
    ]
    return Row(
        f"idle, 100 lines/s for {seconds} s, all sources",
        {},
        verdicts,
        {"certmedic": asdict(we), "fail2ban": asdict(they)},
    )


def start(_count: int, rounds: int, say: Say) -> Row:
    """Start the service, all sources on, and wait for READY=1."""
    took = []
    with start_journald() as journald, start_dockerd() as docker:
        for number in range(max(3, rounds)):
            say(f"round {number + 1}")
            with (
                tempfile.TemporaryDirectory() as folder,
                agent_running(journald, Path(folder), docker.url) as (_, seconds),
            ):
                took.append(seconds)
    verdicts = [
        Verdict(
            what="ready",
            reached=statistics.median(took),
            to_reach=0.3,
            unit="s",
            at_most=True,
            note=f"from {min(took):.2f} to {max(took):.2f}",
        )
    ]
    return Row("start to READY=1, all sources", {}, verdicts, {"seconds": took})


def explain(_count: int, rounds: int, say: Say) -> Row:
    """Have a line explained by the command line."""
    say(f"{rounds} times")
    command = [sys.executable, "-P", "-m", "certmedic", "explain", "remote error: tls: bad certificate"]
    costs = [run(command) for _ in range(rounds)]
    took, used = (statistics.median(getattr(cost, kind) for cost in costs) for kind in ("wall", "cpu"))
    note = f"CPU {used:.2f}"
    return Row("explain", {}, [Verdict(what="time", reached=took, to_reach=0.15, unit="s", at_most=True, note=note)])


def storm(count: int, rounds: int, say: Say) -> Row:
    """Send failing lines of twenty kinds through Loop and Store."""
    told = []
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-P", "-m", "bench.storm", str(count), folder]
            done = subprocess.run(command, capture_output=True, check=False, text=True)
        if done.returncode:
            raise FailedError(done.stderr[-1000:])
        told.append(json.loads(done.stdout))
    if any(one["counted"] != count for one in told):
        raise FailedError("lines of the storm were lost or counted twice")
    by_cpu = statistics.median(one["lines_per_cpu_second"] for one in told)
    verdicts = [
        Verdict(
            what="kinds of lines without an incident of their own",
            reached=max(len(lines.KINDS) - one["incidents"] for one in told),
            to_reach=0,
            unit="",
            at_most=True,
        ),
        Verdict(
            what="speed",
            reached=statistics.median(one["lines_per_second"] for one in told),
            to_reach=200_000,
            unit="lines/s",
            note=f"{by_cpu:,.0f} a second of CPU",
        ),
        Verdict(
            what="RSS growth", reached=max(one["growth_mib"] for one in told), to_reach=10, unit="MiB", at_most=True
        ),
    ]
    return Row(f"storm, {count:,} lines of {len(lines.KINDS)} kinds", {}, verdicts, {"runs": told})
