"""A whole agent as users start it, with writers to its sources that rotate and restart."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labs.docker import BUSYBOX, Docker
from labs.static_pod import StaticPod

UNIT = "relay.service"  # the agent trusts its entries, since the configuration names it
POD = StaticPod(name="relay", node="m1", container="relay")
# The state limits the kinds of lines of an incident: raise the limit, so that each number can be found.
PROGRAM = (
    "from certmedic.edge.store import incidents; incidents.MOST_FOLDS = 10**6; from certmedic.cli import main; main()"
)


def failure(number: int, at: datetime | None = None) -> str:
    """Return a line with a number: fifty clients of a program each, since the state limits the kinds of lines of an incident."""
    now = at or datetime.now(UTC)
    return (
        f"tls{number // 50}[812]: {now:%Y-%m-%d %H:%M:%S.%f} http: TLS handshake error from 10.9.{number // 250}.{number % 250}:"
        f"{40000 + number % 9999}: tls: failed to verify client certificate: x509: certificate has expired or is not"
        f" yet valid: current time {now:%Y-%m-%dT%H:%M:%S}Z is after 2026-01-02T03:04:05Z"
    )


def numbers(text: str) -> list[int]:
    """Return the numbers of the failures in a text."""
    return [250 * int(high) + int(low) for high, low in re.findall(r" from 10\.9\.(\d+)\.(\d+):", text)]


class Agent:
    """`certmedic run` with the /run and /var/log of a separate journald."""

    def __init__(self, home: Path, docker_url: str) -> None:
        self.home, self.docker_url = home, docker_url
        self.state = home / "state" / "state.sqlite3"
        self.config = home / "certmedic.toml"
        self.config.write_text(
            f'mode = "observe"\nstate = "{home / "state"}"\nwatch.files = ["/var/log/tls*.log"]\nwatch.journal.units = ["{UNIT}"]\n'
        )
        shutil.copytree("/etc", home / "etc", symlinks=True, ignore_dangling_symlinks=True)
        manifest = home / POD.manifest_path
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(POD.manifest)
        self.process: subprocess.Popen[bytes] | None = None

    def _command(self, *words: str) -> list[str]:
        binds = {"run": "/run", "log": "/var/log", "etc": "/etc"}
        script = " && ".join([*(f'mount --bind "$0/{here}" {there}' for here, there in binds.items()), 'exec "$@"'])
        certmedic = [sys.executable, "-P", "-c", PROGRAM, words[0], "--config", str(self.config), *words[1:]]
        return ["unshare", "--mount", "sh", "-c", script, str(self.home), *certmedic]

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "DOCKER_HOST": self.docker_url, "PYTHONPATH": os.pathsep.join(sys.path)}

    def start(self) -> None:
        with (self.home / "agent.log").open("ab") as output:
            self.process = subprocess.Popen(self._command("run"), env=self._environment, stdout=output, stderr=output)

    def __call__(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run another command of certmedic on the same machine."""
        return subprocess.run(
            self._command(*words), env=self._environment, capture_output=True, timeout=120, check=False
        )

    def last_output(self) -> str:
        """Return the end of its output."""
        return (self.home / "agent.log").read_text(errors="replace")[-3000:]

    def kill(self) -> None:
        if self.process is not None:
            assert self.process.poll() is None, self.last_output()
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)
            self.process = None

    def signal_reader(self, number: signal.Signals) -> None:
        """Send a signal to its reader process, if that runs."""
        if self.process is not None:
            parent = ["pgrep", "--parent", str(self.process.pid), "--full", "certmedic.reader"]
            for pid in subprocess.run(parent, capture_output=True, text=True, check=False).stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), number)

    def recorded(self) -> dict[int, int]:
        """Return {number: how often it was counted}."""
        counts: dict[int, int] = {}
        for sample, count in self._rows("SELECT sample, count FROM folds"):
            (number,) = numbers(sample)
            counts[number] = counts.get(number, 0) + count
        return counts

    def positions(self) -> set[str]:
        """Return the streams and sources that have a stored position, from which a new agent goes on."""
        return {row[0] for row in self._rows("SELECT stream FROM positions")}

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        if not self.state.exists():
            return []
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(f"file:{self.state}?mode=ro", uri=True, timeout=30)) as db,
        ):
            return db.execute(query).fetchall()
        return []


