"""Which logs cannot be read, since when, and what people are told of it: by an incident, like everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta

from certmedic.core import blind, message
from certmedic.core.examine import stamp
from certmedic.core.model import Diagnosis, SourceDown, SourceStatus, SourceUp
from certmedic.edge.store import Incident, Store
from certmedic.teller import World

SETTLED = timedelta(seconds=30)  # a source that was blind when the agent stopped is believed to read after so long


class Readers:
    """What the sources say of themselves.

    `sources` are those that are read in this run: name -> whether people are told of its blindness even if it never worked,
    which holds for what the operator asked for and not for what was only found to be there.
    """

    def __init__(  # noqa: PLR0913 - what it works on, and two ways back into the line
        self,
        sources: Mapping[str, bool],
        store: Store,
        world: World,
        *,
        started_at: datetime,
        begin: Callable[[Diagnosis, datetime], object],
        end: Callable[[Incident, str, datetime], None],
    ) -> None:
        self.blind: dict[str, str] = {}  # source -> why it cannot read, as said in this run
        self._sources = dict(sources)
        self._store = store
        self._world = world
        self._begin = begin
        self._end = end
        self._started_at = started_at
        self._doubted: set[str] = set()  # blind when the agent stopped, and not heard of since
        self._read_since: dict[str, datetime] = {}

    def start(self, now: datetime) -> None:
        """Go on where the agent stopped: forget what is no longer read, doubt what was blind. Within a transaction."""
        for row in self._store.sources():
            if row["source"] not in self._sources:
                self._store.forget_source(row["source"])
                incident = self._store.lasting(blind.key(row["source"]))
                if incident is not None:
                    self._end(incident, f"{row['source']} is no longer read: the configuration has changed", now)
            elif row["down"]:
                self._doubted.add(row["source"])
        self.look(now)

    def take(self, item: SourceDown | SourceUp | SourceStatus, now: datetime) -> None:
        """Note what a source says. Within a transaction."""
        match item:
            case SourceDown():
                self.blind[item.source] = item.reason
                self._doubted.discard(item.source)
                self._read_since.pop(item.source, None)
                self._store.source_state(item.source, down=item.reason, now=now)
                self._world.journal.emit(message.source_fields(item))
                self.look(now)
            case SourceUp():
                self.blind.pop(item.source, None)
                self._store.source_state(item.source, down="", now=now)
                self._world.journal.emit(message.source_fields(item))
            case SourceStatus():
                self._store.source_status(item.source, asdict(item), now=now)
                since = self._read_since.setdefault(item.source, now)
                if item.source in self._doubted and now - since >= SETTLED:
                    self._doubted.discard(item.source)
                    self.take(SourceUp(source=item.source), now)

    def look(self, now: datetime) -> None:
        """Make an incident of every source that has been blind for long enough, and look again when the next will have been."""
        later = []
        for row in self._store.sources():
            source, since = row["source"], datetime.fromisoformat(row["since"])
            told = source in blind.SOURCES and (self._sources.get(source) or "seen" in row)
            if not row["down"] or not told or self._store.lasting(blind.key(source)) is not None:
                continue
            # What came back while the agent was not there has had no time to say so.
            due = (max(since, self._started_at) if source in self._doubted else since) + blind.GRACE
            if due <= now:
                self._begin(blind.diagnose(source, row["down"], since), now)
            else:
                later.append(due)
        if later:
            self._store.recheck("blind", None, min(later))

    def is_over(self, incident: Incident, now: datetime) -> tuple[bool, str]:
        """Whether the source of such an incident reads again, for good where people know of it, and since when."""
        source = incident.diagnosis.source
        row = next((row for row in self._store.sources() if row["source"] == source), None)
        if row is None or row["down"]:
            return False, ""
        since = datetime.fromisoformat(row["since"])
        steady = incident.announced_at is None or now - since >= blind.STEADY
        return steady, f"{source} is read again since {stamp(since)}, from where it had stopped"
