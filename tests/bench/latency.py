"""How soon people hear: from a line to its sighting at several rates, and from a certificate's expiry to the message.

The lines go through journald or a pod's log, and the agent's own parts (bench.live). The expiries are seen by whole services, each with
a journald, which send to a web hook; a certificate expires, is reported, renewed and resolved, and the next one expires.
"""

from __future__ import annotations

import contextlib
import json
import queue
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.catchup import Say
from bench.measure import FailedError
from bench.service import FAULT, background, inside, ready_agent
from bench.verdicts import Row, Verdict
from labs.drill.etcd import find
from labs.drill.master import free_ports
from labs.journal import start_journald
from labs.pki import Authority, authority
from labs.trusted import trusted_folder

RATES = (0, 10, 100, 1000)  # lines of no interest a second, beside
AGENTS = 9  # services at a time
OF_ONE = 12  # messages of one severity that an agent sends in an hour
PATIENCE = 120.0  # seconds for one message
STARTING = threading.Lock()  # so that services do not wait for each other's start


def latency(samples: int, _rounds: int, say: Say) -> Row:
    """Take so many samples of each kind."""
    took: dict[str, list[float]] = {}
    for rate in RATES:
        say(f"{samples} lines, {rate} other lines a second")
        for source, seconds in sightings(samples, rate).items():
            took[f"{source}, {rate} lines/s beside"] = seconds
            say(f"p99 {_verdict(source, seconds, 0.3).reached:.3f} s, {source}")
    verdicts = [_verdict(f"line to sighting, {name}", seconds, 0.3) for name, seconds in took.items()]
    for group_for, bar in (("0s", 5.0), ("30s", 35.0)):
        say(f"{samples} certificates expire, group_for = {group_for}")
        took[group_for] = expiries(samples, group_for)
        verdicts.append(_verdict(f"expiry to message, group_for {group_for}", took[group_for], bar))
        say(f"p99 {verdicts[-1].reached:.3f} s")
    return Row(f"latency, {samples} samples each", {}, verdicts, {"seconds": took})


