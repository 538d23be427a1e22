"""Did the cure take? An exit code proves nothing: a NotAfter that moved does, on disk and in a handshake."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from certmedic.core.examine import examine, stamp
from certmedic.core.model import Certificate, Container, Diagnosis, Facts, Stored

_RUNNING = ("running", "active", "reloading", "ready")  # of a container, or of a unit; `ready` has run to its end


def files_of(diagnosis: Diagnosis) -> tuple[str, ...]:
    """Return the files that a diagnosis names."""
    return tuple(dict.fromkeys(c.path for c in diagnosis.certificates if c.path))


def is_another(before: Container, now: Container) -> bool:
    """Whether a container is another than before, or was started since."""
    return (now.id, now.started_at, now.invocation) != (before.id, before.started_at, before.invocation)


def successors(before: Container, facts: Facts) -> list[Container]:
    """Return what runs now where something ran before: the same unit, or the same container of the same pod."""
    if before.runtime == "systemd":
        # A start is told by its invocation alone, so that one that fails again is found too; what just stops is in the middle of it.
        same = [one for one in facts.containers if one.runtime == "systemd" and one.id == before.id]
        return [one for one in same if one.state not in ("deactivating", "inactive")]
    return [
        one
        for one in facts.containers
        if (one.pod, one.container_name) == (before.pod, before.container_name) and one.state == "running"
    ]


def tells_its_starts(before: Container) -> bool:
    """Whether it can be seen afterwards that something was started: not of a command, nor of a unit that had not run before."""
    return before.runtime != "command" and (before.runtime != "systemd" or bool(before.invocation))


def moved(watched: Sequence[tuple[str, datetime]], facts: Facts) -> bool:
    """Whether every file ends later than before, and has not ended."""
    ends = {stored.certificate.path: stored.certificate.not_after for stored in facts.stored}
    return all(path in ends and ends[path] > max(before, facts.at) for path, before in watched)


def is_stopped(before: Container, now: Container) -> bool:
    """Whether a container that was to be restarted is there and does not run."""
    return now.id == before.id and now.state in ("exited", "created")


def _is_old(shown: Certificate, stored: Stored, before: datetime) -> bool:
    """Whether what is shown is what a file held before: the same subject, and the end that it had then."""
    return (shown.subject, shown.not_after) == (stored.certificate.subject, before)


def runs_anew(before: Container, facts: Facts) -> str:
    """Return why what was restarted is not known to run anew, in a sentence; "" where it does."""
    if not tells_its_starts(before):
        return ""
    found = [one for one in successors(before, facts) if one.state in _RUNNING]
    if not found:
        return f"{before.name} does not run, or cannot be seen to"
    return "" if is_another(before, found[0]) else f"{before.name} still runs as before, and was not started anew"


def cure_took(watched: Sequence[tuple[str, datetime]], facts: Facts) -> tuple[bool, str]:
    """Whether each file's NotAfter moved into the future and the new certificates are the ones served, and why."""
    told: list[str] = []
    fresh: dict[str, Certificate] = {}
    listening: set[str] = set()  # of those, the ones that are served somewhere; a client's certificate is not
    for path, before in watched:
        stored = next((s for s in facts.stored if s.certificate.path == path), None)
        if stored is None:
            return False, f"{path} cannot be read"
        if stored.certificate.not_after <= before or stored.certificate.not_after <= facts.at:
            return False, f"{path} still ends {stamp(stored.certificate.not_after)}"
        found = examine(stored, facts)
        if found is not None:
            return False, found.said
        # Not every program shows the same to all: an etcd before 3.2.19 has what it read at its start for who sends no name.
        for seen in facts.served:
            if (
                seen.port in stored.place.ports
                and seen.certificate is not None
                and _is_old(seen.certificate, stored, before)
            ):
                return (
                    False,
                    f"{seen.address}:{seen.port} still shows the one that ends {stamp(before)} to some callers",
                )
        fresh[stored.certificate.fingerprint] = stored.certificate
        if stored.place.ports:
            listening.add(stored.certificate.fingerprint)
        told.append(f"{path} is now valid until {stamp(stored.certificate.not_after)}")
    served = [seen for seen in facts.served if seen.certificate is not None and seen.certificate.fingerprint in fresh]
    shown = {seen.certificate.fingerprint for seen in served if seen.certificate is not None}
    if not listening <= shown:
        return False, "the new certificate is on disk, but was not yet seen served"
    ports = ", ".join(dict.fromkeys(f"{seen.address}:{seen.port}" for seen in served))
    return True, "; ".join(told) + (f"; served on {ports}" if ports else "; it is a client's, so nothing serves it")
