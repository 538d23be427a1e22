"""The only module of the commands that prints: exact JSON, and sentences, tables and colour for a person at a terminal."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NoReturn

import click

from certmedic.core.text import ago, count, cut, span, stamp
from certmedic.core.vocabulary import Cause, Suspect

if TYPE_CHECKING:
    from certmedic.core.model import Certificate, Decision, Diagnosis

SCHEMA = 1
NARROWEST = 4  # columns of a cell, on however narrow a terminal
SHORTEST = 12  # columns of a cell that is cut; a shorter one would say nothing
BAR = 10  # cells
INDENT = 4  # columns before a text that has no room beside its head
PROGRESS_EVERY = 10.0  # seconds between two lines of progress, without a terminal
COLOURS = {
    "critical": "red",
    "warning": "yellow",
    "info": "blue",
    "expired": "red",
    "expiring": "yellow",
    "not_yet_valid": "red",
}
RESTART = {"yes": "fixes it", "no": "does not fix it", "unknown": "may not fix it"}
WHOSE = {
    "own": "this machine's own",
    "peer": "a neighbour's",
    "outside": "a foreign",
    "unknown": "an unidentified",
}

Progress = Callable[[str, float, int], None]  # source, share of it that was read, lines read


# ---------------------------------------------------------------- JSON


def as_json(**values: Any) -> None:
    """Print one JSON object with the schema's number first."""
    _print_json({"schema": SCHEMA, **values}, indent=2)


def json_line(value: object) -> None:
    """Print one JSON value on a line."""
    _print_json(value, indent=None)


def _print_json(value: object, *, indent: int | None) -> None:
    """Print JSON: readable text as it is, every control, format and bidirectional character as an escape."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    if not text.replace("\n", "").isprintable():  # a newline outside of the strings is the layout
        text = "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)
    sys.stdout.write(f"{text}\n")


def page(text: str) -> None:
    """Print a document as it is: its foreign text is escaped already."""
    sys.stdout.write(text)


def when(moment: datetime | None) -> str | None:
    """Return a time for JSON: RFC 3339 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


def certificate(value: Certificate) -> Mapping[str, Any]:
    """Return a certificate as `--json` shows it."""
    return {
        "path": value.path or None,
        "subject": value.subject,
        "issuer": value.issuer,
        "not_before": when(value.not_before),
        "not_after": when(value.not_after),
    }


