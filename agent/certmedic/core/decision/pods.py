"""Static pods that read a certificate only when they start: which containers are restarted once their files are renewed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from certmedic.core import holders, planes, stale
from certmedic.core.model import Container, Facts, Stored, Trust
from certmedic.core.origin import KUBE_SYSTEM

# A control plane replaces each of these by another master's while it restarts, so its restart needs no turn.
REPLACEABLE = ("kube-controller-manager", "kube-scheduler")


def containers_of(name: str, facts: Facts) -> list[Container]:
    """Return the running containers of a program in a static pod of kube-system, which only root can name."""
    return [
        container
        for container in facts.containers
        if (container.container_name, container.namespace, container.state) == (name, KUBE_SYSTEM, "running")
        and container.trust is Trust.SYSTEM
    ]


def can_be_restarted(stored: Stored, facts: Facts) -> bool:
    """Whether the program that reads a file only when it starts is one static pod here that may be restarted, or does not run.

    The kubelet starts one that has ended, e.g. because the API was down, and it reads the file then.
    """
    name = holders.holder_of(stored)
    if not planes.reads_at_start(stored.place) or name not in REPLACEABLE:
        return False
    running = containers_of(name, facts)
    return len(running) == 1 or (not running and stale.sees_pods(facts) and not holders.named(name, facts))


def still_to_restart(files: Iterable[Stored], facts: Facts) -> list[Container]:
    """Return the containers of programs that started before these files got their present certificates, in order.

    Also those that may have: the kubelet may start a program in the second in which its file is renewed.
    """
    names = {program.name for stored in files for program in holders.behind(stored, facts, slack=timedelta(0))}
    return [container for name in REPLACEABLE if name in names for container in containers_of(name, facts)]
