"""The command `certmedic-actor`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from certmedic.actor.build import LOCKED_FOR, Desk, body_of
from certmedic.actor.dial import VARIABLE, Dialled
from certmedic.actor.listen import NoSocketError, inherited
from certmedic.actor.record import Record, RecordError
from certmedic.actor.server import allowed_users, serve
from certmedic.config import load
from certmedic.edge import service
from certmedic.edge.os.network import OWN
from certmedic.edge.store.claim import claimed

STATE = "/var/lib/certmedic-actor"


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 0, 1 failed, 2 usage."""
    parser = argparse.ArgumentParser(
        prog="certmedic-actor", description="Act for certmedic on this master, after checking everything again."
    )
    parser.add_argument("--config", type=Path, help="Configuration file. [default: /etc/certmedic/certmedic.toml]")
    parser.add_argument("--state", type=Path, default=Path(os.environ.get("STATE_DIRECTORY") or STATE))
    parser.add_argument(
        "command", choices=("serve", "reset"), help="serve: answer requests; reset: allow actions again."
    )
    options = parser.parse_args(words)
    os.umask(0o077)
    options.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return _reset(options.state) if options.command == "reset" else _serve(options.config, options.state)
    except (NoSocketError, RecordError) as error:
        sys.stderr.write(f"certmedic-actor: {error}\n")
        return 2 if isinstance(error, NoSocketError) else 1


def _serve(config_path: Path | None, state: Path) -> int:
    listener = inherited()
    journal = service.Journal(identifier="certmedic-actor")
    dialer = os.environ.get(VARIABLE)
    network = Dialled(dialer) if dialer else OWN
    desk = Desk(lambda: load(config_path), lambda config, state: body_of(config, state, network), state, journal)
    desk.take_up()
    service.notify_ready("waiting for a request")
    serve(listener, desk.answer, journal, allowed=allowed_users())
    return 0


def _reset(state: Path) -> int:
    author = os.environ.get("SUDO_USER") or "root"
    with claimed(state, patience=LOCKED_FOR) as mine:
        if not mine:
            raise RecordError("an action is under way; try again when it has ended")
        record = Record(state)
        tripped = record.tripped()
        record.reset(author, datetime.now(UTC))
    sys.stdout.write(
        f"actions are allowed again; the failure was: {tripped}\n" if tripped else "no action had failed\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
