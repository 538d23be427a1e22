"""`run`: the service. Loads nothing that only other commands need, for it stays in memory."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from certmedic import app
from certmedic.cli import inputs, output
from certmedic.config import Config, ConfigError, load
from certmedic.core import message
from certmedic.edge import service as systemd
from certmedic.edge.os import memory
from certmedic.edge.store import Store, StoreError
from certmedic.edge.store.claim import claimed


@inputs.command(
    "run", "Run the service until it is stopped.", "certmedic run", "certmedic run --config ./certmedic.toml"
)
@inputs.CONFIG
def run(*, config_path: Path | None) -> None:
    """Run the service: watch logs and certificates, report failures, and fix them if the configuration allows it.

    SIGHUP reloads the configuration. On SIGTERM the service finishes an action under way, then stops.
    """
    inputs.need_linux("run")
    try:
        config = load(config_path)
    except ConfigError as error:
        systemd.notify_status("; ".join(error.faults))
        inputs.refuse(error)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        store = Store(config.state / inputs.STATE)
    except StoreError as error:
        systemd.notify_status(str(error))
        output.fail(str(error))
    stop, reload = threading.Event(), threading.Event()
    systemd.stop_on_signals(stop, reload)
    with store, claimed(config.state) as mine:
        if not mine:
            output.fail(f"another certmedic service runs with the state in {config.state}")
        try:
            again = serve(config, config_path, store, stop, reload)
        except StoreError as error:
            output.fail(str(error))
    if again:
        # The process replaces itself, so that nothing of the old configuration is left. It keeps the interpreter's options:
        # with them the packages' launcher keeps other people's modules out.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted


def serve(
    config: Config, config_path: Path | None, store: Store, stop: threading.Event, reload: threading.Event
) -> bool:
    """Run the loop until `stop` is set; return True if `reload` was set and the new configuration is good.

    Raises StoreError if the state can no longer be written.
    """
    memory.share_one_arena()
    service = app.service_of(config, store, stop)
    journal, loop = service.world.journal, service.loop
    journal.emit(message.started_fields(mode=config.mode, sources=service.reads))
    if service.faults:
        journal.emit(message.channels_faulty_fields(service.faults))
    status = f"mode {config.mode}; reads {service.reads}"
    systemd.notify_ready(status)
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

    loop.run(service.inbox.drain, lambda: datetime.now(UTC), going)
    service.reader.join()
    if reloading:
        systemd.notify_reloading()
    else:
        systemd.notify_stopping()
    return reloading
