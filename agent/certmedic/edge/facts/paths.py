"""Which files the globs name, whether each can be used, and what lies beside it."""
# Paths are strings here: to make ten thousand Path objects costs more than to look at the files.
# ruff: noqa: PTH114, PTH115, PTH116, PTH120, PTH207

from __future__ import annotations

import functools
import glob
import os
import stat
from collections.abc import Iterator

from certmedic.core import planes
from certmedic.core.model import FileFault, Trust
from certmedic.edge.os.readfile import read_bytes

# Below the fixed part of a glob, these hold files that are no longer in use, and may be expired.
_PUT_ASIDE = frozenset({"archive", "backup", "backups", "bak", "expired", "old", "trash"})
_PUT_ASIDE_BEGINS = ("backup-", "backup_", "old-", "old_", "expired-")
_PUT_ASIDE_ENDS = ("~", ".bak", ".backup", ".expired", ".old", ".orig", ".rpmsave", ".dpkg-old", ".dpkg-dist", ".tmp")
_BESIDE_ENDS = (".key", "-key.pem", "_key.pem", "key.pem", ".csr", ".p12.password", ".pfx.password")

Signature = tuple[int, int, int, int, int]  # device, inode, size, mtime, ctime


def named_by(pattern: str) -> Iterator[str]:
    """Yield the files that a glob names, except keys, requests and files put aside below its fixed part."""
    fixed = len(fixed_part(pattern))
    for path in sorted(glob.glob(pattern, recursive=True)):
        parts = [part.lower() for part in path[fixed:].split("/")]
        folders, name = parts[:-1], parts[-1]
        put_aside = not _PUT_ASIDE.isdisjoint(folders) or any(
            folder.startswith(_PUT_ASIDE_BEGINS) for folder in folders
        )
        if not put_aside and not name.endswith((*_PUT_ASIDE_ENDS, *_BESIDE_ENDS)):
            yield path


@functools.lru_cache(maxsize=1024)
def fixed_part(pattern: str) -> str:
    """Return the folder down to which a glob has no wildcards."""
    if not glob.has_magic(pattern):
        return os.path.dirname(pattern)
    parts = pattern.split("/")
    first = next(at for at, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[:first]) or "/"


def listable(folder: str) -> bool | FileFault:
    """Return whether a folder where a glob begins is there, or a fault if it may not be listed: glob itself reports none."""
    try:
        os.scandir(folder or ".").close()
    except PermissionError as error:
        return FileFault(path=folder, reason="unreadable", detail=why(error), trust=Trust.SYSTEM)
    except OSError:
        return False
    return True


def state_of(path: str) -> os.stat_result | FileFault | None:
    """Return a file's state, the reason why it cannot be used, or None for a folder and for a file that just vanished."""
    try:
        state = os.stat(path)
    except FileNotFoundError:
        if not os.path.islink(path):
            return None
        return FileFault(
            path=printable(path), reason="missing", detail=f"it is a link to {_target(path)}, which is not there"
        )
    except OSError as error:
        return FileFault(path=printable(path), reason="unreadable", detail=why(error))
    if stat.S_ISDIR(state.st_mode):
        return None
    if not stat.S_ISREG(state.st_mode):
        return FileFault(path=printable(path), reason="not_a_certificate", detail="it is no regular file")
    return state


def _target(link: str) -> str:
    try:
        return printable(os.readlink(link))
    except OSError:
        return "something"


def printable(path: str) -> str:
    """Return a path for a message: a file name may hold any bytes."""
    if path.isprintable():
        return path
    return "".join(char if char.isprintable() else "\ufffd" for char in path)


def signature(path: str) -> Signature | None:
    """Return what changes with a file's content; None if the file cannot be looked at."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return signature_of(state)


def signature_of(state: os.stat_result) -> Signature:
    """Return the signature of a file in a known state."""
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def why(error: OSError) -> str:
    """Return why a file cannot be read, for a person."""
    hint = "; run as root" if isinstance(error, PermissionError) and os.geteuid() else ""
    return f"{error.strerror or error}{hint}"


def key_path(path: str) -> str:
    """Return the customary path of a certificate's private key, or of an archive's password; "" if there is none."""
    return planes.key_beside(path) or (path + ".password" if path.endswith((".p12", ".pfx")) else "")


def password(path: str) -> bytes | None:
    """Return the password of a PKCS#12 archive: the first line of the file `<archive>.password`."""
    if not path.endswith((".p12", ".pfx")):
        return None
    try:
        return read_bytes(path + ".password").split(b"\n", 1)[0].rstrip(b"\r")
    except OSError:
        return None
