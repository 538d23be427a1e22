"""Records of a fleet from the journals that its masters sent here, as systemd-journal-remote writes them.

An entry counts only if its master's journald names our unit as the writer, in a field that no program can choose. A master is heard
as long as its journal goes on, but no longer than systemd says that the agent ran. The files are read one after the other, so that
hundreds need no more memory than one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from certmedic.core.fleet import Records
from certmedic.core.fleet.entries import FIELDS, Entry, Host, records_of
from certmedic.edge.fleet.request import FleetError

UNIT = "certmedic.service"
BACK = timedelta(days=30)  # older entries are not read; an open incident is mentioned again by each reminder
MOST_ENTRIES = 200_000  # of all files
LONGEST = 2_000  # characters of a field
LONG_AGO = datetime.min.replace(tzinfo=UTC)

# The identifiers of messages of systemd about a unit (sd-messages.h).
STARTED = "39f53479d3a045ac8e11786248231fbf"
ENDED = ("9d1aaa27d60140bd96365438aad20286", "7ad2d189f7e94e70a38c781354912448", "d9b373ed55a64feb8242e02dbe79a49c")


def from_journals(folder: Path, now: datetime) -> Records:
    """Return the records in the journal files below a folder. Raises FleetError."""
    reader = _reader()
    files = _files(folder, now - BACK)
    hosts: dict[str, Host] = {}
    running: dict[str, tuple[datetime, bool]] = {}  # of each master: since when its agent runs, or does not
    entries: list[Entry] = []
    broken = 0
    for path in files:
        try:
            journal = reader(files=[str(path)])
        except OSError:
            broken += 1
            continue
        with contextlib.closing(journal):
            for host in _hosts(journal):
                heard = max(host.heard, hosts[host.name].heard) if host.name in hosts else host.heard
                hosts[host.name] = Host(name=host.name, heard=heard)
                last = _last_of_unit(journal, host.name)
                running[host.name] = max(last, running.get(host.name, last))
            for entry in _entries(journal, now - BACK):
                entries.append(entry)
                if len(entries) > MOST_ENTRIES:
                    raise FleetError(
                        f"{folder}: more than {MOST_ENTRIES} entries of certmedic: give a folder with fewer files"
                    )
    if broken == len(files):
        raise FleetError(f"{folder}: no journal file can be opened: may this user read them?")
    if not entries:
        raise FleetError(
            f"{folder}: no entry of {UNIT}: systemd-journal-upload on the masters must send here what the agents write"
        )
    hosts |= {name: Host(name=name, heard=at) for name, (at, runs) in running.items() if not runs}
    return records_of(hosts.values(), sorted(entries, key=lambda entry: entry.at))


def _reader() -> Callable[..., Any]:
    try:
        from systemd import journal  # noqa: PLC0415 - not on every laptop, and only this needs it
    except ImportError as error:
        raise FleetError(
            "--journal needs python-systemd, which only Linux has (apt install python3-systemd):"
            " run this command on the host that has the journals"
        ) from error
    reader: Callable[..., Any] = journal.Reader
    return reader


def _files(folder: Path, since: datetime) -> Sequence[Path]:
    """Return the journal files below a folder that were written to since then."""
    files = []
    for path in sorted([*folder.rglob("*.journal"), *folder.rglob("*.journal~")]):
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_mtime >= since.timestamp():
                files.append(path)
    if not files:
        raise FleetError(
            f"{folder}: no journal file of the last {BACK.days} days:"
            " systemd-journal-remote writes *.journal, by default to /var/log/journal/remote"
        )
    return files


def _hosts(journal: Any) -> Iterator[Host]:
    """Yield the machines in a file, each with its last entry of any program."""
    for name in journal.query_unique("_HOSTNAME"):
        journal.flush_matches()
        journal.add_match(_HOSTNAME=name)
        journal.seek_tail()
        if journal._previous():  # noqa: SLF001 - the public call decodes every field
            yield Host(name=str(name)[:LONGEST], heard=_at(journal))


def _last_of_unit(journal: Any, host: str) -> tuple[datetime, bool]:
    """Return when systemd on that machine last started (True) or ended (False) the agent; (LONG_AGO, True) if it says nothing."""
    journal.flush_matches()
    journal.add_match(_HOSTNAME=host, _PID="1", UNIT=UNIT)
    for identifier in (STARTED, *ENDED):
        journal.add_match(MESSAGE_ID=identifier)
    journal.seek_tail()
    if not journal._previous():  # noqa: SLF001 - as above
        return LONG_AGO, True
    return _at(journal), _field(journal, "MESSAGE_ID") == STARTED


def _entries(journal: Any, since: datetime) -> Iterator[Entry]:
    journal.flush_matches()
    journal.add_match(_SYSTEMD_UNIT=UNIT)
    journal.seek_realtime(since)
    while journal._next():  # noqa: SLF001 - as above
        fields = {name: _field(journal, name) for name in FIELDS}
        if fields["CERTMEDIC_EVENT"]:
            yield Entry(at=_at(journal), fields=fields)


def _at(journal: Any) -> datetime:
    return datetime.fromtimestamp(journal._get_realtime() / 1_000_000, UTC)  # noqa: SLF001 - as above


def _field(journal: Any, name: str) -> str:
    try:
        value: bytes = journal._get(name)  # noqa: SLF001 - as above
    except (KeyError, OSError):
        return ""
    return value.decode(errors="replace")[:LONGEST]
