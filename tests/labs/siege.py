"""Every attack at once on the real agent during one true failure: `./dev attack [SECONDS]`, as root.

Strangers flood the journal, pod logs and a file with forged lines, let listeners drip bytes, run twenty processes named etcd,
plant bundles and a FIFO, and use a new program name for every line. After a third of the time the peer certificate of this master
expires and root's etcd logs it. The command prints its measurements; exit status 1 means a broken bound.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from labs import pki
from labs.hostile import DRIPPING, ETCD, Watchdog
from labs.house import ORDINARY, House, expired_line, house, refused_line

LONGEST_GAP = 30.0  # seconds between two pings
GROWTH = 24 * 1024  # kB of RSS
STATE = 20 * 1024 * 1024  # bytes
MESSAGES = 3
WITHIN = 60.0  # seconds from the first true line to its message
WATCHDOG = 60.0  # seconds: systemd's limit between pings; the agent pings four times in it
SETTLED = 8.0  # seconds from the start to the measurement of memory at rest

# The program of a stranger: writes lines of many kinds to the journal at a rate, each with a new program name.
FLOOD = """
import random, socket, sys, time
rate, ends = int(sys.argv[1]), sys.argv[2]
out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
out.connect("/run/systemd/journal/socket")
chance = random.Random(5)
began, sent = time.monotonic(), 0
texts = [
    'rejected connection from "10.0.{a}.{b}:{p}" (error "remote error: tls: bad certificate", ServerName "x{n}")',
    'rejected connection from "10.0.{a}.{b}:{p}" (error "x509: certificate has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after {ends}")',
    "open /mnt/disks/pv1/b{b}.crt: x509: certificate signed by unknown authority {n}",
    "peerTLS: cert = /mnt/disks/pv1/b{b}.crt, key = /mnt/disks/pv1/fifo, ca = , trusted-ca = /mnt/disks/pv1/fifo",
    "existing certificate not valid after {ends}; will regenerate {n}",
    "http: TLS handshake error from 10.0.{a}.{b}:{p}: remote error: tls: expired certificate",
]
while True:
    n = sent
    text = chance.choice(texts).format(a=chance.randrange(256), b=chance.randrange(40), p=chance.randrange(10000, 65000), n=n, ends=ends)
    if sys.argv[3] == "file":
        with open("/mnt/disks/pv1/etcd.log", "a") as file:
            file.write(text + "\\n")
    else:
        out.sendall(f"SYSLOG_IDENTIFIER=etcd-{n % 400}\\nMESSAGE={text}\\n".encode())
    sent += 1
    if sent > (time.monotonic() - began) * rate:
        time.sleep(0.02)
"""


@dataclass(frozen=True)
class Measured:
    """The measurements of a siege."""

    longest_gap: float
    growth: int  # kB
    state: int  # bytes
    messages: tuple[str, ...]
    reported_after: float  # seconds; infinite if the true incident was not reported
    lines: int
    alive: bool

    def broken(self) -> list[str]:
        """Return a sentence for each broken bound."""
        return [
            sentence
            for is_broken, sentence in (
                (not self.alive, "the agent ended"),
                (self.longest_gap > LONGEST_GAP, f"{self.longest_gap:.1f} s without a ping"),
                (self.growth > GROWTH, f"memory grew by {self.growth} kB"),
                (self.state > STATE, f"the state has {self.state} bytes"),
                (len(self.messages) > MESSAGES, f"{len(self.messages)} messages"),
                (self.reported_after > WITHIN, f"the true incident was reported after {self.reported_after:.1f} s"),
            )
            if is_broken
        ]


def memory(pid: int) -> int:
    """Return the resident memory of a process in kB."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])


def agent_of(home: House) -> int:
    """Return the pid of the agent, which replaced the shell that made its namespaces."""
    assert home.process is not None
    return home.process.pid


