"""What the commands have in common: exact JSON, and sentences, tables and colour for a person at a terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from certmedic.config import Config, ConfigError, load
from certmedic.core.examine import stamp
from certmedic.core.model import Cause, Certificate, Decision, Diagnosis

SCHEMA = 1
NARROW = 20  # columns of a cell that is not shortened
COLOURS = {
    "critical": "red",
    "warning": "yellow",
    "info": "blue",
    "expired": "red",
    "expiring": "yellow",
    "not_yet_valid": "red",
}


def as_json(**values: Any) -> None:
    """Print one JSON object with the schema's number first."""
    sys.stdout.write(json.dumps({"schema": SCHEMA, **values}, ensure_ascii=False, indent=2) + "\n")


def harmless(text: str) -> str:
    """Return text for a terminal: no control character moves its cursor, and none turns the direction of writing."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else " " if char == "\t" else "\ufffd" for char in text)


def write(text: str, *, err: bool = False) -> None:
    """Print a line as it is, but for what would steer a terminal. Everything that a person reads goes through here."""
    click.echo(harmless(text), err=err)


def json_line(value: object) -> None:
    """Print one JSON value on a line; JSON escapes control characters itself."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def say(text: str = "", *, colour: str | None = None, bold: bool = False) -> None:
    """Print a line; colour only on a terminal, and not where NO_COLOR is set."""
    plain = not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR"))
    text = harmless(text)
    click.echo(text if plain else click.style(text, fg=colour, bold=bold))


def fail(text: str, code: int = 1) -> NoReturn:
    """Say on stderr why it does not go on, and exit."""
    write(f"certmedic: {text}", err=True)
    raise SystemExit(code)


def columns() -> int:
    """Return how wide the terminal is; 0 where the output goes elsewhere and is not to be wrapped."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def item(head: str, text: str, *, colour: str | None = None) -> None:
    """Print a head and a text; what does not fit into the line goes on below the text, and a path is not broken."""
    wide = columns()
    first, *rest = (
        textwrap.wrap(text, max(wide - len(head), 20), break_long_words=False, break_on_hyphens=False) or [""]
        if wide
        else [text]
    )
    say(f"{head}{first}".rstrip(), colour=colour)
    for line in rest:
        say(f"{'':{len(head)}}{line}", colour=colour)


def shortened(cell: str, width: int) -> str:
    """Return a cell of at most this width: of a path the end is what tells, of all else the beginning."""
    if len(cell) <= width:
        return cell
    return f"…{cell[-(width - 1) :]}" if cell.startswith("/") else f"{cell[: width - 1]}…"


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    colours: Sequence[str | None] = (),
    stacked: bool = False,
) -> None:
    """Print columns, each row in its colour; on a terminal long cells are folded, elsewhere every row is one line.

    With `stacked`, a table that is wider than the terminal has the first column's cells below their rows instead, whole: a path
    that is broken in pieces can be neither read nor copied.
    """
    widths = [max(len(cell) for cell in column) + 2 for column in zip(heads, *rows, strict=True)]
    if stacked and 0 < columns() < sum(widths) - 2:
        firsts, heads, widths = [row[0] for row in rows], heads[1:], widths[1:]
        while sum(widths) - 2 > columns() and max(widths) > NARROW:  # what is short is shown whole: names give way
            widths[widths.index(max(widths))] -= 1
        rows = [[shortened(cell, width - 2) for cell, width in zip(row[1:], widths, strict=True)] for row in rows]
    else:
        firsts = []
    from rich.console import Console  # noqa: PLC0415 - heavy, and only tables need it
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        grid.add_column(head, overflow="fold")
    for number, row in enumerate(rows):
        style = colours[number] if number < len(colours) else None
        grid.add_row(*(Text(harmless(str(cell))) for cell in row), style=style or "")
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else 1000, highlight=False, soft_wrap=not terminal)
    with console.capture() as captured:
        console.print(grid)
    for number, line in enumerate(captured.get().splitlines()):
        click.echo(line.rstrip())
        if firsts and number:
            write(f"  {firsts[number - 1]}")


def when(moment: datetime | None) -> str | None:
    """Return a time for JSON: RFC 3339 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


def span(seconds: float) -> str:
    """Return a length of time in one unit that a person grasps: "13 days", "4 hours"."""
    size = abs(int(seconds))
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if size >= length:
            count = size // length
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{size} second{'s' if size != 1 else ''}"


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
        "source": value.source or None,
        "confidence": value.confidence,
        "severity": value.severity,
        "plane": value.plane,
        "group": value.group,
        "certificates": [certificate(one) for one in value.certificates],
        "neighbours": list(value.neighbours),
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


def tell(value: Diagnosis, *, now: datetime) -> None:
    """Print a diagnosis for a person."""
    whose = {
        "own": "this machine's own",
        "peer": "a neighbour's",
        "outside": "an outsider's",
        "unknown": "nobody knows whose",
    }
    blind = value.cause is Cause.BLIND
    told = f"{value.source} cannot be read" if blind else f"{whose[value.suspect]} certificate ({value.confidence})"
    say(
        f"{value.severity.upper()}  {value.cause}: {told}",
        colour=COLOURS[value.severity],
        bold=True,
    )
    for one in value.certificates:
        ends = f"{'expired' if one.not_after < now else 'expires'} {stamp(one.not_after)}"
        item("  file     ", f"{one.path or '(in memory)'}   {one.subject_cn}, {ends}")
    if value.neighbours:
        item("  other    ", ", ".join(value.neighbours))
    if value.since:
        ago = (now - value.since).total_seconds()
        say(f"  since    {stamp(value.since)} ({span(ago)} ago)" if ago >= 0 else f"  expires  in {span(ago)}")
    item("  breaks   ", value.effect)
    item(
        "  cure     " if blind else "  restart  ",
        value.remedy.why if blind else f"{value.remedy.helps}: {value.remedy.why}",
    )
    if value.remedy.command:
        say(f"  type     {value.remedy.command}")
    if value.count:
        say(f"  seen     {value.count} times" + (f", last {stamp(value.last_seen)}" if value.last_seen else ""))
    for sentence in value.evidence:
        item("  because  ", sentence)


def config(path: Path | None) -> Config:
    """Read the configuration, or say everything that is wrong with it and exit."""
    try:
        return load(path)
    except ConfigError as error:
        refuse(error)


def state(path: Path | None) -> Path:
    """Return where the service's state is, or say why that is not to be had and exit."""
    file = config(path).state / "state.sqlite3"
    try:
        there = file.exists()
    except PermissionError:
        fail(f"{file}: only root may read it: sudo certmedic ...")
    if not there:
        fail(f"{file}: no state here yet: has the service run? (systemctl status certmedic)")
    return file


def refuse(error: ConfigError) -> NoReturn:
    """Say everything that is wrong with the configuration, and exit."""
    for fault in error.faults:
        write(f"certmedic: {fault}", err=True)
    raise SystemExit(2)
