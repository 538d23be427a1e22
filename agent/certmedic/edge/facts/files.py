"""The inventory: every certificate file that the globs name, and every one of them that cannot be used.

A file that did not change is not read again. One bad file is a fault of its own and blinds nothing else.
"""
# Paths are strings here: to make ten thousand Path objects costs more than to look at the files.
# ruff: noqa: PTH114, PTH115, PTH116, PTH120, PTH122, PTH207

from __future__ import annotations

import glob
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath

from certmedic.core import planes
from certmedic.core.certificates import EARLIEST, LATEST, NotACertificate, key_matches, parse
from certmedic.core.model import Certificate, FileFault, Stored, Trust
from certmedic.edge.os.readfile import Judge, Standing, TooLargeError, Tree, read_bytes
from certmedic.edge.os.readfile import read_ends as ends_of

MOST_OF_FILE = 200  # certificates of one file that are read
# Certificates of one look. What others than root may write shares the smaller number, and comes last.
MOST = 10_000
MOST_OF_STRANGERS = 200
END_BYTES = 256 * 1024  # of each end of a log
SETTLED = 100_000_000  # ns; a file that changed so recently may change again without its times showing it

# Below what a glob names, these hold what once was in use; what is old there has expired and may.
_PUT_ASIDE = frozenset({"archive", "backup", "backups", "bak", "expired", "old", "trash"})
_PUT_ASIDE_ENDS = ("~", ".bak", ".backup", ".expired", ".old", ".orig", ".rpmsave", ".dpkg-old", ".dpkg-dist", ".tmp")
_BESIDE_ENDS = (".key", "-key.pem", "_key.pem", "key.pem", ".csr", ".p12.password", ".pfx.password")

