"""The commands that look and judge, and change nothing: `explain`, `diagnose`, `certs`."""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import click

from certmedic.cli import show
from certmedic.config import Config, policy_of
from certmedic.core import certificates, planes, symptoms, verdict
from certmedic.core import diagnose as doctor
from certmedic.core.examine import examine, stamp
from certmedic.core.model import Diagnosis, Fold, LogEntry, Origin, Severity, Sighting, Stored
from certmedic.core.origin import OPERATOR
from certmedic.core.rehearse import rehearse
from certmedic.edge.facts import Machine

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
UNDER_ETCD_MANAGER = re.compile(rb"etcd-manager|certs\.go:\d+\] generating certificate for|etcdserver\.go:\d+\] ")
BEGAN = re.compile(rb"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)")
EXIT = {Severity.CRITICAL: 2, Severity.WARNING: 1, Severity.INFO: 0}


def moment(_: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Read a time of the command line: RFC 3339, or a date; without a zone it is UTC."""
    if value is None:
        return None
    try:
        told = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a time; write 2027-03-01 or 2027-03-01T04:00:00Z", param=param
        ) from None
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def entry(line: str, *, origin: Origin | None = None, now: datetime) -> LogEntry:
    """Return one line that a person hands over as an entry."""
    return LogEntry(stream="-", position="", time=now, text=line, origin=origin or Origin(trust=OPERATOR))


# ---------------------------------------------------------------- explain


@click.command()
@JSON
@click.argument("lines", nargs=-1, required=True, metavar="LINE... | -")
def explain(lines: tuple[str, ...], *, as_json: bool) -> None:
    """Say what a log line means; "-" reads lines from stdin."""
    now = datetime.now(UTC)
    if lines == ("-",):
        for raw in sys.stdin.buffer:
            answer = symptoms.explanation(symptoms.parse(entry(raw.decode(errors="replace").rstrip("\r\n"), now=now)))
            if as_json:
                show.json_line(answer)
            else:
                tell_explanation(answer)
        return
    for line in lines:
        answer = symptoms.explanation(symptoms.parse(entry(line, now=now)))
        if as_json:
            show.json_line(answer)
        else:
            tell_explanation(answer)


def tell_explanation(answer: dict[str, Any]) -> None:
    """Print an explanation for a person."""
    if not answer["failure"]:
        show.say("No TLS certificate failure in this line.")
        return
    show.say(str(answer["meaning"]), bold=True)
    show.say(f"  symptom      {answer['fault']}")
    show.say(f"  rejected by  {answer['rejected_by']}    suspect {answer['suspect']}    logged as {answer['role']}")
    for name, value in answer["fields"].items():
        show.say(f"  {name:<12} {value}")


# ---------------------------------------------------------------- diagnose


@click.command()
@JSON
@click.option("--at", callback=moment, metavar="TIME", help='What time is "now"; default: now.')
@click.option("--certs", "globs", multiple=True, metavar="GLOB", help="Certificates to look at; may be repeated.")
@click.option(
    "--root", type=click.Path(exists=True, file_okay=False), help="A copy of a master's files, read as if it were /."
)
@click.argument("logs", nargs=-1, required=True, metavar="LOG... | -")
def diagnose(
    *, logs: tuple[str, ...], as_json: bool, at: datetime | None, globs: tuple[str, ...], root: str | None
) -> None:
    """Judge saved logs against certificates, off line: whose, which file, does a restart help.

    Exit code: 0 nothing is wrong, 1 warning, 2 critical, 3 could not tell.
    """
    now = at or datetime.now(UTC)
    used: dict[str, str] = {}
    called: set[tuple[str, str]] = set()
    try:
        folds = list(folded(sightings(logs, now, used, called)))
    except OSError as error:
        show.fail(f"{error.filename}: {error.strerror}", 3)
    base = (root or "").rstrip("/")
    patterns = (*globs, *(planes.patterns(root=root) if root else ()), *(base + path for path in used))
    facts = replace(
        verdict.vouched(Machine(globs=patterns, root=root or "/", live=False).gather(now=now)),
        used=used,
        called=tuple(called),
    )
    found = [diagnosis for fold in folds if (diagnosis := doctor.diagnose(fold, facts)) is not None]
    diagnoses = verdict.merge([*found, *verdict.survey(facts, warn_within=timedelta())])
    if as_json:
        show.as_json(diagnoses=[show.diagnosis(one) for one in diagnoses])
    else:
        tell_diagnoses(diagnoses, now)
        for fault in facts.faults:
            show.say(f"could not use {fault.path}: {fault.reason}: {fault.detail}")
    raise SystemExit(max((EXIT[one.severity] for one in diagnoses), default=0))


def tell_diagnoses(diagnoses: tuple[Diagnosis, ...], now: datetime) -> None:
    """Print diagnoses for a person."""
    for number, one in enumerate(diagnoses):
        if number:
            show.say()
        show.tell(one, now=now)
    if not diagnoses:
        show.say("Nothing is wrong, as far as these logs and certificates tell.", colour="green")


def opened(log: str) -> BinaryIO:
    """Open a log for reading bytes; "-" is stdin and .gz is unpacked."""
    if log == "-":
        return sys.stdin.buffer
    return gzip.open(log, "rb") if log.endswith(".gz") else Path(log).open("rb")  # type: ignore[return-value]  # GzipFile reads as one


def sightings(
    logs: Iterable[str], now: datetime, used: dict[str, str], called: set[tuple[str, str]]
) -> Iterator[Sighting]:
    """Read logs in any shape and yield what was seen.

    What etcd says at its start goes to `used` (file -> use) and `called` (use, host).

    Raises OSError where a log cannot be read.
    """
    for log in logs:
        with opened(log) as lines:
            origin = Origin(path="" if log == "-" else log, trust=OPERATOR)
            for raw in lines:
                if not origin.container and UNDER_ETCD_MANAGER.search(raw):
                    origin = replace(origin, container="etcd-manager")
                if origin.started_at is None and (began := BEGAN.search(raw)):
                    origin = replace(origin, started_at=moment_of(began[1].decode()))
                if b"cert" in raw and b"trusted-ca" in raw:
                    used |= {path: use for use, path in planes.paths_from_startup_line(raw.decode(errors="replace"))}
                if b"dvertise" in raw:
                    called |= set(planes.hosts_from_startup_line(raw.decode(errors="replace")))
                if not symptoms.interesting(raw):
                    continue
                sighting = symptoms.parse(entry(raw.decode(errors="replace").rstrip("\r\n"), origin=origin, now=now))
                if sighting is not None:
                    yield sighting


def moment_of(text: str) -> datetime:
    """Return the time that a line begins with."""
    told = datetime.fromisoformat(text)
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def folded(seen: Iterable[Sighting]) -> Iterator[Fold]:
    """Yield equal sightings as one, in the order of their first."""
    together: dict[str, list[Sighting]] = {}
    for sighting in seen:
        together.setdefault(sighting.fold, []).append(sighting)
    for same in together.values():
        times = [one.entry.time for one in same]
        yield Fold(sighting=same[0], count=len(same), first_seen=min(times), last_seen=max(times))


# ---------------------------------------------------------------- certs


def eyes(config: Config, root: str | None) -> Machine:
    """Return the eyes of this machine, or of a copy of another's files."""
    base = (root or "").rstrip("/")
    paths = (base + path for path in config.certificates.paths)
    globs = (*planes.patterns(config.certificates.planes, root=root or "/"), *paths)
    return Machine(globs=globs, root=root or "/", live=root is None)


@click.command()
@JSON
@click.option("--wide", is_flag=True, help="Issuer, use and where it is served, too.")
@click.option(
    "--check", is_flag=True, help="Exit as a Nagios check: 0 good, 1 some expire soon, 2 some are bad, 3 none found."
)
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Configuration file.")
@click.option("--at", callback=moment, metavar="TIME", help='What time is "now"; default: now.')
@click.option(
    "--root", type=click.Path(exists=True, file_okay=False), help="A copy of a master's files, read as if it were /."
)
def certs(  # noqa: PLR0913 - each is an option of the command
    *, as_json: bool, wide: bool, check: bool, config_path: Path | None, at: datetime | None, root: str | None
) -> None:
    """List every certificate on this machine: file, subject, when it expires, who renews it."""
    config = show.config(config_path)
    now = at or datetime.now(UTC)
    facts = eyes(config, root).gather(now=now)
    told = config.certificates

    def status(stored: Stored) -> str:
        found = examine(stored, facts)
        return (
            str(found.cause)
            if found is not None
            else certificates.status(
                stored.certificate, now, max(told.plane.get(stored.place.plane, told.warn_days), default=0)
            )
        )

    def served(stored: Stored) -> str:
        where = [
            f"{s.address}:{s.port}"
            for s in facts.served
            if s.certificate and s.certificate.fingerprint == stored.certificate.fingerprint
        ]
        return ", ".join(where)

    rows = sorted(((stored, status(stored)) for stored in facts.stored), key=lambda row: row[0].certificate.not_after)
    if as_json:
        show.as_json(
            certificates=[
                {
                    **show.certificate(stored.certificate),
                    "residual_seconds": int(certificates.residual(stored.certificate, now).total_seconds()),
                    "status": state,
                    "plane": stored.place.plane,
                    "group": stored.place.group,
                    "used_as": stored.place.use,
                    "renewed_by": stored.place.renewer,
                    "served": served(stored),
                }
                for stored, state in rows
            ],
            faults=[{"path": fault.path, "reason": fault.reason, "detail": fault.detail} for fault in facts.faults],
        )
    else:
        tell_certificates(rows, served, now, wide=wide)
        for fault in facts.faults:
            show.say(f"could not use {fault.path}: {fault.reason}: {fault.detail}", colour="yellow")
    if check:
        states = {state for _, state in rows}
        raise SystemExit(3 if not rows else 2 if states - {"ok", "expiring"} else 1 if "expiring" in states else 0)


def tell_certificates(rows: list[tuple[Stored, str]], served: Any, now: datetime, *, wide: bool) -> None:
    """Print the table of certificates, those that end first on top."""
    if not rows:
        show.say("No certificates found where a master keeps them; certificates.paths names further places.")
        return
    more = ("ISSUER", "USED AS", "SERVED")
    heads = ["FILE", "SUBJECT", "ISSUER", "EXPIRES", "RESIDUAL", "STATUS", "USED AS", "RENEWED BY", "SERVED"]
    lines = []
    for stored, state in rows:
        one = stored.certificate
        left = certificates.residual(one, now).total_seconds()
        line = [
            one.path,
            one.subject_cn or one.subject,
            one.issuer_cn or one.issuer,
            one.not_after.strftime("%Y-%m-%d %H:%M"),
            show.span(left) if left >= 0 else f"{show.span(left)} ago",
            state,
            stored.place.use,
            stored.place.renewer,
            served(stored),
        ]
        lines.append([cell for head, cell in zip(heads, line, strict=True) if wide or head not in more])
    heads = [head for head in heads if wide or head not in more]
    show.table(
        heads,
        lines,
        stacked=True,
        colours=[show.COLOURS.get(state, None if state == "ok" else "red") for _, state in rows],
    )


# ---------------------------------------------------------------- simulate


@click.command()
@JSON
@click.option("--at", "until", required=True, callback=moment, metavar="TIME", help="How far to look ahead.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Configuration file.")
@click.option(
    "--root", type=click.Path(exists=True, file_okay=False), help="A copy of a master's files, read as if it were /."
)
def simulate(*, until: datetime, as_json: bool, config_path: Path | None, root: str | None) -> None:
    """Say which certificates break until then if nobody renews them, in what order, what is told and what done."""
    config = show.config(config_path)
    now = datetime.now(UTC)
    if until <= now:
        show.fail(f"--at {until:%Y-%m-%d} is not in the future", 2)
    facts = eyes(config, root).gather(now=now)
    facts = verdict.vouched(facts) if root else facts
    policy = policy_of(config)
    told = config.certificates
    moments = rehearse(facts, until, policy=policy, warn_days=told.warn_days, of_plane=told.plane)
    if as_json:
        show.as_json(
            moments=[
                {"at": show.when(m.at), "diagnosis": show.diagnosis(m.diagnosis), "decision": show.decision(m.decision)}
                for m in moments
            ]
        )
        return
    for m in moments:
        if m.decision is None:
            left = show.span((m.diagnosis.since - m.at).total_seconds()) if m.diagnosis.since else "soon"
            show.say(f"{stamp(m.at)}  told: expires in {left}:", colour="yellow")
            tell_files(m.diagnosis)
        else:
            show.say(f"{stamp(m.at)}  {m.diagnosis.cause}:", colour="red", bold=True)
            tell_files(m.diagnosis)
            show.item(f"{'':25}", m.diagnosis.effect)
            show.item(f"{'':25}", f"restart {m.diagnosis.remedy.helps}; {m.decision.reason}")
    if not moments:
        show.say(f"Nothing breaks until {stamp(until)}.", colour="green")


def tell_files(diagnosis: Diagnosis) -> None:
    """Print the files of a diagnosis, each on a line of its own."""
    for path in dict.fromkeys(c.path for c in diagnosis.certificates):
        show.say(f"  {path}")


COMMANDS = (explain, diagnose, certs, simulate)
