"""What needs no network: the terminals of those who are logged in, and files that other programs on this machine read."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
import stat
import subprocess
from pathlib import Path

DEADLINE = 5.0  # seconds for wall(1), which writes to terminals that may be stuck
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_LINKS = 40  # as the kernel allows


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

    The folder may belong to another program, such as Prometheus. So no link that somebody else placed is followed or
    written through: the folder is opened step by step, the new file gets a name that nobody can guess, and then takes the
    place of the old one.
    """
    folder = _open_folder(path.parent)
    fresh = f".{path.name}.{secrets.token_hex(8)}"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(fresh, flags, 0o600, dir_fd=folder), "wb") as file:
            try:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), 0o644)  # the service's umask would keep it to itself
                os.rename(fresh, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(fresh, dir_fd=folder)
                raise
    finally:
        os.close(folder)


def withdraw(path: Path) -> None:
    """Remove such a file if it is there."""
    with contextlib.suppress(OSError):
        folder = _open_folder(path.parent)
        try:
            os.unlink(path.name, dir_fd=folder)
        finally:
            os.close(folder)


def _open_folder(path: Path) -> int:
    """Return a file descriptor of a folder, which the caller closes. Raises OSError.

    A link on the way is followed only if root or this process placed it, in a folder that is root's or this process's.
    A folder in which everybody may write is refused.
    """
    rest = list(reversed(Path(os.path.abspath(path)).parts[1:]))  # noqa: PTH100 - Path.resolve would follow links
    links = 0
    here = os.open("/", FOLDER)
    try:
        while rest:
            part = rest.pop()
            if stat.S_ISLNK(os.stat(part, dir_fd=here, follow_symlinks=False).st_mode):
                links += 1
                target = _followed(part, here, path, links)
                rest += reversed([step for step in target.parts if step != "/"])
                part = "/" if target.is_absolute() else "."
            there = os.open(part, FOLDER, dir_fd=here)
            os.close(here)
            here = there
        _refuse_open_folder(here, path)
    except BaseException:
        os.close(here)
        raise
    return here


def _followed(link: str, folder: int, path: Path, links: int) -> Path:
    """Return where a link leads that only root or this process can have placed. Raises OSError for any other."""
    ours = (0, os.geteuid())
    owners = (os.stat(link, dir_fd=folder, follow_symlinks=False).st_uid, os.fstat(folder).st_uid)
    if links > MOST_LINKS or any(owner not in ours for owner in owners):
        raise OSError(errno.ELOOP, f"{link} on the way to it is a link that somebody else placed", str(path))
    return Path(os.readlink(link, dir_fd=folder))


def _refuse_open_folder(folder: int, path: Path) -> None:
    if os.fstat(folder).st_mode & stat.S_IWOTH:
        mend = f"sudo chmod o-w {shlex.quote(str(path))}"
        raise OSError(errno.EPERM, f"everybody may write in this folder: {mend}", str(path))
