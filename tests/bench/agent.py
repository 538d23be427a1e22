"""The agent's surroundings for what drives its line by hand: real eyes, nobody who acts, nobody who is told."""

from __future__ import annotations

from certmedic import app
from certmedic.config import Config
from certmedic.edge import service
from certmedic.edge.identity import Identity
from certmedic.ports import World


def world(config: Config) -> World:
    """Return them. In mode "observe" the hands are never used."""
    return World(
        senses=app.machine(config),
        hands=None,
        notifier=app.notifier(config),
        journal=service.Journal(),
        host="master-a",
        identity=Identity("bench", str),
        boot_id="b",
    )
