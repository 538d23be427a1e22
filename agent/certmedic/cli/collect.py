"""`collect`: one file with what a colleague needs to judge a failure of this master, without keys; and that file read again."""

from __future__ import annotations

import dataclasses
import os
import platform
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import cryptography

from certmedic import __version__, app
from certmedic.cli import backfill, inputs, output
from certmedic.cli.incidents import row
from certmedic.config import Config, Secret
from certmedic.core.collection import PREFIX, Collected, collected_of, files_of
from certmedic.core.model import Fold, Trust
from certmedic.edge import archive
from certmedic.edge.os import run
from certmedic.edge.os.readfile import read_ends
from certmedic.edge.store import STATE, Store, StoreError

ENDINGS = (".tar.gz", ".tgz")
MOST_LOGS = 12  # programs whose log is packed around their last failure
MOST_LINES = 400  # of each
AROUND = timedelta(minutes=1)
END_BYTES = 512 * 1024  # of each end of a log file that is searched for the failure
JOURNALCTL = 10.0  # seconds
MOST_INCIDENTS = 50


@inputs.command(
    "collect",
    "Pack what a colleague needs, without keys.",
    "certmedic collect",
    "certmedic collect --since 3d --output /root/master-a.tar.gz",
)
@inputs.CONFIG
@click.option(
    "--since",
    "start",
    default="1d",
    show_default=True,
    callback=backfill.since,
    metavar="WHEN",
    help="Read logs from then on.",
)
@click.option(
    "--output", "file", type=click.Path(), metavar="FILE", help="Write this new file, which must end in .tar.gz."
)
def collect(*, config_path: Path | None, start: datetime, file: str | None) -> None:
    """Pack into one new file what a colleague needs to judge this master: `certmedic diagnose FILE` reads it.

    It holds the failures and the log around them, the certificates without their keys, versions, the configuration without
    secrets, and the incidents with their decisions. Only its owner may read it. Look into it before you send it: logs name
    hosts and users.
    """
    inputs.need_linux("collect")
    settings, now = inputs.config(config_path, looks=True), datetime.now(UTC)
    host = socket.gethostname()
    path = file or f"certmedic-{host}-{now:%Y%m%dT%H%M%SZ}.tar.gz"
    if not path.endswith(ENDINGS):
        output.fail(f"{path}: the name must end in .tar.gz, by which `certmedic diagnose` knows it", 2)
    if os.path.lexists(path):
        output.fail(f"{path}: exists already, and is not replaced")
    if os.geteuid() != 0:
        output.write("certmedic: without root some logs and files cannot be read: sudo certmedic collect ...", err=True)
    machine = app.machine(settings)
    past = backfill.Past(start, now, machine)
    with output.progress() as progress:
        sources = backfill.read_all(settings, start, past, progress)
        progress("files", 0.0, 0)
        facts = machine.gather(now=now)
        progress("files", 1.0, len(facts.stored))
    folds = tuple(past.folds)
    about = {
        "host": host,
        "cluster": app.identity(settings).name,
        "collected_at": output.when(now),
        "since": output.when(start),
        "versions": versions(),
        "sources": sources,
    }
    reports = {"configuration": shown(settings), **recorded(settings)}
    files = files_of(Collected(facts=facts, folds=folds), about, reports, around(folds))
    try:
        left_out = archive.write(path, files, PREFIX, now.timestamp())
    except archive.ArchiveError as error:
        output.fail(str(error))
    if left_out:
        output.say(f"the archive is full: {len(left_out)} files are left out, from {left_out[0]} on", colour="yellow")
    output.say(
        f"{path}: {len(files) - len(left_out)} files, {len(folds)} kinds of failures, {len(facts.stored)} certificates"
    )
    output.say(f"It holds no key. Read it before you send it; then, anywhere: certmedic diagnose {path}")


def opened(path: str) -> Collected:
    """Return what an archive of `collect` holds, or print why it cannot be read, and exit with 3."""
    try:
        return collected_of(archive.read(path, PREFIX))
    except archive.ArchiveError as error:
        output.fail(str(error), 3)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        output.fail(f"{path}: its content makes no sense: {error}", 3)


def versions() -> Mapping[str, str]:
    """Return the versions of the programs that judge."""
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        system = ""
    return {
        "certmedic": __version__,
        "python": platform.python_version(),
        "cryptography": cryptography.__version__,
        "openssl": ssl.OPENSSL_VERSION,
        "system": system,
        "kernel": platform.release(),
    }


def shown(value: object) -> Any:
    """Return a value of the configuration as JSON has it, with every secret replaced."""
    if isinstance(value, Secret):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: shown(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): shown(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [shown(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def recorded(settings: Config) -> Mapping[str, Any]:
    """Return what the service recorded: its sources and channels, and the latest incidents with decisions and story."""
    try:
        if not (settings.state / STATE).exists():
            return {"status": {"state": "none: the service has not run here"}}
        with Store(settings.state / STATE, readonly=True) as state:
            incidents = [
                {
                    **row(incident, None),
                    "events": state.events(incident.id),
                    "lines": state.folds(incident.id),
                    "messages": state.messages(incident.id),
                }
                for incident in state.incidents()[:MOST_INCIDENTS]
            ]
            status = {"sources": state.sources(), "channels": state.channels(), "tripped": state.tripped()}
    except (OSError, StoreError) as error:
        return {"status": {"state": f"cannot be read: {error}"}}
    return {"status": {"mode": settings.mode, **status}, "incidents": incidents}


def around(folds: Iterable[Fold]) -> dict[str, str]:
    """Return the log of each program around its last failure: from the journal, or from the file that it writes."""
    logs = dict[str, str]()
    for fold in sorted(folds, key=lambda fold: (fold.sighting.entry.origin.trust is Trust.STRANGER, -fold.count)):
        by = fold.sighting.entry.origin
        name = f"{(by.path or by.unit).strip('/').replace('/', '_')}.log"
        if len(logs) >= MOST_LOGS or name == ".log" or name in logs:
            continue
        logs[name] = in_file(by.path, fold.sighting.entry.text) if by.path else in_journal(by.unit, fold.last_seen)
    return logs


def in_journal(unit: str, at: datetime) -> str:
    """Return the lines of a unit around a time, or why there are none."""
    start, end = (f"@{int((at + step).timestamp())}" for step in (-AROUND, AROUND))
    words = ["journalctl", "--no-pager", "--quiet", "--output=short-iso-precise", f"--unit={unit}", f"--since={start}"]
    try:
        ran = run.run([*words, f"--until={end}", f"--lines={MOST_LINES}"], deadline=time.monotonic() + JOURNALCTL)
    except run.RunError as error:
        return f"{error}\n"
    return ran.out or ran.err


def in_file(path: str, text: str) -> str:
    """Return the lines of a log file around the last line that holds a text, else its last lines."""
    try:
        lines = read_ends(path, END_BYTES).decode(errors="replace").splitlines()
    except OSError as error:
        return f"{path}: {error.strerror or error}\n"
    last = max((number for number, line in enumerate(lines) if text in line), default=len(lines))
    half = MOST_LINES // 2
    return "\n".join(lines[max(last - half, 0) : last + half]) + "\n"
