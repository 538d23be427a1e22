"""Commands that run to their end."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from labs import AGENT


def do(*command: object, **more: Any) -> str:
    """Run a command and return its output; a failing command fails the test."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
        **more,
    )
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}"
    return done.stdout


def certmedic(*words: str, stdin: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run certmedic of this tree to its end, for at most a minute."""
    return subprocess.run(
        [sys.executable, "-m", "certmedic", *words],
        input=stdin,
        env={**os.environ, "PYTHONPATH": str(AGENT), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
