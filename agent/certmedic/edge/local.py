"""Ways to people without a network: terminals, and files that other programs on this machine read."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
import stat
import subprocess
from pathlib import Path

DEADLINE = 5.0  # seconds for wall(1): a terminal may hang
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_LINKS = 40  # in one path, as in the kernel


def wall(text: str) -> str:
    """Write to every terminal of this machine; return "", or why that failed."""
    try:
        done = subprocess.run(
            ["wall"],
            input=text.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=DEADLINE,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"},  # otherwise wall escapes every character that is not ASCII
        )
    except OSError as error:
        return f"wall: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"wall: not done within {DEADLINE:g} s"
    return f"wall: exit status {done.returncode}" if done.returncode else ""


def publish(path: Path, data: bytes) -> None:
    """Replace a file in one step, readable by everyone. Raises OSError.

    The folder may belong to another program, such as Prometheus, so that links of other users are not followed: the folder is
    opened part by part, and the new file has a random name until it replaces the old one.
    """
    folder = _open_folder(path.parent)
    fresh = f".{path.name}.{secrets.token_hex(8)}"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(fresh, flags, 0o600, dir_fd=folder), "wb") as file:
            try:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), 0o644)  # the umask of the service would hide it
                os.rename(fresh, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(fresh, dir_fd=folder)
                raise
    finally:
        os.close(folder)


def withdraw(path: Path) -> None:
    """Remove such a file if it exists."""
    with contextlib.suppress(OSError):
        folder = _open_folder(path.parent)
        try:
            os.unlink(path.name, dir_fd=folder)
        finally:
            os.close(folder)


def _open_folder(path: Path) -> int:
    """Return a descriptor of a folder, which the caller closes. Raises OSError.

    A link is followed only if link and folder belong to root or to this process. A folder that everybody may write to is refused.
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
    """Return the target of a link of root or of this process. Raises OSError for other links."""
    ours = (0, os.geteuid())
    owners = (os.stat(link, dir_fd=folder, follow_symlinks=False).st_uid, os.fstat(folder).st_uid)
    if links > MOST_LINKS or any(owner not in ours for owner in owners):
        raise OSError(errno.ELOOP, f"{link} on the way to it is a link that somebody else placed", str(path))
    return Path(os.readlink(link, dir_fd=folder))


def _refuse_open_folder(folder: int, path: Path) -> None:
    if os.fstat(folder).st_mode & stat.S_IWOTH:
        mend = f"sudo chmod o-w {shlex.quote(str(path))}"
        raise OSError(errno.EPERM, f"everybody may write in this folder: {mend}", str(path))
