"""The service itself and what tries it out: `run`, `check-config`, `test-notify`, `drill`."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from certmedic.cli import show
from certmedic.cli.history import CONFIG
from certmedic.config import Config, ConfigError, Secret, files, load, units_of
from certmedic.config.ownership import readable_by_everybody, writable_by_others
from certmedic.core import message, planes
from certmedic.core.model import Severity
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
from certmedic.edge.store import Store, StoreError
from certmedic.loop import Loop
from certmedic.ports import Source, World
from certmedic.pulse import Pulse

DOCKER_SOCKET = Path("/var/run/docker.sock")
PODS = Path("/var/log/pods")
CONTAINERD_SOCKET = Path("/run/containerd/containerd.sock")


def docker_socket() -> str:
    """Return where docker listens, as its SDK takes it: DOCKER_HOST, else the usual socket."""
    return os.environ.get("DOCKER_HOST") or f"unix://{DOCKER_SOCKET}"


def sources(config: Config) -> list[Source]:
    """Return what is read on this machine."""
    watch = config.watch
    chosen: list[Source] = []
    if watch.journal:
        chosen.append(JournalSource(NEEDLES, units=watch.units, identifiers=watch.identifiers))
    if watch.docker is not False:
        docker = DockerSource(NEEDLES, names=watch.docker_names, labels=watch.docker_labels, base_url=docker_socket())
        waits = watch.docker is None and docker_socket().startswith("unix:")
        chosen.append(inbox.WhenThere(docker, docker_socket().removeprefix("unix://")) if waits else docker)
    if watch.pods is not False:
        # It waits for the folder itself. Where Docker is read, the files in it are links to the same lines, and passed over.
        chosen.append(PodSource(NEEDLES, root=str(PODS)))
    if watch.files:
        chosen.append(FileSource(NEEDLES, globs=watch.files))
    chosen.append(CertificateSource(globs(config)))
    return chosen


def is_there(source: Source) -> bool:
    """Whether a source has something to read, and does not wait for it."""
    return PODS.exists() if isinstance(source, PodSource) else not isinstance(source, inbox.WhenThere) or source.there


def wanted(config: Config, read: Sequence[Source]) -> dict[str, bool]:
    """Return what is read by now: name -> whether it was asked for, and not only found to be there."""
    asked = {"docker": bool(config.watch.docker), "pods": bool(config.watch.pods), "files": True}
    return {source.name: source.required or asked.get(source.name, False) for source in read if is_there(source)}


def globs(config: Config) -> tuple[str, ...]:
    """Return where certificates are looked for."""
    return (*planes.patterns(config.certificates.planes), *config.certificates.paths)


def machine(config: Config) -> Machine:
    """Return the eyes of this machine."""
    return Machine(
        globs=globs(config),
        docker_url=docker_socket(),
        containerd=str(CONTAINERD_SOCKET),
        units=units_of(config),
        believed=config.watch.units,
    )


def hands(config: Config) -> AnyHands:
    """Return the means to restart something here."""
    return AnyHands(
        {
            "docker": DockerHands(docker_socket()),
            "containerd": ContainerdHands(str(CONTAINERD_SOCKET)),
            "systemd": SystemdHands(),
            "command": CommandHands([one.command for one in config.remedy.means if one.command]),
        }
    )


def notifier(config: Config) -> AppriseNotifier:
    """Return the way to people."""
    files = [item for item in config.notify.apprise if isinstance(item, str)]
    urls = [item for item in config.notify.apprise if isinstance(item, Secret)]
    return AppriseNotifier(files, config.notify.tags, [url.reveal() for url in urls], writable_by_others)


def faults_of(config: Config, way: AppriseNotifier) -> list[str]:
    """Return what keeps people from being told, a sentence each."""
    nobody = [route.tag for route in config.notify.route if not way.tagged(route.tag)] if config.notify.apprise else []
    return [*way.faults(), *(f"notify.route: no channel carries the tag {tag!r}" for tag in dict.fromkeys(nobody))]


def open_secrets(config: Config) -> list[str]:
    """Return which files with addresses everybody may read, a sentence each."""
    paths = [Path(item) for item in config.notify.apprise if isinstance(item, str) and item.startswith("/")]
    return [
        f"{path}: everybody may read this file, and addresses are secrets: chmod 0640 it"
        for path in paths
        if readable_by_everybody(path)
    ]


def cannot_run(config: Config) -> list[str]:
    """Return which commands of the configuration are no programs here, a sentence each."""
    programs = [one.command[0] for one in config.remedy.means if one.command]
    return [f"remedy.means: {p}: is no program that can be run" for p in programs if not os.access(p, os.X_OK)]


def boot_id() -> str:
    """Return this boot's id; empty where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


@click.command()
@CONFIG
def run(*, config_path: Path | None) -> None:
    """Watch, tell and cure until stopped: this is the service."""
    try:
        config = load(config_path)
    except ConfigError as error:
        service.notify_status("; ".join(error.faults))
        show.refuse(error)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        store = Store(config.state / "state.sqlite3")
    except StoreError as error:
        service.notify_status(str(error))
        show.fail(str(error))
    stop, reload = threading.Event(), threading.Event()
    service.stop_on_signals(stop, reload)
    with store:
        try:
            again = serve(config, config_path, store, stop, reload)
        except StoreError as error:
            show.fail(str(error))
    if again:
        # The same process begins anew with the configuration that was just found good: nothing of the old one is left over. As it
        # was called, interpreter's options and all: the packages' launcher keeps other people's modules out by them.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted


