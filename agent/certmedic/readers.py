"""Sources that cannot be read: since when, and which of them are reported as an incident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta

from certmedic.core import blind, message
from certmedic.core.incident import Incident, RecheckKind
from certmedic.core.model import Diagnosis, SourceDown, SourceStatus, SourceUp
from certmedic.edge.store import Store
from certmedic.ports import World

STORE_EVERY = timedelta(minutes=1)
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
        self._matched: dict[str, int] = {}  # lines that each source had passed on at its last report
        self._status: dict[str, SourceStatus] = {}  # reported and not stored yet
        self._positions: dict[str, str | None] = {}  # the same
        self._stored = started_at  # when the last were stored

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
                if item.matched == self._matched.get(item.source):
                    self._status[item.source] = item
                else:
                    self._matched[item.source] = item.matched
                    self._status.pop(item.source, None)
                    self._store.source_status(item.source, asdict(item), now=now)
                since = self._read_since.setdefault(item.source, now)
                if item.source in self._doubted and now - since >= SETTLED:
                    self._doubted.discard(item.source)
                    self.take(SourceUp(source=item.source), now)

    def settle(self, positions: Mapping[str, str | None], now: datetime, *, at_once: bool) -> None:
        """Store the positions reached and what the sources report, at once or if `STORE_EVERY` has passed.

        The last step of a transaction. Progress alone is not worth a write for each report: after a kill, lines that match nothing are read again.
        """
        self._positions.update(positions)
        if at_once or not timedelta() <= now - self._stored < STORE_EVERY:
            for status in self._status.values():
                self._store.source_status(status.source, asdict(status), now=now)
            self._store.settle(self._positions)
            self._status.clear()
            self._positions.clear()
            self._stored = now

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
