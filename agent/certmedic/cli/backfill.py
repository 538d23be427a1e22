"""`backfill`: the failures that the logs still hold from before the service ran. It changes neither state nor machine."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from certmedic import app
from certmedic.cli import inputs, output
from certmedic.config import Config, duration
from certmedic.core import diagnose as doctor
from certmedic.core import echo, symptoms, verdict
from certmedic.core.model import Diagnosis, Fold, LogEntry, Sighting, Trust
from certmedic.core.sightings import counted
from certmedic.core.text import stamp
from certmedic.edge import roundrobin
from certmedic.edge.containers import DockerError
from certmedic.edge.facts.machine import Machine
from certmedic.edge.files import FileSource, PodSource
from certmedic.edge.journal import JournalError, JournalSource
from certmedic.reader.docker import DockerLogs
from certmedic.reader.sources import sources, there

Reader = JournalSource | DockerLogs | PodSource | FileSource


def since(_: click.Context, param: click.Parameter, value: str) -> datetime:
    """Parse a time as journalctl does: a date, a time, or how long ago."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"today": midnight, "yesterday": midnight - timedelta(days=1)}
    if value in named:
        return named[value]
    with contextlib.suppress(ValueError, OverflowError):
        return now - duration(re.sub(r"^-|\s+ago$", "", value))
    with contextlib.suppress(ValueError):
        return inputs.utc(value)
    sentence = f"{value!r} is not a time; write 2026-11-01, 2026-11-01T04:00:00Z, 3d or yesterday"
    raise click.BadParameter(sentence, param=param)


class Past:
    """The failures read so far: equal lines are one fold, and each line counts once."""

    def __init__(self, since: datetime, now: datetime, machine: Machine) -> None:
        self._since, self._now, self._machine = since, now, machine
        self._memo = symptoms.ParseCache()
        self._lines: dict[int, dict[str, int]] = {}
        self._folds: dict[str, Fold] = {}

    def take(self, entry: LogEntry) -> None:
        """Take a line that held a needle."""
        sighting = self._memo.parse(entry)
        if sighting is None:
            return
        at = entry.time
        if entry.stream.startswith("file:"):  # its entries have the time of reading
            at = echo.written_at(sighting, self._now) or at
        if at < self._since or (entry.origin.trust is Trust.SYSTEM and self._is_echo(sighting)):
            return
        known = self._folds.get(sighting.fold)
        if known is None:
            self._machine.learn(entry.origin)
        self._folds[sighting.fold] = counted(known, sighting, at)

    def _is_echo(self, sighting: Sighting) -> bool:
        """Whether another trusted source brought this trusted line already. A stranger's copy hides nothing."""
        brought = self._lines.setdefault(echo.number(echo.words(sighting)), {})
        return not echo.new_arrivals(brought, sighting.entry.stream)

    @property
    def folds(self) -> Iterable[Fold]:
        """The failures read so far."""
        return self._folds.values()

    def incidents(self) -> tuple[Diagnosis, ...]:
        """Judge the failures by the facts of now, most serious first."""
        facts = self._machine.gather(now=self._now)
        diagnoses = (doctor.diagnose(fold, facts) for fold in self._folds.values())
        return verdict.merge(diagnosis for diagnosis in diagnoses if diagnosis is not None)


@inputs.command(
    "backfill",
    "Report failures from before the service ran.",
    "certmedic backfill --since 3d",
    "certmedic backfill --since 2026-11-01T04:00:00Z --json",
)
@inputs.JSON
@inputs.CONFIG
@click.option(
    "--since", "start", required=True, callback=since, metavar="WHEN", help="E.g. 3d, yesterday, 2026-11-01T04:00:00Z."
)
def backfill(*, as_json: bool, config_path: Path | None, start: datetime) -> None:
    """Report the failures that the logs still hold, each counted once. It changes and sends nothing."""
    inputs.need_linux("backfill")
    settings = inputs.config(config_path)
    is_root = os.geteuid() == 0
    if not is_root:
        output.write("certmedic: without root some logs cannot be read: sudo certmedic backfill ...", err=True)
    now = datetime.now(UTC)
    past = Past(start, now, app.machine(settings))
    with output.progress() as progress:
        reports = read_all(settings, start, past, progress)
    diagnoses = past.incidents()
    if as_json:
        incidents = [output.diagnosis(diagnosis) for diagnosis in diagnoses]
        cluster = app.identity(settings).name
        output.as_json(cluster=cluster, since=output.when(start), sources=reports, incidents=incidents)
    else:
        for report in reports:
            output.item(
                f"{report['source']:<10} ",
                f"{report['seen']} read, {report['matched']} matched  {report['error'] or report['detail']}".rstrip(),
                colour="red" if report["error"] else None,
            )
        for diagnosis in diagnoses:
            output.say()
            output.tell(diagnosis, now=now)
            if diagnosis.first_seen:
                output.say(f"  first    {stamp(diagnosis.first_seen)}")
        if not diagnoses and not is_root:
            output.write("No failure in the logs that you may read.")
        elif not diagnoses:
            output.say(f"No certificate has failed since {stamp(start)}, as far as these logs tell.", colour="green")
    is_sure = bool(diagnoses) or is_root  # a user who may read only some logs cannot know that nothing failed
    raise SystemExit(1 if any(report["error"] for report in reports) or not is_sure else 0)


def read_all(settings: Config, start: datetime, past: Past, progress: output.Progress) -> list[dict[str, object]]:
    """Read every source that exists into `past`; return what `--json` says of each."""
    watching = app.watching(settings)
    exist = there(watching)
    readers = (source.source if isinstance(source, roundrobin.WhenThere) else source for source in sources(watching))
    return [read(each, start, past, progress) for each in readers if isinstance(each, Reader) and each.name in exist]


def read(reader: Reader, start: datetime, past: Past, progress: output.Progress) -> dict[str, object]:
    """Read one source into `past`; return what `--json` says of the source."""
    error = ""
    try:
        for share, entries in reader.past(start):
            for entry in entries:
                past.take(entry)
            progress(reader.name, share, reader.read[0])
    except (OSError, JournalError, DockerError) as reason:
        error = str(reason)
    seen, matched, detail = reader.read
    return {"source": reader.name, "seen": seen, "matched": matched, "detail": detail, "error": error}
