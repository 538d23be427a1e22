"""The inventory: the certificates in the files that the globs name, and the files that cannot be used.

A file that did not change is not read again. A bad file is a fault of that file, and hides no other. The bytes come from a
`Sight`, without keys.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath

from certmedic.core import planes
from certmedic.core.certificates import EARLIEST, LATEST, NotACertificate, parse, revocations
from certmedic.core.model import Certificate, FileFault, Revocations, Stored, Trust
from certmedic.edge.facts import paths
from certmedic.edge.facts.sight import Direct, Sight
from certmedic.edge.facts.survey import Content, FileSeen
from certmedic.edge.os.owners import Standing, Tree

MOST_OF_FILE = 200  # certificates of one file that are read
# Certificates of one look. Files that others than root may write share the smaller number, and come last.
MOST = 10_000
MOST_OF_STRANGERS = 200
TOGETHER = 500  # files whose bytes are asked for at once
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
    strangers: list[FileSeen] = field(default_factory=list)  # files that others than root may write, read last
    contents: dict[str, Content] = field(default_factory=dict)  # of files that are about to be read
    left: dict[bool, int] = field(default_factory=lambda: {True: MOST, False: MOST_OF_STRANGERS})

    def cas_of(self, files: Iterable[str]) -> list[str]:
        """Return the paths of the CAs that the certificates of files are checked against."""
        stored = (item for path in files if path in self.readings for item in self.readings[path].stored)
        return list(dict.fromkeys(item.place.ca_path for item in stored if item.place.ca_path))


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
    sight: Sight | None = None  # None: this process reads the files of `tree`
    revocations: tuple[Revocations, ...] = ()  # of the last look
    _kept: dict[str, _Reading] = field(default_factory=dict)
    _sight: Sight = field(init=False)

    def __post_init__(self) -> None:
        self._sight = self.sight or Direct(tree=self.tree, live=self.live)

    def look(self) -> tuple[tuple[Stored, ...], tuple[FileFault, ...]]:
        """Return the certificates in use and the files that could not be used. Raises UnseenError if the reader does not answer."""
        seen = _Seen()
        first = self._sight.survey(self.globs, list(self.more))
        seen.faults.extend(first.faults)
        self._take_all(first.files, seen)
        # The CA that a leaf is checked against matters as much as the leaf, whether or not a glob names it.
        self._take_all(self._sight.survey((), seen.cas_of(seen.readings)).files, seen)
        strangers = seen.strangers
        self._take_all(strangers, seen, last=True)
        cas = seen.cas_of(file.path for file in strangers)
        if cas:
            self._take_all(self._sight.survey((), cas).files, seen, last=True)
        self._kept = seen.readings
        self.revocations = tuple(crl for reading in seen.readings.values() for crl in reading.revocations)
        faults = seen.faults + [reading.fault for reading in seen.readings.values() if reading.fault is not None]
        stored = [item for reading in seen.readings.values() for item in reading.stored]
        return tuple(_related(stored, seen.aliases)), tuple({fault.path: fault for fault in faults}.values())

    def _take_all(self, files: Sequence[FileSeen], seen: _Seen, *, last: bool = False) -> None:
        for start in range(0, len(files), TOGETHER):
            some = files[start : start + TOGETHER]
            changed = [file.path for file in some if file.fault is None and self._unchanged(file) is None]
            seen.contents = dict(zip(changed, self._sight.contents(changed), strict=True)) if changed else {}
            for file in some:
                self._take(file, seen, last=last)

    def _take(self, file: FileSeen, seen: _Seen, *, last: bool) -> None:
        if file.path in seen.readings:
            return
        if file.standing.trust is not Trust.SYSTEM and not last:
            seen.strangers.append(file)
            return
        if file.fault is not None:
            seen.faults.append(file.fault)
            return
        first = seen.real.setdefault(file.key, file.path)
        if first == file.path:
            reading = seen.readings[file.path] = self._read(file, seen)
            seen.left[file.standing.trust is Trust.SYSTEM] -= len(reading.stored)
        else:
            seen.aliases[file.path] = first

    def _doubt(self, file: FileSeen) -> str:
        """Return why a file may not be renewed or moved; "" if it may."""
        if not self.live:
            return "it is a copy of another machine's file"
        if file.standing.link:
            return f"{file.standing.link} is a symbolic link"
        if not file.named:
            return "neither a control plane's own layout nor the configuration names it"
        return file.standing.doubt

    def _unchanged(self, file: FileSeen) -> _Reading | None:
        """Return what was read of a file before, if it is still so."""
        kept = self._kept.get(file.path)
        now = (file.signatures, self.more.get(file.path, ""), file.standing, self._doubt(file))
        if kept is None or not kept.settled or (kept.signatures, kept.use, kept.standing, kept.doubt) != now:
            return None
        return kept

    def _read(self, file: FileSeen, seen: _Seen) -> _Reading:
        path, standing = file.path, file.standing
        left = min(MOST_OF_FILE, seen.left[standing.trust is Trust.SYSTEM])
        kept = self._unchanged(file)
        if kept is not None and len(kept.stored) <= left:
            return kept
        content = seen.contents.get(path) or self._sight.contents([path])[0]
        use, doubt = self.more.get(path, ""), self._doubt(file)
        shown = paths.printable(path)
        changed = file.signatures[0]
        settled = changed is not None and time.time_ns() - changed[4] > SETTLED
        certificates: tuple[Certificate, ...] = ()
        fault: FileFault | None = None
        if content.reason:
            fault = FileFault(path=shown, reason=content.reason, detail=content.detail)
        try:
            certificates = () if content.reason else parse(content.data, shown, most=left)
        except NotACertificate as error:
            certificates = error.certificates
            # Globs such as *.pem name private keys as well, and those are where they should be.
            if certificates or path.endswith((".crt", ".cert")) or b"PRIVATE KEY-----" not in content.data:
                fault = FileFault(path=shown, reason=error.reason, detail=str(error))
        lists = tuple(replace(crl, trust=standing.trust) for crl in revocations(content.data, shown))
        if lists and not certificates and not use and not planes.place(shown).plane:
            fault = None  # nobody expects a certificate there
        modified = _moment(file.modified)
        stored = tuple(
            Stored(
                certificate=certificate,
                place=planes.place(shown, certificate, use=use),
                modified=modified,
                key_matches=None if certificate.is_ca or certificate.index else content.key_fits,
                trust=standing.trust,
                authorised=not doubt,
                doubt=doubt,
            )
            for certificate in certificates
        )
        if fault is not None:
            fault = replace(fault, trust=standing.trust)
        return _Reading(
            signatures=file.signatures,
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
