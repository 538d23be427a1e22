"""Running whole processes side by side, and what they cost."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


class FailedError(Exception):
    """A program that is measured did not do its work; says what it printed."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one run of one process took, with all that it started."""

    wall: float  # seconds
    cpu: float  # seconds, user and system
    rss: float  # MiB at the most, of the largest process
    output: str = ""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A program that does a piece of work, and how to find in its output how many failures it found."""

    name: str
    command: Sequence[str]
    found: Callable[[str], int]
    empty: Sequence[str] = ()  # the same for an empty input: what start-up costs
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> bool:
        """Whether it is not installed."""
        return shutil.which(self.command[0]) is None


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The medians of a contender's runs, start-up taken off where that was measured."""

    wall: float
    cpu: float
    rss: float
    runs: list[float]  # walls, as they were
    startup: float = 0.0


def run(command: Sequence[str], env: Mapping[str, str] | None = None) -> Cost:
    """Run a process to its end; FailedError where it does not end well.

    GNU time stands between: a process's peak RSS, as the kernel tells it, includes that of who forked it.
    """
    with tempfile.TemporaryFile() as output, tempfile.NamedTemporaryFile() as peak:
        began = time.perf_counter()
        process = subprocess.Popen(
            ["/usr/bin/time", "--quiet", "-f", "%M", "-o", peak.name, *command],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read().decode(errors="replace")
        if process.returncode:
            raise FailedError(f"{' '.join(command)[:300]}: ended with {process.returncode}: {said[-1000:]}")
        return Cost(
            wall=wall,
            cpu=usage.ru_utime + usage.ru_stime,
            rss=int(Path(peak.name).read_text().split()[-1]) / 1024,
            output=said,
        )


def side_by_side(
    contenders: Sequence[Contender], expected: int, rounds: int, say: Callable[[str], None]
) -> dict[str, Figures]:
    """Run all in turn, `rounds` times; returns the figures of those that are installed. Each must find what there is."""
    there = []
    for contender in contenders:
        if contender.missing:
            say(f"{contender.name} is not installed, and skipped")
        else:
            there.append(contender)
    full: dict[str, list[Cost]] = {contender.name: [] for contender in there}
    empty: dict[str, list[Cost]] = {contender.name: [] for contender in there}
    for number in range(rounds):
        for contender in there:
            say(f"round {number + 1} of {rounds}: {contender.name}")
            if contender.empty:
                empty[contender.name].append(run(contender.empty, contender.env))
            cost = run(contender.command, contender.env)
            found = contender.found(cost.output)
            if found != expected:
                raise FailedError(f"{contender.name} found {found} failures where there are {expected}")
            full[contender.name].append(cost)
    return {contender.name: _figures(full[contender.name], empty[contender.name]) for contender in there}


def _figures(full: Sequence[Cost], empty: Sequence[Cost]) -> Figures:
    startup = statistics.median(cost.wall for cost in empty) if empty else 0.0
    startup_cpu = statistics.median(cost.cpu for cost in empty) if empty else 0.0
    return Figures(
        wall=statistics.median(cost.wall for cost in full) - startup,
        cpu=statistics.median(cost.cpu for cost in full) - startup_cpu,
        rss=statistics.median(cost.rss for cost in full),
        runs=[round(cost.wall, 3) for cost in full],
        startup=startup,
    )
