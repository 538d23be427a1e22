"""`silence`: a person asks not to be told. It is about messages only; what is seen, judged and cured stays as it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from certmedic.cli import hand, history, show
from certmedic.cli.history import CONFIG
from certmedic.cli.look import JSON, moment
from certmedic.config import PLANES, duration
from certmedic.core.examine import stamp
from certmedic.core.model import Cause, Silence

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


def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the silences that have not ended."""
    with history.quietly(ctx) as state:
        found = state.silences(now=datetime.now(UTC)) if state else []
    return [
        CompletionItem(str(one.id), help=f"{told(one)}, {one.comment}")
        for one in found
        if str(one.id).startswith(incomplete)
    ]


def told(one: Silence) -> str:
    """Return in a few words what is silenced."""
    asked = {"cause": one.cause, "file": one.file, "plane": one.plane}
    return ", ".join(f"{name} {value}" for name, value in asked.items() if value) or "everything"


def row(one: Silence, now: datetime) -> dict[str, Any]:
    """Return a silence as `--json` shows it."""
    return {
        "id": one.id,
        "cause": one.cause or None,
        "file": one.file or None,
        "plane": one.plane or None,
        "author": one.author,
        "comment": one.comment,
        "starts_at": show.when(one.starts_at),
        "ends_at": show.when(one.ends_at),
        "state": state_of(one, now),
    }


def state_of(one: Silence, now: datetime) -> str:
    """Return whether a silence holds: pending, active or over."""
    return "over" if one.ends_at <= now else "pending" if one.starts_at > now else "active"


@click.group()
def silence() -> None:
    """Ask for no messages about something that is known, for a while.

    A silence is about messages only. Incidents under it are still recorded, judged, cured where that is allowed, and resolved;
    the journal and `certmedic show` tell of them. A message that falls under it is dropped, not kept for later; but what still
    lasts when the silence ends is told then, and what was told before is told to be over.
    """


@silence.command()
@click.option("--cause", type=click.Choice([str(cause) for cause in Cause]), help="Only incidents of this cause.")
@click.option("--file", default="", metavar="GLOB", help="Only incidents all of whose files match, e.g. '*/me.crt'.")
@click.option("--plane", type=click.Choice(PLANES), help="Only incidents of this plane.")
@click.option("--all", "everything", is_flag=True, help="Every message, for work on this machine.")
@click.option("--for", "lasts", required=True, callback=length, metavar="TIME", help='How long: "30m", "2h", "7d".')
@click.option("--from", "starts", callback=moment, metavar="TIME", help="When it begins (UTC); now, unless given.")
@click.option("--comment", required=True, callback=words, help="Why, for whoever wonders.")
@click.option("--author", callback=words, help="Who asks; you, unless given.")
@JSON
@CONFIG
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
    """Begin a silence. Of several conditions all must be met."""
    if everything == bool(cause or file or plane):
        raise click.UsageError("say what: --cause, --file, --plane or several of them; or --all for everything")
    if file and not file.startswith(("/", "*")):
        raise click.UsageError(f"--file {file!r} can match no path: begin it with / or *")
    now = datetime.now(UTC)
    begins = starts or now
    if begins + lasts <= now:
        raise click.UsageError("it would be over by now")
    wanted = Silence(
        id=0,
        cause=cause or "",
        file=file,
        plane=plane or "",
        author=author or hand.author(),
        comment=comment,
        starts_at=begins,
        ends_at=begins + lasts,
    )
    with hand.change(config_path) as state:
        number = state.silence(wanted, now=now)
    if as_json:
        show.as_json(id=number, ends_at=show.when(wanted.ends_at))
        return
    when = f"from {stamp(wanted.starts_at)} " if starts else ""
    show.say(f"silence {number}: {told(wanted)}, {when}until {stamp(wanted.ends_at)}", colour="green")


@silence.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Also those that are over.")
@JSON
@CONFIG
def list_silences(*, everything: bool, as_json: bool, config_path: Path | None) -> None:
    """List the silences that hold or are to come."""
    now = datetime.now(UTC)
    with history.store(config_path) as state:
        found = state.silences(now=None if everything else now)
    if as_json:
        show.as_json(silences=[row(one, now) for one in found])
        return
    if not found:
        show.say("No silence.", colour="green")
        return
    lines = [
        [str(one.id), state_of(one, now), told(one), f"{one.ends_at:%Y-%m-%d %H:%M}", one.author, one.comment]
        for one in found
    ]
    show.table(["ID", "STATE", "WHAT", "UNTIL (UTC)", "BY", "WHY"], lines)


@silence.command()
@click.argument("number", type=int, metavar="ID", shell_complete=complete)
@JSON
@CONFIG
def expire(*, number: int, as_json: bool, config_path: Path | None) -> None:
    """End a silence now."""
    now = datetime.now(UTC)
    with hand.change(config_path) as state:
        ended = state.expire_silence(number, now=now)
    if not ended:
        show.fail(f"there is no silence {number} that holds; `certmedic silence list` shows those that do")
    if as_json:
        show.as_json(id=number, ends_at=show.when(now))
        return
    show.say(f"silence {number} is over", colour="green")


COMMANDS = (silence,)
