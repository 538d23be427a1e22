"""Certificate files before they are parsed: which there are, who may change them, and their bytes without secrets.

The reader runs this; so do commands that read the files themselves.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from certmedic.core import planes
from certmedic.core.der import is_pkcs12
from certmedic.core.keys import key_fits
from certmedic.core.model import FileFault, Trust
from certmedic.core.pem import certificate_blocks
from certmedic.core.redact import is_certificate, redacted
from certmedic.edge.facts import paths
from certmedic.edge.facts.processes import resolved
from certmedic.edge.os.owners import Judge, Standing, Tree
from certmedic.edge.os.readfile import TooLargeError, read_bytes

# Files of one survey. Those that others than root may write share the smaller number.
MOST_FILES = 20_000
MOST_OF_STRANGERS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSeen:
    """A file that may hold certificates."""

    path: str
    named: bool  # by a glob
    standing: Standing
    key: tuple[int, int] = (0, 0)  # device and inode
    signatures: tuple[paths.Signature | None, ...] = ()  # of the file and of the key beside it
    modified: float = 0.0  # seconds since 1970
    fault: FileFault | None = None  # why the file cannot be used


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The files that globs and a list name, and the folders that may not be listed."""

    files: tuple[FileSeen, ...] = ()
    faults: tuple[FileFault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The bytes of a file without secrets, or why they cannot be read."""

    data: bytes = b""
    key_fits: bool | None = (
        None  # whether the private key in it or beside it is that of its first certificate; None without one
    )
    reason: str = ""  # one of FileFault's; "" if it was read
    detail: str = ""


def survey(globs: Sequence[str], listed: Iterable[str], *, tree: Tree, live: bool) -> Survey:
    """Look at the files that `globs` name, and at the `listed` ones. With `live=False` they are believed. Never raises."""
    judge = Judge(tree)
    begins = {pattern: paths.fixed_part(pattern) for pattern in globs}
    folders = {folder: paths.listable(folder) for folder in dict.fromkeys(begins.values())}
    faults = [state for state in folders.values() if isinstance(state, FileFault)]
    left = {True: MOST_FILES, False: MOST_OF_STRANGERS}
    files: dict[str, FileSeen] = {}
    named = dict.fromkeys(
        path
        for pattern, folder in begins.items()
        if folders[folder] or not live  # in a copy, its own links lead to the folder
        for path in (paths.named_by(pattern) if live else _named_in_copy(pattern, tree))
    )
    for path in (*named, *listed):
        if path in files:
            continue
        standing = _standing(path, judge, tree, named=path in named) if live else Standing(trust=Trust.SYSTEM)
        is_ours = standing.trust is Trust.SYSTEM
        if (
            left[is_ours] > 0
            and (seen := _seen(path, path if live else in_copy(path, tree), standing, named=path in named)) is not None
        ):
            files[path] = seen
            left[is_ours] -= 1
    return Survey(files=tuple(files.values()), faults=tuple(faults))


def _standing(path: str, judge: Judge, tree: Tree, *, named: bool) -> Standing:
    """Judge a file. If a service account may write it, it is evidence at its place in a control plane's layout, and no more."""
    standing = judge.judge(path)
    if standing.trust is not Trust.SYSTEM and named and planes.in_its_place(tree.inside(path)):
        service = judge.judge(path, accounts=True)
        if service.trust is Trust.SYSTEM:
            return replace(service, doubt=standing.doubt)
    return standing


def in_copy(path: str, tree: Tree) -> str:
    """Return where a path of a copied machine leads, with links followed inside the copy."""
    base = tree.root.rstrip("/")
    return resolved(base, path[len(base) :]) if base and path.startswith(f"{base}/") else path


def _named_in_copy(pattern: str, tree: Tree) -> Iterator[str]:
    """Yield the files of a copied machine that a glob names, with links in its fixed part followed inside the copy."""
    folder = paths.fixed_part(pattern)
    there = in_copy(folder, tree)
    for path in paths.named_by(there + pattern[len(folder) :]):
        yield folder + path[len(there) :]


def _seen(path: str, here: str, standing: Standing, *, named: bool) -> FileSeen | None:
    state = paths.state_of(here)
    if isinstance(state, FileFault):
        return FileSeen(path=path, named=named, standing=standing, fault=replace(state, trust=standing.trust))
    if state is None:
        return None
    helper = paths.key_path(here)
    return FileSeen(
        path=path,
        named=named,
        standing=standing,
        key=(state.st_dev, state.st_ino),
        signatures=(paths.signature_of(state), paths.signature(helper) if helper else None),
        modified=state.st_mtime,
    )


def contents(wanted: Iterable[str]) -> tuple[Content, ...]:
    """Read files, without their secrets. Never raises."""
    return tuple(map(_content, wanted))


def _content(path: str) -> Content:
    try:
        data = read_bytes(path)
    except TooLargeError as error:
        return Content(reason="too_large", detail=str(error))
    except OSError as error:
        return Content(reason="unreadable", detail=paths.why(error))
    if is_pkcs12(data):
        return _of_archive(data, path)
    kept = redacted(data)
    first = next(_certificates(kept), None)
    return Content(data=kept, key_fits=None if first is None else _fits(first, data, paths.key_path(path)))


def _of_archive(data: bytes, path: str) -> Content:
    # Only here a certificate's library is needed: archives are rare, and nothing else can open them.
    from certmedic.core.certificates.reading import NotACertificate, unpacked  # noqa: PLC0415 - see above

    try:
        held = unpacked(data, paths.password(path))
    except NotACertificate as error:
        return Content(reason=error.reason, detail=str(error))
    blocks = (b"-----BEGIN CERTIFICATE-----\n%b\n-----END CERTIFICATE-----\n" % base64.b64encode(der) for der in held)
    return Content(data=b"".join(blocks))


def _certificates(kept: bytes) -> Iterator[bytes]:
    if is_certificate(kept):
        yield kept
    yield from (block for block in certificate_blocks(kept) if isinstance(block, bytes))


def _fits(certificate: bytes, data: bytes, helper: str) -> bool | None:
    """Whether the key in the file's own `data`, or else in the file `helper`, is that of a certificate; None if there is none."""
    if b"PRIVATE KEY-----" in data:
        return key_fits(certificate, data)
    if not helper or helper.endswith(".password"):
        return None
    try:
        return key_fits(certificate, read_bytes(helper))
    except OSError:
        return None


def exist(wanted: Iterable[str]) -> tuple[str, ...]:
    """Return those of some paths that exist."""
    return tuple(filter(os.path.exists, wanted))
