"""A log that cannot be read any more is a fault too: nobody hears of what is written there.

It is an incident like any other, with the cause `blind`, so that it is told, reminded of, silenced, routed and resolved by the
same road. No certificate is at fault, so nothing is ever done about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from certmedic.core.command import fixed
from certmedic.core.model import Cause, Confidence, Diagnosis, Helps, Remedy, RemedyKind, Suspect
from certmedic.core.text import stamp

# An ordinary restart of a daemon is over by then. With the wait for what breaks together, people are told before systemd, whose
# watchdog goes unfed while a source that must be read is blind, restarts the agent.
GRACE = timedelta(seconds=90)
STEADY = timedelta(minutes=5)  # read without a break for so long, it is over: one that comes and goes is told of once

# Name in messages, what is not seen while a source is blind, and the command that shows why. A source that is not here is
# missed by nobody: the inventory also finds changed certificate files.
SOURCES: Mapping[str, tuple[str, str, str]] = {
    "journal": (
        "the journal",
        "what the kubelet, the container runtime and every other service on this machine log",
        "systemctl status systemd-journald; sudo journalctl -n 3",
    ),
    "docker": (
        "docker",
        "what containers log, etcd and the API server among them",
        "systemctl status docker; sudo docker ps",
    ),
    "pods": ("the pods' logs", "what pods log, etcd and the API server among them", "sudo ls -l /var/log/pods"),
    "files": ("log files", "what is written to the files of watch.files", "sudo ls -l /var/log; df -h /var/log"),
}


def key(source: str) -> str:
    """Return what the incident of a blind source is known by."""
    return f"blind|{source}"


def diagnose(source: str, reason: str, since: datetime) -> Diagnosis:
    """Return what it means that one of `SOURCES` has been blind since then, for this reason."""
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
            why="What cures it depends on the reason; certmedic tries again by itself.",
            commands=fixed(command),
        ),
        since=since,
        source=source,
    )


def end(source: str, reads_since: datetime | None, now: datetime, *, announced: bool) -> str | None:
    """Return what ended the incident of a blind source, in a sentence; None while it lasts.

    `reads_since`: None while it is blind. If people were told, the source has to read for `STEADY` without a break.
    """
    if reads_since is None or (announced and now - reads_since < STEADY):
        return None
    return f"{source} is read again since {stamp(reads_since)}, from where it had stopped"
