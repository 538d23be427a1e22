"""Replace, keep and put back files, each in one step: no reader sees half a file."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from certmedic.actor.renew.embedded import client_certificate, is_kubeconfig, only_certificate, with_client_certificate
from certmedic.core import certificates
from certmedic.core.certificates import NotACertificate
from certmedic.core.model import Certificate, Stored, Trust
from certmedic.edge.os.owners import Judge, Tree
from certmedic.edge.os.readfile import TooLargeError, read_state

MAX_BYTES = 1024 * 1024
MOST_BACKUPS = 20
OLDEST_BACKUP = 180 * 86400.0  # seconds
LONGEST_NAME = 200  # characters of the original path in the name of a backup; a file name may have 255 bytes

BLOCK = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----.*?-----END (?:X509 )?CERTIFICATE-----\r?\n?", re.DOTALL)
KEY = re.compile(rb"-----BEGIN ([A-Z0-9 ]{0,32}PRIVATE KEY)-----.*?(?:-----END \1-----\r?\n?|\Z)", re.DOTALL)


class RenewError(Exception):
    """A certificate was not renewed, or not put back; the text says why. The file is unchanged."""


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a file, and its state when they were read."""

    path: str
    data: bytes
    state: os.stat_result

    def must_be_unchanged(self) -> None:
        """Raises RenewError if the file has changed since it was read."""
        now = os.stat(self.path, follow_symlinks=False)  # noqa: PTH116 - as fstat, with whose result it is compared
        if _signature(now) != _signature(self.state):
            raise RenewError(f"{self.path}: it changed while it was being replaced; look again")


def backup_path(stored: Stored, backups: Path) -> Path:
    """Return the path of a file's backup. It depends on the content alone, so that it is known before and after a crash."""
    plain = stored.certificate.path.strip("/").replace("/", "_")[-LONGEST_NAME:]
    return backups / f"{plain}.{stored.certificate.fingerprint[:16]}"


def block_in(data: bytes) -> bytes | None:
    """Return the PEM block of the leaf in a file: the first one, or that of a kubeconfig's only user; None if there is none."""
    if is_kubeconfig(data):
        return client_certificate(data)
    block = BLOCK.search(data)
    return None if block is None else block[0]


def with_block(data: bytes, block: bytes) -> bytes:
    """Return the content of a file with another leaf; all else stays, byte by byte."""
    if is_kubeconfig(data):
        return with_client_certificate(data, block)
    return BLOCK.sub(lambda _: block, data, count=1)


def leaf_in(content: Content) -> Certificate | None:
    """Return the leaf in a PEM file or a kubeconfig; None if there is none or it is broken."""
    block = block_in(content.data)
    if block is None:
        return None
    try:
        return certificates.parse(block, content.path)[0]
    except NotACertificate:
        return None


def must_be_roots(path: str, tree: Tree) -> None:
    """Raises RenewError if others than root may change a file, or if its path holds a link."""
    standing = Judge(tree).judge(path)
    if standing.trust is not Trust.SYSTEM or standing.doubt:
        raise RenewError(f"{path}: {standing.doubt}, so it is not used")
    if standing.link:
        raise RenewError(f"{path}: {standing.link} is a symbolic link, so it is not used")


def without_keys(data: bytes) -> bytes:
    """Return the content of a file without private keys: a backup holds none. Of a kubeconfig, only the client certificate stays."""
    return only_certificate(data) if is_kubeconfig(data) else KEY.sub(b"", data)


def prune(backups: Path, now: float) -> None:
    """Remove old backups, and all but the newest `MOST_BACKUPS`."""
    with contextlib.suppress(OSError):
        newest_first = sorted(
            ((backup.lstat().st_mtime, backup) for backup in backups.iterdir() if backup.is_file()), reverse=True
        )
        for number, (modified, backup) in enumerate(newest_first):
            if number >= MOST_BACKUPS or now - modified > OLDEST_BACKUP:
                backup.unlink()


def read(path: str) -> Content:
    """Read a small regular file. Raises OSError, also for a link, a pipe and a device."""
    try:
        data, state = read_state(path, MAX_BYTES, follow=False)
    except TooLargeError as error:
        raise OSError(0, "it is no regular file of ordinary size", path) from error
    return Content(path, data, state)


def write(path: Path, data: bytes, *, like: os.stat_result, instead_of: Content | None = None) -> None:
    """Write a file in one step, with the owner and mode of `like`. Raises OSError or RenewError; then nothing has changed.

    `instead_of` is the content that must still be at the path when the new file takes its name.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.certmedic.tmp"):
        left.unlink(missing_ok=True)  # of a run that was killed
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.certmedic.tmp")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(data)
            file.flush()
            if (os.geteuid(), os.getegid()) != (like.st_uid, like.st_gid):
                os.fchown(handle, like.st_uid, like.st_gid)
            os.fchmod(handle, stat.S_IMODE(like.st_mode))  # after the owner: chown may clear bits
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
    """Write a copy of a file, without private keys, with its owner and mode. Raises OSError; then there is no copy."""
    write(path, without_keys(content.data), like=content.state)


def sync_folder(path: Path) -> None:
    """Flush the entries of a folder to disk, if its file system can do that."""
    with contextlib.suppress(OSError):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _signature(state: os.stat_result) -> tuple[int, ...]:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def reason_of(error: OSError, path: str) -> str:
    """Return an error as text, with a hint if the service's sandbox may be the reason."""
    name = error.filename if isinstance(error.filename, str) else path
    hint = ""
    if error.errno in (30, 13, 1):  # EROFS, EACCES, EPERM
        hint = "; where certmedic runs as a service, its unit must allow it (ReadWritePaths=)"
    return f"{name}: {error.strerror or error}{hint}"
