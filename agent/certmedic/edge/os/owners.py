"""Who may change a file: its owner, and those of every folder above it and of every link that leads to it."""

from __future__ import annotations

import contextlib
import grp
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from certmedic.core import origin, planes
from certmedic.core.origin import ROOT, Owner, Trust

OWNERS: Final = frozenset({ROOT, os.geteuid()})  # root, and the user that runs certmedic
LAST_ACCOUNT: Final = 999  # the last uid of service accounts (login.defs, SYS_UID_MAX); those of people follow
MOST_LINKS: Final = 40  # in one path, as in the kernel
_PLANE_ACCOUNTS: Final = frozenset(planes.accounts())
_LOG_GROUPS: Final = ("adm", "syslog")  # of the system's log daemon, which may write to /var/log on Ubuntu
_MOST_TRIES: Final = 20


class LinkError(OSError):
    """A symbolic link is not followed; `filename` is the link, and `strerror` follows it in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Where a path leads, and who may change that."""

    path: str  # without links
    key: tuple[int, int]  # device and inode
    chain: tuple[Owner, ...]  # from the file up to "/"
    links: tuple[Owner, ...]  # that were followed
    passed: tuple[Owner, ...]  # every file and folder on the way, in order, with the folders that hold the links


def resolve(
    path: str,
    *,
    below: str = "",
    lstat: Callable[[str], os.stat_result] = os.lstat,
    follow: Callable[[Owner], bool] = lambda _: True,
) -> Resolved:
    """Follow an absolute path part by part, with the links that `follow` accepts. Raises OSError if it leads nowhere.

    The folder `below`, in which the path lies, and those above it are not looked at; an absolute link leads out of it.
    """
    state = lstat(below or "/")
    root = [] if below else [_owner("/", state)]
    folders, passed, links = [*root], [*root], list[Owner]()
    rest = path[len(below) :].split("/")[::-1]
    while rest:
        part = rest.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if below and not folders:
                raise LinkError(0, "is left by a link", below)
            del folders[max(len(folders) - 1, 0 if below else 1) :]
            continue
        here = f"{(folders[-1].path if folders else below).rstrip('/')}/{part}"
        state = lstat(here)
        owner = _owner(here, state)
        if not stat.S_ISLNK(state.st_mode):
            folders.append(owner)
            passed.append(owner)
            continue
        if not follow(owner):
            raise LinkError(0, f"is a link of uid {owner.uid}", here)
        links.append(owner)
        if len(links) > MOST_LINKS:
            raise LinkError(0, "is one of too many links", here)
        target = os.readlink(here)  # noqa: PTH115 - Path would normalise the target
        if target.startswith("/"):
            below = ""
            folders = [_owner("/", lstat("/"))]
            passed += folders
        rest += target.split("/")[::-1]
    return Resolved(
        path=folders[-1].path if folders else below,
        key=(state.st_dev, state.st_ino),
        chain=tuple(folders[::-1]),
        links=tuple(links),
        passed=tuple(passed),
    )


def open_file(path: str) -> tuple[int, Resolved]:
    """Open a regular file for reading, without blocking; return its descriptor, and who may change it.

    Raises OSError, also for a pipe or a device, and for a stranger's link to a file that is not the stranger's.
    """
    for _ in range(_MOST_TRIES):
        resolved = resolve(path)
        file = resolved.chain[0]
        if not stat.S_ISREG(file.mode):  # before it is opened: opening some devices has an effect
            raise OSError(0, "not a regular file", path)
        for link in resolved.links:
            if link.uid not in {*OWNERS, file.uid}:
                raise OSError(0, f"{link.path} is a link of uid {link.uid} to a file of uid {file.uid}", path)
        handle = os.open(resolved.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW)
        state = os.fstat(handle)
        if resolved.key == (state.st_dev, state.st_ino):
            return handle, resolved
        os.close(handle)  # rotated meanwhile: the path now leads to another file
    raise OSError(0, "it is replaced again and again", path)


def log_groups() -> frozenset[int]:
    """Return the groups of this machine's log daemon."""
    numbers = set()
    for name in _LOG_GROUPS:
        with contextlib.suppress(KeyError):
            numbers.add(grp.getgrnam(name).gr_gid)
    return frozenset(numbers)


def _owner(path: str, state: os.stat_result) -> Owner:
    return Owner(path=path, uid=state.st_uid, gid=state.st_gid, mode=state.st_mode)


