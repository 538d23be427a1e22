"""Fuzzing: randomly mutated samples are fed to every parser of untrusted input.

    ./dev fuzz 60s          each harness for its share of a minute
    ./dev fuzz 1000000      this number of inputs in total
    ./dev fuzz 10000 7      with another seed

A harness takes the bytes of one input. It may raise only the errors that its parser documents, and must end within `SLOWEST`
seconds. The number and the seed determine an input, so that a failure can be repeated: `input_of(name, seed, number)`.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import random
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certmedic.config import ConfigError, load
from certmedic.core import certificates, lines, planes
from certmedic.core.certificates import NotACertificate
from certmedic.core.model import LogEntry, Origin
from certmedic.core.origin import pod_of_container
from certmedic.core.symptoms import NEEDLES, interesting, parse
from certmedic.edge.containers.daemon import DockerError
from certmedic.edge.containers.stream import Position, Stream
from certmedic.edge.facts.listeners import shake_hands
from certmedic.edge.files.formats import Cri, Plain
from certmedic.edge.metrics.listener import answer
from labs import pki

SLOWEST = 2.0  # seconds allowed for one input
NOW = datetime(2026, 11, 24, 15, 40, tzinfo=UTC)
LARGEST = 64 * 1024  # bytes of one input

LINES = [
    b'2026-11-24 15:32:44.1 W | embed: rejected connection from "10.0.0.2:41001" (error "remote error: tls: bad certificate", ServerName "etcd-a")',
    b'{"level":"warn","ts":"2026-11-24T15:32:44.000Z","msg":"rejected connection","remote-addr":"10.0.0.9:40001","server-name":"","error":"x509: certificate has expired or is not yet valid: current time 2026-11-24T15:32:44Z is after 2026-11-19T15:30:41Z"}',
    b"E1124 15:32:44.000001       1 authentication.go:53] Unable to authenticate the request due to an error: [x509: certificate has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-11-19T15:30:41Z, SN=12, SKID=a:b, AKID=c:d]",
    b'x509: certificate is valid for a.example, *.b.example, 10.0.0.1, not c.example\nx509: certificate signed by unknown authority (possibly because of "crypto/rsa: verification error" while trying to verify candidate authority certificate "etcd-ca")',
    b"peerTLS: cert = /etc/a.crt, key = /etc/a.key, trusted-ca = /etc/ca.crt, client-cert-auth = true, crl-file = ",
    b"existing certificate not valid after 2026-11-19T15:30:41Z; will regenerate",
    b"http: TLS handshake error from [fe80::1%eth0]:40001: tls: client didn't provide a certificate",
]
CONFIGS = [
    b'mode = "remedy"\nstate = "/var/lib/certmedic"\n[watch]\njournal = { units = ["kubelet.service"] }\ndocker = "auto"\npods = true\nfiles = ["/var/log/etcd*.log"]\n',
    b'[notify]\napprise = ["/etc/a.yml", "json://u:p@h/x"]\ntags = { critical = "a" }\nroute = [{ tag = "e", plane = "kops" }]\ngroup_for = "30s"\nmaintenance = ["Sun 02:00-04:00 Europe/Berlin"]\nheartbeat = "https://h/x"\n',
    b'[remedy]\nrestart = ["k3s"]\nmeans = [{ renewer = "kubeadm", command = ["/bin/true"], renews = true }]\nwindow = "Sun 02:00-04:00 UTC"\nplan_ahead_days = 3\nper_day = 2\ncooldown = "15m"\n',
    b'[certificates]\nplanes = ["kops"]\npaths = ["/opt/*.crt"]\nwarn_days = [30, 1]\nplane.k3s.warn_days = [100]\n',
]
REQUESTS = [
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9793\r\nAccept: text/plain;version=0.0.4;q=0.5\r\n\r\n",
    b"HEAD /metrics?x=1 HTTP/1.0\r\n\r\n",
]
ANSWERS = [
    b'[{"id":"8e9e05c52164694d","peerURLs":["https://10.0.0.1:2380"],"name":"etcd-a","clientURLs":["https://10.0.0.1:4001"],"isLearner":false}]',
    b'[{"id":"1","peerURLs":["https://[fe80::1]:2380"],"name":"","clientURLs":[]},{"id":"2","peerURLs":["https://b:99999"],"name":"\\ud800"}]',
    b'{"Id":"c1","Names":["/k8s_etcd-manager_p_kube-system_0_0"],"Image":"kopeio/etcd-manager:3.0.20210228","State":"running","Labels":{"io.kubernetes.pod.name":"p"}}',
]
TOKENS = [
    b"\x00", b"\xff", b"\xed\xa0\x80", b"9999-12-31T23:59:59Z", b"0001-01-01T00:00:00Z", b"-1", b"1e999", b"\\ud800", b"\x1b[31m", b"`id`", b"'", b'"',
    b"\\", b"[" * 3000, b"{" * 200, b"(" * 50, b"x509: ", b"remote error: tls: ", b" is after ", b"99999999999999999999", b"\xe2\x80\xae", b"\n", b" stdout P ",
]  # fmt: skip


def mutated(chance: random.Random, samples: Sequence[bytes]) -> bytes:
    """Return one sample with a few mutations; sometimes pure noise."""
    if chance.random() < 0.03:
        return chance.randbytes(chance.randrange(200))
    data = bytearray(chance.choice(samples))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(len(data) + 1)
        how = chance.randrange(7)
        if how == 0 and data:
            data[at % len(data)] = chance.randrange(256)
        elif how == 1 and data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif how == 2:
            data[at:at] = chance.choice(TOKENS)
        elif how == 3:
            del data[at : at + chance.randrange(1, 40)]
        elif how == 4:
            data[at:at] = data[chance.randrange(len(data) + 1) :][:60]
        elif how == 5:
            other = chance.choice(samples)
            data[at:] = other[chance.randrange(len(other) + 1) :]
        else:
            data[at:at] = data[max(at - 20, 0) : at] * chance.choice((2, 5, 50))
    return bytes(data[:LARGEST])


# ---------------------------------------------------------------- the parsers


def line(data: bytes) -> None:
    """Feed a log line to the needle search and the parser."""
    text = lines.text(data)
    entry = LogEntry(stream="journal", position="1", time=NOW, text=text, origin=Origin(program="etcd"))
    interesting(data)
    sighting = parse(entry)
    if sighting is not None:
        _ = sighting.fold, sighting.remote_host
        sighting.message.encode()
    planes.paths_from_startup_line(text)


def certificate(data: bytes) -> None:
    """Feed a certificate file; the attributes of each certificate must be usable."""
    for crl in certificates.revocations(data, "/etc/a.crt"):
        f"{crl.issuer}{certificates.attributes(crl.issuer)}{crl.this_update.isoformat()}".encode()
    with contextlib.suppress(NotACertificate):
        for parsed in certificates.parse(data, "/etc/a.crt"):
            f"{parsed.subject}{parsed.issuer}{parsed.not_after.isoformat()}{parsed.dns_names}".encode()
            f"{certificates.attributes(parsed.subject)}{parsed.embedded_key}".encode()
            _ = parsed.not_after + timedelta(days=1), parsed.not_before - timedelta(days=1)


@functools.cache
def _config_file() -> Path:
    folder = tempfile.mkdtemp(prefix="certmedic-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    return Path(folder) / "certmedic.toml"


def configuration(data: bytes) -> None:
    """Feed a configuration; it must load or be refused with its faults."""
    path = _config_file()
    path.write_bytes(data)
    path.chmod(0o640)
    try:
        load(path)
    except ConfigError as error:
        if not "\n".join(error.faults).encode():
            raise AssertionError("a refusal that does not say why") from error


def pod_log(data: bytes) -> None:
    """Feed a pod log in two blocks."""
    for shape in (Cri(NEEDLES), Plain(NEEDLES)):
        middle = data.rfind(b"\n", 0, len(data) // 2) + 1
        for block in (data[:middle], data[middle:] + b"\n"):
            for record in shape.find(block):
                lines.text(record.text)


def docker_log(data: bytes) -> None:
    """Feed a log as the Docker daemon sends it, with and without frames."""
    for tty in (False, True):
        log = Stream(
            needles=NEEDLES, tty=tty, resumed=Position.parse('{"stamp":"2026-11-24T15:32:44.000000000Z","count":1}')
        )
        with contextlib.suppress(DockerError):
            for chunk in (data[:100], data[100:]):
                for position, text in log.feed(chunk):
                    _ = position.time, lines.text(text)
            list(log.finish())


def journal_record(data: bytes) -> None:
    """Feed a journal record with arbitrary values in its fields."""
    text = lines.text(data)
    pod = pod_of_container(text)
    words = text.split(" ")
    origin = Origin(program=words[0], unit=words[-1], container=text, pod=pod.pod)
    parse(LogEntry(stream="journal", position="1", time=NOW, text=text, origin=origin))


def http_answer(data: bytes) -> None:
    """Feed etcd's reply to a request for its members."""
    for name, host, port in planes.voters_of(data):
        f"{name}{host}{port}".encode()
    planes.cluster_from_config(data.decode(errors="replace"))