def diagnosis(value: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis as `--json` shows it."""
    return {
        "cause": value.cause,
        "suspect": value.suspect,
        "holders": list(value.holders),
        "source": value.source or None,
        "confidence": value.confidence,
        "severity": value.severity,
        "plane": value.plane,
        "group": value.group,
        "certificates": [certificate(each) for each in value.certificates],
        "neighbours": list(value.neighbours),
        "whom": value.whom or None,
        "remedy": {
            "kind": value.remedy.kind,
            "helps": value.remedy.helps,
            "why": value.remedy.why,
            "command": value.remedy.command,
            "target": value.remedy.target,
        },
        "effect": value.effect,
        "since": when(value.since),
        "count": value.count,
        "first_seen": when(value.first_seen),
        "last_seen": when(value.last_seen),
        "evidence": list(value.evidence),
    }


def decision(value: Decision | None) -> dict[str, Any] | None:
    """Return a decision as `--json` shows it."""
    if value is None:
        return None
    gates = [{"name": gate.name, "passed": gate.passed, "why": gate.why, "opens": gate.opens} for gate in value.gates]
    return {"reason": value.reason, "acts": value.action is not None, "gates": gates}


# ---------------------------------------------------------------- lines


def harmless(text: str) -> str:
    """Return text for a terminal: no control character moves its cursor, and none turns the direction of writing."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else " " if char == "\t" else "\ufffd" for char in text)


def write(text: str, *, err: bool = False) -> None:
    """Print a line without colour."""
    click.echo(harmless(text), err=err)


def say(text: str = "", *, colour: str | None = None, bold: bool = False) -> None:
    """Print a line; in colour only on a terminal, and not if NO_COLOR is set."""
    plain = not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR"))
    text = harmless(text)
    click.echo(text if plain else click.style(text, fg=colour, bold=bold))


def fail(text: str, code: int = 1) -> NoReturn:
    """Print on stderr why the command cannot go on, and exit."""
    write(f"certmedic: {text}", err=True)
    raise SystemExit(code)


def columns() -> int:
    """Return the width of the terminal; 0 without one, and then nothing is wrapped."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def bar(share: float) -> str:
    """Return a bar of ten cells for a share from 0 to 1; anything above 0 fills one cell at least."""
    full, empty = ("#", ".") if "utf" not in (sys.stdout.encoding or "").lower() else ("\u2588", "\u2591")
    cells = math.ceil(share * BAR)
    return full * cells + empty * (BAR - cells)


def item(head: str, text: str, *, colour: str | None = None) -> None:
    """Print a head and a text. On a terminal the text is wrapped below its own beginning, and no path is broken.

    Where a path is longer than the room beside the head, the text begins on the next line, near the left edge.
    """
    room = columns() - len(head)
    if not columns():
        lines = [text]
    elif len(head) > INDENT and room < max(map(len, text.split()), default=0) <= columns() - INDENT:
        say(head.rstrip(), colour=colour)
        head, lines = " " * INDENT, _wrapped(text, columns() - INDENT, breaks=False)
    else:
        lines = _wrapped(text, max(room, 20), breaks=False)
    say(f"{head}{lines[0]}".rstrip(), colour=colour)
    for line in lines[1:]:
        say(f"{'':{len(head)}}{line}", colour=colour)


def _wrapped(text: str, width: int, *, breaks: bool) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=breaks, break_on_hyphens=False) or [""]


# ---------------------------------------------------------------- tables


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    colours: Sequence[str | None] = (),
    cuts: str = "",
    stacked: Sequence[str] = (),
) -> None:
    """Print columns, each row in its colour. On a terminal what is too wide is folded; elsewhere each row is one line.

    `cuts` is the head of a column whose cells are cut before anything is folded. A table that is wider than the terminal
    has the cells of the columns `stacked` whole below their rows: a broken path cannot be read or copied. Each path has a line
    to itself.
    """
    lines = [list(heads), *([harmless(cell).replace("\n", " ") for cell in row] for row in rows)]
    below: list[list[str]] = []
    if stacked and 0 < columns() < _width(_widths(lines)):
        places = [lines[0].index(head) for head in stacked]
        below = [[], *(_below(lines[0], line, places) for line in lines[1:])]
        lines = [[cell for place, cell in enumerate(line) if place not in places] for line in lines]
    widths = _widths(lines)
    if columns():
        if cuts:
            _cut_column(lines, widths, lines[0].index(cuts))
        while _width(widths) > columns() and max(widths) > NARROWEST:
            widths[widths.index(max(widths))] -= 1
    for number, line in enumerate(lines):
        folded = (_wrapped(cell, width, breaks=True) for cell, width in zip(line, widths, strict=True))
        colour = colours[number - 1] if 0 < number <= len(colours) else None
        for parts in zip_longest(*folded, fillvalue=""):
            text = "  ".join(f"{part:{width}}" for part, width in zip(parts, widths, strict=True))
            say(text.rstrip(), colour=colour, bold=number == 0)
        for text in below[number] if below else ():
            write(text)


def _below(heads: Sequence[str], line: Sequence[str], places: Sequence[int]) -> list[str]:
    """Return the lines below a row: each path, then the other cells that are not empty, each after its head."""
    paths = [f"  {line[place]}" for place in places if line[place].startswith("/")]
    others = [place for place in places if line[place] not in ("", "-") and not line[place].startswith("/")]
    cells = [f"{heads[place].lower()} {line[place]}" for place in others]
    return [*paths, f"    {', '.join(cells)}"] if cells else paths


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column), default=0) or 1 for column in zip(*lines, strict=True)]


def _width(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _cut_column(lines: Sequence[list[str]], widths: list[int], column: int) -> None:
    """Cut the cells of a column to the width that the others leave, if that is wide enough to say something."""
    room = columns() - _width(widths) + widths[column]
    if SHORTEST <= room < widths[column]:
        widths[column] = room
        for line in lines:
            line[column] = _cut(line[column], room)


def _cut(cell: str, width: int) -> str:
    """Return a cell of at most this width: the end of a path, the beginning of all else."""
    return f"…{cell[-(width - 1) :]}" if cell.startswith("/") and len(cell) > width else cut(cell, width)


# ---------------------------------------------------------------- progress


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Report on stderr how much is read: a bar on a terminal, elsewhere a line every ten seconds."""
    if not sys.stderr.isatty():
        due = time.monotonic() + PROGRESS_EVERY

        def line(source: str, share: float, seen: int) -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + PROGRESS_EVERY
                write(f"certmedic: {source}: {share:.0%}, {seen} read", err=True)

        yield line
        return
    from rich.console import Console  # noqa: PLC0415 - heavy, and only a terminal needs it
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above

    shown = (TextColumn("{task.description:<10}"), BarColumn(), TextColumn("{task.fields[seen]:,} read"))
    with Progress(*shown, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def bar(source: str, share: float, seen: int) -> None:
            if source not in tasks:
                tasks[source] = bars.add_task(source, total=1.0, seen=0)
            bars.update(tasks[source], completed=share, seen=seen)

        yield bar


# ---------------------------------------------------------------- a diagnosis


def tell(value: Diagnosis, *, now: datetime) -> None:
    """Print a diagnosis for a person."""
    blind = value.cause is Cause.BLIND
    subject = f"{value.source} cannot be read" if blind else f"{WHOSE[value.suspect]} certificate ({value.confidence})"
    say(f"{value.severity.upper()}  {value.cause}: {subject}", colour=COLOURS[value.severity], bold=True)
    for each in value.certificates:
        ends = f"{'expired' if each.not_after < now else 'expires'} {stamp(each.not_after)}"
        item("  file     ", f"{each.path or '(in memory)'}   {each.subject_cn}, {ends}")
    if value.neighbours:
        names = ", ".join(filter(None, (value.whom, *value.neighbours[bool(value.whom) :])))
        item(*(("  refused  ", f"by {names}") if value.suspect is Suspect.OWN else ("  whose    ", names)))
    if value.since and value.since <= now:
        say(f"  since    {stamp(value.since)} ({ago(now - value.since)})")
    elif value.since:
        say(f"  expires  in {span(value.since - now)}")
    item("  breaks   " if value.cause is not Cause.EXPIRES_SOON else "  if it does ", value.effect)
    why = value.remedy.why
    item("  fix      " if blind else "  restart  ", why if blind else f"{RESTART[value.remedy.helps]}: {why}")
    if value.remedy.command:
        say(f"  type     {value.remedy.command}")
    if value.count:
        last = f", last {stamp(value.last_seen)}" if value.last_seen else ""
        say(f"  seen     {count(value.count, 'time')}{last}")
    for sentence in value.evidence:
        item("  because  ", sentence)
