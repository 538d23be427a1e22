"""Builds the actor of this machine from root's configuration."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from pathlib import Path

from certmedic.actor.lease import EtcdLock
from certmedic.actor.record import Record, RecordError
from certmedic.actor.renew import Pen
from certmedic.actor.restart import AnyHands, CommandHands, ContainerdHands, DockerHands, SystemdHands
from certmedic.actor.roster import voters
from certmedic.actor.verbs import Actor, Body, Caller, policy_for
from certmedic.config import Config, ConfigError, policy_of, units_of
from certmedic.core import planes
from certmedic.core.message.requests import request_fields
from certmedic.core.request import Reply, Request
from certmedic.edge.facts.machine import Machine
from certmedic.edge.os.network import OWN, Network
from certmedic.edge.store.claim import claimed
from certmedic.ports import Entries

DOCKER = "unix:///var/run/docker.sock"
CONTAINERD = "/run/containerd/containerd.sock"
LEASE_SLACK = 180  # seconds that the lease outlasts the verification of an action
LOCKED_FOR = 120.0  # seconds to wait for another request on the same record


def body_of(config: Config, state: Path, network: Network = OWN) -> Body:
    """Return the means of this machine, whose listeners and members are those of `network`."""
    docker = os.environ.get("DOCKER_HOST") or DOCKER
    certificates = config.certificates
    return Body(
        eyes=Machine(
            globs=(*planes.patterns(certificates.planes), *certificates.paths),
            docker_url=docker,
            containerd=CONTAINERD,
            units=units_of(config),
            believed=config.watch.units,
            ask=functools.partial(voters, network=network),
            network=network,
        ),
        restarts=AnyHands(
            {
                "docker": DockerHands(docker),
                "containerd": ContainerdHands(CONTAINERD),
                "systemd": SystemdHands(),
                "command": CommandHands([means.command for means in config.remedy.means if means.command]),
            }
        ),
        files=Pen(state / "backups"),
        lock=EtcdLock(ttl=int(config.remedy.verify_for.total_seconds()) + LEASE_SLACK, network=network),
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip(),
    )


class Desk:
    """Takes requests, each with root's configuration and on the record as they are then. Only one process at a time works on a record.

    `make` returns the means of this machine for a configuration.
    """

    def __init__(
        self, read: Callable[[], Config], make: Callable[[Config, Path], Body], state: Path, entries: Entries
    ) -> None:
        self._read = read
        self._make = make
        self._state = state
        self._entries = entries
        self._made: tuple[Config, Body] | None = None

    def take_up(self) -> None:
        """Finish or undo what a killed run left behind. A wrong configuration leaves that for later. Raises RecordError."""
        with contextlib.suppress(ConfigError), claimed(self._state, patience=LOCKED_FOR) as mine:
            if mine:
                self._actor().take_up()

    def answer(self, request: Request, caller: Caller) -> Reply:
        """Return the reply to a request."""
        try:
            with claimed(self._state, patience=LOCKED_FOR) as mine:
                if mine:
                    return self._actor().answer(request, caller)
                why = "another actor works on the same record"
        except RecordError as error:
            why = str(error)
        except ConfigError as error:
            why = f"the configuration is wrong, so the actor does nothing: {'; '.join(error.faults)}"
        self._entries.emit(request_fields("refused", request, caller.uid, caller.pid, why=why))
        return Reply(result="refused", why=why)

    def _actor(self) -> Actor:
        config = self._read()
        if self._made is None or self._made[0] != config:
            self._made = config, self._make(config, self._state)
        return Actor(
            self._made[1],
            Record(self._state),
            policy_for(policy_of(config)),
            verify_for=config.remedy.verify_for,
            entries=self._entries,
        )
