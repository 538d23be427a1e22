"""Move an expired certificate aside, for an etcd-manager that issues a new one only if there is none, and put it back."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

from certmedic.actor.ports import Aside
from certmedic.actor.renew.files import KEY, RenewError, backup_path, keep, leaf_in, prune, read, reason_of, sync_folder
from certmedic.core.model import Stored


def planned(stored: Stored, backups: Path) -> Aside:
    """Plan to move a file aside. Raises RenewError if the file must not be moved."""
    path = stored.certificate.path
    if stored.certificate.is_ca or stored.certificate.index:
        raise RenewError(
            f"{path}: it is no leaf, or its file has other certificates too; only single leaves are moved aside"
        )
    if not stored.authorised:
        raise RenewError(f"{path}: it is not moved aside: {stored.doubt or 'it is not authorised'}")
    try:
        if KEY.search(read(path).data):
            raise RenewError(f"{path}: it holds its private key as well, so it is not moved aside")
    except OSError as error:
        raise RenewError(reason_of(error, path)) from error
    return Aside(path=path, backup=str(backup_path(stored, backups)), fingerprint=stored.certificate.fingerprint)


def move_aside(aside: Aside) -> None:
    """Copy a file to its backup and remove it. Raises RenewError; the file is then unchanged.

    May be called again after a crash: a file that was moved already stays moved.
    """
    try:
        try:
            old = read(aside.path)
        except FileNotFoundError:
            read(aside.backup)  # it was moved already: make sure that the backup is there
            return
        leaf = leaf_in(old)
        if leaf is None or leaf.fingerprint != aside.fingerprint:
            raise RenewError(f"{aside.path}: it changed since it was looked at; look again")
        backup = Path(aside.backup)
        backup.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        prune(backup.parent, time.time())
        keep(backup, old)
        old.must_be_unchanged()
        Path(aside.path).unlink()
        sync_folder(Path(aside.path).parent)
    except OSError as error:
        raise RenewError(reason_of(error, aside.path)) from error


def put_back(aside: Aside) -> bool:
    """Put a file back with its owner and mode, unless its path is taken; return whether it was put back. Raises RenewError.

    May be called again after a crash: a file that is back already stays.
    """
    path = Path(aside.path)
    try:
        before = read(aside.backup)
    except FileNotFoundError:
        if path.exists():
            return False  # it was never moved
        raise RenewError(f"{aside.path}: it is gone, and so is its copy {aside.backup}") from None
    except OSError as error:
        raise RenewError(reason_of(error, aside.backup)) from error
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.certmedic.back")
    try:
        keep(beside, before)
        # A link: unlike a rename, it fails if another program has written a new file meanwhile.
        os.link(beside, path, follow_symlinks=False)
        sync_folder(path.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise RenewError(reason_of(error, aside.path)) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
    return True