# ---------------------------------------------------------------- judging


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Where the files of a machine begin, and which uid is root there: "/" and 0, except for a scratch master in a folder."""

    root: str = "/"
    owner: int = ROOT

    def inside(self, path: str) -> str:
        """Return a path of this machine as the tree's own programs name it."""
        base = self.root.rstrip("/")
        return path[len(base) :] if base and path.startswith(f"{base}/") else path


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Who may change what a path leads to."""

    trust: Trust
    doubt: str = ""  # why nothing may be done to it, for a person; "" if only root may change it
    link: str = ""  # the first symbolic link in the path; "" if there is none


_ROOT_ALONE: Final = Standing(trust=Trust.SYSTEM)
_SHARED: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(slots=True)
class Judge:
    """Judges paths of one tree, and remembers folders: make a new judge for each look.

    Folders are judged from the tree's root downwards. Once only root may change a folder, nobody else can replace what lies in
    it, so that the answer still holds after the check.
    """

    tree: Tree = field(default_factory=Tree)
    _states: dict[str, os.stat_result] = field(default_factory=dict)
    _folders: dict[tuple[str, bool], Standing] = field(default_factory=dict)

    def judge(self, path: str, *, accounts: bool = False) -> Standing:
        """Judge a path, its links and every folder on the way. `accounts`: service accounts count as root, e.g. etcd's."""
        base = self.tree.root.rstrip("/")
        if not path.startswith(f"{base}/"):
            base = ""
        if not base:
            path = os.path.abspath(path)  # noqa: PTH100 - links must stay
            return self._in_folder(path, accounts=accounts) or self._whole(path, "", accounts=accounts)
        return self._whole(path, base, accounts=accounts)

    def _in_folder(self, path: str, *, accounts: bool) -> Standing | None:
        """Judge a file in a folder that only root may change and no link leads to; None if the folder is none of these.

        A folder of thousands of certificates is judged once.
        """
        name = path.rpartition("/")[0]
        folder = self._folders.get((name, accounts))
        if folder is None:
            folder = self._folders[name, accounts] = self._whole(name or "/", "", accounts=accounts)
        if folder is not _ROOT_ALONE and folder != _ROOT_ALONE:
            return None
        try:
            state = self._lstat(path)
        except (OSError, ValueError):
            return None
        if stat.S_ISLNK(state.st_mode) or state.st_mode & stat.S_IWOTH:
            return None
        if state.st_uid == self.tree.owner and not state.st_mode & _SHARED:
            return _ROOT_ALONE
        trust, doubt = origin.of_file([self._as_root(_owner(path, state), accounts=accounts)])
        return Standing(trust=trust, doubt=doubt)

    def _whole(self, path: str, base: str, *, accounts: bool) -> Standing:
        try:
            resolved = resolve(
                path,
                below=base,
                lstat=self._lstat,
                follow=lambda link: self._as_root(link, accounts=accounts).uid == ROOT,
            )
        except LinkError as error:
            return Standing(trust=Trust.STRANGER, doubt=f"{error.filename} {error.strerror}")
        except (OSError, ValueError) as error:
            return Standing(
                trust=Trust.STRANGER, doubt=f"{getattr(error, 'filename', None) or path} cannot be looked at"
            )
        link = resolved.links[0].path if resolved.links else ""
        trust, doubt = origin.of_file(self._as_root(owner, accounts=accounts) for owner in reversed(resolved.passed))
        shared = next((owner.path for owner in resolved.passed if owner.mode & stat.S_IWOTH), "")
        if trust is Trust.SYSTEM and shared:
            # A sticky folder: others cannot replace what lies in it, but they may add to it.
            doubt = f"{shared} is writable by everybody"
        if trust is Trust.SYSTEM and not doubt and not link:
            return _ROOT_ALONE
        return Standing(trust=trust, doubt=doubt, link=link)

    def _as_root(self, owner: Owner, *, accounts: bool) -> Owner:
        """Return an owner as root if it is the tree's own root or, with `accounts`, a service account; likewise its group."""
        ours = owner.uid == self.tree.owner or (accounts and _is_account(owner.uid))
        mode = owner.mode & ~stat.S_IWGRP if accounts and _is_account(owner.gid) else owner.mode
        uid = ROOT if ours else owner.uid
        return owner if (uid, mode) == (owner.uid, owner.mode) else replace(owner, uid=uid, mode=mode)

    def _lstat(self, path: str) -> os.stat_result:
        state = self._states.get(path)
        if state is None:
            state = self._states[path] = os.lstat(path)
        return state


def _is_account(number: int) -> bool:
    """Whether a uid or gid is that of a service account: of the distribution, or of a control plane's own program."""
    return 0 < number <= LAST_ACCOUNT or number in _PLANE_ACCOUNTS
