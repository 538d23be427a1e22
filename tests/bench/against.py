"""Two commits side by side: each row of the bench in turn in both trees, pair by pair. `./dev bench --against REV [ROW...]`.

Each tree is measured by its own bench, on the same inputs. Figures that only one tree has are left out.
"""

from __future__ import annotations

import compileall
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.catchup import Say

HERE = Path(__file__).parents[2]
PAIRS = 3
Found = Mapping[str, float]  # name of a figure -> its value


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Lay a commit out beside this tree; afterwards nothing is left of it. Raises RuntimeError if there is no such commit."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        done = _git("worktree", "add", "--detach", str(tree), revision)
        if done.returncode:
            raise RuntimeError(f"git cannot lay out {revision!r}: {done.stderr.strip()}")
        try:
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True, check=False)


def compare(revision: str, rows: Sequence[str], say: Say, *, quick: bool) -> list[str]:
    """Measure rows of both commits `PAIRS` times in turn; return the ratios as lines of text."""
    lines = []
    with checked_out(revision) as other:
        for row in rows:
            pairs = []
            for number in range(PAIRS):
                say(f"== {row}, pair {number + 1} of {PAIRS}")
                pairs.append((_measured(HERE, row, quick=quick), _measured(other, row, quick=quick)))
            lines += ["", row, *ratios(pairs)]
    return lines


def ratios(pairs: Sequence[tuple[Found, Found]]) -> list[str]:
    """Return for each figure that both trees have its ratio, here to there: the median, and each pair's."""
    names = dict.fromkeys(name for here, _ in pairs for name in here)
    lines = []
    for name in names:
        found = [here[name] / there[name] for here, there in pairs if min(here.get(name, 0), there.get(name, 0)) > 0]
        if found:
            each = ", ".join(f"{ratio:.2f}" for ratio in found)
            lines.append(f"  {statistics.median(found):6.2f}  {name}   (pairs: {each})")
    return lines or ["  no figure that both have"]


def _measured(tree: Path, row: str, *, quick: bool) -> Found:
    """Run one row of a tree's own bench."""
    compileall.compile_dir(tree / "agent", quiet=1)  # an older bench does not
    command = [sys.executable, "-P", "-m", "bench.bench", *(["--quick"] if quick else []), row]
    path = os.pathsep.join((str(tree / "agent"), str(tree / "tests")))
    done = subprocess.run(
        command, cwd=tree, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    written = done.stdout.strip().rpartition("\n")[2]
    if not written.endswith(".json"):
        return {}  # that bench has no such row
    return figures(json.loads(Path(written).read_text()))


def figures(answer: Mapping[str, object]) -> Found:
    """Return the figures of certmedic in the JSON file of a run."""
    found: dict[str, float] = {}
    for row in answer["rows"]:  # type: ignore[attr-defined]
        for name, one in row["figures"].items():
            if name.startswith("certmedic"):
                found |= {f"{name}: {kind}": one[kind] for kind in ("wall", "cpu", "rss")}
        found |= {verdict["what"]: verdict["reached"] for verdict in row["verdicts"]}
    return found
