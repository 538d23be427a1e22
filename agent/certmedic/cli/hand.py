"""A person's hand on it: `approve` and `reset`. One short transaction each, beside the running service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from certmedic.cli import show
from certmedic.cli.history import CONFIG, complete
from certmedic.edge.store import Store, StoreError

HOLDS_FOR = timedelta(hours=4)  # an approval is for tonight, not for whatever looks alike next month


def author() -> str:
    """Return who types this."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid {os.getuid()}"


def writable(config_path: Path | None) -> Store:
    """Open the state for one change, or say why not and exit."""
    path = show.state(config_path)
    try:
        return Store(path)
    except StoreError as error:
        show.fail(str(error))


@contextmanager
def change(config_path: Path | None) -> Iterator[Store]:
    """Open the state for one transaction, or say why it cannot be written and exit."""
    try:
        with writable(config_path) as state, state.transaction():
            yield state
    except StoreError as error:
        show.fail(str(error))


@click.command()
@CONFIG
@click.argument("number", type=int, metavar="ID", shell_complete=complete)
def approve(*, number: int, config_path: Path | None) -> None:
    """Allow the act that certmedic proposes for an incident, for the next four hours (mode "approve")."""
    now = datetime.now(UTC)
    with writable(config_path) as state:
        incident = state.incident(number)
        if incident is None or incident.state == "resolved":
            show.fail(f"there is no open incident {number}; `certmedic incidents --open` lists them")
        with state.transaction():
            state.approve(number, author(), until=now + HOLDS_FOR)
            state.event(number, "approved", f"by {author()}, until {now + HOLDS_FOR:%H:%M} UTC", now=now)
            state.recheck("incident", number, now)
    show.say(f"approved: incident {number}; `certmedic show {number}` tells what became of it", colour="green")


@click.command()
@CONFIG
def reset(*, config_path: Path | None) -> None:
    """Allow acts again after one has failed."""
    with writable(config_path) as state:
        tripped = state.tripped()
        with state.transaction():
            state.reset(author(), now=datetime.now(UTC))
    show.say(f"acts are allowed again; it was: {tripped}" if tripped else "nothing had failed", colour="green")


COMMANDS = (approve, reset)
