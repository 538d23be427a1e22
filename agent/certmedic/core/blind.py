"""A log that cannot be read is a fault too: certmedic misses the failures that it reports.

It is an incident with the cause `blind`, so messages, reminders, silences and routes work as for any other. No certificate is at
fault, so no action is ever taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from certmedic.core.command import fixed
from certmedic.core.model import Cause, Confidence, Diagnosis, Helps, Remedy, RemedyKind, Suspect
from certmedic.core.text import stamp

# Longer than the ordinary restart of a daemon. Even with the wait for faults that belong together, the message leaves before systemd's
# watchdog, which is not fed while a required source is blind, restarts the agent.
GRACE = timedelta(seconds=90)
STEADY = timedelta(minutes=5)  # without an outage until an incident ends, so that a flapping source is reported once

# Source -> its name in messages, what certmedic misses while it is blind, and the command that shows why. The watch on certificate
# files is not here, because the inventory finds changed files too.
SOURCES: Mapping[str, tuple[str, str, str]] = {
    "journal": (
        "the journal",
        "the logs of the kubelet, the container runtime and every other service on this machine",
        "systemctl status systemd-journald; sudo journalctl -n 3",
    ),
    "docker": (
        "docker",
        "the logs of containers, etcd and the API server among them",
        "systemctl status docker; sudo docker ps",
    ),
    "pods": ("the pods' logs", "the logs of pods, etcd and the API server among them", "sudo ls -l /var/log/pods"),
    "files": ("log files", "the files of watch.files", "sudo ls -l /var/log; df -h /var/log"),
}


def key(source: str) -> str:
    """Return the key of the incident of a blind source."""
    return f"blind|{source}"


def diagnose(source: str, reason: str, since: datetime) -> Diagnosis:
    """Return the diagnosis that one of `SOURCES` has been blind since then."""
    _, unseen, command = SOURCES[source]
    return Diagnosis(
        key=key(source),
        cause=Cause.BLIND,
        suspect=Suspect.OWN,
        confidence=Confidence.PROVEN,
        certificates=(),
        evidence=(reason,),
        effect=f"certmedic does not see {unseen}.",
        remedy=Remedy(
            kind=RemedyKind.MANUAL,
            helps=Helps.UNKNOWN,
            why="The fix depends on the reason. certmedic keeps trying to read it.",
            commands=fixed(command),
        ),
        since=since,
        source=source,
    )


def end(source: str, reads_since: datetime | None, now: datetime, *, announced: bool) -> str | None:
    """Return what ended the incident of a blind source, in a sentence; None while it lasts.

    `reads_since`: None while it is blind. If the incident was reported, the source has to read for `STEADY` without a break.
    """
    if reads_since is None or (announced and now - reads_since < STEADY):
        return None
    return f"{source} is read again since {stamp(reads_since)}, from where it had stopped"
