"""Journals for tests: files of any content, and a real journald with a separate journal.

write_journal(path / "a.journal", [Record("x509: ...", time=...), ...])

with start_journald() as journald:              # needs root
    journald.log("some line", SYSLOG_IDENTIFIER="etcd")
    JournalSource(..., path=journald.volatile)
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labs.units import control_groups, within

REMOTE = "/lib/systemd/systemd-journal-remote"
JOURNALD = "/lib/systemd/systemd-journald"
BOOT = "0" * 31 + "1"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One entry. `usec` counts from 1970; the monotonic clock starts an hour before the first entry."""

    message: bytes | None
    usec: int
    fields: Mapping[str, str] = field(default_factory=dict)
    boot: str = BOOT
    monotonic: int | None = None


def export(records: Iterable[Record]) -> bytes:
    """Return records in the export format of the journal, with messages as binary fields."""
    parts, first = [], None
    for record in records:
        first = record.usec if first is None else first
        monotonic = record.usec - first + 3_600_000_000 if record.monotonic is None else record.monotonic
        parts.append(
            f"__REALTIME_TIMESTAMP={record.usec}\n__MONOTONIC_TIMESTAMP={monotonic}\n_BOOT_ID={record.boot}\n".encode()
        )
        parts.extend(f"{name}={value}\n".encode() for name, value in record.fields.items())
        if record.message is not None:
            parts.append(b"MESSAGE\n" + len(record.message).to_bytes(8, "little") + record.message + b"\n")
        parts.append(b"\n")
    return b"".join(parts)


def write_journal(path: Path, records: Iterable[Record]) -> Path:
    """Make a journal file or append to it."""
    done = subprocess.run(
        [REMOTE, f"--output={path}", "--split-mode=none", "-"],
        input=export(records),
        capture_output=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return path


# A separate process writes: journald records the writer, and the reader skips entries of the process that it runs in.
# It reads one datagram of journald's native protocol per line, in hexadecimal, and answers each with a line.
_WRITER = """
import socket, sys
path = sys.argv[1]
for line in sys.stdin:
    out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        out.connect(path)
        out.sendall(bytes.fromhex(line))
        print("sent", flush=True)
    except OSError as error:
        print(error, flush=True)
    out.close()
"""


@dataclass
class Journald:
    """A journald in a mount namespace, whose /run and /var/log are folders here."""

    home: Path
    options: tuple[str, ...] = ()
    unit: str = ""  # unit of the entries; empty: no unit
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    writer: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def volatile(self) -> Path:
        return self.home / "run" / "log" / "journal"

    @property
    def persistent(self) -> Path:
        return self.home / "log" / "journal"

    @property
    def socket(self) -> Path:
        return self.home / "run" / "systemd" / "journal" / "socket"

    def start(self) -> None:
        """Start journald and wait until it accepts entries."""
        # A flush removes volatile files only on a tmpfs.
        if not (self.home / "run").is_mount():
            (self.home / "run").mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(self.home / "run")], check=True)
        for folder in ("run/systemd/journal", "run/systemd/journald.conf.d", "run/log/journal", "run/udev", "log"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        configuration = self.home / "run/systemd/journald.conf.d/lab.conf"
        configuration.write_text("\n".join(["[Journal]", *self.options, ""]))
        script = f'mount --bind "$0/run" /run && mount --bind "$0/log" /var/log && exec {JOURNALD}'
        self.process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, str(self.home)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "SYSTEMD_LOG_TARGET": "null"},
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(RuntimeError):
                self.log("certmedic lab: journald is up")
                return
            time.sleep(0.05)
        raise RuntimeError("journald did not start")

    def stop(self, *, kill: bool = False) -> None:
        """Stop journald; its files stay."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            self.process.wait(30)
            self.process = None

    def log(self, message: str | bytes, **fields: str) -> None:
        """Write one entry to journald's socket and return once it was sent."""
        raw = message.encode() if isinstance(message, str) else message
        packet = b"MESSAGE\n" + len(raw).to_bytes(8, "little") + raw + b"\n"
        packet += b"".join(f"{name}={value}\n".encode() for name, value in fields.items())
        if self.writer is None:
            groups = control_groups(self.unit) if self.unit else []
            self.writer = subprocess.Popen(
                within(groups, sys.executable, "-c", _WRITER, str(self.socket)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self.writer.stdin is not None
        assert self.writer.stdout is not None
        self.writer.stdin.write(packet.hex() + "\n")
        self.writer.stdin.flush()
        if (answer := self.writer.stdout.readline().strip()) != "sent":
            raise RuntimeError(answer)

    def journalctl(self, *words: str) -> str:
        """Run journalctl in the mount namespace of this journald: --rotate, --flush, --vacuum-files=1, ..."""
        assert self.process is not None
        done = subprocess.run(
            ["nsenter", f"--target={self.process.pid}", "--mount", "journalctl", *words],
            capture_output=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr.decode(errors="replace"))
        return done.stdout.decode(errors="replace")


@contextlib.contextmanager
def start_journald(*options: str, unit: str = "") -> Iterator[Journald]:
    """Run a journald with `options` (such as "RuntimeMaxFiles=500"); afterwards no process, mount or file of it is left.

    A process of `unit` writes the entries, if given. The folder is in /tmp, since socket paths are short.
    """
    journald = Journald(Path(tempfile.mkdtemp(prefix="certmedic-journald-")), options, unit)
    try:
        journald.start()
        yield journald
    finally:
        if journald.writer is not None:
            journald.writer.communicate()
        journald.stop()
        subprocess.run(["umount", "--lazy", str(journald.home / "run")], check=False, capture_output=True)
        shutil.rmtree(journald.home, ignore_errors=True)
