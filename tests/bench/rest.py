"""The service on a master's ordinary day: what all its processes cost, at rest and while incidents are open."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import tree
from bench.catchup import PATTERN, Say
from bench.measure import FailedError
from bench.service import fail2ban_running, inside, ready_agent
from bench.verdicts import Row, Verdict
from labs.journal import Journald, start_journald
from labs.pki import authority
from labs.trusted import trusted_folder

SETTLE = 30  # seconds after which start-up is over
EXPIRED, VALID = 3, 12  # certificates


@contextmanager
def _day(journald: Journald) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "bench.day", str(journald.socket), str(journald.home / "log" / "pods"), "11"]
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def _journalctl(journald: Journald) -> Iterator[int]:
    """Run what an operator without an agent would; yields the pid of its shell."""
    shell = subprocess.Popen(
        inside(journald, "sh", "-c", f"journalctl -f -o cat | grep -E '{PATTERN}'; true"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield shell.pid
    finally:
        os.killpg(shell.pid, 15)
        shell.wait(10)


def _certificates(folder: Path, *, expired: int) -> None:
    ca = authority("etcd-peers-ca-main")
    for number in range(VALID):
        ends = datetime.now(UTC) + timedelta(days=-3 if number < expired else 300)
        begins = ends - timedelta(days=365)
        ca.leaf(f"etcd-{number}", ips=("127.0.0.1",), not_before=begins, not_after=ends).write(folder / f"{number}.crt")


def rest(seconds: int, _rounds: int, say: Say) -> Row:
    """Play the day for so long, once with valid certificates and once with some that have expired."""
    quiet = _played(seconds, say, expired=0)
    busy = _played(seconds, say, expired=EXPIRED)
    if quiet["incidents"] or busy["incidents"] < 1:
        raise FailedError(
            f"{quiet['incidents']} and {busy['incidents']} incidents are open; there should be none, and some"
        )
    verdicts = [
        Verdict(what="CPU", reached=quiet["cpu"], to_reach=0.15, unit="% of a core", at_most=True),
        Verdict(what="CPU, incidents open", reached=busy["cpu"], to_reach=0.3, unit="% of a core", at_most=True),
        Verdict(
            what="PSS",
            reached=max(quiet["pss"], busy["pss"]),
            to_reach=48,
            unit="MiB",
            at_most=True,
            note=f"of its own {busy['own']:.1f}; fail2ban {quiet['fail2ban pss']:.1f}",
        ),
        Verdict(what="wake-ups", reached=quiet["wakeups"], to_reach=5, unit="a second", at_most=True),
        Verdict(what="written to the disk", reached=quiet["written"], to_reach=1, unit="MiB an hour", at_most=True),
        Verdict(
            what="CPU, fail2ban's", reached=quiet["cpu"], to_reach=quiet["fail2ban"], unit="% of a core", at_most=True
        ),
        Verdict(
            what="CPU, journalctl -f | grep's",
            reached=quiet["cpu"],
            to_reach=quiet["journalctl"],
            unit="% of a core",
            at_most=True,
        ),
    ]
    work = (
        f"a master's day, about 4 lines a second for {seconds} s, quiet and with {busy['incidents']:.0f} incidents open"
    )
    return Row(work, {}, verdicts, {"quiet": quiet, "incidents": busy})


def month(days: int, _rounds: int, say: Say) -> Row:
    """Play so many days of a master in compressed time, and see what grows after the first hour, in which all happens once."""
    with trusted_folder() as folder:
        say(f"{days} days")
        done = subprocess.run(
            [sys.executable, "-P", "-m", "bench.month", str(days), str(folder)],
            stdout=subprocess.PIPE,
            check=False,
            text=True,
        )
    if done.returncode:
        raise FailedError("it ended early")
    played = json.loads(done.stdout)
    first, hours, last = played["hours"][0], played["hours"], played["hours"][-24:]
    most = {name: max(hour[name] for hour in last) for name in first}
    early = {name: max(hour[name] for hour in hours[:24]) for name in first}
    verdicts = [
        Verdict(
            what="memory after the first hour",
            reached=most["memory"] - first["memory"],
            to_reach=2,
            unit="MiB more",
            at_most=True,
            note=f"from {first['memory']:.1f}",
        ),
        Verdict(what="state", reached=max(h["state"] for h in hours), to_reach=20, unit="MiB", at_most=True),
        Verdict(
            what="descriptors after the first day",
            reached=most["descriptors"] - early["descriptors"],
            to_reach=0,
            unit="more",
            at_most=True,
            note=f"at most {early['descriptors']:.0f} on the first",
        ),
        Verdict(what="threads", reached=most["threads"] - first["threads"], to_reach=0, unit="more", at_most=True),
    ]
    work = f"{days} days in compressed time, {played['lines']:,} lines, {played['incidents']} incidents"
    return Row(work, {}, verdicts, {"month": played})


def _played(seconds: int, say: Say, *, expired: int) -> dict[str, float]:
    with (
        start_journald() as journald,
        tempfile.TemporaryDirectory() as scratch,
        trusted_folder() as folder,
        fail2ban_running(journald, Path(scratch) / "fail2ban") as fail2ban,
        _journalctl(journald) as journalctl,
        _day(journald),
    ):
        _certificates(folder, expired=expired)
        config = folder / "certmedic.toml"
        config.write_text(
            f'mode = "observe"\nstate = "{folder / "state"}"\n[watch]\njournal = true\ndocker = false\npods = true\n'
            f'[certificates]\npaths = ["{folder}/*.crt"]\n'
        )
        with ready_agent(journald, config) as (agent, _):
            time.sleep(SETTLE)
            say(f"{seconds} s of the day, {expired} of {VALID} certificates expired")
            who = {"certmedic": agent, "fail2ban": fail2ban, "journalctl": journalctl}
            began, before = time.monotonic(), {name: tree.used(pid) for name, pid in who.items()}
            time.sleep(seconds)
            passed, after = time.monotonic() - began, {name: tree.used(pid) for name, pid in who.items()}
            status = subprocess.run(
                inside(
                    journald,
                    sys.executable,
                    "-P",
                    "-m",
                    "certmedic",
                    "incidents",
                    "--open",
                    "--json",
                    "--config",
                    str(config),
                ),
                capture_output=True,
                text=True,
                check=True,
            )
    share = {name: 100 * (after[name].cpu - before[name].cpu) / passed for name in who}
    ours, was = after["certmedic"], before["certmedic"]
    return {
        "cpu": share["certmedic"],
        "fail2ban": share["fail2ban"],
        "journalctl": share["journalctl"],
        "pss": ours.pss,
        "own": ours.own,
        "fail2ban pss": after["fail2ban"].pss,
        "wakeups": (ours.wakeups - was.wakeups) / passed,
        "written": (ours.written - was.written) / passed * 3600 / 2**20,
        "growth": ours.pss - was.pss,
        "descriptors": ours.descriptors,
        "threads": ours.threads,
        "incidents": len(json.loads(status.stdout)["incidents"]),
    }
