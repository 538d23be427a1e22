"""The inventory: the certificates in the files that the globs name, and the files that cannot be used.

A file that did not change is not read again. A bad file is a fault of that file, and hides no other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath

from certmedic.core import planes
from certmedic.core.certificates import EARLIEST, LATEST, NotACertificate, parse, revocations
from certmedic.core.model import Certificate, FileFault, Revocations, Stored, Trust
from certmedic.edge.facts import paths
from certmedic.edge.os.owners import Judge, Standing, Tree
from certmedic.edge.os.readfile import TooLargeError, read_bytes

MOST_OF_FILE = 200  # certificates of one file that are read
# Certificates of one look. Files that others than root may write share the smaller number, and come last.
MOST = 10_000
MOST_OF_STRANGERS = 200
SETTLED = 100_000_000  # ns: a file that changed more recently may change again without a change of its times


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """The certificates of a file, and the states of that file and of its key when it was read."""

    signatures: tuple[paths.Signature | None, ...]
    use: str  # what a process uses the file for
    standing: Standing
    doubt: str  # why it may not be renewed or moved
    settled: bool
    stored: tuple[Stored, ...] = ()
    revocations: tuple[Revocations, ...] = ()
    fault: FileFault | None = None


@dataclass(slots=True)
class _Seen:
    """One look, as far as it has come."""

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

    `live=False` is for a copy of another machine's files: they are believed, since the operator hands them over, and never
    renewed or moved.
    """

    globs: Sequence[str]
    more: Mapping[str, str] = field(default_factory=dict)  # path -> use, of files that a process uses
    tree: Tree = field(default_factory=Tree)
    live: bool = True
    revocations: tuple[Revocations, ...] = ()  # of the last look
    _kept: dict[str, _Reading] = field(default_factory=dict)

    def look(self) -> tuple[tuple[Stored, ...], tuple[FileFault, ...]]:
        """Return the certificates in use and the files that could not be used. Never raises."""
        seen = _Seen(judge=Judge(self.tree))
        for folder in dict.fromkeys(paths.fixed_part(pattern) for pattern in self.globs):
            seen.faults.extend(paths.closed_folder(folder))
        for pattern in self.globs:
            for path in paths.named_by(pattern):
                seen.named.add(path)
                self._take(path, seen)
        for path in self.more:
            self._take(path, seen)
        # The CA that a leaf is checked against matters as much as the leaf, whether or not a glob names it.
        cas = dict.fromkeys(stored.place.ca_path for reading in seen.readings.values() for stored in reading.stored)
        for path in filter(None, cas):
            self._take(path, seen)
        for path in seen.strangers:
            self._take(path, seen, last=True)
        cas = dict.fromkeys(stored.place.ca_path for path in seen.strangers for stored in seen.stored_in(path))
        for path in filter(None, cas):
            self._take(path, seen, last=True)
        self._kept = seen.readings
        self.revocations = tuple(crl for reading in seen.readings.values() for crl in reading.revocations)
        faults = seen.faults + [reading.fault for reading in seen.readings.values() if reading.fault is not None]
        stored = [item for reading in seen.readings.values() for item in reading.stored]
        return tuple(_related(stored, seen.aliases)), tuple({fault.path: fault for fault in faults}.values())

    def _take(self, path: str, seen: _Seen, *, last: bool = False) -> None:
        if path in seen.readings:
            return
        standing = self._standing(path, seen) if self.live else Standing(trust=Trust.SYSTEM)
        if standing.trust is not Trust.SYSTEM and not last:
            seen.strangers.append(path)
            return
        state = paths.state_of(path)
        if isinstance(state, FileFault):
            seen.faults.append(replace(state, trust=standing.trust))
        elif state is not None:
            first = seen.real.setdefault((state.st_dev, state.st_ino), path)
            if first == path:
                reading = seen.readings[path] = self._read(path, state, standing, seen)
                seen.left[standing.trust is Trust.SYSTEM] -= len(reading.stored)
            else:
                seen.aliases[path] = first

    def _standing(self, path: str, seen: _Seen) -> Standing:
        """Judge a file. If a service account may write it, it is evidence at its place in a control plane's layout, and no more."""
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
        helper = paths.key_path(path)
        signatures = (paths.signature_of(state), paths.signature(helper) if helper else None)
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
        shown = paths.printable(path)
        settled = time.time_ns() - state.st_ctime_ns > SETTLED
        certificates: tuple[Certificate, ...] = ()
        fault: FileFault | None = None
        data = b""
        try:
            data = read_bytes(path)
            certificates = parse(data, shown, paths.password(path), most=left)
        except TooLargeError as error:
            fault = FileFault(path=shown, reason="too_large", detail=str(error))
        except OSError as error:
            fault = FileFault(path=shown, reason="unreadable", detail=paths.why(error))
        except NotACertificate as error:
            certificates = error.certificates
            # Globs such as *.pem name private keys as well, and those are where they should be.
            if certificates or path.endswith((".crt", ".cert")) or b"PRIVATE KEY-----" not in data:
                fault = FileFault(path=shown, reason=error.reason, detail=str(error))
        lists = tuple(replace(crl, trust=standing.trust) for crl in revocations(data, shown))
        if lists and not certificates and not use and not planes.place(shown).plane:
            fault = None  # nobody expects a certificate there
        modified = _moment(state.st_mtime)
        stored = tuple(
            Stored(
                certificate=certificate,
                place=planes.place(shown, certificate, use=use),
                modified=modified,
                key_matches=paths.key_fits(certificate, data, helper),
                trust=standing.trust,
                authorised=not doubt,
                doubt=doubt,
            )
            for certificate in certificates
        )
        if fault is not None:
            fault = replace(fault, trust=standing.trust)
        return _Reading(
            signatures=signatures,
            use=use,
            standing=standing,
            doubt=doubt,
            settled=settled,
            stored=stored,
            revocations=lists,
            fault=fault,
        )


def _moment(seconds: float) -> datetime:
    """Return a file's time, which may be any number: `touch` sets it."""
    try:
        return min(max(datetime.fromtimestamp(seconds, UTC), EARLIEST), LATEST)
    except (ValueError, OverflowError):
        return LATEST


def _related(stored: Iterable[Stored], aliases: Mapping[str, str]) -> Iterator[Stored]:
    """Yield each certificate with its etcd group and the listed path of its CA, which depend on the other certificates."""
    stored = list(stored)
    volumes: dict[str, list[Certificate]] = {}
    for item in stored:
        if planes.renewer_of(item.place.renewer).is_grouped:
            volumes.setdefault(_volume(item.certificate.path), []).append(item.certificate)
    for item in stored:
        place, path = item.place, item.certificate.path
        if planes.renewer_of(place.renewer).is_grouped and not place.group:
            place = planes.place(path, item.certificate, siblings=volumes[_volume(path)])
        if place.ca_path in aliases:
            place = replace(place, ca_path=aliases[place.ca_path])
        yield item if place is item.place else replace(item, place=place)


def _volume(path: str) -> str:
    return str(PurePosixPath(path).parent.parent)
