"""`backfill`: what happened before the service was there. It reads, judges and prints, and touches neither state nor machine."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from certmedic.cli import look, serve, show
from certmedic.cli.history import CONFIG
from certmedic.config import duration
from certmedic.core import diagnose as doctor
from certmedic.core import echo, symptoms, verdict
from certmedic.core.examine import stamp
from certmedic.core.model import Diagnosis, Fold, LogEntry, Sighting, Trust
from certmedic.edge import inbox
from certmedic.edge.containers import DockerError, DockerSource
from certmedic.edge.facts import Machine
from certmedic.edge.files import FileSource, PodSource
from certmedic.edge.journal import JournalError, JournalSource

SAY_EVERY = 10.0  # seconds, where no terminal shows a bar

Reader = JournalSource | DockerSource | PodSource | FileSource
Say = Callable[[str, float, int], None]  # source, share of it that was read, lines read


def since(_: click.Context, param: click.Parameter, value: str) -> datetime:
    """Read a time as journalctl does: a date, a time, or how long ago."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"today": midnight, "yesterday": midnight - timedelta(days=1)}
    if value in named:
        return named[value]
    with contextlib.suppress(ValueError, OverflowError):
        return now - duration(re.sub(r"^-|\s+ago$", "", value))
    with contextlib.suppress(ValueError):
        told = datetime.fromisoformat(value)
        return told if told.tzinfo else told.replace(tzinfo=UTC)
    raise click.BadParameter(
        f"{value!r} is no time; write 2026-11-01, 2026-11-01T04:00:00Z, 3d or yesterday", param=param
    )


class Past:
    """What was found so far: equal lines as one, each line once."""

    def __init__(self, since: datetime, now: datetime, machine: Machine) -> None:
        self._since, self._now, self._machine = since, now, machine
        self._memo = symptoms.ParseCache()
        self._lines: dict[int, dict[str, int]] = {}
        self._folds: dict[str, Fold] = {}

    def take(self, entry: LogEntry) -> None:
        """Take a line that passed the gate."""
        sighting = self._memo.parse(entry)
        if sighting is None:
            return
        at = entry.time
        if entry.stream.startswith("file:"):  # which knows only when it was read
            at = echo.written_at(sighting, self._now) or at
        if at < self._since or (entry.origin.trust is Trust.SYSTEM and self._is_echo(sighting)):
            return
        known = self._folds.get(sighting.fold)
        if known is None:
            self._machine.learn(entry.origin)
            known = Fold(sighting=sighting, count=0, first_seen=at, last_seen=at)
        self._folds[sighting.fold] = replace(
            known, count=known.count + 1, first_seen=min(known.first_seen, at), last_seen=max(known.last_seen, at)
        )

    def _is_echo(self, sighting: Sighting) -> bool:
        """Whether a trusted line came already by another trusted source. Copies of others count against nothing."""
        brought = self._lines.setdefault(echo.number(echo.words(sighting)), {})
        return echo.is_echo(brought, sighting.entry.stream)

    def incidents(self) -> tuple[Diagnosis, ...]:
        """Judge it by what is so now, most serious first."""
        facts = self._machine.gather(now=self._now)
        found = [doctor.diagnose(fold, facts) for fold in self._folds.values()]
        return verdict.merge(one for one in found if one is not None)


@click.command()
@look.JSON
@CONFIG
@click.option(
    "--since", "start", required=True, callback=since, metavar="WHEN", help="2026-11-01, 2026-11-01T04:00:00Z, 3d, ..."
)
def backfill(*, as_json: bool, config_path: Path | None, start: datetime) -> None:
    """Read what the logs still hold and say what happened before the service was there; it changes and sends nothing."""
    config = show.config(config_path)
    now = datetime.now(UTC)
    past = Past(start, now, serve.machine(config))
    told = []
    with progress() as say:
        for source in serve.sources(config):
            reader = source.source if isinstance(source, inbox.WhenThere) else source
            if isinstance(reader, Reader) and serve.is_there(source):
                told.append(read(reader, start, past, say))
    found = past.incidents()
    if as_json:
        show.as_json(since=show.when(start), sources=told, incidents=[show.diagnosis(one) for one in found])
    else:
        for how in told:
            show.item(
                f"{how['source']:<10} ",
                f"{how['seen']} read, {how['matched']} matched  {how['error'] or how['detail']}".rstrip(),
                colour="red" if how["error"] else None,
            )
        for one in found:
            show.say()
            show.tell(one, now=now)
            if one.first_seen:
                show.say(f"  first    {stamp(one.first_seen)}")
        if not found:
            show.say(f"No certificate has failed since {stamp(start)}, as far as these logs tell.", colour="green")
    raise SystemExit(1 if any(one["error"] for one in told) else 0)


def read(reader: Reader, start: datetime, past: Past, say: Say) -> dict[str, object]:
    """Read one source; returns what is to be said of it."""
    error = ""
    try:
        for share, entries in reader.past(start):
            for entry in entries:
                past.take(entry)
            say(reader.name, share, reader.read[0])
    except (OSError, JournalError, DockerError) as reason:
        error = str(reason)
    seen, matched, detail = reader.read
    return {"source": reader.name, "seen": seen, "matched": matched, "detail": detail, "error": error}


@contextlib.contextmanager
def progress() -> Iterator[Say]:
    """Show how far it is: a bar on a terminal, elsewhere now and then a line; on stderr, as stdout is for what was found."""
    if not sys.stderr.isatty():
        due = time.monotonic() + SAY_EVERY

        def line(source: str, share: float, seen: int) -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + SAY_EVERY
                show.write(f"certmedic: {source}: {share:.0%}, {seen} read", err=True)

        yield line
        return
    from rich.console import Console  # noqa: PLC0415 - heavy, and only a terminal needs it
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above

    columns = (TextColumn("{task.description:<10}"), BarColumn(), TextColumn("{task.fields[seen]:,} read"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def bar(source: str, share: float, seen: int) -> None:
            if source not in tasks:
                tasks[source] = bars.add_task(source, total=1.0, seen=0)
            bars.update(tasks[source], completed=share, seen=seen)

        yield bar


COMMANDS = (backfill,)
