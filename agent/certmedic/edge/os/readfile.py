"""Open a small regular file safely, and judge who may change it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from certmedic.core import origin
from certmedic.core.origin import Owner, Trust

MAX_BYTES = 1024 * 1024
LAST_ACCOUNT = 999  # the last uid of accounts that services have, and people do not (login.defs, SYS_UID_MAX)
LINKS = 40  # that are followed in one path, as the kernel does
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class TooLargeError(OSError):
    """A file is larger than what is read of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Where the files of a machine begin, and which uid is root there: "/" and 0, but for a scratch master in a folder."""

    root: str = "/"
    owner: int = origin.ROOT

    def inside(self, path: str) -> str:
        """Return a path of this machine as the tree's own programs name it."""
        base = self.root.rstrip("/")
        return path[len(base) :] if base and path.startswith(f"{base}/") else path


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Who may change what a path leads to."""

    trust: Trust
    doubt: str = ""  # why nothing may be done to it, for a person; empty if it is root's alone
    link: str = ""  # the first symbolic link in the path; "" where there is none


@dataclass(slots=True)
class Judge:
    """Judges paths of one tree, and remembers folders: make a new judge for each look.

    Folders are judged from the tree's root downwards. Once a folder is root's alone, nobody but root can replace what lies
    in it, so the answer holds after the check.
    """

    tree: Tree = field(default_factory=Tree)
    _states: dict[str, os.stat_result | None] = field(default_factory=dict)

    def judge(self, path: str, *, accounts: bool = False) -> Standing:
        """Judge a path, its links and every folder above them. With `accounts` system accounts count as root, as etcd's own."""
        link = ""
        base, waiting = self._parts(path)
        done = base
        owners: list[Owner] = []
        links = 0
        while waiting:
            part = waiting.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = done.rpartition("/")[0]
                continue
            here = f"{done}/{part}"
            state = self._state(here)
            if state is None:
                return Standing(trust=Trust.STRANGER, doubt=f"{here} cannot be looked at", link=link)
            owner = self._owner(here, state, accounts=accounts)
            if not stat.S_ISLNK(state.st_mode):
                owners.append(owner)
                done = here
                continue
            if owner.uid != origin.ROOT:
                return Standing(trust=Trust.STRANGER, doubt=f"{here} is a link of uid {owner.uid}", link=link or here)
            links += 1
            link = link or here
            target = _target(here)
            if not target or links > LINKS:
                return Standing(trust=Trust.STRANGER, doubt=f"{here} is a link that leads nowhere", link=link)
            waiting += target.split("/")[::-1]
            if target.startswith("/"):
                # An absolute link leads out of a scratch master's folder, where "/" decides.
                done = ""
        trust, doubt = origin.of_file(reversed(owners))
        shared = next((owner.path for owner in owners if owner.mode & stat.S_IWOTH), "")
        if (
            trust is Trust.SYSTEM and shared
        ):  # a sticky folder: others cannot replace what lies in it, and may add to it
            doubt = f"{shared} is writable by everybody"
        return Standing(trust=trust, doubt=doubt, link=link)

    def _parts(self, path: str) -> tuple[str, list[str]]:
        base = self.tree.root.rstrip("/")
        if base and path.startswith(f"{base}/"):
            return base, path[len(base) :].split("/")[::-1]
        return "", os.path.abspath(path).split("/")[::-1]  # noqa: PTH100 - it must not follow links

    def _owner(self, path: str, state: os.stat_result, *, accounts: bool) -> Owner:
        """Return who may change one part of a path. A link has no mode of its own: the folder it lies in decides."""
        ours = state.st_uid == self.tree.owner or (accounts and 0 < state.st_uid <= LAST_ACCOUNT)
        mode = state.st_mode
        if accounts and 0 < state.st_gid <= LAST_ACCOUNT:
            mode &= ~stat.S_IWGRP  # their groups are theirs
        return Owner(path=path, uid=origin.ROOT if ours else state.st_uid, gid=state.st_gid, mode=mode)

    def _state(self, path: str) -> os.stat_result | None:
        if path not in self._states:
            try:
                self._states[path] = os.lstat(path)
            except (OSError, ValueError):
                self._states[path] = None
        return self._states[path]


def _target(link: str) -> str:
    try:
        return os.readlink(link)  # noqa: PTH115 - paths are strings here
    except OSError:
        return ""


def read_bytes(path: str, most: int = MAX_BYTES, *, follow: bool = True) -> bytes:
    """Read a small regular file, and no pipe or device. Raises OSError, or TooLargeError where it holds more than `most`."""
    return read_state(path, most, follow=follow)[0]


def read_state(path: str, most: int = MAX_BYTES, *, follow: bool = True) -> tuple[bytes, os.stat_result]:
    """Read a small regular file, and return the state that it had when it was open. Raises OSError or TooLargeError."""
    handle = os.open(path, _OPEN | (0 if follow else os.O_NOFOLLOW))
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(0, "it is no regular file", path)
        if state.st_size > most:
            raise TooLargeError(0, f"{state.st_size} bytes; files of more than {most} bytes are not read", path)
        data = b"".join(_blocks(handle, most + 1))
        if len(data) > most:
            raise TooLargeError(0, f"more than {most} bytes are not read", path)
        return data, state
    finally:
        os.close(handle)


def _blocks(handle: int, most: int) -> Iterator[bytes]:
    while most > 0 and (block := os.read(handle, min(most, 256 * 1024))):
        most -= len(block)
        yield block


def read_ends(path: str, each: int) -> bytes:
    """Return the beginning and the end of a regular file of any size, `each` bytes of both. Raises OSError."""
    handle = os.open(path, _OPEN)
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(0, "it is no regular file", path)
        data = os.pread(handle, each, 0)
        if state.st_size > each:
            data += b"\n" + os.pread(handle, each, max(each, state.st_size - each))
        return data
    finally:
        os.close(handle)
