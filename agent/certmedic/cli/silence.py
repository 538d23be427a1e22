"""`silence`: suppresses messages for a while. Incidents are recorded, judged and fixed as always."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from certmedic import app
from certmedic.cli import inputs, output
from certmedic.config import PLANES, duration
from certmedic.core.model import Cause, Silence
from certmedic.core.text import stamp
from certmedic.edge.store import Store

WORDS = 200  # characters of a comment or a name


def length(_: click.Context, param: click.Parameter, value: str) -> timedelta:
    """Read a length of time of the command line."""
    try:
        return duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}; {error}", param=param) from None


def words(_: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Read a short text for people: one line without anything that a terminal obeys."""
    if value is None:
        return None
    text = "".join(char if char.isprintable() else " " for char in value).strip()
    if not text or len(text) > WORDS:
        raise click.BadParameter(f"write 1 to {WORDS} characters", param=param)
    return text


def offered(state: Store) -> Iterable[tuple[int, str]]:
    """Return the silences that the shell offers."""
    silences = state.silences(now=datetime.now(UTC))
    return [(silence.id, f"{conditions(silence)}, {silence.comment}") for silence in silences]


def conditions(silence: Silence) -> str:
    """Return what is silenced, in a few words."""
    asked = {"cause": silence.cause, "file": silence.file, "plane": silence.plane}
    return ", ".join(f"{name} {value}" for name, value in asked.items() if value) or "everything"


def row(silence: Silence, now: datetime) -> dict[str, Any]:
    """Return a silence as `--json` shows it."""
    return {
        "id": silence.id,
        "cause": silence.cause or None,
        "file": silence.file or None,
        "plane": silence.plane or None,
        "author": silence.author,
        "comment": silence.comment,
        "starts_at": output.when(silence.starts_at),
        "ends_at": output.when(silence.ends_at),
        "state": state_of(silence, now),
    }


def state_of(silence: Silence, now: datetime) -> str:
    """Return whether a silence is pending, active or over."""
    return "over" if silence.ends_at <= now else "pending" if silence.starts_at > now else "active"


@click.group(
    "silence",
    cls=inputs.Commands,
    short_help="Suppress messages about known faults for a while.",
    epilog=inputs.examples(
        "certmedic silence add --cause expired --for 2h --comment 'renewal at 14:00'", "certmedic silence list --all"
    ),
)
def silence_group() -> None:
    """Suppress messages about known faults for a while.

    Only messages are suppressed. Incidents are still recorded, judged, fixed if allowed, and resolved. The journal and
    `certmedic show` list them. A suppressed message is dropped, not delayed.

    When the silence ends, certmedic reports the faults that still last. If a fault was reported before the silence, its
    end is reported during the silence.
    """


@inputs.command(
    "add",
    "Begin a silence.",
    "certmedic silence add --file '*/me.crt' --for 2h --comment 'I renew it'",
    "certmedic silence add --all --from 2026-12-01 --for 1d --comment upgrade",
)
@click.option(
    "--cause",
    metavar="CAUSE",
    type=inputs.Choice([str(cause) for cause in Cause]),
    help="Only incidents with this cause, e.g. expired.",
)
@click.option("--file", default="", metavar="GLOB", help="Only incidents whose files all match, e.g. '*/me.crt'.")
@click.option("--plane", type=inputs.Choice(PLANES), help="Only incidents of this control plane.")
@click.option("--all", "everything", is_flag=True, help="All incidents, e.g. for work on this machine.")
@click.option("--for", "lasts", required=True, callback=length, metavar="TIME", help="How long, e.g. 30m, 2h, 7d.")
@click.option("--from", "starts", callback=inputs.moment, metavar="TIME", help="When it begins (UTC). [default: now]")
@click.option("--comment", required=True, callback=words, help="Why, for the next reader.")
@click.option("--author", callback=words, help="Who asks for it. [default: you]")
@inputs.JSON
@inputs.CONFIG
def add(  # noqa: PLR0913 - one argument for each option
    *,
    cause: str | None,
    file: str,
    plane: str | None,
    everything: bool,
    lasts: timedelta,
    starts: datetime | None,
    comment: str,
    author: str | None,
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Begin a silence. It covers the incidents that meet every condition given."""
    if everything == bool(cause or file or plane):
        raise click.UsageError("say what to silence: --cause, --file, --plane, or --all")
    if file and not file.startswith(("/", "*")):
        raise click.UsageError(f"--file {file!r} can match no path: begin it with / or *")
    now = datetime.now(UTC)
    begins = starts or now
    if begins + lasts <= now:
        raise click.UsageError("the silence would be over by now")
    wanted = Silence(
        id=0,
        cause=cause or "",
        file=file,
        plane=plane or "",
        author=author or inputs.author(),
        comment=comment,
        starts_at=begins,
        ends_at=begins + lasts,
    )
    with inputs.state(inputs.config(config_path), writable=True) as state:
        number = state.silence(wanted, now=now)
    if as_json:
        output.as_json(id=number, ends_at=output.when(wanted.ends_at))
        return
    when = f"from {stamp(wanted.starts_at)} " if starts else ""
    output.say(f"silence {number}: {conditions(wanted)}, {when}until {stamp(wanted.ends_at)}", colour="green")


@inputs.command("list", "List silences.", "certmedic silence list", "certmedic silence list --all --json")
@click.option("--all", "everything", is_flag=True, help="Also silences that are over.")
@inputs.JSON
@inputs.CONFIG
def list_silences(*, everything: bool, as_json: bool, config_path: Path | None) -> None:
    """List the silences that are active or pending."""
    now = datetime.now(UTC)
    settings = inputs.config(config_path, looks=True)
    with inputs.state(settings) as state:
        silences = state.silences(now=None if everything else now)
    if as_json:
        output.as_json(cluster=app.identity(settings).name, silences=[row(silence, now) for silence in silences])
        return
    if not silences:
        output.say("No silence.", colour="green")
        return
    lines = [
        [
            str(silence.id),
            state_of(silence, now),
            conditions(silence),
            f"{silence.ends_at:%Y-%m-%d %H:%M}",
            silence.author,
            silence.comment,
        ]
        for silence in silences
    ]
    output.table(["ID", "STATE", "WHAT", "UNTIL (UTC)", "BY", "WHY"], lines)


@inputs.command("expire", "End a silence now.", "certmedic silence expire 1", "certmedic silence expire 1 --json")
@click.argument(
    "number",
    required=False,
    callback=inputs.number("silence list"),
    metavar="ID",
    shell_complete=inputs.completion(offered),
)
@inputs.JSON
@inputs.CONFIG
def expire(*, number: int, as_json: bool, config_path: Path | None) -> None:
    """End a silence now."""
    now = datetime.now(UTC)
    with inputs.state(inputs.config(config_path), writable=True) as state:
        ended = state.expire_silence(number, now=now)
    if not ended:
        output.fail(f"no silence {number} is active or pending; `certmedic silence list` lists them")
    if as_json:
        output.as_json(id=number, ends_at=output.when(now))
        return
    output.say(f"silence {number} is over", colour="green")


for subcommand in (add, list_silences, expire):
    silence_group.add_command(subcommand)
