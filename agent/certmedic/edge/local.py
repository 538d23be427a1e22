"""What needs no network: the terminals of those who are logged in, and files that other programs on this machine read."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

DEADLINE = 5.0  # seconds for wall(1), which writes to terminals that may be stuck


def wall(text: str) -> str:
    """Write to every terminal of this machine; return why that was not done, "" where it was."""
    try:
        done = subprocess.run(
            ["wall"],
            input=text.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=DEADLINE,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"},  # else it spells out every letter that is not ASCII
        )
    except OSError as error:
        return f"wall: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"wall: not done within {DEADLINE:g} s"
    return f"wall: exit status {done.returncode}" if done.returncode else ""


def publish(path: Path, data: bytes) -> None:
    """Replace a file that everyone may read: whoever opens it sees the old one or the new one, whole. Raises OSError."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(data)
    fresh.chmod(0o644)  # the service's umask would keep it to itself
    fresh.replace(path)


def withdraw(path: Path) -> None:
    """Remove such a file, where it is there."""
    with contextlib.suppress(OSError):
        path.unlink()
