"""The gates about what would be restarted: there is exactly one such program, of a version whose start reissues."""

from __future__ import annotations

from collections.abc import Sequence

from certmedic.core import planes
from certmedic.core.decision.gates import Context, closed, opened
from certmedic.core.means import Means, targets
from certmedic.core.model import Container, Diagnosis, Facts, Gate, GateName, Trust
from certmedic.core.origin import KUBE_SYSTEM


def trusted_targets(diagnosis: Diagnosis, facts: Facts, means: Means | None) -> list[Container]:
    """Return what would be restarted: units and commands that the configuration names, else static pods of kube-system."""
    return [
        container
        for container in targets(diagnosis, facts, means)
        if container.runtime in ("systemd", "command")
        or (container.trust is Trust.SYSTEM and container.namespace == KUBE_SYSTEM)
    ]


def target(context: Context) -> Gate | None:
    """There is exactly one thing to restart."""
    name, containers, means = GateName.TARGET, context.containers, context.means
    if not context.restarts:
        return None
    if len(containers) == 1:
        return opened(name, containers[0].id if means else containers[0].name)
    if containers:
        names = ", ".join(container.name for container in containers)
        return closed(name, f"several containers could be meant: {names}", opens="stop all but one of them")
    if means is not None:
        return closed(name, f"the unit {means.unit} is missing or was stopped", opens=f"start {means.unit}")
    why = "no running etcd-manager container of this group was found among the static pods"
    return closed(name, why, opens="start it, and let certmedic ask its runtime")


def version(context: Context) -> Gate | None:
    """The program is of a version whose start reissues, or does once the file is moved aside."""
    if not context.restarts:
        return None
    gate = _version(context.containers, context.means, aside=context.aside)
    if not context.renewable_but_held:
        return gate
    why = f"{gate.why}; {context.held_by}"
    return Gate(name=gate.name, passed=gate.passed, why=why, opens=gate.opens)


def _version(containers: Sequence[Container], means: Means | None, *, aside: bool) -> Gate:
    name = GateName.VERSION
    if means is not None:
        return _version_of(means)
    if not containers:
        return closed(name, "no etcd-manager container found, so the version is unknown", opens="start the container")
    release = planes.manager_version(containers[0].image)
    if release is None:
        why = f"the image {containers[0].image} does not show its etcd-manager version"
        return closed(name, why, opens="use a tag 3.0.YYYYMMDD")
    if release >= planes.REISSUES_SINCE:
        return opened(name, f"etcd-manager 3.0.{release} reissues at every start")
    if aside:
        return opened(name, f"etcd-manager 3.0.{release} keeps an expired certificate, and issues a missing one")
    why = f"etcd-manager 3.0.{release} keeps an expired certificate over a restart"
    return closed(name, why, opens=f"upgrade to 3.0.{planes.REISSUES_SINCE}, the first that reissues")


def _version_of(means: Means) -> Gate:
    name = GateName.VERSION
    if means.renews:
        return opened(name, "the operator says that it reissues (remedy.means)")
    if planes.unit_of(means.renewer):
        return opened(name, f"{means.renewer} of every version reissues at its start")
    why = f"it is not known what {means.unit or means.command[0]} does to a certificate"
    return closed(name, why, opens="set `renews = true` beside it in remedy.means")
