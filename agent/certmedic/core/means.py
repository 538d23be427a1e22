"""By which means a program is restarted, and what stands for it on this machine.

etcd-manager runs in a container, k3s and rke2 are units of systemd. For what runs otherwise the operator names a unit or a command
(`remedy.means`); where nothing is known of what its start does to a certificate, the operator's word that it renews is needed too.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from certmedic.core import planes
from certmedic.core.model import Container, Diagnosis, Facts, Gate, Stored, Trust
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
    if not diagnosis.group:
        return []
    prefix = planes.etcd_manager_pod_prefix(diagnosis.group)
    return [
        container
        for container in facts.containers
        if container.trust is Trust.SYSTEM
        and container.namespace == KUBE_SYSTEM
        and container.pod.startswith(prefix)
        and container.container_name == "etcd-manager"
        and container.state == "running"
    ]


def target(containers: Sequence[Container], means: Means | None) -> Gate:
    """There is exactly one thing to restart."""
    if len(containers) == 1:
        return Gate(name="target", passed=True, why=containers[0].id if means else containers[0].name)
    if not containers and means is not None:
        why = f"the unit {means.unit} is not there, or a person stopped it (`systemctl status {means.unit}`); opens when it runs"
        return Gate(name="target", passed=False, why=why)
    if not containers:
        why = "no running etcd-manager container of this group was found; opens when one runs, and its runtime can be asked"
        return Gate(name="target", passed=False, why=why)
    names = ", ".join(container.name for container in containers)
    return Gate(
        name="target",
        passed=False,
        why=f"more than one container could be meant: {names}; opens when one of them runs alone",
    )


def version(containers: Sequence[Container], means: Means | None, *, aside: bool) -> Gate:
    """The program is of a version whose start reissues, or one that does once the file is moved `aside`."""
    if means is not None:
        return _version_of(means)
    if not containers:
        return Gate(
            name="version",
            passed=False,
            why="no running etcd-manager container was found, so its version is unknown; opens when one runs",
        )
    found = planes.manager_version(containers[0].image)
    if found is None:
        return Gate(
            name="version",
            passed=False,
            why=f"the image {containers[0].image} does not tell its etcd-manager version; opens with a tag 3.0.YYYYMMDD",
        )
    if found < planes.REISSUES_SINCE and aside:
        why = f"etcd-manager 3.0.{found} keeps an expired certificate, and issues one that is missing"
        return Gate(name="version", passed=True, why=why)
    if found < planes.REISSUES_SINCE:
        return Gate(
            name="version",
            passed=False,
            why=f"etcd-manager 3.0.{found} keeps an expired certificate over a restart; opens with 3.0.{planes.REISSUES_SINCE}, the first that reissues",
        )
    return Gate(name="version", passed=True, why=f"etcd-manager 3.0.{found} reissues at every start")


def _version_of(means: Means) -> Gate:
    if means.renews:
        return Gate(name="version", passed=True, why="the operator says that it reissues (remedy.means)")
    if planes.unit_of(means.renewer):
        return Gate(name="version", passed=True, why=f"{means.renewer} of every version reissues at its start")
    why = f"what {means.unit or means.command[0]} does to a certificate is not known; opens with `renews = true` beside it in remedy.means"
    return Gate(name="version", passed=False, why=why)


def done_by(container: Container) -> str:
    """Return what would be done to a target, for a sentence."""
    if container.runtime == "command":
        return f"run {container.id}"
    return f"restart {container.pod or container.name}"
