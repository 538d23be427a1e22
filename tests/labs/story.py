"""A story on three masters: an agent on each, a client that writes all the time, one agent killed at a random moment or none.

What an agent did is read from docker, from the certificates and from its own commands, not from its insides.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from labs import AGENT
from labs.masters import Master, Masters, kill, until
from labs.receivers import Hook
from labs.writer import Writer

CONFIG = """
mode = "{mode}"
[watch]
journal = false
docker = true
files = []
[certificates]
warn_days = []
[notify]
apprise = ["{url}"]
group_for = "{group_for}"
wall = false
[remedy]
verify_for = "60s"
"""
LIFE = 15.0  # seconds that first certificates live: long enough for a group to find itself on a busy machine


def certmedic(master: Master, *words: str) -> Any:
    """Run one of the agent's commands on a master's state and return its JSON."""
    command = [sys.executable, "-m", "certmedic", *words, "--json", "--config", str(master.home / "certmedic.toml")]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(AGENT)}, capture_output=True, check=False, timeout=60
    )
    return json.loads(done.stdout or b"{}")


def incidents(master: Master) -> list[Any]:
    """Return what an agent has seen."""
    return list(certmedic(master, "incidents").get("incidents", []))


def own(master: Master) -> list[Any]:
    """Return what an agent has seen of its own master's certificates."""
    return [i for i in incidents(master) if i["diagnosis"]["suspect"] == "own"]


def kinds(master: Master) -> list[str]:
    """Return the kinds of messages that were sent about the first of them, from the agent's own record."""
    number = own(master)[0]["id"]
    return [m["kind"] for m in certmedic(master, "show", str(number))["messages"] if m["state"] == "sent"]


class Story:
    """All agents at work. An odd seed kills one of them, at a moment of `kill_within` (seconds from the start of etcd)."""

    def __init__(
        self,
        lab: Masters,
        received: Hook,
        *,
        seed: int,
        kill_within: tuple[float, float],
        life: float = LIFE,
        sick: str = "abc",
        remedy: str = "",
        keep_expired: bool = False,
        waits: Mapping[str, str] | None = None,
    ) -> None:
        self.lab = lab
        self.url = received.url
        self.seed = seed
        self.waits = waits or {}
        self.remedy = remedy
        chance = random.Random(seed)  # noqa: S311 - no secret hangs on it
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        self.began: Counter[str] = Counter()
        order = chance.sample(sorted(lab.members), len(lab.members))
        for name in order:
            self._start(name)
            time.sleep(chance.uniform(0, 0.5))
        lab.start_etcd(life=life, sick=sick, keep_expired=keep_expired)
        self.expires = time.monotonic() + life
        self.before = {name: master.restarts() for name, master in lab.members.items()}
        self.writer = Writer(lab)
        self.killed = ""
        self._ending = threading.Event()
        self._killer = threading.Thread(
            target=self._kill_one, args=(chance.uniform(*kill_within), chance.choice(order))
        )
        if seed % 2:
            self._killer.start()

    def _config(self, name: str) -> str:
        return CONFIG.format(mode="remedy", url=self.url, group_for=self.waits.get(name, "2s")) + self.remedy

    def _log(self, name: str) -> Path:
        return self.lab.home / f"{name}.log"

    def _start(self, name: str) -> None:
        self.began[name] += 1
        self.agents[name] = self.lab.members[name].agent(self._config(name), log=self._log(name))

    def _await(self, name: str) -> None:
        """Wait until an agent runs, as systemd does before it reloads one."""
        if not until(lambda: self._log(name).read_text().count("watching") == self.began[name], seconds=30):
            raise AssertionError(self.said())

    def _kill_one(self, moment: float, victim: str) -> None:
        if not self._ending.wait(moment):
            self.killed = f"{victim} after {moment:.1f} s"
            kill(self.agents[victim])
            self._start(victim)

    def reload(self, remedy: str) -> None:
        """Have all agents take up another configuration, as `systemctl reload` does: not of one that is only starting."""
        if self._killer.ident:
            self._killer.join()
        self.remedy = remedy
        for name, master in self.lab.members.items():
            self._await(name)
            self.began[name] += 1
            master.configure(self._config(name))
            self.agents[name].send_signal(signal.SIGHUP)

    def resolved(self, names: Iterable[str] = "abc") -> bool:
        """Whether each of these agents has ended an incident of its own."""
        return all(any(i["state"] == "resolved" for i in own(self.lab.members[name])) for name in names)

    def restarted(self) -> set[str]:
        """Return whose container is another, or has started anew."""
        return {name for name, master in self.lab.members.items() if master.restarts() != self.before[name]}

    def starts(self) -> dict[str, list[float]]:
        """Return when etcd was started on each master."""
        return {name: master.starts() for name, master in self.lab.members.items()}

    def pauses(self, *, since: float = 0.0, longer_than: float) -> list[tuple[float, float]]:
        """Return from when to when the group could not be written to, each time that it was longer than that."""
        return [(a, b) for a, b in self.writer.pauses() if a >= since and b - a > longer_than]

    def writable(self) -> bool:
        """Whether something is written from now on."""
        now = time.monotonic()
        return until(lambda: self.writer.taken[-1] > now, seconds=20)

    def logs(self) -> str:
        """Return all that the agents printed."""
        return "\n".join(f"{name}:\n{self._log(name).read_text()}" for name in self.agents)

    def said(self) -> str:
        """Return all that there is to know where a story has gone wrong."""
        told = {
            "seed": self.seed,
            "now": time.monotonic(),
            "expires": self.expires,
            "killed": self.killed,
            "starts": self.starts(),
            "pauses": self.pauses(longer_than=1.0),
            "incidents": {name: incidents(master) for name, master in self.lab.members.items()},
        }
        return f"{self.logs()}\n{json.dumps(told, indent=1)}"

    def tell(self, name: str, *, since: float = 0.0) -> None:
        """Print what the group lost, which one wants to see of a story that went well, too."""
        lost = [round(b - a, 1) for a, b in self.pauses(since=since, longer_than=1.0)]
        told = {"story": name, "seed": self.seed, "killed": self.killed, "unwritable": lost}
        print(json.dumps(told))  # noqa: T201 - as said

    def end(self) -> None:
        """End the agents and the client."""
        self._ending.set()
        if self._killer.ident:
            self._killer.join()
        for agent in self.agents.values():
            kill(agent)
        self.writer.stop()