_Signature = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What was found in a file, and the states of the files that it was found in."""

    signatures: tuple[_Signature | None, ...]
    use: str  # what a process was seen to use the file for
    standing: Standing
    doubt: str  # why it may not be renewed or moved
    settled: bool
    stored: tuple[Stored, ...] = ()
    fault: FileFault | None = None


@dataclass(slots=True)
class _Seen:
    """What one look has come upon so far."""

    real: dict[tuple[int, int], str] = field(default_factory=dict)  # each real file, and the first path that named it
    aliases: dict[str, str] = field(default_factory=dict)  # every other path to it -> that first one
    readings: dict[str, _Reading] = field(default_factory=dict)
    faults: list[FileFault] = field(default_factory=list)
    judge: Judge = field(default_factory=Judge)
    named: set[str] = field(default_factory=set)  # paths of the globs
    strangers: list[str] = field(default_factory=list)  # paths that others than root may write, read last
    left: dict[bool, int] = field(default_factory=lambda: {True: MOST, False: MOST_OF_STRANGERS})

    def stored_in(self, path: str) -> tuple[Stored, ...]:
        """Return the certificates that were read from a file."""
        reading = self.readings.get(path)
        return reading.stored if reading else ()


@dataclass(slots=True)
class Inventory:
    """The certificate files of one machine; keeps what it read until the file changes.

    `live=False` is for a copy of another machine's files: the operator hands them over, so that they are believed, and
    nothing is done to them.
    """

    globs: Sequence[str]
    more: Mapping[str, str] = field(default_factory=dict)  # path -> use, of files that a process was seen to use
    tree: Tree = field(default_factory=Tree)
    live: bool = True
    _kept: dict[str, _Reading] = field(default_factory=dict)

    def look(self) -> tuple[tuple[Stored, ...], tuple[FileFault, ...]]:
        """Return the certificates in use and the files that could not be used. Never raises."""
        seen = _Seen(judge=Judge(self.tree))
        for folder in dict.fromkeys(_fixed_part(pattern) for pattern in self.globs):
            seen.faults.extend(_closed_folder(folder))
        for pattern in self.globs:
            for path in _named_by(pattern):
                seen.named.add(path)
                self._take(path, seen)
        for path in self.more:
            self._take(path, seen)
        # The CA that a leaf is checked against matters as much as the leaf, whether or not a glob names it.
        cas = dict.fromkeys(one.place.ca_path for reading in seen.readings.values() for one in reading.stored)
        for path in filter(None, cas):
            self._take(path, seen)
        for path in seen.strangers:
            self._take(path, seen, last=True)
        cas = dict.fromkeys(one.place.ca_path for path in seen.strangers for one in seen.stored_in(path))
        for path in filter(None, cas):
            self._take(path, seen, last=True)
        self._kept = seen.readings
        faults = seen.faults + [reading.fault for reading in seen.readings.values() if reading.fault is not None]
        stored = [one for reading in seen.readings.values() for one in reading.stored]
        return tuple(_related(stored, seen.aliases)), tuple({fault.path: fault for fault in faults}.values())

    def _take(self, path: str, seen: _Seen, *, last: bool = False) -> None:
        if path in seen.readings:
            return
        standing = self._standing(path, seen) if self.live else Standing(trust=Trust.SYSTEM)
        if standing.trust is not Trust.SYSTEM and not last:
            seen.strangers.append(path)
            return
        state = _state(path)
        if isinstance(state, FileFault):
            seen.faults.append(state)
        elif state is not None:
            first = seen.real.setdefault((state.st_dev, state.st_ino), path)
            if first == path:
                reading = seen.readings[path] = self._read(path, state, standing, seen)
                seen.left[standing.trust is Trust.SYSTEM] -= len(reading.stored)
            else:
                seen.aliases[path] = first

    def _standing(self, path: str, seen: _Seen) -> Standing:
        """Judge a file. At its place in a control plane's layout, one of a service's own account is evidence, and no more."""
        standing = seen.judge.judge(path)
        if standing.trust is not Trust.SYSTEM and path in seen.named and planes.in_its_place(self.tree.inside(path)):
            service = seen.judge.judge(path, accounts=True)
            if service.trust is Trust.SYSTEM:
                return replace(service, doubt=standing.doubt)
        return standing

    def _doubt(self, path: str, standing: Standing, seen: _Seen) -> str:
        """Return why a file may not be renewed or moved; "" if it may."""
        if not self.live:
            return "it is a copy of another machine's file"
        if standing.link:
            return f"{standing.link} is a symbolic link"
        if path not in seen.named:
            return "neither a control plane's own layout nor the configuration names it"
        return standing.doubt

    def _read(self, path: str, state: os.stat_result, standing: Standing, seen: _Seen) -> _Reading:
        helper = _key_path(path)
        signatures = (_signature(state), _signature(_stat(helper)) if helper else None)
        use = self.more.get(path, "")
        kept = self._kept.get(path)
        doubt = self._doubt(path, standing, seen)
        left = min(MOST_OF_FILE, seen.left[standing.trust is Trust.SYSTEM])
        if (
            kept is not None
            and kept.settled
            and (kept.signatures, kept.use, kept.standing, kept.doubt) == (signatures, use, standing, doubt)
            and len(kept.stored) <= left
        ):
            return kept
        shown = _printable(path)
        settled = time.time_ns() - state.st_ctime_ns > SETTLED
        found: tuple[Certificate, ...] = ()
        fault: FileFault | None = None
        data = b""
        try:
            data = read_bytes(path)
            found = parse(data, shown, _password(path), most=left)
        except TooLargeError as error:
            fault = FileFault(path=shown, reason="too_large", detail=str(error))
        except OSError as error:
            fault = FileFault(path=shown, reason="unreadable", detail=_told(error))
        except NotACertificate as error:
            found = error.certificates
            # Globs such as *.pem name private keys as well, and those are where they should be.
            if found or path.endswith((".crt", ".cert")) or b"PRIVATE KEY-----" not in data:
                fault = FileFault(path=shown, reason=error.reason, detail=str(error))
        modified = _moment(state.st_mtime)
        stored = tuple(
            Stored(
                certificate=certificate,
                place=planes.place(shown, certificate, use=use),
                modified=modified,
                key_matches=_key_matches(certificate, data, helper),
                trust=standing.trust,
                authorised=not doubt,
                doubt=doubt,
            )
            for certificate in found
        )
        return _Reading(
            signatures=signatures,
            use=use,
            standing=standing,
            doubt=doubt,
            settled=settled,
            stored=stored,
            fault=fault,
        )


def read_ends(path: str) -> list[str]:
    """Return the lines at both ends of a log of any size, where programs name their files when they start. Raises OSError."""
    return ends_of(path, END_BYTES).decode(errors="replace").splitlines()


# ---------------------------------------------------------------- which files


def _named_by(pattern: str) -> Iterator[str]:
    """Yield the files that a glob names, but those that were put aside below its fixed part."""
    fixed = len(_fixed_part(pattern))
    for path in sorted(glob.glob(pattern, recursive=True)):
        parts = [part.lower() for part in path[fixed:].split("/")]
        name = parts[-1]
        if name.endswith((*_PUT_ASIDE_ENDS, *_BESIDE_ENDS)) or not _PUT_ASIDE.isdisjoint(parts[:-1]):
            continue
        if any(part.startswith(("backup-", "backup_", "old-", "old_", "expired-")) for part in parts[:-1]):
            continue
        yield path


def _fixed_part(pattern: str) -> str:
    """Return the folder down to which a glob has no wildcards."""
    if not glob.has_magic(pattern):
        return os.path.dirname(pattern)
    parts = pattern.split("/")
    first = next(at for at, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[:first]) or "/"


def _closed_folder(folder: str) -> Iterator[FileFault]:
    """Yield a fault if the folder where a glob begins may not be listed: glob itself is silent about it."""
    try:
        os.scandir(folder or ".").close()
    except PermissionError as error:
        yield FileFault(path=folder, reason="unreadable", detail=_told(error))
    except OSError:
        return


def _state(path: str) -> os.stat_result | FileFault | None:
    """Return a file's state, why it cannot be used, or None for what is no matter: folders, and files that just vanished."""
    try:
        state = os.stat(path)
    except FileNotFoundError:
        if not os.path.islink(path):
            return None
        return FileFault(
            path=_printable(path), reason="missing", detail=f"it is a link to {_target(path)}, which is not there"
        )
    except OSError as error:
        return FileFault(path=_printable(path), reason="unreadable", detail=_told(error))
    if stat.S_ISDIR(state.st_mode):
        return None
    if not stat.S_ISREG(state.st_mode):
        return FileFault(path=_printable(path), reason="not_a_certificate", detail="it is no regular file")
    return state


