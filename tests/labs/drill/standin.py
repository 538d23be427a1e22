"""A stand-in for etcd-manager that does no more than issue certificates and run etcd.

    python3 -m labs.drill.standin --member etcd-a --volume DIR --authorities DIR [...] -- ETCD ARGUMENT...

Before each start of etcd, and only then, it issues the member's certificates: with the CA's NotBefore and the existing key,
written in place. Versions since 3.0.20200428 always reissue; with --keep-expired it checks the names only, like earlier versions
(FIELD 1.2). etcd runs as its child, and both write to one stream, as in the container. If etcd exits, the stand-in restarts it ten
seconds later. When the stand-in is stopped, it kills etcd.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from labs import pki

LIFE = timedelta(days=2 * 365)
OLD_LIFE = timedelta(days=365)
TRY_AGAIN = 10.0  # seconds between two checks of etcd-manager's loop


class Output:
    """A stream of whole lines for both programs: stdout, and a log file like that of `tee -a`."""

    def __init__(self, log: Path | None) -> None:
        self._files: list[BinaryIO] = [sys.stdout.buffer]
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._files.append(log.open("ab", buffering=0))

    def write(self, lines: bytes) -> None:
        """Write whole lines, which include their line ends."""
        for file in self._files:
            with contextlib.suppress(BrokenPipeError):  # stdout is closed: go on with the file
                file.write(lines)
                file.flush()

    def klog(self, where: str, text: str, level: str = "I") -> None:
        """Write a line in the format of etcd-manager, in local time like etcd."""
        now = datetime.now(UTC).astimezone()
        self.write(f"{level}{now:%m%d %H:%M:%S.%f} {os.getpid():7d} {where}] {text}\n".encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """The name of a member, the place of its files, and the rules of issuing them."""

    member: str
    home: Path  # the folder with `peers/` and `clients/`
    authorities: Path
    dns: tuple[str, ...]
    ips: tuple[str, ...]
    first_life: timedelta | None
    keep_expired: bool
    out: Output

    def issue_all(self) -> None:
        """Write CAs, keys and certificates before a start of etcd."""
        # Certificates count whole seconds: round up, so that none lives shorter than requested. Both get one time, so
        # that both expire in the same second.
        now = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
        names = f"AltNames:{{DNSNames:[{' '.join(self.dns)}] IPs:[{' '.join(self.ips)}]}}"
        subject = f"{{CommonName:{self.member} Organization:[] {names} Usages:"
        self.out.klog("pki.go:58", f"generating peer keypair for etcd: {subject}[2 1]}}")
        self.issue("etcd-peers-ca", self.home / "peers" / "me.crt", now)
        self.out.klog("pki.go:101", f"building client-serving certificate: {subject}[1 2]}}")
        self.issue("etcd-clients-ca", self.home / "clients" / "server.crt", now)

    def issue(self, authority: str, path: Path, now: datetime) -> None:
        """Write one certificate with its CA beside it, if EnsureKeypair of this etcd-manager version would."""
        ca = pki.read_authority(self.authorities / f"{authority}.crt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name("ca.crt").write_bytes((self.authorities / f"{authority}.crt").read_bytes())
        key_path = path.with_suffix(".key")
        # Only a missing key means the first start: a missing .crt may have been moved aside.
        first = not key_path.exists()
        if first:
            pki.write_key(key_path, pki.new_key())
        if not self._must_issue(path):
            return
        life = OLD_LIFE if self.keep_expired else LIFE
        if first and self.first_life is not None:
            life = self.first_life
        self.out.klog("certs.go:183", f'generating certificate for "{self.member}"')
        leaf = ca.leaf(self.member, dns=self.dns, ips=self.ips, not_after=now + life, key=pki.read_key(key_path))
        # Write in place like etcd-manager: a reader may see an empty file for a moment.
        path.write_bytes(leaf.cert_pem)

    def _must_issue(self, path: Path) -> bool:
        try:
            old = pki.read(path)
        except FileNotFoundError:
            return True
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if not self.keep_expired:
            ends = f"{pki.ends(old):%Y-%m-%dT%H:%M:%SZ}"
            self.out.klog("certs.go:122", f"existing certificate not valid after {ends}; will regenerate")
            return True
        if pki.hosts(old) != {*self.dns, *self.ips}:
            self.out.klog("certs.go:89", f'certificate DNS names mismatch on "{self.member}"; will regenerate')
            return True
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Issue certificates and run etcd until SIGTERM, SIGINT or, with `--until-eof`, the end of stdin."""
    parser = argparse.ArgumentParser(prog="standin", description="do to certificates what etcd-manager does")
    add = parser.add_argument
    add("--member", required=True)
    add("--volume", required=True, type=Path, help="the etcd volume; certificates go below pki/")
    add("--authorities", required=True, type=Path, help="the folder with etcd-{peers,clients}-ca.{crt,key}")
    add("--token", default="etcd-cluster-token-etcd")
    add("--dns", action="append", default=[], help="further name of the member")
    add("--ip", action="append", default=[], help="address of the member")
    add("--first-life", type=float, help="seconds that the first certificates live; later ones live two years")
    add("--keep-expired", action="store_true", help="do as versions before 3.0.20200428 do")
    add("--log", type=Path, help="append everything to this file, too")
    add("--until-eof", action="store_true", help="stop when stdin ends: the process that started this is gone")
    add("etcd", nargs="+", help="etcd and its arguments, without those about TLS")
    options = parser.parse_args(arguments)

    # A signal becomes a byte to read, so that it cannot interrupt a start between two steps. As the first process of a
    # container this process gets only the signals that it handles.
    stop, signalled = socket.socketpair()
    signalled.setblocking(False)
    signal.set_wakeup_fd(signalled.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    manager = Manager(
        member=options.member,
        home=options.volume / "pki" / options.token,
        authorities=options.authorities,
        dns=(options.member, *options.dns),
        ips=("127.0.0.1", *options.ip),
        first_life=None if options.first_life is None else timedelta(seconds=options.first_life),
        keep_expired=options.keep_expired,
        out=Output(options.log),
    )
    manager.out.write(b"etcd-manager\n")
    try:
        return run(manager, options.etcd, [stop.fileno(), *([0] if options.until_eof else [])])
    except (OSError, ValueError) as error:
        manager.out.klog("main.go:310", f"cannot go on: {error}", "E")
        return 1


def tls(home: Path) -> list[str]:
    """Return the arguments that let etcd use these certificates."""
    clients, peers = home / "clients", home / "peers"
    return [
        *("--client-cert-auth", f"--trusted-ca-file={clients / 'ca.crt'}"),
        *(f"--cert-file={clients / 'server.crt'}", f"--key-file={clients / 'server.key'}"),
        *("--peer-client-cert-auth", f"--peer-trusted-ca-file={peers / 'ca.crt'}"),
        *(f"--peer-cert-file={peers / 'me.crt'}", f"--peer-key-file={peers / 'me.key'}"),
    ]


def run(manager: Manager, etcd: Sequence[str], stops: Sequence[int]) -> int:
    """Issue, run etcd and copy its output, repeatedly, until one of `stops` can be read."""
    with selectors.DefaultSelector() as waiting:
        for stop in stops:
            waiting.register(stop, selectors.EVENT_READ)
        while True:
            manager.issue_all()
            command = [*etcd, *tls(manager.home)]
            manager.out.klog("etcdprocess.go:202", f"executing command {command[0]} [{' '.join(command)}]")
            output, its_end = os.pipe()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=its_end, stderr=its_end)
            os.close(its_end)
            if copy(process, output, manager.out, waiting):
                return 0
            manager.out.klog("etcdserver.go:180", f"etcd process exited (state=exit status {process.returncode})", "W")
            if waiting.select(TRY_AGAIN):
                return 0


def copy(process: subprocess.Popen[bytes], output: int, out: Output, waiting: selectors.BaseSelector) -> bool:
    """Copy the output of etcd until a stop is requested (True) or etcd exits (False). Afterwards etcd does not run."""
    lines = whole_lines(output)
    waiting.register(output, selectors.EVENT_READ)
    try:
        while True:
            if any(key.fd != output for key, _ in waiting.select()):
                process.kill()
                for rest in lines:
                    out.write(rest)
                out.klog("etcdprocess.go:133", "Exited etcd: signal: killed")
                return True
            some = next(lines, None)
            if some is None:
                return False
            out.write(some)
    finally:
        waiting.unregister(output)
        os.close(output)
        process.kill()
        process.wait()


def whole_lines(pipe: int) -> Iterator[bytes]:
    """Yield input in whole lines; at the end of the stream yield the rest with a line end."""
    rest = b""
    while block := os.read(pipe, 1 << 16):
        whole, end, rest = (rest + block).rpartition(b"\n")
        yield whole + end
    if rest:
        yield rest + b"\n"


if __name__ == "__main__":
    sys.exit(main())