def _verdict(what: str, seconds: Sequence[float], bar: float) -> Verdict:
    ordered = sorted(seconds)
    note = f"p50 {ordered[len(ordered) // 2]:.3f}, the longest {ordered[-1]:.3f}"
    p99 = ordered[len(ordered) * 99 // 100]
    return Verdict(what=f"{what}, p99", reached=p99, to_reach=bar, unit="s", at_most=True, note=note)


def sightings(samples: int, rate: int) -> dict[str, list[float]]:
    """Write failures by turns into a journal and a pod's log; return the seconds until each was settled, by source."""
    with start_journald() as journald, trusted_folder() as folder, contextlib.ExitStack() as beside:
        log = journald.home / "log/pods/kube-system_etcd-manager-main-master-a_0123456789abcdef/etcd-manager/0.log"
        log.parent.mkdir(parents=True)
        log.touch()
        agent = subprocess.Popen(
            inside(journald, sys.executable, "-P", "-m", "bench.live", str(folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert agent.stdout is not None
        if agent.stdout.readline() != "READY\n":
            raise FailedError("the agent did not start")
        if rate:
            beside.enter_context(background(journald, rate))
        written: dict[str, float] = {}
        dice = random.Random(11)  # noqa: S311 - no secret hangs on it
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.connect(str(journald.socket))
            time.sleep(5)  # the first diagnosis waits for the first inventory
            for number in range(2 * samples):
                now = datetime.now(UTC)
                text = FAULT.format(klog=f"{now:%m%d %H:%M:%S.%f}", number=number)
                written[str(number)] = time.time()
                if number % 2:
                    out.send(f"SYSLOG_IDENTIFIER=kube-apiserver\nPRIORITY=3\nMESSAGE={text}\n".encode())
                else:
                    with log.open("a") as pod:
                        pod.write(f"{now:%Y-%m-%dT%H:%M:%S.%f}000Z stderr F {text}\n")
                time.sleep(dice.uniform(0.1, 0.4))
            time.sleep(3)
        agent.send_signal(signal.SIGTERM)
        settled = json.loads(agent.communicate(timeout=60)[0])
    if lost := len(written.keys() - settled.keys()):
        raise FailedError(f"{lost} of {len(written)} failures were not recorded")
    took = {number: settled[number] - at for number, at in written.items()}
    return {
        "pods": [seconds for number, seconds in took.items() if not int(number) % 2],
        "journal": [seconds for number, seconds in took.items() if int(number) % 2],
    }


def expiry(samples: int, _rounds: int, say: Say) -> Row:
    """Let so many certificates of real etcds expire while clients call them, and send by the default grouping."""
    say(
        f"{samples} certificates expire, {AGENTS} agents at a time, each with an etcd and a client that logs a refusal a second"
    )
    took = expiries(samples, "")
    return Row(
        f"expiry, {samples} certificates",
        {},
        [_verdict("expiry of etcd's certificate to message", took, 45.0)],
        {"seconds": took},
    )


def expiries(samples: int, group_for: str) -> list[float]:
    """Return the seconds from the expiry of each certificate to its message, by several services at a time.

    Without a `group_for` the default counts, and a real etcd serves the certificates.
    """
    of_each = [min(OF_ONE, samples - begun) for begun in range(0, samples, OF_ONE)]
    took = []
    while of_each:
        some, of_each = of_each[:AGENTS], of_each[AGENTS:]
        with ThreadPoolExecutor(len(some)) as pool:
            for seconds in pool.map(lambda count: _of_one_agent(count, group_for), some):
                took += seconds
    return took


def _of_one_agent(count: int, group_for: str) -> list[float]:
    dice, took = random.Random(count), list[float]()  # noqa: S311 - no secret hangs on it
    ca = authority("etcd-peers-ca-main")
    with start_journald() as journald, trusted_folder() as folder, _hook() as (port, received):
        certificate, config = folder / "served.crt", folder / "certmedic.toml"
        _issue(ca, certificate, timedelta(days=300))
        log = folder / "etcd.log"
        config.write_text(
            f'mode = "notify"\nstate = "{folder / "state"}"\n[watch]\ndocker = false\npods = false\nfiles = ["{log}"]\n'
            f'[certificates]\npaths = ["{certificate}"]\nwarn_days = []\n'
            f'[notify]\napprise = ["json://127.0.0.1:{port}"]\n' + (f'group_for = "{group_for}"\n' if group_for else "")
        )
        config.chmod(0o640)  # the address of a hook is a secret
        log.touch()
        with contextlib.ExitStack() as running:
            if not group_for:
                running.enter_context(_etcd(ca, certificate, log))
            with STARTING:
                running.enter_context(ready_agent(journald, config))
            time.sleep(5)
            for _ in range(count):
                time.sleep(dice.uniform(0, 3))
                ends = _issue(ca, certificate, timedelta(seconds=5))
                took.append(_next(received, "failure") - ends.timestamp())
                _issue(ca, certificate, timedelta(days=300))
                _next(received, "success")
        if not group_for and b"rejected connection" not in log.read_bytes():
            raise FailedError("etcd logged no refusal")
    return took


@contextlib.contextmanager
def _etcd(ca: Authority, certificate: Path, log: Path) -> Iterator[None]:
    """Run an etcd that serves a certificate, and a client that verifies it every second."""
    client, peer = free_ports(2)
    trust = certificate.with_name("ca.pem")
    trust.write_bytes(ca.pem)
    key = certificate.with_suffix(".key")
    command = [
        *(str(find()), "--name=a", f"--data-dir={certificate.parent / 'data'}", "--logger=zap"),
        *(f"--listen-client-urls=https://127.0.0.1:{client}", f"--advertise-client-urls=https://127.0.0.1:{client}"),
        *(f"--listen-peer-urls=http://127.0.0.1:{peer}", f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
        *(f"--initial-cluster=a=http://127.0.0.1:{peer}", f"--cert-file={certificate}", f"--key-file={key}"),
    ]
    context = ssl.create_default_context(cafile=str(trust))
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # under 1.3 Go takes the alert of OpenSSL for a broken record
    over = threading.Event()

    def call() -> None:
        while not over.wait(1):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", client), 5) as plain:
                context.wrap_socket(plain, server_hostname="127.0.0.1").close()

    with log.open("ab") as output, subprocess.Popen(command, stdout=output, stderr=output) as etcd:
        caller = threading.Thread(target=call, daemon=True)
        caller.start()
        try:
            yield
        finally:
            over.set()
            caller.join()
            etcd.terminate()


def _issue(ca: Authority, path: Path, lasts: timedelta) -> datetime:
    """Put a certificate into place, as a renewal does; return when it expires."""
    ends = (datetime.now(UTC) + lasts).replace(microsecond=0)
    leaf = ca.leaf("etcd-a", ips=("127.0.0.1",), not_before=ends - timedelta(days=365), not_after=ends, key=ca.key)
    leaf.write(path.with_name(".new"), path.with_suffix(".key"))
    path.with_name(".new").rename(path)
    return ends


def _next(received: queue.Queue[tuple[float, str]], kind: str) -> float:
    """Return when the next message of a kind came; others are dropped."""
    until = time.monotonic() + PATIENCE
    while (left := until - time.monotonic()) > 0:
        with contextlib.suppress(queue.Empty):
            at, of = received.get(timeout=left)
            if of == kind:
                return at
    raise FailedError(f"no message of the kind {kind} came within {PATIENCE:g} s")


@contextlib.contextmanager
def _hook() -> Iterator[tuple[int, queue.Queue[tuple[float, str]]]]:
    """Run a web hook for apprise's JSON; yields its port, and when each message came, with its kind."""
    received: queue.Queue[tuple[float, str]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            at = time.time()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.put((at, body["type"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, received
        server.shutdown()
