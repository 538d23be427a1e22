"""Reading files that decide what certmedic does: only root, or the user who runs it, may be able to change them."""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

LONGEST = 1024 * 1024  # bytes of one file
MOST_LINKS = 40  # as the kernel allows


class UnsafeFileError(Exception):
    """A file that others can change or that is no regular file. The text says why, and how to mend it."""


class Step(NamedTuple):
    """A folder, link or file that a path leads through."""

    path: Path
    status: os.stat_result


def read(path: Path) -> bytes:
    """Return the content of a file that nobody else can change. Raises UnsafeFileError and OSError."""
    check(path)
    # O_NONBLOCK: a FIFO must not hold up the start.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UnsafeFileError("is not a regular file")
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise UnsafeFileError(f"is larger than {LONGEST // 1024} KiB")
    return content


def check(path: Path) -> None:
    """Raise UnsafeFileError if anybody else could change the file or any folder above it, and OSError if it is missing.

    Links are followed, and each folder, link and file on the way must be root's or the user's own. A group may write only
    if it is gid 0, or the private group of the user. A sticky folder such as /tmp may be writable by everybody, because
    there only the owner of an entry can replace it.
    """
    for step in _steps(path):
        reason = _reason(step.status)
        if reason is not None:
            quoted = shlex.quote(str(step.path))
            which = "" if step.path == path else f"{step.path} "
            raise UnsafeFileError(f"{which}{reason}: sudo chown root: {quoted} && sudo chmod go-w {quoted}")


def is_secret_open(path: Path) -> bool:
    """Whether everybody may read a file that exists."""
    with suppress(OSError):
        return bool(path.stat().st_mode & stat.S_IROTH)
    return False


def _steps(path: Path) -> Iterator[Step]:
    """Yield what a path leads through, from "/" to the file."""
    here = Path("/")
    yield Step(here, here.stat())
    rest = list(reversed(Path(os.path.abspath(path)).parts[1:]))  # noqa: PTH100 - Path.resolve would follow links
    links = 0
    while rest:
        part = rest.pop()
        if part == "..":
            here = here.parent
            continue
        step = Step(here / part, (here / part).lstat())
        yield step
        if not stat.S_ISLNK(step.status.st_mode):
            here = step.path
            continue
        links += 1
        if links > MOST_LINKS:
            raise UnsafeFileError(f"{step.path} is a link that leads nowhere")
        target = step.path.readlink()
        if target.is_absolute():
            here = Path("/")
        rest += reversed([part for part in target.parts if part != "/"])


def _reason(status: os.stat_result) -> str | None:
    """Return why others can change this, or None if they cannot."""
    uid, mode = os.geteuid(), status.st_mode
    if status.st_uid not in (0, uid):
        return f"belongs to {_user(status.st_uid)}, not to root"
    if stat.S_ISLNK(mode) or (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        return None
    if mode & stat.S_IWOTH:
        return "can be changed by everybody"
    if mode & stat.S_IWGRP and status.st_gid != 0 and not (uid == status.st_gid == os.getegid()):
        return f"can be changed by the group {status.st_gid}"
    return None


def _user(uid: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"uid {uid}"
