"""A machine in namespaces: a separate network, and folders of the test mounted at the usual paths."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from certmedic.edge.actor import VARIABLE
from labs import AGENT
from labs.activation import Activated, actor_beside

CLONE_NEWNET = 0x40000000
STORY = [  # the marks of a test on such machines
    pytest.mark.real,
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: namespaces, and daemons in them"),
]


def ip(*words: str) -> None:
    """Run `ip WORDS...`."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextlib.contextmanager
def network(name: str) -> Iterator[str]:
    """Make a network namespace with only loopback; yield its full name."""
    namespace = f"cm{os.getpid()}-{name}"
    ip("netns", "add", namespace)
    try:
        ip("-n", namespace, "link", "set", "lo", "up")
        yield namespace
    finally:
        ip("netns", "delete", namespace)


def listener(namespace: str, address: str = "127.0.0.1") -> socket.socket:
    """Return a socket that listens in a network namespace."""
    made: list[socket.socket] = []

    def make() -> None:
        # Only this thread enters the namespace: the socket stays where it was made.
        with Path(f"/run/netns/{namespace}").open() as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) == 0:
                made.append(socket.create_server((address, 0)))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def inside(namespace: str, places: Mapping[Path, str], *command: str, hostname: str = "") -> list[str]:
    """Return the command line that runs a command in a network namespace with each folder mounted at its usual path."""
    before = "".join(f'mount --bind "{own}" {usual} && ' for own, usual in places.items())
    before += f"hostname {hostname} && " if hostname else ""
    enter = ["nsenter", f"--net=/run/netns/{namespace}", "unshare", "--mount", *(["--uts"] if hostname else [])]
    return [*enter, "sh", "-c", f'{before}exec "$@"', "sh", *command]


@dataclass
class Machine:
    """A network namespace and its folders; programs there have no input and output by default."""

    namespace: str
    places: Mapping[Path, str]
    actors: dict[Path, Activated] = field(default_factory=dict, kw_only=True)  # by configuration

    def actor(self, config: Path, **environ: str) -> Activated:
        """Return the actor for a configuration; it is started when the agent asks it."""
        if config not in self.actors:

            def wrap(command: Sequence[str]) -> Sequence[str]:
                return inside(self.namespace, self.places, *command)

            self.actors[config] = actor_beside(config, wrap=wrap, environment=environ)
        return self.actors[config]

    def run(self, *command: str, **more: Any) -> subprocess.Popen[bytes]:
        """Start a program."""
        silent: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        silent["env"] = {**os.environ, "PYTHONPATH": str(AGENT)}
        process: subprocess.Popen[bytes] = subprocess.Popen(
            inside(self.namespace, self.places, *command), **(silent | more)
        )
        return process

    def agent(self, config: Path, *, log: Path) -> subprocess.Popen[bytes]:
        """Start `certmedic run`; append its output to `log`."""
        with log.open("ab") as output:
            command = [sys.executable, "-m", "certmedic", "run", "--config", str(config)]
            environ = {**os.environ, "PYTHONPATH": str(AGENT), VARIABLE: str(self.actor(config).path)}
            return self.run(*command, stdout=output, stderr=output, env=environ)

    def certmedic(self, *words: str, config: Path) -> Any:
        """Run another command of certmedic and return its JSON."""
        command = [sys.executable, "-m", "certmedic", *words, "--config", str(config), "--json"]
        return json.loads(self.run(*command, stdout=subprocess.PIPE).communicate(timeout=60)[0] or b"{}")
