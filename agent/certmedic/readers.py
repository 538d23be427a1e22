"""Sources that cannot be read: since when, and which of them are reported as an incident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from certmedic.core import blind, message
from certmedic.core.incident import Incident, RecheckKind
from certmedic.core.model import Diagnosis, SourceDown, SourceStatus, SourceUp
from certmedic.edge.store import Store
from certmedic.ports import World

STORE_EVERY = timedelta(minutes=5)  # positions, while no line matters: after a kill, so much is read again
SETTLED = timedelta(seconds=30)  # a source that was blind when the agent stopped must read for so long


class Readers:
    """The state of each source. Every method runs within a transaction.

    `sources`: source -> alert even if it never worked (configured sources yes, detected ones no).
    """

    def __init__(self, sources: Mapping[str, bool], store: Store, world: World, *, started_at: datetime) -> None:
        self.blind: dict[str, str] = {}  # source -> why it cannot read, as reported in this run
        self._sources = dict(sources)
        self._store = store
        self._world = world
        self._started_at = started_at
        self._doubted: set[str] = set()  # blind when the agent stopped; no report since
        self._read_since: dict[str, datetime] = {}
        self._kept: dict[str, SourceStatus] = {}  # as stored last in this run
        self._status: dict[str, SourceStatus] = {}  # reported since, and different
        self._positions: dict[str, str | None] = {}  # reached and not stored yet
        self._stored = started_at  # when the last were stored
        self._begun = store.positions().keys() & blind.SOURCES.keys()  # sources that have a place to go on from

    def start(self) -> list[tuple[Incident, str]]:
        """Load the sources of the earlier run, and forget those that are no longer read.

        Returns the incidents of forgotten sources, each with a sentence that says why it ends.
        """
        ended = []
        for row in self._store.sources():
            if row["source"] not in self._sources:
                self._store.forget_source(row["source"])
                incident = self._store.lasting(blind.key(row["source"]))
                if incident is not None:
                    ended.append((incident, f"{row['source']} is no longer read: the configuration has changed"))
            elif row["down"]:
                self._doubted.add(row["source"])
        return ended

    def take(self, item: SourceDown | SourceUp | SourceStatus, now: datetime) -> None:
        """Record a report of a source."""
        match item:
            case SourceDown():
                self.blind[item.source] = item.reason
                self._doubted.discard(item.source)
                self._read_since.pop(item.source, None)
                self._store.source_state(item.source, down=item.reason, now=now)
                self._world.journal.emit(message.source_fields(item))
            case SourceUp():
                self.blind.pop(item.source, None)
                self._store.source_state(item.source, down="", now=now)
                self._world.journal.emit(message.source_fields(item))
            case SourceStatus():
                kept = self._kept.get(item.source)
                if kept is None or item.matched != kept.matched or item.detail != kept.detail:
                    self._keep(item, now)
                elif item != kept:
                    self._status[item.source] = item
                else:
                    self._status.pop(item.source, None)
                since = self._read_since.setdefault(item.source, now)
                if item.source in self._doubted and now - since >= SETTLED:
                    self._doubted.discard(item.source)
                    self.take(SourceUp(source=item.source), now)

    def settle(self, positions: Mapping[str, str | None], now: datetime, *, at_once: bool) -> None:
        """Store the positions reached and what the sources report, at once or if `STORE_EVERY` has passed.

        The last step of a transaction. Progress alone is not worth a write for each report: after a kill, lines that match nothing are
        read again. The first position of a source is: without one, it would begin with what is written after the next start.
        """
        self._positions.update(positions)
        # While nothing happens, a source reports only how long it has watched, under its own name: an older time does as well.
        moved = bool(self._status) or bool(self._positions.keys() - self._sources.keys())
        begun = self._positions.keys() & blind.SOURCES.keys() - self._begun
        if begun or at_once or (moved and not timedelta() <= now - self._stored < STORE_EVERY):
            for status in list(self._status.values()):
                self._keep(status, now)
            self._store.settle(self._positions)
            self._positions.clear()
            self._begun |= begun
            self._stored = now

    def _keep(self, status: SourceStatus, now: datetime) -> None:
        self._store.source_status(status.source, asdict(status), now=now)
        self._kept[status.source] = status
        self._status.pop(status.source, None)

    def rows(self) -> list[dict[str, Any]]:
        """Return state and status of every source as `Store.sources` does, with what is not stored yet."""
        return [
            {**row, **asdict(self._status[row["source"]])} if row["source"] in self._status else row
            for row in self._store.sources()
        ]

    def look(self, now: datetime) -> list[Diagnosis]:
        """Return the diagnosis of each source that has been blind for long enough, and schedule a look at the next one."""
        diagnoses, later = [], []
        for row in self._store.sources():
            source, since = row["source"], datetime.fromisoformat(row["since"])
            reported = source in blind.SOURCES and (self._sources.get(source) or "seen" in row)
            if not row["down"] or not reported or self._store.lasting(blind.key(source)) is not None:
                continue
            # A source may have come back while the agent was stopped, and needs time to report it.
            due = (max(since, self._started_at) if source in self._doubted else since) + blind.GRACE
            if due <= now:
                diagnoses.append(blind.diagnose(source, row["down"], since))
            else:
                later.append(due)
        if later:
            self._store.recheck(RecheckKind.BLIND, None, min(later))
        return diagnoses

    def reads_since(self, source: str) -> datetime | None:
        """Return since when a source reads; None if it is blind or unknown."""
        row = next((row for row in self._store.sources() if row["source"] == source), None)
        return None if row is None or row["down"] else datetime.fromisoformat(row["since"])
