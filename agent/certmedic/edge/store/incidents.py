"""Incidents: their lines, decisions and history."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from certmedic.core import codec
from certmedic.core.incident.state import Incident, IncidentState
from certmedic.core.model import Decision, Diagnosis, Sighting, Trust
from certmedic.edge.store.database import Database, moment_of, text_of

MOST_FOLDS = 100  # kinds of lines of one incident
# In memory: the incidents that this process changed since it read the unresolved ones.
_CHANGED: Final = """
    CREATE TEMP TABLE changed (id INTEGER PRIMARY KEY) STRICT;
    CREATE TEMP TRIGGER opened AFTER INSERT ON main.incidents BEGIN INSERT OR IGNORE INTO changed VALUES (NEW.id); END;
    CREATE TEMP TRIGGER altered AFTER UPDATE ON main.incidents BEGIN INSERT OR IGNORE INTO changed VALUES (NEW.id); END;
    CREATE TEMP TRIGGER forgotten AFTER DELETE ON main.incidents BEGIN INSERT OR IGNORE INTO changed VALUES (OLD.id); END;
"""
_UNRESOLVED: Final = "SELECT * FROM incidents WHERE state <> 'resolved'"
_OF_CHANGED: Final = " AND id IN (SELECT id FROM changed)"


class Incidents(Database):
    """Incidents, each from its first line until it is resolved."""

    _unresolved: tuple[tuple[int, int, int], dict[int, Incident]] | None = None  # by number, and the stamp of then

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        super().__init__(path, readonly=readonly)
        self._db.executescript(_CHANGED)

    def _incident(self, row: sqlite3.Row) -> Incident:
        return Incident(
            id=row["id"],
            key=row["key"],
            state=IncidentState(row["state"]),
            diagnosis=codec.load(Diagnosis, row["diagnosis"]),
            decision=codec.load(Decision, row["decision"]) if row["decision"] else None,
            opened_at=datetime.fromisoformat(row["opened_at"]),
            announced_at=moment_of(row["announced_at"]),
            last_seen=datetime.fromisoformat(row["last_seen"]),
            resolved_at=moment_of(row["resolved_at"]),
            count=row["count"],
            system_seen=moment_of(row["system_seen"]),
        )

    def incident(self, number: int) -> Incident | None:
        """Return one incident."""
        if self._unresolved is not None and self._unresolved[0] == self._stamp() and number in self._unresolved[1]:
            return self._unresolved[1][number]
        row = self._db.execute("SELECT * FROM incidents WHERE id = ?", (number,)).fetchone()
        return self._incident(row) if row else None

    def incidents(self, *, unresolved: bool = False) -> list[Incident]:
        """Return incidents, newest first; only the unresolved ones if asked."""
        if unresolved:
            return list(self._all_unresolved().values())
        return [self._incident(row) for row in self._db.execute("SELECT * FROM incidents ORDER BY id DESC")]

    def _all_unresolved(self) -> Mapping[int, Incident]:
        """Return the unresolved incidents, newest first. Only those that changed are read again: each look needs all of them."""
        before, stamp = self._unresolved, self._stamp()
        if before is not None and before[0] == stamp:
            return before[1]
        undone_or_foreign = before is None or before[0][1:] != stamp[1:]
        rows = self._db.execute(f"{_UNRESOLVED}{'' if undone_or_foreign else _OF_CHANGED} ORDER BY id DESC")
        unresolved = {row["id"]: self._incident(row) for row in rows}
        if before is not None and not undone_or_foreign:
            ended = {row[0] for row in self._db.execute("SELECT id FROM changed")}.difference(unresolved)
            is_new = not unresolved.keys() <= before[1].keys()
            unresolved = {**before[1], **unresolved}
            for number in ended:
                unresolved.pop(number, None)
            if is_new:
                unresolved = dict(sorted(unresolved.items(), reverse=True))
        self._aside += self._db.execute("DELETE FROM changed").rowcount
        self._unresolved = self._stamp(), unresolved
        return unresolved

    def recent(self, since: datetime) -> list[Incident]:
        """Return the unresolved incidents and those resolved after `since`, oldest first."""
        rows = self._db.execute(
            "SELECT * FROM incidents WHERE state <> 'resolved' OR resolved_at > ? ORDER BY id", (text_of(since),)
        )
        return [self._incident(row) for row in rows]

    def reported_ends(self, since: datetime) -> list[Incident]:
        """Return the incidents that people heard of and that were resolved at `since` or later, oldest first."""
        rows = self._db.execute(
            "SELECT * FROM incidents WHERE state = 'resolved' AND announced_at IS NOT NULL AND resolved_at >= ? ORDER BY id",
            (text_of(since),),
        )
        return [self._incident(row) for row in rows]

    def marks(self, since: datetime) -> list[tuple[Any, ...]]:
        """Return a row for each incident of `recent`, which changes when its state, severity or decision does. Decodes nothing."""
        rows = self._db.execute(
            "SELECT id, state, severity, announced_at, decision FROM incidents"
            " WHERE state <> 'resolved' OR resolved_at > ? ORDER BY id",
            (text_of(since),),
        )
        return [tuple(row) for row in rows]

    def open_incident(self, diagnosis: Diagnosis, *, now: datetime) -> tuple[Incident, bool]:
        """Return the unresolved incident of this diagnosis and whether it is new. The diagnosis replaces that of the incident."""
        encoded = codec.dump(diagnosis)
        row = self._db.execute(
            "SELECT * FROM incidents WHERE key = ? AND state <> 'resolved'", (diagnosis.key,)
        ).fetchone()
        new = row is None
        if row is not None and (row["diagnosis"], row["severity"]) != (encoded, diagnosis.severity):
            row = self._db.execute(  # only if it differs: a look that changes nothing writes nothing
                "UPDATE incidents SET diagnosis = ?, severity = ? WHERE id = ? RETURNING *",
                (encoded, diagnosis.severity, row["id"]),
            ).fetchone()
        elif new:
            row = self._db.execute(
                "INSERT INTO incidents (key, state, severity, diagnosis, opened_at, last_seen)"
                " VALUES (?, 'open', ?, ?, ?, ?) RETURNING *",
                (diagnosis.key, diagnosis.severity, encoded, text_of(now), text_of(diagnosis.last_seen or now)),
            ).fetchone()
        return self._incident(row), new

    def count(self, incident: int, sighting: Sighting, *, times: int, first: datetime, last: datetime) -> None:
        """Add equal sightings to an incident. Kinds of lines beyond `MOST_FOLDS` share one row: the text may be a stranger's."""
        fold = sighting.fold
        known = self._db.execute(
            "SELECT count(*), total(fold = ?) FROM folds WHERE incident = ?", (fold, incident)
        ).fetchone()
        if known[0] >= MOST_FOLDS and not known[1]:
            fold = "other"
        self._db.execute(
            "INSERT INTO folds VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (incident, fold) DO UPDATE SET"
            " count = count + excluded.count, last_seen = max(last_seen, excluded.last_seen),"
            " first_seen = min(first_seen, excluded.first_seen)",
            (incident, fold, sighting.message, sighting.entry.stream, times, text_of(first), text_of(last)),
        )
        system_seen = text_of(last) if sighting.entry.origin.trust is Trust.SYSTEM else None
        self._db.execute(
            "UPDATE incidents SET count = count + ?, last_seen = max(last_seen, ?),"
            " system_seen = coalesce(max(coalesce(system_seen, ''), ?), system_seen) WHERE id = ?",
            (times, text_of(last), system_seen, incident),
        )

    def folds(self, incident: int) -> list[dict[str, Any]]:
        """Return the kinds of lines of an incident, most frequent first."""
        rows = self._db.execute("SELECT * FROM folds WHERE incident = ? ORDER BY count DESC", (incident,))
        return [dict(row) for row in rows]

    def decide(self, incident: int, decision: Decision) -> None:
        """Record the latest decision. An equal one writes nothing."""
        self._db.execute(
            "UPDATE incidents SET decision = ?2 WHERE id = ?1 AND decision <> ?2", (incident, codec.dump(decision))
        )

    def announce(self, incident: int, *, now: datetime) -> None:
        """Record that the incident was announced."""
        self._db.execute("UPDATE incidents SET announced_at = ? WHERE id = ?", (text_of(now), incident))

    def escalate(self, incident: int) -> None:
        """Record that this incident needs a person."""
        self._db.execute("UPDATE incidents SET state = 'escalated' WHERE id = ? AND state = 'open'", (incident,))

    def resolve(self, incident: int, *, now: datetime) -> None:
        """Close an incident, and drop its rechecks."""
        self._db.execute(
            "UPDATE incidents SET state = 'resolved', resolved_at = ? WHERE id = ?", (text_of(now), incident)
        )
        self._db.execute("DELETE FROM rechecks WHERE incident = ?", (incident,))

    def event(self, incident: int, what: str, text: str, *, now: datetime) -> None:
        """Add an event to the history of an incident."""
        self._db.execute(
            "INSERT INTO events (incident, at, what, said) VALUES (?, ?, ?, ?)", (incident, text_of(now), what, text)
        )

    def event_once(self, incident: int, what: str, text: str, *, now: datetime) -> None:
        """Add an event to the history of an incident unless it holds the same event already."""
        self._db.execute(
            "INSERT INTO events (incident, at, what, said) SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS"
            " (SELECT 1 FROM events WHERE incident = ?1 AND what = ?3 AND said = ?4)",
            (incident, text_of(now), what, text),
        )

    def happened(self, incident: int) -> dict[str, datetime]:
        """Return the kinds of the events of an incident, each with the time of the first of its kind."""
        rows = self._db.execute("SELECT what, min(at) FROM events WHERE incident = ? GROUP BY what", (incident,))
        return {row[0]: datetime.fromisoformat(row[1]) for row in rows}

    def texts_of(self, kinds: Sequence[str]) -> dict[tuple[int, str], str]:
        """Return (incident, kind) -> text of the last event of each of these kinds."""
        rows = self._db.execute(
            "SELECT incident, what, said FROM events WHERE what IN (SELECT value FROM json_each(?)) ORDER BY id",
            (json.dumps(kinds),),
        )
        return {(row[0], row[1]): row[2] for row in rows}

    def events(self, incident: int) -> list[dict[str, Any]]:
        """Return the history of an incident, oldest first."""
        rows = self._db.execute("SELECT at, what, said FROM events WHERE incident = ? ORDER BY id", (incident,))
        return [dict(row) for row in rows]

    def lasting(self, key: str) -> Incident | None:
        """Return the unresolved incident of a key."""
        row = self._db.execute("SELECT * FROM incidents WHERE key = ? AND state <> 'resolved'", (key,)).fetchone()
        return self._incident(row) if row else None
