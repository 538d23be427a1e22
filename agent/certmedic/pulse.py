"""Signs of life after each turn of the loop: watchdog, heartbeat, metrics and the line at login.

Each says that the loop turns and that every required source is read. None may hold up the loop: a failure is logged once, and
the next sign is the next attempt.
"""

from __future__ import annotations

import errno
import logging
import math
import os
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from certmedic import __version__
from certmedic.alerts import Alerts
from certmedic.config import Config, policy_of
from certmedic.core import message
from certmedic.core.incident import IncidentState
from certmedic.core.model import Severity, Silence
from certmedic.edge import local, service
from certmedic.edge.alertmanager import Alertmanager
from certmedic.edge.os.memory import Collector
from certmedic.edge.store import Store
from certmedic.loop import Loop
from certmedic.ports import World

if TYPE_CHECKING:
    from certmedic.edge.heartbeat import Heartbeat
    from certmedic.edge.metrics import Exposition, Listener

LOGIN_EVERY = 10.0  # seconds
ALERTS_EVERY = 2.0  # seconds between two looks whether an incident changed
METRICS_EVERY = 60.0  # seconds

# The cure for an error of writing.
CURES = {
    errno.ENOENT: ": make the folder, and give it to the group certmedic",
    errno.EACCES: ": give the folder to the group certmedic",
    errno.EROFS: ": its unit may not write there: restart the service if the folder is new, or add it to ReadWritePaths=",
}
log = logging.getLogger(__name__)


