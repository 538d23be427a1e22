"""The wiring: builds the parts of the service from the configuration, and nothing else."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from certmedic.config import Config, Secret, policy_of, units_of
from certmedic.config.ownership import writable_by_others
from certmedic.core import planes
from certmedic.core.decision import Policy
from certmedic.edge import actor, inbox, link, local, service, worker
from certmedic.edge.alertmanager import Access, Alertmanager
from certmedic.edge.facts.machine import Machine
from certmedic.edge.facts.sight import Remote, Sight
from certmedic.edge.identity import Identity
from certmedic.edge.notify import AppriseNotifier
from certmedic.edge.notify.addresses import credential
from certmedic.edge.notify.pager import PagerService
from certmedic.edge.os import spawn
from certmedic.edge.os.owners import Judge, Tree
from certmedic.edge.source import UnseenError
from certmedic.edge.static_pods import cluster_name
from certmedic.edge.store import Store
from certmedic.edge.wire import Watching
from certmedic.loop import Loop
from certmedic.ports import World
from certmedic.pulse import Pulse

DOCKER_SOCKET = Path("/var/run/docker.sock")
PODS = Path("/var/log/pods")
CONTAINERD_SOCKET = Path("/run/containerd/containerd.sock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts of the service, with its reader started."""

    world: World
    inbox: inbox.Inbox
    reader: link.Link
    loop: Loop
    pulse: Pulse
    reads: str  # the names of the sources that exist now
    faults: Sequence[str]  # of the channels


def unable() -> str:
    """Return why nothing can act on this machine, in a sentence; "" if an actor is installed."""
    return "" if actor.is_installed() else actor.ABSENT


def policy_here(config: Config) -> Policy:
    """Return the policy of the configuration, with the reason why nothing can act here if no actor is installed."""
    return replace(policy_of(config), unable=unable())


def service_of(config: Config, store: Store, stop: threading.Event, begun: spawn.Begun | None = None) -> Service:
    """Build the service and greet its reader, which ends when `stop` is set. Start one unless it has `begun`. Raises StoreError."""
    box = inbox.Inbox()
    reader = link.Link(link.starter(begun), watching(config), store.positions(), box, stop)
    reader.start()  # at once: it starts while the rest is built
    way = notifier(config)
    hands = actor.ActorClient(actor.address())
    senses = machine(config, Remote(reader.ask))
    there = reader.there()
    if reader.has_greeted:
        with contextlib.suppress(UnseenError):
            senses.look_at_pods()  # one of which names the cluster
    name = Identity(config.cluster, lambda: senses.cluster, every=0)
    parts = World(
        senses=senses,
        hands=hands,
        notifier=way,
        lock=hands,
        unable=unable(),
        wall=local.wall if config.notify.wall else None,
        journal=service.Journal(common=lambda: {"CERTMEDIC_CLUSTER": name.name}),
        host=socket.gethostname(),
        identity=name,
        boot_id=boot_id(),
    )
    loop = Loop(
        config=config,
        store=store,
        world=parts,
        started_at=datetime.now(UTC),
        sources={**wanted(config, there), link.NAME: False},
        workers=worker.threads(),
    )
    listener = None
    if config.metrics.listen is not None:
        from certmedic.edge.metrics import Listener  # noqa: PLC0415 - Prometheus's library is slow to load

        listener = Listener(config.metrics.listen.host, config.metrics.listen.port)
        listener.start(stop)
    return Service(
        world=parts,
        inbox=box,
        reader=reader,
        loop=loop,
        pulse=Pulse(
            config=config,
            store=store,
            world=parts,
            required=reader.watching.required,
            listener=listener,
            receiver=alertmanager(config),
        ),
        reads=", ".join(there),
        faults=channel_faults(config, way),
    )


def identity(config: Config, root: str = "/") -> Identity:
    """Return the name of the cluster; with another `root`, that of the master whose files lie there. This process reads the files."""
    return Identity(config.cluster, lambda: cluster_name(root, Judge(Tree()) if root == "/" else None))


def docker_socket() -> str:
    """Return Docker's address as its SDK takes it: DOCKER_HOST, else the usual socket."""
    return os.environ.get("DOCKER_HOST") or f"unix://{DOCKER_SOCKET}"


def watching(config: Config) -> Watching:
    """Return what the reader is to read."""
    watch = config.watch
    return Watching(
        journal=watch.journal,
        units=watch.units,
        identifiers=watch.identifiers,
        docker=watch.docker,
        docker_url=docker_socket(),
        docker_names=watch.docker_names,
        docker_labels=watch.docker_labels,
        pods="" if watch.pods is False else str(PODS),
        files=watch.files,
        certificates=globs(config),
        containerd=str(CONTAINERD_SOCKET),
    )


def wanted(config: Config, there: Sequence[str]) -> dict[str, bool]:
    """Return the sources that exist: name -> True if the operator asked for it, False if it was only detected."""
    asked = {"journal": True, "docker": bool(config.watch.docker), "pods": bool(config.watch.pods), "files": True}
    return {name: asked.get(name, False) for name in there}


def globs(config: Config, root: str = "/") -> tuple[str, ...]:
    """Return the globs of certificate files, below `root`."""
    base = root.rstrip("/")
    return (
        *planes.patterns(config.certificates.planes, root=root),
        *(base + path for path in config.certificates.paths),
    )


def machine(config: Config, sight: Sight | None = None) -> Machine:
    """Return what looks at this machine; without a `sight`, this process reads its files."""
    return Machine(
        globs=globs(config),
        docker_url=docker_socket(),
        containerd=str(CONTAINERD_SOCKET),
        units=units_of(config),
        believed=config.watch.units,
        sight=sight,
        met=actor.ActorClient(actor.address()).members,
    )


def inspector(config: Config, root: str | None) -> Machine:
    """Return what looks at files and listeners, not at container runtimes; `root` is a copy of another master's files."""
    return Machine(globs=globs(config, root or "/"), root=root or "/", live=root is None)


def notifier(config: Config) -> AppriseNotifier:
    """Return what sends messages to people."""
    paths = [item for item in config.notify.apprise if isinstance(item, str)]
    urls = [item.reveal() for item in config.notify.apprise if isinstance(item, Secret)]
    pagers = [
        PagerService(pager=pager, host=socket.gethostname(), check=writable_by_others) for pager in config.notify.pager
    ]
    return AppriseNotifier(paths, config.notify.tags, urls, writable_by_others, pagers)


def alertmanager(config: Config) -> Alertmanager | None:
    """Return what posts incidents to Alertmanager; None if none is configured."""
    notify = config.notify
    if not notify.alertmanager:
        return None
    token, certificate, authority = (
        credential(name) if name else None
        for name in (notify.alertmanager_token, notify.alertmanager_cert, notify.alertmanager_ca)
    )
    access = Access(token=token, certificate=certificate, authority=authority, check=writable_by_others)
    return Alertmanager([url.reveal() for url in notify.alertmanager], access)


def channel_faults(config: Config, way: AppriseNotifier) -> list[str]:
    """Return what keeps messages from people, a sentence each."""
    asked = config.notify.route if config.notify.apprise or config.notify.pager else ()
    nobody = [route.tag for route in asked if not way.tagged(route.tag)]
    return [*way.faults(), *(f"notify.route: no channel carries the tag {tag!r}" for tag in dict.fromkeys(nobody))]


def boot_id() -> str:
    """Return this boot's id; "" if the kernel does not give it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
