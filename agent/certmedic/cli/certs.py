"""`certs`, `simulate`, `diagnose`: judge certificates now, in the future, and by saved logs. They change nothing."""

from __future__ import annotations

import errno
import gzip
import re
import sys
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, NoReturn

import click

from certmedic import app
from certmedic.cli import collect, inputs, output
from certmedic.cli.explain import entry_of
from certmedic.cli.listing import REPLACED, UNREADABLE, served, state_of_fault, tell_certificates, tell_faults
from certmedic.config import policy_of
from certmedic.core import certificates, echo, planes, symptoms, verdict
from certmedic.core import diagnose as doctor
from certmedic.core.examine import examine, replaced
from certmedic.core.model import (
    Diagnosis,
    Facts,
    Fold,
    Origin,
    Severity,
    Sighting,
    Stored,
    Trust,
)
from certmedic.core.origin import OPERATOR
from certmedic.core.rehearse import rehearse
from certmedic.core.sightings import counted
from certmedic.core.text import span, stamp
from certmedic.edge.facts.machine import Machine

UNDER_ETCD_MANAGER = re.compile(rb"etcd-manager|certs\.go:\d+\] generating certificate for|etcdserver\.go:\d+\] ")
BEGAN = re.compile(rb"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)")
EXIT = {Severity.CRITICAL: 2, Severity.WARNING: 1, Severity.INFO: 0}
SOON = timedelta(days=30)  # `diagnose` warns of what expires within
COPY = "name a copy of a master's files with --root DIR"
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")  # by exit code, as Nagios names them


# ---------------------------------------------------------------- certs


@inputs.command(
    "certs",
    "List the certificates on this machine by expiry.",
    "certmedic certs --wide",
    "certmedic certs --check --at 2027-03-01",
)
@inputs.JSON
@click.option("--wide", is_flag=True, help="Also show the issuer, the use and the listeners that serve it.")
@click.option(
    "--check",
    is_flag=True,
    help="Exit 1 if a certificate expires soon, 2 if one is bad or unusable, 3 if none is found.",
)
@inputs.CONFIG
@inputs.AT
@inputs.ROOT
def certs(  # noqa: PLR0913 - each is an option of the command
    *, as_json: bool, wide: bool, check: bool, config_path: Path | None, at: datetime | None, root: str | None
) -> None:
    """List every certificate on this machine: file, subject, expiry, status and renewer. The first to expire is on top.

    --check makes it a Nagios or NRPE check, whose first line is a summary.
    """
    if root is None:
        inputs.need_linux("certs", COPY, code=3 if check else 1)
    settings = inputs.config(config_path, looks=True)
    now = at or datetime.now(UTC)
    facts = app.inspector(settings, root).gather(now=now)
    warns = settings.certificates

    def status(stored: Stored) -> str:
        fault = examine(stored, facts)
        days = max(warns.plane.get(stored.place.plane, warns.warn_days), default=0)
        if fault is None and replaced(stored, facts):
            return REPLACED
        return str(fault.cause) if fault is not None else certificates.status(stored.certificate, now, days)

    known = (*facts.stored, *facts.memory)
    rows = sorted(((stored, status(stored)) for stored in known), key=lambda row: row[0].certificate.not_after)
    states = Counter(state for _, state in rows)
    states += Counter(map(state_of_fault, (fault for fault in facts.faults if fault.trust is Trust.SYSTEM)))
    code = (
        3
        if not rows
        else 2
        if states.keys() - {"ok", "expiring", UNREADABLE, REPLACED}
        else 1
        if states["expiring"]
        else 0
    )
    if as_json:
        output.as_json(
            cluster=app.identity(settings, root or "/").name,
            certificates=[
                {
                    **output.certificate(stored.certificate),
                    "residual_seconds": int(certificates.residual(stored.certificate, now).total_seconds()),
                    "status": state,
                    "plane": stored.place.plane,
                    "group": stored.place.group,
                    "used_as": stored.place.use,
                    "renewed_by": stored.place.renewer,
                    "served": served(stored, facts),
                }
                for stored, state in rows
            ],
            faults=[{"path": fault.path, "reason": fault.reason, "detail": fault.detail} for fault in facts.faults],
        )
    else:
        if check:
            summary = ", ".join(f"{number} {state}" for state, number in states.items()) or "no certificate found"
            output.say(f"{WORDS[code]}: {summary}")
        tell_certificates(rows, facts, now, wide=wide)
        tell_faults(facts.faults)
    if check:
        raise SystemExit(code)


