"""The service on a separate folder, and the commands beside it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from labs import AGENT, pki
from labs.waiting import until


@dataclass
class Service:
    """`certmedic run` on a separate folder with one watched certificate."""

    home: Path
    notify: str = ""  # further lines of [notify]
    more: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> Path:
        return self.home / "state" / "state.sqlite3"

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    def configure(self, *urls: str) -> Self:
        self.home.mkdir(exist_ok=True)
        (self.home / "apprise.conf").write_text("".join(f"{url}\n" for url in urls))
        path = self.home / "certmedic.toml"
        path.write_text(f"""
state = "{self.home}/state"
[watch]
journal = false
docker = false
pods = false
files = ["{self.home}/etcd.log"]
[certificates]
planes = []
paths = ["{self.home}/pki/*.crt"]
warn_days = []
[notify]
apprise = ["{self.home}/apprise.conf"]
group_for = "1s"
{self.notify}
{self.more}
""")
        path.chmod(0o640)
        return self

    def certificate(self, ends: timedelta = timedelta(hours=-1)) -> None:
        """Replace the certificate by a rename, as programs do."""
        made = pki.authority("test-ca").leaf("etcd-a", not_after=datetime.now(UTC) + ends)
        fresh = made.write(self.home / "new" / "server.pem")
        (self.home / "pki").mkdir(exist_ok=True)
        fresh.rename(self.home / "pki" / "server.crt")

    def start(self) -> None:
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "certmedic", "run", "--config", str(self.home / "certmedic.toml")],
                env={**os.environ, "PYTHONPATH": str(AGENT), **self.environ},
                stdout=log,
                stderr=log,
                umask=0o077,  # like the unit file
            )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask(self, *words: str, code: int = 0) -> str:
        """Run a command beside the service."""
        done = subprocess.run(
            [sys.executable, "-m", "certmedic", *words, "--config", str(self.home / "certmedic.toml")],
            env={**os.environ, "PYTHONPATH": str(AGENT), "SUDO_USER": "alice"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def deliveries(self) -> list[tuple[str, str]]:
        """Return (kind, state) of every delivery in the state."""
        if not self.state.exists():
            return []
        with (
            contextlib.suppress(sqlite3.OperationalError),  # the service is just creating the schema
            contextlib.closing(sqlite3.connect(f"file:{self.state}?mode=ro", uri=True, timeout=10)) as db,
        ):
            return db.execute(
                "SELECT m.kind, d.state FROM deliveries d JOIN messages m ON m.id = d.message"
                " WHERE d.channel <> 'wall' ORDER BY m.id, d.channel"
            ).fetchall()
        return []

    def turns_for(self, seconds: float) -> None:
        """Wait `seconds` and assert that the service still runs."""
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        until(lambda: datetime.now(UTC) > end)
        assert self.process is not None
        assert self.process.poll() is None, self.log