def plant(home: House) -> None:
    """Let strangers plant files, listeners and processes."""
    folder = home.strangers_folder("mnt/disks/pv1")
    ca = pki.authority("stranger")
    ca.leaf("etcd-a", dns=("localhost",), ips=("127.0.0.1",)).write(folder / "own.crt")
    (folder / "ca.crt").write_bytes(ca.pem)
    certificate = ca.leaf("x", not_after=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)).cert_pem
    bundle = certificate * (1024 * 1024 // len(certificate))
    for number in range(40):
        (folder / f"b{number}.crt").write_bytes(bundle)
    home.hand_over(folder)
    home.stranger("mkfifo", "/mnt/disks/pv1/fifo").wait(10)
    for port in (4001, 3996, 2381, 4002):
        home.stranger(
            sys.executable, "-c", DRIPPING, "127.0.0.1", str(port), "/mnt/disks/pv1/own.crt", "/mnt/disks/pv1/own.key"
        )
    cluster = ",".join(f"\x1b[31mx{n}=https://127.0.0.1:{7001 + n}" for n in range(20))
    for n in range(20):
        cert = "/mnt/disks/pv1/fifo" if n % 4 == 0 else "/mnt/disks/pv1/own.crt"
        home.stranger(
            *[sys.executable, "-c", ETCD, f"/mnt/disks/pv1/record{n}", "/mnt/disks/pv1/own.crt", "/mnt/disks/pv1/own.key"],
            *["/mnt/disks/pv1/ca.crt", str(7001 + n), '[{"name":"\\ud800","peerURLs":["https://127.0.0.1:7001"]}]'],
            *[f"--name=\x1b[31mx{n}", f"--initial-cluster={cluster}", f"--peer-cert-file={cert}"],
            *[f"--initial-advertise-peer-urls=https://127.0.0.1:{7001 + n}", "--peer-trusted-ca-file=/mnt/disks/pv1/ca.crt"],
        )  # fmt: skip


def siege(seconds: float, *, rate: int = 1500) -> Measured:
    """Attack an agent for `seconds`; `rate` is the number of forged journal lines a second, beside those in pods and files."""
    with house("siege") as home:
        true_after = seconds / 3
        folder = home.volume(ends=timedelta(seconds=true_after + 12))
        home.serve(folder / "peers/me.crt", 2380)
        watchdog = Watchdog(home.home / "notify")
        plant(home)
        more = f'[metrics]\ntextfile = "{home.home}/metrics.prom"\n[remedy]\nrenew = false\n'
        home.start('mode = "remedy"', more, **watchdog.environ(WATCHDOG))
        time.sleep(min(SETTLED, seconds / 6))
        began, at_rest, highest, reported_after = time.monotonic(), memory(agent_of(home)), 0, float("inf")
        ends = f"{home.ends:%Y-%m-%dT%H:%M:%SZ}"
        for where in ("journal", "file"):
            home.stranger(sys.executable, "-c", FLOOD, str(rate if where == "journal" else rate // 5), ends, where)
        true_since, number = float("inf"), 0
        while (now := time.monotonic()) < began + seconds and home.alive:
            number += 1
            forged = [
                f'{{"level":"warn","ts":"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.000Z","msg":"rejected connection","remote-addr":"203.0.113.{number % 250}:40000","server-name":"etcd-a","error":"remote error: tls: bad certificate"}}',
                refused_line(f"10.0.0.2:4{number % 10000:04}"),
                expired_line(home.ends),
                f"peerTLS: cert = /mnt/disks/pv1/b{number % 40}.crt, key = x, ca = , trusted-ca = /mnt/disks/pv1/ca.crt",
            ] * 25
            home.pod("default", f"web-{number % 30}", ORDINARY, *forged, container="etcd")
            home.pod("tenant", "etcd-manager-main-m1", ORDINARY, *forged)
            if datetime.now(UTC) > home.ends and number % 3 == 0:
                true_since = min(true_since, now)
                home.unit_logs(refused_line(f"10.0.0.2:4{number % 10000:04}"))
            if reported_after == float("inf") and any(
                "me.crt" in message["message"] for message in home.received.messages if true_since < now
            ):
                reported_after = time.monotonic() - true_since
            highest = max(highest, memory(agent_of(home)))
            time.sleep(0.2)
        measured = Measured(
            longest_gap=watchdog.longest_gap(),
            growth=highest - at_rest,
            state=sum(path.stat().st_size for path in (home.home / "state").rglob("*") if path.is_file()),
            messages=tuple(home.received.titles),
            reported_after=reported_after,
            lines=home.matched() if home.alive else 0,
            alive=home.alive,
        )
        watchdog.close()
        if not home.alive:
            sys.stderr.write(home.log[-3000:])
        return measured


def main(seconds: float) -> int:
    """Attack, print the measurements, and return 1 if a bound was broken."""
    measured = siege(seconds)
    sys.stdout.write(json.dumps(measured.__dict__, indent=1) + "\n")
    for sentence in measured.broken():
        sys.stdout.write(f"broken: {sentence}\n")
    return 1 if measured.broken() else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0))