# ---------------------------------------------------------------- simulate


@inputs.command(
    "simulate",
    "Show what breaks until a day if nobody renews.",
    "certmedic simulate --at 2027-03-01",
    "certmedic simulate --at 2027-03-01 --root ./master-a",
)
@inputs.JSON
@click.option(
    "--at", "until", required=True, callback=inputs.moment, metavar="TIME", help="Look ahead until this time (UTC)."
)
@inputs.CONFIG
@inputs.ROOT
def simulate(*, until: datetime, as_json: bool, config_path: Path | None, root: str | None) -> None:
    """Show which certificates expire until a day if nobody renews them.

    For each, in order of time: the effect, the messages that certmedic would send, and its actions.
    """
    if root is None:
        inputs.need_linux("simulate", COPY)
    settings = inputs.config(config_path)
    now = datetime.now(UTC)
    if until <= now:
        output.fail(f"--at {until:%Y-%m-%d} is not in the future", 2)
    facts = app.inspector(settings, root).gather(now=now)
    facts = verdict.vouched(facts) if root else facts
    warns = settings.certificates
    policy = policy_of(settings) if root else app.policy_here(settings)  # a copy says nothing of the actor
    moments = rehearse(facts, until, policy=policy, warn_days=warns.warn_days, of_plane=warns.plane)
    if as_json:
        output.as_json(
            cluster=app.identity(settings, root or "/").name,
            moments=[
                {
                    "at": output.when(m.at),
                    "diagnosis": output.diagnosis(m.diagnosis),
                    "decision": output.decision(m.decision),
                }
                for m in moments
            ],
        )
        return
    for m in moments:
        paths = dict.fromkeys(f"  {certificate.path}" for certificate in m.diagnosis.certificates)
        if m.decision is None:
            left = span(m.diagnosis.since - m.at) if m.diagnosis.since else "soon"
            output.say("\n".join([f"{stamp(m.at)}  message: expires in {left}:", *paths]), colour="yellow")
        else:
            output.say(f"{stamp(m.at)}  {m.diagnosis.cause}:", colour="red", bold=True)
            output.say("\n".join(paths))
            output.item(f"{'':25}", m.diagnosis.effect)
            output.item(f"{'':25}", f"restart {m.diagnosis.remedy.helps}; {m.decision.reason}")
    if not moments:
        output.say(f"Nothing breaks until {stamp(until)}.", colour="green")


# ---------------------------------------------------------------- diagnose


@inputs.command(
    "diagnose",
    "Judge saved logs against certificates, offline.",
    "certmedic diagnose --root ./master-a ./master-a/var/log/etcd.log",
    "certmedic diagnose ./master-a.tar.gz",
)
@inputs.JSON
@inputs.AT
@click.option("--certs", "globs", multiple=True, metavar="GLOB", help="Certificates to read. May be repeated.")
@inputs.ROOT
@click.argument("logs", nargs=-1, required=True, metavar="LOG... | -")
def diagnose(
    *, logs: tuple[str, ...], as_json: bool, at: datetime | None, globs: tuple[str, ...], root: str | None
) -> None:
    """Judge saved logs against certificates on any machine: whose certificate failed, and whether a restart helps.

    It reads only the certificates that --certs or --root name, and those that etcd names in its log. Logs may be gzipped.
    A file of `certmedic collect` holds all that it needs, and is judged by the time and the facts of its master.

    Exit code: 0 nothing is wrong, 1 warning, 2 critical, 3 could not tell.
    """
    if any(log.endswith(collect.ENDINGS) for log in logs):
        if len(logs) > 1 or globs or root:
            raise click.UsageError("a file of `certmedic collect` holds logs and certificates: name nothing beside it")
        collected = collect.opened(logs[0])
        now = at or collected.facts.at
        try:
            report(collected.folds, replace(collected.facts, at=now), now, as_json=as_json)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            output.fail(f"{logs[0]}: its content makes no sense: {error}", 3)
    now = at or datetime.now(UTC)
    used: dict[str, str] = {}
    called: set[tuple[str, str]] = set()
    folds: dict[str, Fold] = {}
    try:
        for sighting in sightings(logs, now, used, called):
            folds[sighting.fold] = counted(folds.get(sighting.fold), sighting, sighting.entry.time)
    except OSError as error:
        output.fail(f"{error.filename}: {error.strerror}", 3)
    base = (root or "").rstrip("/")
    patterns = (*globs, *(planes.patterns(root=root) if root else ()), *(base + path for path in used))
    facts = replace(
        verdict.vouched(Machine(globs=patterns, root=root or "/", live=False).gather(now=now)),
        used=used,
        called=tuple(called),
    )
    report(folds.values(), facts, now, as_json=as_json)


