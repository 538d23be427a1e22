"""Holders: the running programs that still have an old certificate in memory although its file was replaced.

A program that reads a file only when it starts, and that started before the file changed, holds what the file held before. Which
programs do so is in the uses of the planes (FIELD 8.1). CA files are read only at the start by all programs but kube-apiserver.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from certmedic.core import planes
from certmedic.core.model import Facts, Program, Replaced, Stored, Trust
from certmedic.core.text import stamp

SLACK = timedelta(seconds=2)  # a start is known to the second, and a clock may have been corrected by a little
# The client certificate in etcd-manager's memory: one year from the start of its process, since 3.0.20200428 two.
MANAGER_LIVES = (timedelta(days=365), timedelta(days=730))
SAME = timedelta(seconds=1)  # precision of a NotAfter in a line
OF_ETCD = "apiserver-etcd-client"  # the use whose CA kube-apiserver reads only when it starts


def named(name: str, facts: Facts) -> list[Program]:
    """Return the trusted running programs of a name."""
    return [program for program in facts.programs if program.name == name and program.trust is Trust.SYSTEM]


def holder_of(stored: Stored) -> str:
    """Return the program that has the certificate in memory; "" if that is not known. k3s and rke2 hold all of theirs."""
    return planes.holder_in(stored.place)


def behind(stored: Stored, facts: Facts, slack: timedelta = SLACK) -> list[Program]:
    """Return the programs that read a file only when they start and that started before it was last changed, by more than `slack`."""
    changed = moment_of(stored, facts) - slack
    return [
        program for name in readers(stored, facts) for program in named(name, facts) if program.started_at < changed
    ]


def readers(stored: Stored, facts: Facts) -> list[str]:
    """Return the programs that read a file only when they start."""
    if stored.certificate.is_ca:
        checked = (s for s in facts.stored if s.place.ca_path == stored.certificate.path)
        names = {holder_of(s) for s in checked if s.place.use == OF_ETCD or holder_of(s) != "kube-apiserver"}
    else:
        names = {holder_of(stored)} if planes.reads_at_start(stored.place) else set()
    return sorted(names - {""})


def moment_of(stored: Stored, facts: Facts) -> datetime:
    """Return when a file got its present certificate: as it was seen, else by the file's modification time."""
    path = stored.certificate.path
    return max((old.at for old in facts.replaced if old.path == path), default=stored.modified)


def in_manager(paths: Iterable[str], facts: Facts) -> str:
    """Return that the etcd-manager of these files runs for longer than the client certificate in its memory is valid, to be appended.

    That certificate is in no file and is valid from the start of the process (FIELD 1.2); "" if it is good, or its start is not known.
    """
    wanted = set(paths)
    groups = {s.place.group for s in facts.stored if s.certificate.path in wanted and s.place.renewer == "etcd-manager"}
    for group in sorted(groups - {""}):
        for container in facts.containers:
            version = planes.manager_version(container.image) or ""
            life = MANAGER_LIVES[version >= planes.REISSUES_SINCE]
            started = container.started_at
            if planes.runs_renewer(container, group) and started is not None and started + life < facts.at:
                return (
                    f"; still open: etcd-manager {group} runs since {stamp(started)}, so that the client certificate in its memory has"
                    " expired too: without its restart it makes no backups"
                )
    return ""


def held(paths: Iterable[str], facts: Facts) -> dict[str, list[Program]]:
    """Return file -> programs that do not yet hold what it has now, for the leaves at these paths."""
    wanted = set(paths)
    late = {s.certificate.path: behind(s, facts) for s in facts.stored if s.certificate.path in wanted}
    return {path: programs for path, programs in late.items() if programs}


def with_serial(serial: str, facts: Facts, key_id: str = "") -> list[Stored]:
    """Return the certificates here with a serial as a line states it, decimal or hexadecimal.

    `key_id` is the key id of the issuer, if the line states that too.
    """
    forms = serials(serial)
    issuer = plain(key_id)
    return [
        stored
        for stored in facts.stored
        if stored.certificate.serial in forms
        and (not issuer or plain(stored.certificate.authority_key_id) in ("", issuer))
    ]


def serials(text: str) -> frozenset[str]:
    """Return a serial in hexadecimal, as it may be meant: Go writes decimal numbers, OpenSSL hexadecimal ones. Short ones prove nothing."""
    digits = text.replace(":", "").lower()
    forms = {digits.lstrip("0")} if len(digits) >= 8 else set()
    if digits.isdecimal() and len(digits) >= 8:
        forms.add(f"{int(digits):x}")
    return frozenset(forms)


def plain(key_id: str) -> str:
    """Return a key id without separators, in lower case."""
    return key_id.replace(":", "").lower()


def replaced_by(moment: datetime | None, serial: str, facts: Facts) -> list[Replaced]:
    """Return the certificates that files here held before and that a line means, by serial or else by NotAfter."""
    forms = serials(serial)
    if forms:
        return [old for old in facts.replaced if old.serial in forms]
    return [old for old in facts.replaced if moment is not None and abs(old.not_after - moment) <= SAME]


def late_files(files: Sequence[Stored], facts: Facts) -> list[Stored]:
    """Return the files whose holders do not yet hold what they have now."""
    return [stored for stored in files if behind(stored, facts)]


def with_old_pool(name: str, facts: Facts) -> list[Stored]:
    """Return the CA files that a running program reads only when it starts and that changed after its start.

    None without the processes: in a copy of a machine's files the modification times may be those of the copy.
    """
    cas = [stored for stored in facts.stored if stored.certificate.is_ca]
    return [ca for ca in cas if any(program.name == name for program in behind(ca, facts))]