class Pulse:
    """Called after each turn. Each sign has its own interval on the monotonic clock."""

    def __init__(  # noqa: PLR0913 - the parts that it gives signs of, each with a name at the one call
        self,
        *,
        config: Config,
        store: Store,
        world: World,
        required: Collection[str],
        listener: Listener | None = None,
        receiver: Alertmanager | None = None,
    ) -> None:
        self.config = config
        self.store = store
        self.world = world
        self.required = frozenset(required)
        url = config.notify.heartbeat
        self.heartbeat: Heartbeat | None = None
        if url:
            from certmedic.edge.heartbeat import Heartbeat  # noqa: PLC0415 - its library of HTTP takes a megabyte

            self.heartbeat = Heartbeat(url.reveal())
        folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        self.login = Path(folder) / "motd" if folder else None
        # Always in the runtime directory, so that a node exporter finds them with no configuration here.
        files = (Path(folder) / "metrics.prom" if folder else None, config.metrics.textfile)
        self.metrics = tuple(dict.fromkeys(path for path in files if path is not None))
        self.listener = listener
        self.alerts: Alerts | None = None
        if receiver and config.mode != "observe":
            self.alerts = Alerts(receiver, store, world.host, config.notify.remind_every)
        self._exposition: Exposition | None = None
        self._next: dict[str, float] = {}
        self._collector = Collector()
        self._complaints: dict[str, str] = {}
        self._shown: bytes | None = None

    def turn(self, loop: Loop, now: datetime, tick: float) -> None:
        """Give the signs that are due. `tick`: seconds on the monotonic clock."""
        self._collector.turn(tick)
        interval = service.watchdog_interval()
        if not self.required & loop.readers.blind.keys():
            if interval is not None and self._due("watchdog", tick, interval / 4):
                service.watchdog()
            every = self.config.notify.heartbeat_every.total_seconds()
            # Not before the first inventory: the heartbeat reports on the certificates.
            if self.heartbeat is not None and loop.inventory is not None and self._due("heartbeat", tick, every):
                self.heartbeat.beat(
                    message.pulse(message.machine(self.world.identity.name, self.world.host), loop.inventory, now)
                )
        if self.heartbeat is not None:
            self._hear(self.heartbeat)
        if self.login is not None and self._due("login", tick, LOGIN_EVERY):
            self._try("the line at login", lambda: self._write_login(now))
        if self.alerts is not None:
            self._post_alerts(self.alerts, loop, now, tick)
        if (self.metrics or self.listener) and loop.inventory and self._due("metrics", tick, METRICS_EVERY):
            self._write_metrics(loop, now)

    def _due(self, sign: str, tick: float, every: float) -> bool:
        if tick < self._next.get(sign, tick):
            return False
        self._next[sign] = tick + every
        return True

    def pause(self, tick: float) -> float:
        """Return the seconds until the next sign is due; infinity without any."""
        return min((due - tick for due in self._next.values() if due > tick), default=math.inf)

    def _post_alerts(self, alerts: Alerts, loop: Loop, now: datetime, tick: float) -> None:
        """Post incidents to Alertmanager. Write into the journal once that this fails, and once that it works again."""
        for posted in alerts.results(now):
            self.world.journal.emit(message.alertmanager_fields(posted.instance, posted.error))
        if self._due("alerts", tick, ALERTS_EVERY):
            alerts.turn(self.world.identity.name, loop.facts or loop.inventory, self._silences(now), now)

    def _hear(self, heartbeat: Heartbeat) -> None:
        """Write into the journal once that heartbeats fail, and once that they succeed again."""
        error = heartbeat.result()
        if error is not None and bool(error) != bool(self._complaints.get("heartbeat")):
            self.world.journal.emit(message.heartbeat_fields(error))
        if error is not None:
            self._complaints["heartbeat"] = error

    def _try(self, what: str, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            if self._complaints.get(what) != str(error):
                log.warning("%s: cannot be written: %s%s", what, error, CURES.get(error.errno or 0, ""))
            self._complaints[what] = str(error)
        else:
            self._complaints[what] = ""

    def _silences(self, now: datetime) -> Sequence[Silence]:
        return (*self.store.silences(now=now), *message.windows(self.config.notify.maintenance, now))

    def _write_login(self, now: datetime) -> None:
        assert self.login is not None  # noqa: S101 - the caller has checked; for the type checker
        silences = self._silences(now)
        lines = [
            message.login_line(
                incident.id,
                incident.diagnosis,
                incident.decision,
                now=now,
                escalated=incident.state is IncidentState.ESCALATED,
                silence=message.silence_of(incident.diagnosis, silences, now),
            )
            for incident in self.store.incidents(unresolved=True)
            if incident.diagnosis.severity is not Severity.INFO
        ]
        shown = (*message.few_lines(lines), *([message.BREAKER] if self.store.tripped() else []))
        text = "".join(f"{line}\n" for line in shown).encode()
        if text == self._shown:
            return
        if text:
            local.publish(self.login, text)
        else:
            local.withdraw(self.login)
        self._shown = text

    def _write_metrics(self, loop: Loop, now: datetime) -> None:
        from certmedic.edge.metrics import Exposition, Numbers  # noqa: PLC0415 - Prometheus's library is slow to load

        self._exposition = self._exposition or Exposition()
        channels = self.store.channels()
        numbers = Numbers(
            at=now,
            version=__version__,
            mode=self.config.mode,
            host=self.world.host,
            cluster=self.world.identity.name,
            facts=loop.inventory,
            policy=policy_of(self.config),
            sources=loop.readers.rows(),
            sightings=loop.sightings,
            incidents=self.store.incidents(unresolved=True),
            acts=self.store.acts(),
            tripped=bool(self.store.tripped()),
            waiting=sum(channel["waiting"] for channel in channels),
            oldest=min((datetime.fromisoformat(row["oldest"]) for row in channels if row["oldest"]), default=None),
            lost=sum(channel["expired"] for channel in channels),
            silences=sum(silence.starts_at <= now for silence in self._silences(now)),
            alertmanagers=self.alerts.failures if self.alerts else {},
            alertmanager_errors=self.alerts.errors if self.alerts else {},
            heartbeat_failures=self.heartbeat.failures if self.heartbeat else 0,
        )
        text = self._exposition.render(numbers)
        if self.listener is not None:
            self.listener.publish(text)
        for path in self.metrics:
            self._try(f"the metrics in {path}", partial(local.publish, path, text))
