"""The wiring: builds the parts of the service from the configuration, and nothing else."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from certmedic.config import Config, Secret, units_of
from certmedic.config.ownership import writable_by_others
from certmedic.core import planes
from certmedic.core.symptoms import NEEDLES
from certmedic.edge import inbox, local, service, worker
from certmedic.edge.containers import DockerSource
from certmedic.edge.facts import Machine
from certmedic.edge.files import FileSource, PodSource
from certmedic.edge.files.certificates import CertificateSource
from certmedic.edge.journal import JournalSource
from certmedic.edge.lease import EtcdLock
from certmedic.edge.notify import AppriseNotifier
from certmedic.edge.renew import Pen
from certmedic.edge.restart import AnyHands, CommandHands, ContainerdHands, DockerHands, SystemdHands
from certmedic.edge.store import Store
from certmedic.loop import Loop
from certmedic.ports import Source, World
from certmedic.pulse import Pulse

DOCKER_SOCKET = Path("/var/run/docker.sock")
PODS = Path("/var/log/pods")
CONTAINERD_SOCKET = Path("/run/containerd/containerd.sock")
LEASE_SLACK = 180  # seconds that the lease outlasts the verification of an action


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts of the service, with its readers started."""

    world: World
    inbox: inbox.Inbox
    loop: Loop
    pulse: Pulse
    reads: str  # the names of the sources that exist now
    faults: Sequence[str]  # of the channels


def service_of(config: Config, store: Store, stop: threading.Event) -> Service:
    """Build the service and start its readers; they end when `stop` is set. Raises StoreError."""
    box = inbox.Inbox()
    read = sources(config)
    way = notifier(config)
    parts = World(
        senses=machine(config),
        hands=hands(config),
        pen=Pen(config.state / "backups"),
        notifier=way,
        lock=EtcdLock(ttl=int(config.remedy.verify_for.total_seconds()) + LEASE_SLACK),
        wall=local.wall if config.notify.wall else None,
        journal=service.Journal(),
        host=socket.gethostname(),
        boot_id=boot_id(),
    )
    loop = Loop(
        config=config,
        store=store,
        world=parts,
        started_at=datetime.now(UTC),
        sources=wanted(config, read),
        workers=worker.threads(),
    )
    inbox.start(read, store.positions(), box, stop)
    listener = None
    if config.metrics.listen is not None:
        from certmedic.edge.metrics import Listener  # noqa: PLC0415 - Prometheus's library is slow to load

        listener = Listener(config.metrics.listen.host, config.metrics.listen.port)
        listener.start(stop)
    required = {source.name for source in read if source.required}
    return Service(
        world=parts,
        inbox=box,
        loop=loop,
        pulse=Pulse(config=config, store=store, world=parts, required=required, listener=listener),
        reads=", ".join(source.name for source in read if is_there(source)) or "nothing",
        faults=channel_faults(config, way),
    )


def docker_socket() -> str:
    """Return Docker's address as its SDK takes it: DOCKER_HOST, else the usual socket."""
    return os.environ.get("DOCKER_HOST") or f"unix://{DOCKER_SOCKET}"


def sources(config: Config) -> list[Source]:
    """Return the sources that the configuration asks for, whether they exist now or not."""
    watch = config.watch
    chosen: list[Source] = []
    if watch.journal:
        chosen.append(JournalSource(NEEDLES, units=watch.units, identifiers=watch.identifiers))
    if watch.docker is not False:
        docker = DockerSource(NEEDLES, names=watch.docker_names, labels=watch.docker_labels, base_url=docker_socket())
        waits = watch.docker is None and docker_socket().startswith("unix:")
        chosen.append(inbox.WhenThere(docker, docker_socket().removeprefix("unix://")) if waits else docker)
    if watch.pods is not False:
        # It waits for the folder by itself. Under Docker the files in it are links to logs that DockerSource reads: it skips them.
        chosen.append(PodSource(NEEDLES, root=str(PODS)))
    if watch.files:
        chosen.append(FileSource(NEEDLES, globs=watch.files))
    chosen.append(CertificateSource(globs(config)))
    return chosen


def is_there(source: Source) -> bool:
    """Whether a source exists now, so that nothing waits for it."""
    return PODS.exists() if isinstance(source, PodSource) else not isinstance(source, inbox.WhenThere) or source.there


def wanted(config: Config, read: Sequence[Source]) -> dict[str, bool]:
    """Return the sources that exist: name -> True if the operator asked for it, False if it was only detected."""
    asked = {"docker": bool(config.watch.docker), "pods": bool(config.watch.pods), "files": True}
    return {source.name: source.required or asked.get(source.name, False) for source in read if is_there(source)}


def globs(config: Config, root: str = "/") -> tuple[str, ...]:
    """Return the globs of certificate files, below `root`."""
    base = root.rstrip("/")
    return (
        *planes.patterns(config.certificates.planes, root=root),
        *(base + path for path in config.certificates.paths),
    )


def machine(config: Config) -> Machine:
    """Return what looks at this machine."""
    return Machine(
        globs=globs(config),
        docker_url=docker_socket(),
        containerd=str(CONTAINERD_SOCKET),
        units=units_of(config),
        believed=config.watch.units,
    )


def inspector(config: Config, root: str | None) -> Machine:
    """Return what looks at files and listeners, not at container runtimes; `root` is a copy of another master's files."""
    return Machine(globs=globs(config, root or "/"), root=root or "/", live=root is None)


def hands(config: Config) -> AnyHands:
    """Return what restarts programs on this machine."""
    return AnyHands(
        {
            "docker": DockerHands(docker_socket()),
            "containerd": ContainerdHands(str(CONTAINERD_SOCKET)),
            "systemd": SystemdHands(),
            "command": CommandHands([means.command for means in config.remedy.means if means.command]),
        }
    )


def notifier(config: Config) -> AppriseNotifier:
    """Return what sends messages to people."""
    paths = [item for item in config.notify.apprise if isinstance(item, str)]
    urls = [item.reveal() for item in config.notify.apprise if isinstance(item, Secret)]
    return AppriseNotifier(paths, config.notify.tags, urls, writable_by_others)


def channel_faults(config: Config, way: AppriseNotifier) -> list[str]:
    """Return what keeps messages from people, a sentence each."""
    nobody = [route.tag for route in config.notify.route if not way.tagged(route.tag)] if config.notify.apprise else []
    return [*way.faults(), *(f"notify.route: no channel carries the tag {tag!r}" for tag in dict.fromkeys(nobody))]


def boot_id() -> str:
    """Return this boot's id; "" if the kernel does not give it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