def serve(
    config: Config, config_path: Path | None, store: Store, stop: threading.Event, reload: threading.Event
) -> bool:
    """Turn the line until `stop` is set, or `reload` is and the configuration is good: then return True.

    Raises StoreError where the state can no longer be written.
    """
    box = inbox.Inbox()
    read = sources(config)
    required = {source.name for source in read if source.required}
    way = notifier(config)
    world = World(
        senses=machine(config),
        hands=hands(config),
        pen=Pen(config.state / "backups"),
        notifier=way,
        # As long as an act and the look at what came of it may take.
        lock=EtcdLock(ttl=int(config.remedy.verify_for.total_seconds()) + 180),
        wall=local.wall if config.notify.wall else None,
        journal=service.Journal(),
        host=socket.gethostname(),
        boot_id=boot_id(),
    )
    loop = Loop(
        config=config,
        store=store,
        world=world,
        started_at=datetime.now(UTC),
        sources=wanted(config, read),
        workers=worker.threads(),
    )
    inbox.start(read, store.positions(), box, stop)
    names = ", ".join(source.name for source in read if is_there(source)) or "nothing"
    world.journal.emit(message.started_fields(mode=config.mode, sources=names))
    if faults := faults_of(config, way):
        world.journal.emit(message.channels_faulty_fields(faults))
    pulse = Pulse(config=config, store=store, world=world, required=required)
    service.notify_ready(f"mode {config.mode}; reads {names}")

    reloading = False

    def going() -> bool:
        nonlocal reloading
        if reload.is_set():
            reload.clear()
            try:
                load(config_path)
            except ConfigError as error:
                world.journal.emit(message.config_refused_fields(error.faults))
                service.notify_status(
                    f"mode {config.mode}; reads {names}; the configuration on disk is wrong and not in use"
                )
            else:
                reloading = True
                stop.set()
        pulse.turn(loop, datetime.now(UTC), time.monotonic())
        return not stop.is_set()

    loop.run(box.drain, lambda: datetime.now(UTC), going)
    if reloading:
        service.notify_reloading()
    else:
        service.notify_stopping()
    return reloading


@click.command(name="check-config")
@CONFIG
def check_config(*, config_path: Path | None) -> None:
    """Read the configuration and say everything that is wrong with it at once."""
    from certmedic.config import DEFAULT_PATH  # noqa: PLC0415 - the tests replace it

    config = show.config(config_path)
    read = files(config_path or DEFAULT_PATH)
    faults = [*faults_of(config, notifier(config)), *cannot_run(config)]
    for fault in faults:
        show.say(fault, colour="red")
    for warning in open_secrets(config):
        show.say(f"warning: {warning}", colour="yellow")
    if faults:
        raise SystemExit(1)
    show.say(f"good: {', '.join(map(str, read)) or 'no file, all defaults'}; mode {config.mode}", colour="green")


@click.command(name="test-notify")
@CONFIG
@click.option(
    "--severity", type=click.Choice([str(level) for level in Severity]), help="Only the channels of this severity."
)
@click.option("--tag", help="Only the channels of this apprise tag, and those that get everything.")
def test_notify(*, config_path: Path | None, severity: str | None, tag: str | None) -> None:
    """Send a test message to every channel and say what each answered."""
    config = show.config(config_path)
    way = notifier(config)
    test = message.test_message(socket.gethostname(), datetime.now(UTC))
    levels = [Severity(severity)] if severity else list(Severity)
    if tag:
        channels = {channel.id: channel for channel in way.tagged(tag)}
    else:
        channels = {channel.id: channel for level in levels for channel in way.channels(level)}
        routed = {} if severity else {c.id: c for route in config.notify.route for c in way.tagged(route.tag)}
        channels |= routed
    faults = faults_of(config, way)
    for fault in faults:
        show.say(f"FAILED  {fault}", colour="red")
    if not channels and tag and config.notify.apprise:
        show.fail(f"no channel carries the tag {tag!r}, and none is for everything")
    if not channels:
        show.fail("no channel is configured: notify.apprise names apprise's files, see certmedic.toml(5)")
    bad = len(faults)
    for channel in channels.values():
        result = way.send(channel.id, test)
        bad += not result.ok
        show.say(
            f"{'sent  ' if result.ok else 'FAILED'}  {channel.label}  {result.error}".rstrip(),
            colour="green" if result.ok else "red",
        )
    raise SystemExit(1 if bad else 0)


@click.command()
@click.option("--old", is_flag=True, help="An etcd-manager that keeps an expired certificate over a restart.")
@click.option(
    "--notify",
    "urls",
    multiple=True,
    metavar="URL",
    help="Send the messages for real to this apprise URL, marked as a drill.",
)
def drill(*, old: bool, urls: tuple[str, ...]) -> None:
    """Watch the whole thing happen: a real etcd certificate runs out, is found, told and cured, in about a minute."""
    from certmedic.drill import story  # noqa: PLC0415 - the service never needs it

    raise SystemExit(story.play(old=old, urls=urls, say=show.say))


COMMANDS = (run, check_config, test_notify, drill)
