"""What needs no network: the terminals of those who are logged in, and files that other programs on this machine read."""

from __future__ import annotations

import contextlib
import os
import secrets
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
    """Replace a file that everyone may read: whoever opens it sees the old one or the new one, whole. Raises OSError.

    The folder may be another user's, as the node exporter's is: no name is predictable, and no link is followed.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fresh = f".{path.name}.{secrets.token_hex(8)}"
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(data)
                os.fchmod(file.fileno(), 0o644)  # the service's umask would keep it to itself
            os.rename(fresh, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(fresh, dir_fd=folder)
            raise
    finally:
        os.close(folder)


def withdraw(path: Path) -> None:
    """Remove such a file, where it is there."""
    with contextlib.suppress(OSError):
        path.unlink()
