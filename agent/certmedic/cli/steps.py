"""The next steps on this machine, for `certmedic` without a command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from certmedic.config import ConfigError, load
from certmedic.core.text import count
from certmedic.edge.store import STATE, Store, StoreError
from certmedic.edge.store.claim import is_claimed


def steps(path: Path | None = None) -> Iterator[str]:
    """Yield what to do next, the most urgent first, each with its command. Never raises, whatever is wrong."""
    try:
        settings = load(path)
    except ConfigError as error:
        yield f"the configuration has {count(len(error.faults), 'fault')}:  certmedic check-config"
        return
    file, running, opened = settings.state / STATE, False, []
    try:
        if file.exists():
            running = is_claimed(settings.state)
            with Store(file, readonly=True) as store:
                opened = store.incidents(unresolved=True)
    except (OSError, StoreError):
        yield "only root may read the state:  sudo certmedic"
        return
    if not running:
        yield "the service does not run:  sudo systemctl start certmedic"
    if opened:
        yield f"incidents are open ({len(opened)}):  sudo certmedic incidents --open"
    if not settings.notify.apprise:
        yield "nobody gets messages:  set notify.apprise (man certmedic.toml), then: certmedic test-notify"
    yield "see how things stand:  sudo certmedic status"
    yield "see what expires when:  sudo certmedic certs"
    yield "see what certmedic would do:  sudo certmedic check-config --explain"