def report(folds: Collection[Fold], facts: Facts, now: datetime, *, as_json: bool) -> NoReturn:
    """Judge failures by facts, print the diagnoses, and exit with the code of the gravest."""
    judged = [diagnosis for fold in folds if (diagnosis := doctor.diagnose(fold, facts)) is not None]
    diagnoses = verdict.merge([*judged, *verdict.survey(facts, warn_within=SOON)])
    if as_json:
        output.as_json(diagnoses=[output.diagnosis(diagnosis) for diagnosis in diagnoses])
    else:
        tell_diagnoses(diagnoses, now)
        tell_faults(facts.faults)
        if not facts.stored:
            output.say("No certificate was read. Name certificates with --certs GLOB or --root DIR.", colour="yellow")
    unjudged = (
        bool(folds) and not facts.stored
    )  # failures were logged, and no certificate can tell whose fault they are
    raise SystemExit(max((EXIT[diagnosis.severity] for diagnosis in diagnoses), default=0) or (3 if unjudged else 0))


def tell_diagnoses(diagnoses: Sequence[Diagnosis], now: datetime) -> None:
    """Print diagnoses for a person."""
    for number, diagnosis in enumerate(diagnoses):
        if number:
            output.say()
        output.tell(diagnosis, now=now)
    if not diagnoses:
        output.say("Nothing is wrong, as far as these logs and certificates tell.", colour="green")


def opened(log: str) -> BinaryIO:
    """Open a log for reading bytes; "-" is stdin and .gz is unpacked."""
    if log == "-":
        return sys.stdin.buffer
    return gzip.open(log, "rb") if log.endswith(".gz") else Path(log).open("rb")  # type: ignore[return-value]  # GzipFile reads as one


@contextmanager
def named(log: str) -> Iterator[None]:
    """Have the error of a damaged .gz be an OSError that names the log."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise OSError(errno.EIO, str(error), log) from error


def sightings(
    logs: Iterable[str], now: datetime, used: dict[str, str], called: set[tuple[str, str]]
) -> Iterator[Sighting]:
    """Read logs in any format and yield their TLS failures. Raises OSError if a log cannot be read.

    The files and hosts that etcd names at its start go to `used` (file -> use) and `called` (use, host).
    """
    for log in logs:
        with opened(log) as lines, named(log):
            origin = Origin(path="" if log == "-" else log, trust=OPERATOR)
            for raw in lines:
                if not origin.container and UNDER_ETCD_MANAGER.search(raw):
                    origin = replace(origin, container="etcd-manager")
                if origin.started_at is None and (began := BEGAN.search(raw)):
                    with suppress(ValueError):
                        origin = replace(origin, started_at=inputs.utc(began[1].decode()))
                if b"cert" in raw and b"trusted-ca" in raw:
                    used |= {path: use for use, path in planes.paths_from_startup_line(raw.decode(errors="replace"))}
                if b"dvertise" in raw:
                    called |= set(planes.hosts_from_startup_line(raw.decode(errors="replace")))
                if not symptoms.interesting(raw):
                    continue
                sighting = symptoms.parse(entry_of(raw, origin=origin, now=now))
                if sighting is not None:
                    time = echo.written_at(sighting, now) or now
                    yield replace(sighting, entry=replace(sighting.entry, time=time))