def metrics_request(data: bytes) -> None:
    """Feed a request to the listener for metrics."""
    reply = answer(data, b"x 1\n")
    if reply is not None and not reply.startswith(b"HTTP/1.1 "):
        raise AssertionError("it is no answer")


class Listener:
    """Sends `answer` to every client."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.answer = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self.socket.accept()
            with contextlib.suppress(OSError), connection:
                connection.settimeout(1)
                connection.recv(65536)
                connection.sendall(self.answer)


@functools.cache
def _listener() -> Listener:
    return Listener()


def tls_listener(data: bytes) -> None:
    """Feed a listener's reply to a TLS handshake."""
    there = _listener()
    there.answer = data
    served = shake_hands("127.0.0.1", there.socket.getsockname()[1], server_name="etcd-a", deadline=0.5)
    served.error.encode()


# ---------------------------------------------------------------- samples


@functools.cache
def _certificates() -> tuple[bytes, ...]:
    ca = pki.authority("etcd-peers-ca-main")
    leaf = ca.leaf("etcd-a", dns=("etcd-a", "*.b.example"), ips=("127.0.0.1", "::1"))
    endless = ca.leaf("etcd-a", not_after=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    return (
        endless.cert_pem,
        leaf.cert_pem,
        leaf.cert_pem + ca.pem,
        leaf.der,
        ca.der,
        ca.revoking(leaf, number=7),
        leaf.key_pem,
        b'{"data":"' + leaf.cert_pem + b'"}',
        b"users:\n- name: a\n  user:\n    client-certificate-data: " + base64.b64encode(leaf.cert_pem) + b"\n",
    )


def _cri() -> tuple[bytes, ...]:
    head = b"2026-11-24T15:32:44.000000001Z stderr F "
    whole = b"\n".join(head + text for text in LINES) + b"\n"
    return (whole, whole.replace(b" F ", b" P "), b"\n".join(LINES))


def _frames() -> tuple[bytes, ...]:
    bodies = [b"2026-11-24T15:32:44.000000001Z " + text.replace(b"\n", b" ") + b"\n" for text in LINES]
    return (b"".join(struct.pack(">II", 2 << 24, len(body)) + body for body in bodies), b"".join(bodies))


def _tls() -> tuple[bytes, ...]:
    der = _certificates()[2]
    chain = len(der).to_bytes(3, "big") + der
    body = len(chain).to_bytes(3, "big") + chain
    hello = b"\x03\x03" + bytes(32) + b"\x00\xc0\x2b\x00"
    message = b"\x02" + len(hello).to_bytes(3, "big") + hello + b"\x0b" + len(body).to_bytes(3, "big") + body
    return (
        b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message,
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    )


@dataclass(frozen=True)
class Harness:
    """A parser to feed, its samples, and its share of a run (0 to 1)."""

    feed: Callable[[bytes], None]
    samples: Callable[[], Sequence[bytes]]
    share: float


HARNESSES = {
    "lines": Harness(line, lambda: LINES, 0.28),
    "certificates": Harness(certificate, _certificates, 0.15),
    "configuration": Harness(configuration, lambda: CONFIGS, 0.05),
    "pod logs": Harness(pod_log, _cri, 0.2),
    "docker logs": Harness(docker_log, _frames, 0.15),
    "journal records": Harness(journal_record, lambda: LINES, 0.08),
    "HTTP answers": Harness(http_answer, lambda: ANSWERS, 0.06),
    "metrics requests": Harness(metrics_request, lambda: REQUESTS, 0.02),
    "TLS listeners": Harness(tls_listener, _tls, 0.01),
}


def input_of(name: str, seed: int, number: int) -> bytes:
    """Return an input by its number."""
    chance = random.Random(f"{name}/{seed}/{number}")  # noqa: S311 - no secret hangs on it
    return mutated(chance, HARNESSES[name].samples())


@dataclass
class Result:
    """The result of one harness."""

    done: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    failures: dict[str, tuple[int, str]] = field(default_factory=dict)  # kind -> (number of the first input, traceback)


def run(name: str, *, seed: int, numbers: Iterator[int], until: float) -> Result:
    """Feed a harness until the numbers end or the time `until` (monotonic, in seconds) has come."""
    harness, result, began = HARNESSES[name], Result(), time.monotonic()
    for number in numbers:
        data = input_of(name, seed, number)
        start = time.monotonic()
        try:
            harness.feed(data)
        except Exception as error:  # noqa: BLE001 - each is a finding
            where = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
            result.failures.setdefault(kind, (number, f"{error!r} of {data[:300]!r}"))
        took = time.monotonic() - start
        result.done += 1
        result.slowest = max(result.slowest, took)
        if took > SLOWEST:
            result.failures.setdefault("slow", (number, f"{took:.1f} s for {data[:300]!r}"))
        if start + took > until:
            break
    result.seconds = time.monotonic() - began
    return result


def say(text: str) -> None:
    """Print a line and flush it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(asked: str = "60s", seed: int = 1) -> int:
    """Run all harnesses, print their results, and return the number of kinds of failures."""
    seconds = float(asked[:-1]) if asked.endswith("s") else None
    total, failures = 0, 0
    for name, harness in HARNESSES.items():
        count = sys.maxsize if seconds is not None else max(int(int(asked) * harness.share + 0.5), 1)
        until = time.monotonic() + seconds / len(HARNESSES) if seconds is not None else float("inf")
        result = run(name, seed=seed, numbers=iter(range(count)), until=until)
        total += result.done
        failures += len(result.failures)
        say(
            f"{name:16} {result.done:8} inputs  {result.seconds:7.1f} s  slowest {result.slowest * 1000:6.1f} ms  {len(result.failures)} kinds of failures"
        )
        for kind, (number, report) in result.failures.items():
            say(f"    {kind}: input {number} of seed {seed}: {report}")
    say(f"{'all':16} {total:8} inputs, {failures} kinds of failures")
    return failures


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1] if len(sys.argv) > 1 else "60s", int(sys.argv[2]) if len(sys.argv) > 2 else 1), 1))
