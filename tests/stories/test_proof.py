"""The whole agent loses no failure and counts none twice: four sources at once, with rotation, restarts and kills.

Numbered failures are written to a real journal, to containers of a real Docker, to a pod log and to a plain file, some of them to
several of these. Meanwhile the agent is killed and restarted, its reader is killed and stopped, logs are rotated in every way, and journald and dockerd are restarted
and killed. The agent starts before Docker. At the end the state holds each number once.

CERTMEDIC_SEEDS: number of runs, with seeds from CERTMEDIC_FIRST_SEED on; CERTMEDIC_LINES: failures in each run;
CERTMEDIC_KEEP: a folder that gets logs and state of a failed run.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from labs import waiting
from labs.docker import start_dockerd
from labs.journal import JOURNALD, Journald, start_journald
from labs.proof import UNIT, Agent, Containers, PlainFile, PodLog, failure

SEEDS = int(os.environ.get("CERTMEDIC_SEEDS", "1"))
LINES = int(os.environ.get("CERTMEDIC_LINES", "200"))
FIRST_SEED = int(os.environ.get("CERTMEDIC_FIRST_SEED", "1"))

pytestmark = [
    pytest.mark.real,
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: journald, dockerd, mount namespaces"),
    pytest.mark.skipif(not Path(JOURNALD).exists(), reason="needs systemd-journald"),
    pytest.mark.skipif(shutil.which("dockerd") is None, reason="needs docker.io"),
]


class Run:
    """One run: writes failures, and disturbs the agent, the logs and the daemons at random."""

    def __init__(self, dice: random.Random, agent: Agent, journald: Journald, containers: Containers) -> None:
        self.dice, self.agent, self.journald, self.containers = dice, agent, journald, containers
        self.file, self.pod = PlainFile(agent.home / "log" / "tls.log", dice), PodLog(agent.home / "log" / "pods", dice)
        self.written_to: dict[str, set[int]] = {"journal": set(), "file": set(), "pod": set(), "docker": set()}
        self.written = 0
        self.befalls = [self.restart_agent] * 6 + [self.kill_reader] * 4 + [self.stop_reader] * 2
        self.befalls += [self.file.rotate] * 6 + [self.pod.rotate] * 6 + [self.rotate] * 4
        self.befalls += [self.vacuum, self.restart_journald, self.kill_journald, containers.restart, self.kill_docker]

    def write(self) -> None:
        several = range(self.written, self.written + self.dice.randrange(1, 12))
        lines = [failure(number) for number in several]
        # Docker and a pod log carry different lines: the same failure in both would count twice.
        names = ["journal", "file", self.dice.choice(["pod", "docker"])]
        for name in self.dice.sample(names, self.dice.choice([1, 1, 1, 2, 3])):
            self.written_to[name].update(several)
            {"journal": self.log, "file": self.file.write, "pod": self.pod.write, "docker": self.containers.write}[
                name
            ](lines)
        self.written += len(several)

    def log(self, lines: list[str]) -> None:
        for line in lines:
            self.journald.log(line, SYSLOG_IDENTIFIER="relay")

    def go_on(self) -> None:
        self.write()
        if self.dice.random() < 0.35:
            self.dice.choice(self.befalls)()
        time.sleep(self.dice.random() * 0.1)

    def restart_agent(self) -> None:
        self.agent.kill()
        for _ in range(self.dice.randrange(3)):
            self.dice.choice([self.write, self.file.rotate, self.pod.rotate, self.rotate])()
        self.agent.start()

    def kill_reader(self) -> None:
        self.agent.signal_reader(signal.SIGKILL)

    def stop_reader(self) -> None:
        self.agent.signal_reader(signal.SIGSTOP)
        for _ in range(self.dice.randrange(3)):
            self.dice.choice([self.write, self.file.rotate, self.pod.rotate, self.rotate])()
        if self.dice.random() < 0.5:  # otherwise the agent replaces it
            self.agent.signal_reader(signal.SIGCONT)

    def rotate(self) -> None:
        self.journald.journalctl("--rotate")

    def vacuum(self) -> None:
        # A vacuum deletes entries, so the agent must have read them.
        waiting.until(lambda: self.written_to["journal"] <= self.agent.recorded().keys(), seconds=90)
        self.journald.journalctl("--rotate", "--vacuum-files=1")

    def restart_journald(self) -> None:
        self.journald.stop()
        self.journald.start()

    def kill_journald(self) -> None:
        self.journald.journalctl("--sync")  # a killed journald loses the entries still in its socket
        self.journald.stop(kill=True)
        self.journald.start()

    def kill_docker(self) -> None:
        # Likewise, a killed dockerd loses the output that it has not written yet.
        waiting.until(lambda: self.containers.logged() == self.written_to["docker"])
        self.containers.restart(kill=True)

    def check(self) -> None:
        recorded = self.agent.recorded()
        wrong = {
            number: (recorded.get(number, 0), [name for name, numbers in self.written_to.items() if number in numbers])
            for number in range(self.written)
            if recorded.get(number) != 1
        }
        if wrong and (keep := os.environ.get("CERTMEDIC_KEEP")):
            shutil.copytree(self.agent.home, keep, ignore=shutil.ignore_patterns("systemd", "docker.sock", "etc"))
        assert wrong == {}, self.agent.last_output()
        assert len(recorded) == self.written


@pytest.mark.timeout(180 + LINES)
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_every_failure_is_counted_once_despite_rotation_restarts_and_kills(seed):
    dice = random.Random(seed)  # noqa: S311 - the same run each time
    with contextlib.ExitStack() as closing:
        journald = closing.enter_context(start_journald(unit=UNIT))
        socket = journald.home / "docker.sock"  # the socket of Docker appears later
        agent = Agent(journald.home, f"unix://{socket}")
        closing.callback(agent.kill)
        agent.start()
        waiting.until(lambda: {"journal", "files", "pods"} <= agent.positions())
        docker = closing.enter_context(start_dockerd())
        socket.symlink_to(docker.socket)
        run = Run(dice, agent, journald, Containers(docker, dice))
        while run.written < LINES:
            run.go_on()
        assert run.containers.logged() == run.written_to["docker"]  # otherwise Docker lost lines
        with contextlib.suppress(AssertionError):
            waiting.until(lambda: agent.recorded().keys() >= set(range(run.written)), seconds=90)
        run.check()
        agent.kill()
        agent.start()
        time.sleep(4)
        run.check()
