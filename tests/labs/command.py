"""Commands that are run to their end."""

from __future__ import annotations

import subprocess
from typing import Any


def do(*command: object, **more: Any) -> str:
    """Run a command and return what it printed; one that fails fails the test."""
    done = subprocess.run(
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
