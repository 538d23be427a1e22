"""A story on three masters: an agent on each, a client that writes all the time, and at most one agent, actor and reader killed.

Tests read the results from docker, from the certificates and from certmedic's commands, not from the agent's internals.
"""

from __future__ import annotations

import contextlib
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
LIFE = 15.0  # life of the first certificates, in seconds: enough for a group to form on a busy machine


def certmedic(master: Master, *words: str) -> Any:
    """Run a certmedic command on the state of a master and return its JSON."""
    command = [sys.executable, "-m", "certmedic", *words, "--json", "--config", str(master.home / "certmedic.toml")]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(AGENT)}, capture_output=True, check=False, timeout=60
    )
    return json.loads(done.stdout or b"{}")


def incidents(master: Master) -> list[Any]:
    """Return the incidents of an agent."""
    return list(certmedic(master, "incidents").get("incidents", []))


def own(master: Master) -> list[Any]:
    """Return the incidents of an agent about the certificates of that master itself."""
    return [i for i in incidents(master) if i["diagnosis"]["suspect"] == "own"]


def kinds(master: Master) -> list[str]:
    """Return the kinds of messages that the agent sent about the first of its `own` incidents."""
    number = own(master)[0]["id"]
    return [m["kind"] for m in certmedic(master, "show", str(number))["messages"] if m["state"] == "sent"]


def descendants(pid: int) -> list[int]:
    """Return the pids of all processes that a process has started, and that these have."""
    families = [pid]
    for each in families:
        with contextlib.suppress(OSError):
            families += [int(child) for child in Path(f"/proc/{each}/task/{each}/children").read_text().split()]
    return families[1:]


class Story:
    """A run of all agents. An odd seed kills one agent and one reader at random moments of `kill_within` (seconds from the start of etcd), and one actor
    as soon as it has begun an action.
    """

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
        notify: str = "",
        mode: str = "remedy",
        verify_for: str = "60s",
    ) -> None:
        self.lab = lab
        self.url = received.url
        self.seed = seed
        self.waits = waits or {}
        self.remedy = remedy
        self.mode = mode
        self.verify_for = verify_for
        self.notify = notify  # more lines of the configuration's [notify]
        chance = random.Random(seed)  # noqa: S311 - no secret hangs on it
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        self.began: Counter[str] = Counter()
        order = chance.sample(sorted(lab.members), len(lab.members))
        for name in order:
            self.start(name)
            time.sleep(chance.uniform(0, 0.5))
        lab.start_etcd(life=life, sick=sick, keep_expired=keep_expired)
        self.expires = time.monotonic() + life
        self.before = {name: master.restarts() for name, master in lab.members.items()}
        self.writer = Writer(lab)
        self.killed = ""
        self._ending = threading.Event()
        self._killers = [
            threading.Thread(target=self._kill_one, args=(chance.uniform(*kill_within), chance.choice(order))),
            threading.Thread(target=self._kill_the_actor, args=(chance.choice(order),)),
            threading.Thread(target=self._kill_the_reader, args=(chance.uniform(*kill_within), chance.choice(order))),
        ]
        if seed % 2:
            for killer in self._killers:
                killer.start()

    def _config(self, name: str) -> str:
        config = CONFIG.format(mode=self.mode, url=self.url, group_for=self.waits.get(name, "2s"))
        config = config.replace('verify_for = "60s"', f'verify_for = "{self.verify_for}"')
        return config.replace("[notify]\n", f"[notify]\n{self.notify}") + self.remedy

    def _log(self, name: str) -> Path:
        return self.lab.home / f"{name}.log"

    def start(self, name: str) -> None:
        """Start an agent."""
        self.began[name] += 1
        self.agents[name] = self.lab.members[name].agent(self._config(name), log=self._log(name))

    def _await(self, name: str) -> None:
        """Wait until an agent is ready, as systemd does before a reload."""
        if not until(lambda: self._log(name).read_text().count("watching") == self.began[name], seconds=30):
            raise AssertionError(self.context())

    def _kill_the_actor(self, name: str) -> None:
        """Kill an actor as soon as it has begun an action."""
        actor = self.lab.members[name].actor
        while actor is not None and actor.log is not None and not self._ending.wait(0.01):
            if actor.log.exists() and " began by uid " in actor.log.read_text() and actor.kill():
                self.killed += f", and the actor of {name}"
                return

    def _kill_the_reader(self, moment: float, name: str) -> None:
        """Kill the two processes of a reader; its agent starts another."""
        if self._ending.wait(moment):
            return
        for pid in descendants(self.agents[name].pid):
            with contextlib.suppress(OSError):  # it has ended
                if b"certmedic.reader" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
                    self.killed += f", and a process of the reader of {name}"

    def _kill_one(self, moment: float, victim: str) -> None:
        if not self._ending.wait(moment):
            self.killed += f"{victim} after {moment:.1f} s"
            kill(self.agents[victim])
            self.start(victim)

    def reload(self, remedy: str) -> None:
        """Reload all agents with another configuration, as `systemctl reload` does: only once they are ready."""
        if self._killers[0].ident:
            self._killers[0].join()
        self.remedy = remedy
        for name, master in self.lab.members.items():
            self._await(name)
            self.began[name] += 1
            master.configure(self._config(name))
            self.agents[name].send_signal(signal.SIGHUP)

    def resolved(self, names: Iterable[str] = "abc") -> bool:
        """Whether each of these agents has resolved an incident of its master."""
        return all(any(i["state"] == "resolved" for i in own(self.lab.members[name])) for name in names)

    def restarted(self) -> set[str]:
        """Return the names of masters whose container was replaced or restarted."""
        return {name for name, master in self.lab.members.items() if master.restarts() != self.before[name]}

    def starts(self) -> dict[str, list[float]]:
        """Return the times of the starts of etcd on each master."""
        return {name: master.starts() for name, master in self.lab.members.items()}

    def pauses(self, *, since: float = 0.0, longer_than: float) -> list[tuple[float, float]]:
        """Return (begin, end) of each pause in writing that was longer than `longer_than` seconds."""
        return [(a, b) for a, b in self.writer.pauses() if a >= since and b - a > longer_than]

    def writable(self) -> bool:
        """Whether a write succeeds within 20 s from now."""
        now = time.monotonic()
        return until(lambda: self.writer.taken[-1] > now, seconds=20)

    def logs(self) -> str:
        """Return the output of all agents."""
        return "\n".join(f"{name}:\n{self._log(name).read_text()}" for name in self.agents)

    def context(self) -> str:
        """Return the logs, incidents and times of the story, for the message of a failed test."""
        context = {
            "seed": self.seed,
            "now": time.monotonic(),
            "expires": self.expires,
            "killed": self.killed,
            "starts": self.starts(),
            "pauses": self.pauses(longer_than=1.0),
            "incidents": {name: incidents(master) for name, master in self.lab.members.items()},
        }
        return f"{self.logs()}\n{json.dumps(context, indent=1)}"

    def print_pauses(self, name: str, *, since: float = 0.0) -> None:
        """Print the pauses in writing, also for a story that passed."""
        lost = [round(b - a, 1) for a, b in self.pauses(since=since, longer_than=1.0)]
        losses = {"story": name, "seed": self.seed, "killed": self.killed, "unwritable": lost}
        print(json.dumps(losses))  # noqa: T201 - worth seeing

    def end(self) -> None:
        """End the agents and the client."""
        self._ending.set()
        for killer in self._killers:
            if killer.ident:
                killer.join()
        for agent in self.agents.values():
            kill(agent)
        self.writer.stop()
