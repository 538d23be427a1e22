"""`certmedic run`: the service. It stays in memory, so nothing is imported here that only the other commands need."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from certmedic import app
from certmedic.config import Config, ConfigError, load
from certmedic.core import certificates, message
from certmedic.core.model import Item
from certmedic.core.text import printable
from certmedic.edge import service as systemd
from certmedic.edge.inbox import Inbox
from certmedic.edge.os import memory, spawn
from certmedic.edge.store import STATE, Store, StoreError
from certmedic.edge.store.claim import claimed

TICK = 2.0  # seconds between two looks for a stop, and for what a command has written into the state


def run(config_path: Path | None, begun: spawn.Begun | None = None) -> None:
    """Run the service until it is stopped, with the reader that has `begun`, if one has. Exits with 2 for a wrong configuration, with 1 for a state that it cannot use."""
    try:
        config = load(config_path)
    except ConfigError as error:
        systemd.notify_status("; ".join(error.faults))
        fail(*error.faults, code=2)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        store = Store(config.state / STATE)
    except StoreError as error:
        systemd.notify_status(str(error))
        fail(str(error))
    stop, reload = threading.Event(), threading.Event()
    systemd.stop_on_signals(stop, reload)
    with store, claimed(config.state) as mine:
        if not mine:
            fail(f"another certmedic service runs with the state in {config.state}")
        try:
            again = serve(config, config_path, store, stop, reload, begun)
        except StoreError as error:
            fail(str(error))
    if again:
        # The process replaces itself, so that nothing of the old configuration is left. It keeps the interpreter's options:
        # with them the packages' launcher keeps other people's modules out.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted


def fail(*faults: str, code: int = 1) -> NoReturn:
    """Print on stderr why the service cannot run, and exit."""
    for fault in faults:
        sys.stderr.write(f"certmedic: {printable(fault)}\n")
    raise SystemExit(code)


def taker(inbox: Inbox, pause: Callable[[], float], signs: Callable[[], object]) -> Callable[[float], Sequence[Item]]:
    """Return what waits for items: for so many seconds or `pause()`, and no longer than `TICK` once `signs()` changes.

    A change since the wait before counts too, so that none is missed between two waits.
    """
    seen = signs()

    def take(seconds: float) -> Sequence[Item]:
        nonlocal seen
        left = min(seconds, pause())
        while True:
            items = inbox.drain(min(left, TICK))
            left, before, seen = left - TICK, seen, signs()
            if items or left <= 0 or seen != before:
                return items

    return take


def serve(  # noqa: PLR0913, PLR0917 - what `run` has prepared
    config: Config,
    config_path: Path | None,
    store: Store,
    stop: threading.Event,
    reload: threading.Event,
    begun: spawn.Begun | None = None,
) -> bool:
    """Run the loop until `stop` is set; return True if `reload` was set and the new configuration is good.

    Raises StoreError if the state can no longer be written.
    """
    memory.share_one_arena()
    memory.return_large_blocks()
    service = app.service_of(config, store, stop, begun)
    journal, loop = service.world.journal, service.loop
    journal.emit(message.started_fields(mode=config.mode, sources=service.reads))
    if service.faults:
        journal.emit(message.channels_faulty_fields(service.faults))
    status = f"mode {config.mode}; reads {service.reads}"
    systemd.notify_ready(status)
    certificates.load_library()
    memory.freeze()
    reloading = False

    def going() -> bool:
        nonlocal reloading
        if reload.is_set():
            reload.clear()
            try:
                load(config_path)
            except ConfigError as error:
                journal.emit(message.config_refused_fields(error.faults))
                systemd.notify_status(f"{status}; the configuration on disk is wrong and not in use")
            else:
                reloading = True
                stop.set()
        service.pulse.turn(loop, datetime.now(UTC), time.monotonic())
        return not stop.is_set()

    def signs() -> object:
        return stop.is_set(), reload.is_set(), store.written()

    take = taker(service.inbox, lambda: service.pulse.pause(time.monotonic()), signs)
    loop.run(take, lambda: datetime.now(UTC), going)
    service.reader.join()
    if reloading:
        systemd.notify_reloading()
    else:
        systemd.notify_stopping()
    return reloading