class PlainFile:
    """A plain file, rotated like logrotate does."""

    def __init__(self, path: Path, dice: random.Random) -> None:
        self.path, self.dice = path, dice

    def write(self, lines: list[str]) -> None:
        with self.path.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def rotate(self) -> None:
        if not self.path.exists():
            return
        kept = [self.path.with_name(f"{self.path.name}.{n}{gz}") for n in range(200, 0, -1) for gz in ("", ".gz")]
        for old in kept:
            if old.exists():
                stem, number, *gz = old.name.removesuffix(".gz").rpartition(".")[0::2] + (".gz",) * old.name.endswith(
                    ".gz"
                )
                old.rename(old.with_name(f"{stem}.{int(number) + 1}{''.join(gz)}"))
        first = self.path.with_name(f"{self.path.name}.1")
        if self.dice.random() < 0.5:
            self.path.rename(first)
            if self.dice.random() < 0.7:
                self.path.touch()
        else:
            shutil.copy2(self.path, first)
            os.truncate(self.path, 0)
        second = self.path.with_name(f"{self.path.name}.2")
        if second.exists():
            compress(second, second.with_name(f"{second.name}.gz"))


class PodLog:
    """The log of a container in the format of containerd, rotated like the kubelet does."""

    def __init__(self, pods: Path, dice: random.Random) -> None:
        self.folder, self.dice, self.restarts, self.rotations = pods / POD.log_folder / POD.container, dice, 0, 0

    @property
    def path(self) -> Path:
        return self.folder / f"{self.restarts}.log"

    def write(self, lines: list[str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            for line in lines:
                cut = self.dice.randrange(1, len(line)) if self.dice.random() < 0.3 else 0
                for tag, part in ([("P", line[:cut])] if cut else []) + [("F", line[cut:])]:
                    file.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z stderr {tag} {part}\n")
                    file.flush()

    def rotate(self) -> None:
        if not self.path.exists():
            return
        if self.dice.random() < 0.3:
            self.restarts += 1
            return
        for old in self.folder.glob("*.log.*[0-9]"):
            compress(old, old.with_name(f"{old.name}.gz"))
        self.rotations += 1
        self.path.rename(self.folder / f"{self.path.name}.20261124-{self.rotations:06}")
        if self.dice.random() < 0.7:
            self.path.touch()


def compress(plain: Path, packed: Path) -> None:
    part = packed.with_name(f"{packed.name}.tmp")
    with plain.open("rb") as file, gzip.open(part, "wb") as out:
        shutil.copyfileobj(file, out)
    os.utime(part, (plain.stat().st_atime, plain.stat().st_mtime))
    part.rename(packed)
    plain.unlink()


class Containers:
    """One long-running container, and others that print lines and end."""

    def __init__(self, docker: Docker, dice: random.Random) -> None:
        self.docker, self.dice = docker, dice
        docker.busybox()
        self.started = 0
        docker("run", "-d", "--network=none", f"--name={POD.container_name}", BUSYBOX, "sleep", "100000")

    def write(self, lines: list[str]) -> None:
        data = "".join(f"{line}\n" for line in lines).encode()
        if self.dice.random() < 0.2:
            self.started += 1
            name = f"{POD.container_name.removesuffix('_0')}_{self.started}"
            self.docker("run", "-i", "--network=none", f"--name={name}", BUSYBOX, "cat", stdin=data)
        else:
            self.docker("exec", "-i", POD.container_name, "sh", "-c", "cat > /proc/1/fd/1", stdin=data)

    def restart(self, *, kill: bool = False) -> None:
        self.docker.stop(kill=kill)
        self.docker.start()
        self.docker("start", POD.container_name)

    def logged(self) -> set[int]:
        """Return the numbers in the logs that Docker kept."""
        output = "".join(self.docker("logs", number) for number in self.docker("ps", "-aq").split())
        return set(numbers(output))
