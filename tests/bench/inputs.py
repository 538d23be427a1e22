"""What the benchmark reads, made once and kept in the cache: logs of one master in every shape, the same lines in each."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from bench import lines
from labs import pki
from labs.journal import REMOTE, Record, export

CACHE = Path(os.environ.get("CERTMEDIC_CACHE") or Path.home() / ".cache" / "certmedic") / "bench"
CHUNK = 20_000  # lines written at a time
_MADE_BY = hashlib.blake2b(Path(lines.__file__).read_bytes() + Path(__file__).read_bytes(), digest_size=4).hexdigest()


def failures(count: int) -> int:
    """Return how many of so many lines tell of a failure."""
    return count // lines.EVERY if count else 0


def plain(count: int) -> Path:
    """Return a plain log file."""
    return _made(f"plain-{count}.log", lambda path: _write(path, (f"{text}\n" for _, _, text in lines.master(count))))


def certificates(count: int) -> Path:
    """Return a folder with so many certificates, each with its RSA key beside it, and with their authority."""

    def make(root: Path) -> None:
        root.mkdir()
        ca = pki.authority("etcd-peers-ca-main", key=pki.new_key(kind="rsa"))
        keys = [pki.new_key(kind="rsa") for _ in range(8)]
        for each in range(count):
            names = (f"etcd-{each}", f"etcd-{each}.internal.example")
            ca.leaf(names[0], dns=names, ips=("127.0.0.1",), key=keys[each % 8]).write(
                root / f"{each % 100}/{each}.crt"
            )

    return _made(f"certificates-{count}", make)


def pods(count: int) -> Path:
    """Return a folder like /var/log/pods, in which one container has written everything."""

    def make(root: Path) -> None:
        folder = root / "kube-system_kubelet-a_1f0e" / "kubelet"
        folder.mkdir(parents=True)
        _write(
            folder / "0.log",
            (f"{at:%Y-%m-%dT%H:%M:%S.%f}123Z stderr F {text}\n" for at, _, text in lines.master(count)),
        )

    return _made(f"pods-{count}", make)


def journal(count: int) -> Path:
    """Return a folder of journal files, written by systemd's own program."""

    def make(folder: Path) -> None:
        folder.mkdir()
        remote = subprocess.Popen(
            [REMOTE, f"--output={folder / 'a.journal'}", "--split-mode=none", "-"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert remote.stdin is not None
        for chunk in _chunks(map(_record, lines.master(count))):
            remote.stdin.write(export(chunk))
        remote.stdin.close()
        if remote.wait():
            raise RuntimeError("systemd-journal-remote could not write a journal")

    return _made(f"journal-{count}", make)


def _record(line: tuple[datetime, str, str]) -> Record:
    at, program, text = line
    usec = round(at.timestamp() * 1e6)
    fields = {
        "PRIORITY": "6",
        "SYSLOG_FACILITY": "3",
        "SYSLOG_IDENTIFIER": program,
        "_TRANSPORT": "stdout",
        "_PID": "2107",
        "_UID": "0",
        "_GID": "0",
        "_COMM": program[:15],
        "_EXE": f"/usr/local/bin/{program}",
        "_SYSTEMD_CGROUP": f"/system.slice/{program}.service",
        "_SYSTEMD_UNIT": f"{program}.service",
        "_SYSTEMD_SLICE": "system.slice",
        "_HOSTNAME": "master-a",
        "_MACHINE_ID": "f" * 32,
    }
    return Record(
        message=text.encode(), usec=usec, fields=fields, monotonic=usec - round(lines.START.timestamp() * 1e6)
    )


def _made(name: str, make) -> Path:
    """Return a file or folder of the cache; made whole, or not there."""
    path = CACHE / f"{_MADE_BY}-{name}"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        half = CACHE / f"half-{name}"
        shutil.rmtree(half, ignore_errors=True)
        half.unlink(missing_ok=True)
        make(half)
        half.rename(path)
    return path


def _write(path: Path, texts: Iterator[str]) -> None:
    with path.open("w") as out:
        out.writelines(texts)


def _chunks(records: Iterator[Record]) -> Iterator[list[Record]]:
    chunk = []
    for record in records:
        chunk.append(record)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    yield chunk
