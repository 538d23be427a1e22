"""Measure certmedic's readers against other programs, side by side: `./dev bench [--quick] [--against REV] [ROW...]`.

All figures are of whole processes. Those that do the same work run in turn, several times, and the medians are compared.
What is compared with nothing is measured against what the project promises. Times are worth little where other programs
are busy on the machine; ratios are worth more.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import against, catchup, inputs, latency, rest, scale, service
from bench.measure import FailedError
from bench.verdicts import Row, Verdict
from labs import AGENT

# name -> how it is measured, how much of it, and how often
ROWS: dict[str, tuple[Callable[[int, int, catchup.Say], Row], int, int]] = {
    "start": (service.start, 0, 5),
    "explain": (service.explain, 0, 11),
    "storm": (service.storm, 200_000, 3),
    "live": (service.latency, 300, 1),
    "latency": (latency.latency, 108, 1),
    "expiry": (latency.expiry, 108, 1),
    "scale": (scale.scale, 1, 1),
    "rest": (rest.rest, 240, 1),
    "month": (rest.month, 30, 1),
    "idle": (service.idle, 60, 1),
    "certificates": (catchup.certificates, 10_000, 3),
    "journal": (catchup.journal, 500_000, 3),
    "docker": (catchup.docker, 500_000, 3),
    "files": (catchup.files, 5_000_000, 3),
    "pods": (catchup.pods, 5_000_000, 3),
}


def say(text: str) -> None:
    """Say on stderr what is being done."""
    sys.stderr.write(f"    {text}\n")


def main() -> int:
    """Measure what was asked for; 0 where all is reached, 1 where something is not."""
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measure certmedic against other programs.")
    parser.add_argument("--quick", action="store_true", help="a tenth of each input")
    parser.add_argument("--against", metavar="REV", help="compare with another commit, pair by pair, in one run")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"what to measure, of {', '.join(ROWS)} (all)")
    asked = parser.parse_args()
    if unknown := set(asked.rows) - set(ROWS):
        parser.error(f"there is no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    if os.getuid():
        parser.error("starts a journald and a dockerd, which needs root")
    if asked.against:
        try:
            lines = against.compare(asked.against, asked.rows or list(ROWS), say, quick=asked.quick)
        except RuntimeError as error:
            parser.error(str(error))
        sys.stdout.write(
            "\n".join([f"this tree to {asked.against}; 0.9 is a tenth less time, memory or speed here", *lines, ""])
        )
        return 0
    # As the packages do when they are installed: otherwise each start would measure the compiler.
    compileall.compile_dir(AGENT, quiet=1)
    results, failed = [], []
    for name in asked.rows or ROWS:
        measure, size, rounds = ROWS[name]
        say(f"== {name}")
        try:
            results.append(measure(size // 10 if asked.quick else size, rounds, say))
        except (FailedError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
            failed.append(f"{name}: {error}")
    for line in table(results):
        sys.stdout.write(f"{line}\n")
    for line in failed:
        sys.stdout.write(f"FAILED  {line}\n")
    path = inputs.CACHE / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            machine() | {"quick": asked.quick, "rows": [as_json(row) for row in results], "failed": failed}, indent=2
        )
    )
    with path.with_name("history.jsonl").open("a") as history:  # one line a run
        history.write(f"{json.dumps(json.loads(path.read_text()) | {'at': path.stem})}\n")
    sys.stdout.write(f"\n{path}\n")
    return 1 if failed or not all(verdict.good for row in results for verdict in row.verdicts) else 0


def table(rows: Sequence[Row]) -> list[str]:
    """Return all that was found out, as text."""
    lines = [f"{m['cpu']}, {m['cores']} cores, {m['memory']}, {m['system']}, load {m['load']}" for m in (machine(),)]
    for row in rows:
        lines += ["", row.work]
        for name, figures in row.figures.items():
            start = f"   start-up {figures.startup:.2f} s" if figures.startup else ""
            lines.append(f"  {name:<22}{figures.wall:>9.2f} s{figures.cpu:>9.2f} s CPU{figures.rss:>8.0f} MiB{start}")
        for verdict in row.verdicts:
            sign = "at most" if verdict.at_most else "at least"
            note = f"   ({verdict.note})" if verdict.note else ""
            lines.append(
                f"  {'ok ' if verdict.good else 'NO '} {verdict.what}: {number(verdict.reached)} {verdict.unit}, to be {sign} {number(verdict.to_reach)}{note}"
            )
    return lines


def number(value: float) -> str:
    """Write a number with the digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def as_json(row: Row) -> dict[str, object]:
    """Return a row as the JSON file has it."""

    def verdict(one: Verdict) -> dict[str, object]:
        return {
            "what": one.what,
            "reached": one.reached,
            "to_reach": one.to_reach,
            "unit": one.unit,
            "good": one.good,
            "note": one.note,
        }

    return {
        "work": row.work,
        "figures": {
            name: {"wall": f.wall, "cpu": f.cpu, "rss": f.rss, "startup": f.startup, "runs": f.runs}
            for name, f in row.figures.items()
        },
        "verdicts": [verdict(one) for one in row.verdicts],
        **row.more,
    }


def machine() -> dict[str, object]:
    """Return what it was measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory": f"{memory:.0f} GiB",
        "system": release.get("PRETTY_NAME", "").strip('"'),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    sys.exit(main())
