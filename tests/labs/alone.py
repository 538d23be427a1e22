"""`./dev run run`: the service from this tree, with its actor as a child, as systemd runs the two. Needs no root where the service needs none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from certmedic.config import ConfigError, load
from certmedic.edge.actor import VARIABLE
from labs.activation import ACTOR, activated


def main(program: str, *words: str) -> int:
    """Run a command of certmedic until it ends; return its exit status."""
    config = _config_of(words)
    try:
        state = load(Path(config) if config else None).state / "actor"
    except ConfigError:  # the command says what is wrong
        return subprocess.run([program, *words], check=False).returncode
    with tempfile.TemporaryDirectory(prefix="certmedic-actor-") as folder:
        options = [f"--state={state}", *([f"--config={config}"] if config else []), "serve"]
        socket = Path(folder) / "socket"
        with activated(socket, [*ACTOR, *options], output=sys.stderr.fileno()):
            process = subprocess.Popen([program, *words], env={**os.environ, VARIABLE: str(socket)})
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, lambda received, _: process.send_signal(received))
            return process.wait()


def _config_of(words: tuple[str, ...]) -> str:
    for place, word in enumerate(words):
        if word == "--config":
            return words[place + 1] if place + 1 < len(words) else ""
        if word.startswith("--config="):
            return word.removeprefix("--config=")
    return ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
