"""Verification of an action: a later NotAfter, on disk and in a handshake. An exit code proves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from certmedic.core.examine import examine, stamp
from certmedic.core.model import Action, Certificate, Container, Diagnosis, Facts, RemedyKind, Stored

# The kubelet waits up to 5 minutes before it starts a container again that ended several times (FIELD 6).
BACK_OFF = timedelta(minutes=6)
BACK_OFF_ENDS = "the kubelet starts it within 5 minutes; `systemctl restart kubelet` starts it now"
_RUNNING = (
    "running",
    "active",
    "reloading",
    "ready",
)  # states of a container or unit; a `ready` unit has run to its end


def files_of(diagnosis: Diagnosis) -> tuple[str, ...]:
    """Return the files that a diagnosis names."""
    return tuple(dict.fromkeys(c.path for c in diagnosis.certificates if c.path))


def leaves(facts: Facts) -> dict[str, Stored]:
    """Return file -> its leaf. The file of a leaf may also hold CAs: after it a chain, in a kubeconfig before it the cluster's."""
    return {s.certificate.path: s for s in reversed(facts.stored) if not s.certificate.is_ca}


def is_another(before: Container, now: Container) -> bool:
    """Whether a container was replaced or started since `before`."""
    return (now.id, now.started_at, now.invocation) != (before.id, before.started_at, before.invocation)


def successors(before: Container, facts: Facts) -> list[Container]:
    """Return the unit of the same name, or the running containers of the same name in the same pod."""
    if before.runtime == "systemd":
        # The invocation alone shows a start, so a unit that failed again counts. A unit that is stopping does not count yet.
        same = [unit for unit in facts.containers if unit.runtime == "systemd" and unit.id == before.id]
        return [unit for unit in same if unit.state not in ("deactivating", "inactive")]
    return [
        container
        for container in facts.containers
        if (container.pod, container.container_name) == (before.pod, before.container_name)
        and container.state == "running"
    ]


def shows_restarts(before: Container) -> bool:
    """Whether a start shows afterwards. That of a command does not, nor that of a unit that never ran before."""
    return before.runtime != "command" and (before.runtime != "systemd" or bool(before.invocation))


def moved(watched: Sequence[tuple[str, datetime]], facts: Facts) -> bool:
    """Whether every file has a later NotAfter than before, and has not expired."""
    ends = {path: stored.certificate.not_after for path, stored in leaves(facts).items()}
    return all(path in ends and ends[path] > max(before, facts.at) for path, before in watched)


def is_stopped(before: Container, now: Container) -> bool:
    """Whether a container that should have been restarted exists and does not run."""
    return now.id == before.id and now.state in ("exited", "created")


def _is_old(shown: Certificate, stored: Stored, before: datetime) -> bool:
    """Whether a served certificate is the one that a file held before: same subject, and its NotAfter of then."""
    return (shown.subject, shown.not_after) == (stored.certificate.subject, before)


def why_not_running(before: Container, facts: Facts) -> str:
    """Return why it is not known that the restarted program runs again, in a sentence; "" if it does."""
    if not shows_restarts(before):
        return ""
    running = [container for container in successors(before, facts) if container.state in _RUNNING]
    if not running:
        later = f"; {BACK_OFF_ENDS}" if awaits_kubelet(before, facts) else ""
        return f"{before.name} does not run, or cannot be seen{later}"
    return "" if is_another(before, running[0]) else f"{before.name} still runs as before and was not restarted"


def awaits_kubelet(before: Container | None, facts: Facts) -> bool:
    """Whether a container of a pod was stopped, and the kubelet has not started the next one yet."""
    if before is None or not before.pod or before.runtime not in ("docker", "containerd"):
        return False
    return not successors(before, facts)


def may_start_late(action: Action, began: datetime, facts: Facts) -> bool:
    """Whether the kubelet may still start the container of an action that began then.

    A manager whose files were moved aside, and that has started and ended since, has failed: its files are put back in time.
    """
    before = action.container
    if before is None or not awaits_kubelet(before, facts):
        return False
    return action.kind is not RemedyKind.REISSUE_AND_RESTART or not any(
        (other.pod, other.container_name) == (before.pod, before.container_name)
        and other.started_at is not None
        and other.started_at >= began
        for other in facts.containers
    )


def started_since(before: Container | None, moment: datetime, facts: Facts) -> datetime:
    """Return when the restarted container started; `moment` if that is earlier or not known."""
    if before is None or before.runtime not in ("docker", "containerd"):
        return moment
    starts = [now.started_at for now in successors(before, facts) if is_another(before, now) and now.started_at]
    return max([moment, *starts])


def cure_took(
    watched: Sequence[tuple[str, datetime]], facts: Facts, *, awaited: frozenset[int] = frozenset()
) -> tuple[bool, str]:
    """Whether each NotAfter moved into the future and listeners serve the new certificates; and why.

    `awaited`: ports that do not answer yet, of a program that reads its files when it starts.
    """
    reasons: list[str] = []
    fresh: dict[str, Certificate] = {}
    known = leaves(facts)
    listening: set[str] = set()  # of those, the certificates that a listener serves
    for path, before in watched:
        stored = known.get(path)
        if stored is None:
            return False, f"{path} cannot be read"
        if stored.certificate.not_after <= before or stored.certificate.not_after <= facts.at:
            return False, f"{path} was not renewed: its expiry is still {stamp(stored.certificate.not_after)}"
        finding = examine(stored, facts)
        if finding is not None:
            return False, finding.evidence
        # etcd before 3.2.19 serves the certificate that it loaded at startup to clients that send no SNI.
        for seen in facts.served:
            if (
                seen.port in stored.place.ports
                and seen.certificate is not None
                and _is_old(seen.certificate, stored, before)
            ):
                return (
                    False,
                    f"{seen.address}:{seen.port} still serves the certificate that expires {stamp(before)} to some clients",
                )
        fresh[stored.certificate.fingerprint] = stored.certificate
        if not awaited.issuperset(stored.place.ports):
            listening.add(stored.certificate.fingerprint)
        reasons.append(f"{path} is now valid until {stamp(stored.certificate.not_after)}")
    served = [seen for seen in facts.served if seen.certificate is not None and seen.certificate.fingerprint in fresh]
    shown = {seen.certificate.fingerprint for seen in served if seen.certificate is not None}
    if not listening <= shown:
        return False, "the new certificate is on disk, but no listener serves it yet"
    ports = ", ".join(dict.fromkeys(f"{seen.address}:{seen.port}" for seen in served))
    return True, "; ".join(reasons) + (
        f"; served on {ports}" if ports else "; it is a client certificate, which no listener serves"
    )