def _target(link: str) -> str:
    try:
        return _printable(os.readlink(link))
    except OSError:
        return "something"


def _printable(path: str) -> str:
    """Return a path as it may stand in a message: file names hold whatever bytes somebody chose."""
    if path.isprintable():
        return path
    return "".join(char if char.isprintable() else "\ufffd" for char in path)


def _moment(seconds: float) -> datetime:
    """Return a file's time, which may be any number: `touch` sets it."""
    try:
        return min(max(datetime.fromtimestamp(seconds, UTC), EARLIEST), LATEST)
    except (ValueError, OverflowError):
        return LATEST


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _signature(state: os.stat_result | None) -> _Signature | None:
    if state is None:
        return None
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _told(error: OSError) -> str:
    hint = "; run as root" if isinstance(error, PermissionError) and os.geteuid() else ""
    return f"{error.strerror or error}{hint}"


# ---------------------------------------------------------------- what lies beside


def _key_path(path: str) -> str:
    """Return where the private key of a certificate lies, or the password of an archive; "" where there is no custom."""
    stem, end = os.path.splitext(path)
    if end in (".crt", ".cert", ".cer"):
        return stem + ".key"
    if end == ".pem":
        return stem.removesuffix("cert") + "key.pem" if stem.endswith("cert") else stem + "-key.pem"
    return path + ".password" if end in (".p12", ".pfx") else ""


def _password(path: str) -> bytes | None:
    """Return the password of a PKCS#12 archive: the first line of the file `<archive>.password`."""
    if not path.endswith((".p12", ".pfx")):
        return None
    try:
        return read_bytes(path + ".password").split(b"\n", 1)[0].rstrip(b"\r")
    except OSError:
        return None


def _key_matches(certificate: Certificate, data: bytes, key_path: str) -> bool | None:
    if certificate.is_ca or certificate.index:
        return None
    if b"PRIVATE KEY-----" in data:
        return key_matches(certificate, data)
    if not key_path or key_path.endswith(".password"):
        return None
    try:
        return key_matches(certificate, read_bytes(key_path))
    except OSError:
        return None


def _related(stored: Iterable[Stored], aliases: Mapping[str, str]) -> Iterator[Stored]:
    """Yield each certificate with what only the others tell: its etcd group, and the path under which its CA is listed."""
    stored = list(stored)
    volumes: dict[str, list[Certificate]] = {}
    for one in stored:
        if planes.is_grouped(one.place.renewer):
            volumes.setdefault(_volume(one.certificate.path), []).append(one.certificate)
    for one in stored:
        place, path = one.place, one.certificate.path
        if planes.is_grouped(place.renewer) and not place.group:
            place = planes.place(path, one.certificate, siblings=volumes[_volume(path)])
        if place.ca_path in aliases:
            place = replace(place, ca_path=aliases[place.ca_path])
        yield one if place is one.place else replace(one, place=place)


def _volume(path: str) -> str:
    return str(PurePosixPath(path).parent.parent)
