"""By which means a program is restarted, and what stands for it on this machine.

etcd-manager runs in a container, k3s and rke2 are units of systemd. For what runs otherwise the operator names a unit or a command
(`remedy.means`); where nothing is known of what its start does to a certificate, the operator's word that it renews is needed too.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from certmedic.core import planes
from certmedic.core.model import Container, Diagnosis, Facts, Stored, Trust
from certmedic.core.origin import KUBE_SYSTEM

# States of a unit in which a restart changes nothing that a person wanted: one that was stopped stays stopped.
_ALIVE = ("running", "active", "activating", "reloading", "failed", "ready")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """How whatever renews some certificates is restarted: by a unit or by a command, one of the two."""

    renewer: str  # as in Place
    group: str = ""  # etcd group; "" for every one
    unit: str = ""
    command: tuple[str, ...] = ()
    renews: bool = False  # the operator's word that it issues the certificates anew


def means_for(watched: Sequence[Stored], means: Sequence[Means]) -> Means | None:
    """Return the means for the owner of these certificates: the operator's, else the unit that is known; None: its container."""
    if not watched:
        return None
    place = watched[0].place
    for one in means:
        if one.renewer == place.renewer and one.group in ("", place.group):
            return one
    unit = planes.unit_of(place.renewer)
    return Means(renewer=place.renewer, unit=unit) if unit else None


def targets(diagnosis: Diagnosis, facts: Facts, means: Means | None) -> list[Container]:
    """Return what would be restarted: a unit or command as told, else the running etcd-manager containers of the diagnosis' group.

    Those are static pods of kube-system. The name alone proves nothing: any tenant can name a pod like an etcd-manager.
    """
    if means is not None and means.command:
        return [
            Container(
                id=shlex.join(means.command),
                name=means.renewer,
                image="",
                state="ready",
                runtime="command",
                trust=Trust.SYSTEM,
            )
        ]
    if means is not None:
        named = [one for one in facts.containers if one.runtime == "systemd" and one.id == means.unit]
        return [one for one in named if one.state in _ALIVE]
    return [
        container
        for container in facts.containers
        if container.trust is Trust.SYSTEM
        and container.namespace == KUBE_SYSTEM
        and planes.runs_renewer(container, diagnosis.group)
        and container.state == "running"
    ]


def done_by(container: Container) -> str:
    """Return what would be done to a target, for a sentence."""
    if container.runtime == "command":
        return f"run {container.id}"
    return f"restart {container.pod or container.name}"
