"""The actor of the drill: the real one, in its own process, with the scratch master for its machine. The drill's runtime restarts member a."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from certmedic.actor.build import Desk
from certmedic.actor.listen import inherited
from certmedic.actor.ports import Lock
from certmedic.actor.renew import Pen
from certmedic.actor.restart import RestartError
from certmedic.actor.server import allowed_users, serve
from certmedic.actor.verbs import Body
from certmedic.config import Certificates, Config, Notify, RemedyPolicy
from certmedic.core import codec, planes
from certmedic.core.lease import Access
from certmedic.core.model import Container, Facts, Lease, Trust, VoterList
from certmedic.edge import service
from certmedic.edge.facts.machine import Machine
from labs.drill.master import Member
from labs.drill.timeline import HOST

CONFIG = Config(
    mode="remedy",
    certificates=Certificates(warn_days=()),  # a life of seconds would cause every expiry warning at once
    notify=Notify(
        group_for=timedelta(seconds=6)
    ),  # etcd's probers dial every 4 seconds: the first failure comes before the message
    remedy=RemedyPolicy(cooldown=timedelta(minutes=15), per_day=2, verify_for=timedelta(seconds=20)),
)


def machine_of(root: Path) -> Machine:
    """Return the machine of member a. Neither systemd nor a kubelet starts the members: trust them because this user runs them."""
    return Machine(
        globs=planes.patterns(root=str(root)),
        root=str(root),
        owner=os.geteuid(),
        trusts=lambda process: Trust.SYSTEM if process.uid == os.geteuid() else Trust.STRANGER,
    )


def seen_by(machine: Machine, container: Container, ports: tuple[int, ...], *, now: datetime, nameless: bool) -> Facts:
    """Return the facts of member a alone, without the clock and the other etcds of the machine that runs the drill."""
    seen = machine.gather(now=now, ports=ports, nameless=nameless)
    return replace(
        seen,
        served=tuple(listener for listener in seen.served if listener.port in ports),
        containers=(container,),
        host=HOST,
        clock_synchronised=None,
    )


class Runtime(threading.Thread):
    """The container runtime of the drill, at a socket: it tells of member a's container, and restarts it."""

    def __init__(self, path: Path, member: Member) -> None:
        super().__init__(daemon=True)
        self.member = member
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen()

    def run(self) -> None:
        """Answer until the process ends."""
        while True:
            connection, _ = self.listener.accept()
            with connection:
                wanted = json.loads(connection.recv(4096))
                if wanted and wanted == self.member.container().id:
                    self.member.restart()
                connection.sendall(codec.dump(self.member.container()).encode())


@dataclass
class Caller:
    """The actor's end of the drill's runtime."""

    path: Path

    def ask(self, restart: str = "") -> Container:
        """Return member a's container; restart it first if it has this id."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(str(self.path))
            connection.sendall(json.dumps(restart).encode())
            return codec.load(Container, connection.recv(65536).decode())

    def restart(self, container: Container) -> str:
        """Restart member a if it is the target."""
        if self.ask(container.id).id == container.id:
            raise RestartError(f"{container.name} is not here any more")
        return f"restarted {container.name}"


@dataclass
class Eyes:
    """The files and listeners of member a, and the container that the runtime tells of."""

    machine: Machine
    runtime: Caller
    ports: tuple[int, ...]

    def gather(self, *, now: datetime, with_members: bool = False, nameless: bool = False) -> Facts:
        """Return the facts of the machine of member a. Other members are not asked."""
        return seen_by(self.machine, self.runtime.ask(), self.ports, now=now, nameless=nameless)

    def meet(self, known: Mapping[str, VoterList]) -> Mapping[str, VoterList]:
        """Return the known members unchanged."""
        return known


class NoLock(Lock):
    """The drill has one master that acts."""

    def take(self, group: str, access: Access) -> Lease:
        """Take no lease."""
        return Lease(state="none", why="the drill needs no lease")

    def release(self, group: str, access: Access) -> None:
        """Do nothing."""


def main(root: Path, state: Path, runtime: Path, *ports: str) -> None:
    """Answer requests as `certmedic-actor serve` does."""
    listener, caller = inherited(), Caller(runtime)
    state.mkdir(exist_ok=True)
    body = Body(
        eyes=Eyes(machine_of(root), caller, tuple(int(port) for port in ports)),
        restarts=caller,
        files=Pen(state / "backups", str(root), os.geteuid()),
        lock=NoLock(),
        boot_id="drill",
    )
    entries = service.Journal(identifier="certmedic-actor")
    desk = Desk(lambda: CONFIG, lambda *_: body, state, entries)
    desk.take_up()
    serve(listener, desk.answer, entries, allowed=allowed_users())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
