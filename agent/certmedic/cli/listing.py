"""The table of certificates, and the files that could not be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from certmedic.cli import output
from certmedic.core import certificates
from certmedic.core.model import Certificate, Facts, FileFault, Stored
from certmedic.core.text import ago, span

UNREADABLE = "unreadable"  # the reason of a fault
REPLACED = "replaced"  # the status of an old copy of a CA, beside a valid one with the same key
ROOMY = 100  # columns; a narrower terminal shows no time of day, which stands in `show` and `--json`


def state_of_fault(fault: FileFault) -> str:
    """Return the status of a file without a certificate: only root can read it, or its program cannot use it either."""
    return fault.reason if fault.reason == UNREADABLE else "unusable"


def served(stored: Stored, facts: Facts) -> str:
    """Return the listeners that serve a certificate."""
    return ", ".join(
        f"{listener.address}:{listener.port}"
        for listener in facts.served
        if listener.certificate and listener.certificate.fingerprint == stored.certificate.fingerprint
    )


def tell_certificates(rows: Sequence[tuple[Stored, str]], facts: Facts, now: datetime, *, wide: bool) -> None:
    """Print the table of certificates."""
    if not rows:
        output.say("No certificate found in the usual places of a master. Name other places in certificates.paths.")
        return
    day = "%Y-%m-%d" if 0 < output.columns() < ROOMY else "%Y-%m-%d %H:%M"
    cells: dict[str, Callable[[Stored, str], str]] = {
        "FILE": lambda stored, _: stored.certificate.path,
        "SUBJECT": lambda stored, _: stored.certificate.subject_cn or stored.certificate.subject,
        "ISSUER": lambda stored, _: stored.certificate.issuer_cn or stored.certificate.issuer,
        "EXPIRES": lambda stored, _: f"{stored.certificate.not_after:{day}}",
        "EXPIRES IN": lambda stored, _: residual(certificates.residual(stored.certificate, now)),
        "LEFT": lambda stored, _: output.bar(left_of(stored.certificate, now)),
        "STATUS": lambda _, state: state,
        "USED AS": lambda stored, _: stored.place.use,
        "RENEWED BY": lambda stored, _: "a person (CA)" if stored.place.use == "ca" else stored.place.renewer,
        "SERVED": lambda stored, _: served(stored, facts),
    }
    hidden = (*(() if output.columns() else ("LEFT",)), *(() if wide else ("ISSUER", "USED AS", "SERVED")))
    heads = [head for head in cells if head not in hidden]
    output.table(
        heads,
        [[cells[head](*row) for head in heads] for row in rows],
        stacked=[head for head in ("FILE", "ISSUER", "USED AS", "SERVED") if head in heads],
        cuts="SUBJECT",
        colours=[output.COLOURS.get(state, None if state == "ok" else "red") for _, state in rows],
    )


def left_of(certificate: Certificate, now: datetime) -> float:
    """Return the share of its lifetime that a certificate still has, from 0 to 1."""
    life = certificate.not_after - certificate.not_before
    return min(max((certificate.not_after - now) / life, 0.0), 1.0) if life > timedelta() else 0.0


def residual(left: timedelta) -> str:
    """Return the time until expiry, or since."""
    return ago(-left) if left < timedelta() else span(left)


def tell_faults(faults: Iterable[FileFault]) -> None:
    """Print the files that could not be used."""
    for fault in faults:
        output.say(f"could not use {fault.path}: {fault.reason}: {fault.detail}", colour="yellow")
