"""Who may change a file: its owner, and those of every folder above it and of every link that leads to it."""

from __future__ import annotations

import contextlib
import grp
import os
import stat
from dataclasses import dataclass
from typing import Final

from certmedic.core.origin import ROOT, Owner

OWNERS: Final = frozenset({ROOT, os.geteuid()})  # root, and whoever runs certmedic
_LOG_GROUPS: Final = ("adm", "syslog")  # of the system's log daemon, which may write to /var/log on Ubuntu
_MOST_LINKS: Final = 40  # that are followed in one path, as the kernel does
_MOST_TRIES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Where a path leads, and who may change that."""

    path: str  # without links
    key: tuple[int, int]  # device and inode
    chain: tuple[Owner, ...]  # from the file up to "/"
    links: tuple[Owner, ...]  # that were followed


def resolve(path: str) -> Resolved:
    """Follow an absolute path part by part. Raises OSError if it leads nowhere."""
    state = os.lstat("/")
    folders, links = [_owner("/", state)], list[Owner]()
    rest = path.split("/")[::-1]
    while rest:
        part = rest.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if len(folders) > 1:
                folders.pop()
            continue
        here = f"{folders[-1].path.rstrip('/')}/{part}"
        state = os.lstat(here)
        if not stat.S_ISLNK(state.st_mode):
            folders.append(_owner(here, state))
            continue
        links.append(_owner(here, state))
        if len(links) > _MOST_LINKS:
            raise OSError(0, "too many links", path)
        target = os.readlink(here)  # noqa: PTH115 - Path would change what it says
        if target.startswith("/"):
            del folders[1:]
        rest += target.split("/")[::-1]
    return Resolved(
        path=folders[-1].path, key=(state.st_dev, state.st_ino), chain=tuple(folders[::-1]), links=tuple(links)
    )


def open_file(path: str) -> tuple[int, Resolved]:
    """Open a regular file for reading, never blocking; returns its descriptor, and who may change it.

    Raises OSError; also for a pipe or a device, and for a link to another's file that neither root nor we have made.
    """
    for _ in range(_MOST_TRIES):
        found = resolve(path)
        file = found.chain[0]
        if not stat.S_ISREG(file.mode):  # before it is opened, which does something to some devices
            raise OSError(0, "not a regular file", path)
        for link in found.links:
            if link.uid not in {*OWNERS, file.uid}:
                raise OSError(0, f"{link.path} is a link of uid {link.uid} to a file of uid {file.uid}", path)
        handle = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW)
        state = os.fstat(handle)
        if found.key == (state.st_dev, state.st_ino):
            return handle, found
        os.close(handle)  # It was rotated in between: another file is at the path now.
    raise OSError(0, "it is replaced again and again", path)


def log_groups() -> frozenset[int]:
    """Return the groups of this machine's log daemon."""
    found = set()
    for name in _LOG_GROUPS:
        with contextlib.suppress(KeyError):
            found.add(grp.getgrnam(name).gr_gid)
    return frozenset(found)


def _owner(path: str, state: os.stat_result) -> Owner:
    return Owner(path=path, uid=state.st_uid, gid=state.st_gid, mode=state.st_mode)
