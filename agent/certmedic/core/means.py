"""How a program is restarted: by its container, its unit, or a command of the operator.

etcd-manager runs in a container; k3s and rke2 are systemd units. For any other program the operator names a unit or a command
(`remedy.means`), and must also state that it renews the certificates if that is not known.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from certmedic.core import planes
from certmedic.core.model import Container, Diagnosis, Facts, Stored, Trust
from certmedic.core.origin import KUBE_SYSTEM

# States in which a unit may be restarted. A unit that a person stopped stays stopped.
_ALIVE = ("running", "active", "activating", "reloading", "failed", "ready")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """The way to restart a renewer: a unit or a command, never both."""

    renewer: str  # as in Place
    group: str = ""  # etcd group; "" for all
    unit: str = ""
    command: tuple[str, ...] = ()
    renews: bool = False  # the operator states that it reissues the certificates


def means_for(watched: Sequence[Stored], means: Sequence[Means]) -> Means | None:
    """Return the operator's means for the renewer of these certificates, else its unit; None if its container is restarted."""
    if not watched:
        return None
    place = watched[0].place
    for configured in means:
        if configured.renewer == place.renewer and configured.group in ("", place.group):
            return configured
    unit = planes.unit_of(place.renewer)
    return Means(renewer=place.renewer, unit=unit) if unit else None


def targets(diagnosis: Diagnosis, facts: Facts, means: Means | None) -> list[Container]:
    """Return what to restart: the unit or command of `means`, else the running etcd-manager containers of the etcd group.

    These are static pods of kube-system. Their names alone prove nothing, because any tenant can name a pod etcd-manager.
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
        units = [unit for unit in facts.containers if unit.runtime == "systemd" and unit.id == means.unit]
        return [unit for unit in units if unit.state in _ALIVE]
    return [
        container
        for container in facts.containers
        if container.trust is Trust.SYSTEM
        and container.namespace == KUBE_SYSTEM
        and planes.runs_renewer(container, diagnosis.group)
        and container.state == "running"
    ]


def done_by(container: Container) -> str:
    """Return the action on a target, for a sentence."""
    if container.runtime == "command":
        return f"run {container.id}"
    return f"restart {container.pod or container.name}"
