"""Files that are replaced, kept and put back: nothing of them is ever half there."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from certmedic.core import certificates
from certmedic.core.certificates import NotACertificate
from certmedic.core.model import Certificate, Stored

MAX_BYTES = 1024 * 1024
LONGEST_NAME = 200  # of a backup, in characters of the path it is of; a file name may have 255 bytes

BLOCK = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----.*?-----END (?:X509 )?CERTIFICATE-----\r?\n?", re.DOTALL)


class RenewError(Exception):
    """A certificate was not renewed, or not put back; the text says why. The file is as it was."""


@dataclass(frozen=True, slots=True)
class Content:
    """A file's bytes, and the state in which they were read."""

    path: str
    data: bytes
    state: os.stat_result

    def must_be_unchanged(self) -> None:
        """Raises RenewError where the file is no longer as it was read."""
        now = os.stat(self.path, follow_symlinks=False)  # noqa: PTH116 - beside fstat, whose result it is compared with
        if _signature(now) != _signature(self.state):
            raise RenewError(f"{self.path}: it changed while it was being replaced; look again")


def backup_path(stored: Stored, backups: Path) -> Path:
    """Return where `renew` keeps what a file holds now: the same for the same content, so known before and after a crash."""
    plain = stored.certificate.path.strip("/").replace("/", "_")[-LONGEST_NAME:]
    return backups / f"{plain}.{stored.certificate.fingerprint[:16]}"


def leaf_in(content: Content) -> Certificate | None:
    """Return the first certificate in a PEM file, its `path` being the file's; None where there is none, or a broken one."""
    block = BLOCK.search(content.data)
    if block is None:
        return None
    try:
        return certificates.parse(block[0], content.path)[0]
    except NotACertificate:
        return None


def real_path(path: str) -> str:
    """Return the file that a path leads to. Raises RenewError where a link leads out of its folder."""
    folder, real = os.path.realpath(os.path.dirname(path)), os.path.realpath(path)  # noqa: PTH120 - paths are strings here
    if os.path.dirname(real) != folder:  # noqa: PTH120 - as above
        raise RenewError(f"{path}: it is a link to {real}, in another folder, whose owner is to renew it")
    return real


def read(path: str) -> Content:
    """Read a small regular file. Raises OSError; a pipe in a file's place does not stop the reader."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode) or state.st_size > MAX_BYTES:
            raise OSError(0, "it is no regular file of ordinary size", path)
        return Content(path, os.read(handle, MAX_BYTES), state)
    finally:
        os.close(handle)


def write(path: Path, data: bytes, *, like: os.stat_result, instead_of: Content | None = None) -> None:
    """Put a file in place at once, with the owner and mode of another. Raises OSError or RenewError, and then nothing changed.

    `instead_of` is what must still be there when it takes the name.
    """
    beside = path.with_name(f".{path.name}.certmedic.tmp")
    beside.unlink(missing_ok=True)  # of a run that was killed
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as file:  # noqa: PTH123 - it is open already
            file.write(data)
            file.flush()
            if (os.geteuid(), os.getegid()) != (like.st_uid, like.st_gid):
                os.fchown(handle, like.st_uid, like.st_gid)
            os.fchmod(handle, stat.S_IMODE(like.st_mode))  # after the owner, whose change may drop bits
            os.fsync(handle)
        if instead_of is not None:
            instead_of.must_be_unchanged()
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def keep(path: Path, content: Content) -> None:
    """Write a copy of a file, with its owner and mode. Raises OSError, and then there is none."""
    write(path, content.data, like=content.state)


def sync_folder(path: Path) -> None:
    """Have what was named or removed in a folder outlive a crash of the machine, where the folder can be written through."""
    with contextlib.suppress(OSError):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _signature(state: os.stat_result) -> tuple[int, ...]:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def told(error: OSError, path: str) -> str:
    """Return an error for a sentence, and what opens the way where it is the service's sandbox."""
    name = error.filename if isinstance(error.filename, str) else path
    hint = ""
    if error.errno in (30, 13, 1):  # EROFS, EACCES, EPERM
        hint = "; where certmedic runs as a service, its unit must allow it (ReadWritePaths=)"
    return f"{name}: {error.strerror or error}{hint}"
