"""The agent's memory: one SQLite file, one owner, one transaction per step of the line.

`Store` is used from the thread that opened it. The agent is its only writer; the commands that look (`incidents`,
`show`, `status`) open it read-only and see the last finished transaction. Everything that must survive a `kill -9` is
here: positions, incidents, intents, the outbox and what is to be looked at again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from certmedic.core import codec
from certmedic.core.incident.state import Act, Incident, IncidentState
from certmedic.core.model import (
    Decision,
    Diagnosis,
    Recheck,
    Sighting,
    Told,
    Trust,
)
from certmedic.edge.store.acts import Acts
from certmedic.edge.store.clock import Clock
from certmedic.edge.store.database import StoreError, moment_of, text_of
from certmedic.edge.store.outbox import Delivery, Outbox
from certmedic.edge.store.strangers import Strangers

__all__ = ["Act", "Delivery", "Incident", "Store", "StoreError"]

MOST_FOLDS = 100  # of one incident
KEEP_RESOLVED = timedelta(days=90)
KEEP_LINES = timedelta(days=2)  # a source that lags longer is taken at its word
MOST_LINES = 100_000


class Store(Acts, Outbox, Strangers, Clock):
    """The state file, open. Raises StoreError where it cannot be opened, is of a later version, or is damaged."""

    # ------------------------------------------------------------ positions and sources

    def positions(self) -> dict[str, str]:
        """Return stream -> position."""
        return {row["stream"]: row["position"] for row in self._db.execute("SELECT * FROM positions")}

    def settle(self, positions: Mapping[str, str | None]) -> None:
        """Move positions, or drop those of streams that are over (None): the last step of a transaction."""
        over = [(stream,) for stream, position in positions.items() if position is None]
        self._db.executemany("DELETE FROM positions WHERE stream = ?", over)
        moved = [(stream, position) for stream, position in positions.items() if position is not None]
        self._db.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", moved)

    def brought(self, line: int) -> dict[str, int]:
        """Return by which roads a line has come, and how often."""
        row = self._db.execute("SELECT brought FROM lines WHERE line = ?", (line,)).fetchone()
        return json.loads(row["brought"]) if row else {}

    def remember(self, lines: Mapping[int, Mapping[str, int]], *, now: datetime) -> None:
        """Record by which roads lines have come until now."""
        at = text_of(now)
        self._db.executemany(
            "INSERT OR REPLACE INTO lines VALUES (?, ?, ?)",
            [(line, json.dumps(brought), at) for line, brought in lines.items()],
        )

    def source_state(self, source: str, *, down: str, now: datetime) -> None:
        """Record that a source went blind (`down` says why) or reads again (empty). What lasts keeps its beginning."""
        self._db.execute(
            "INSERT INTO sources (source, down, since) VALUES (?, ?, ?)"
            " ON CONFLICT (source) DO UPDATE SET down = excluded.down,"
            " since = CASE (down = '') = (excluded.down = '') WHEN 1 THEN since ELSE excluded.since END",
            (source, down, text_of(now)),
        )

    def forget_source(self, source: str) -> None:
        """Drop what is known of a source that is no longer read."""
        self._db.execute("DELETE FROM sources WHERE source = ?", (source,))

    def source_status(self, source: str, status: Mapping[str, Any], *, now: datetime) -> None:
        """Record what a source says of itself."""
        self._db.execute(
            "INSERT INTO sources (source, since, status) VALUES (?, ?, ?)"
            " ON CONFLICT (source) DO UPDATE SET status = excluded.status",
            (source, text_of(now), json.dumps(status)),
        )

    def sources(self) -> list[dict[str, Any]]:
        """Return what is known of every source, for `certmedic status`."""
        rows = self._db.execute("SELECT * FROM sources ORDER BY source")
        return [
            {"source": r["source"], "down": r["down"], "since": r["since"], **json.loads(r["status"])} for r in rows
        ]

    # ------------------------------------------------------------ members

    def members(self) -> dict[str, Told]:
        """Return peer certificate -> who the members are, as its etcd told last."""
        return {row["certificate"]: codec.load(Told, row["told"]) for row in self._db.execute("SELECT * FROM members")}

    def keep_members(self, told: Mapping[str, Told]) -> None:
        """Remember who the members are."""
        self._db.executemany(
            "INSERT OR REPLACE INTO members VALUES (?, ?)", [(path, codec.dump(one)) for path, one in told.items()]
        )

    # ------------------------------------------------------------ incidents

    def _incident(self, row: sqlite3.Row) -> Incident:
        opened, last = moment_of(row["opened_at"]), moment_of(row["last_seen"])
        assert opened is not None  # noqa: S101 - NOT NULL in the schema; this tells the type checker
        assert last is not None  # noqa: S101 - as above
        return Incident(
            id=row["id"],
            key=row["key"],
            state=IncidentState(row["state"]),
            severity=row["severity"],
            diagnosis=codec.load(Diagnosis, row["diagnosis"]),
            decision=codec.load(Decision, row["decision"]) if row["decision"] else None,
            opened_at=opened,
            announced_at=moment_of(row["announced_at"]),
            last_seen=last,
            resolved_at=moment_of(row["resolved_at"]),
            count=row["count"],
            system_seen=moment_of(row["system_seen"]),
        )

    def incident(self, number: int) -> Incident | None:
        """Return one incident."""
        row = self._db.execute("SELECT * FROM incidents WHERE id = ?", (number,)).fetchone()
        return self._incident(row) if row else None

    def incidents(self, *, unresolved: bool = False) -> list[Incident]:
        """Return incidents, newest first; only those that last if `unresolved`."""
        where = " WHERE state <> 'resolved'" if unresolved else ""
        return [self._incident(row) for row in self._db.execute(f"SELECT * FROM incidents{where} ORDER BY id DESC")]  # noqa: S608 - no input

    def open_incident(self, diagnosis: Diagnosis, *, now: datetime) -> tuple[Incident, bool]:
        """Return the incident of this diagnosis and whether it is new; the diagnosis becomes its latest."""
        encoded = codec.dump(diagnosis)
        row = self._db.execute(
            "UPDATE incidents SET diagnosis = ?, severity = ? WHERE key = ? AND state <> 'resolved' RETURNING *",
            (encoded, diagnosis.severity, diagnosis.key),
        ).fetchone()
        new = row is None
        if new:
            row = self._db.execute(
                "INSERT INTO incidents (key, state, severity, diagnosis, opened_at, last_seen)"
                " VALUES (?, 'open', ?, ?, ?, ?) RETURNING *",
                (diagnosis.key, diagnosis.severity, encoded, text_of(now), text_of(diagnosis.last_seen or now)),
            ).fetchone()
        return self._incident(row), new

    def count(self, incident: int, sighting: Sighting, *, times: int, first: datetime, last: datetime) -> None:
        """Add equal sightings to an incident. Beyond `MOST_FOLDS` kinds of lines, which strangers can make, all are one."""
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
            (incident, fold, sighting.said, sighting.entry.stream, times, text_of(first), text_of(last)),
        )
        self._db.execute(
            "UPDATE incidents SET count = count + ?, last_seen = max(last_seen, ?) WHERE id = ?",
            (times, text_of(last), incident),
        )
        if sighting.entry.origin.trust is Trust.SYSTEM:
            self._db.execute(
                "UPDATE incidents SET system_seen = max(coalesce(system_seen, ''), ?) WHERE id = ?",
                (text_of(last), incident),
            )

    def folds(self, incident: int) -> list[dict[str, Any]]:
        """Return the kinds of lines of an incident, most frequent first."""
        rows = self._db.execute("SELECT * FROM folds WHERE incident = ? ORDER BY count DESC", (incident,))
        return [dict(row) for row in rows]

    def decide(self, incident: int, decision: Decision) -> None:
        """Record the latest decision."""
        self._db.execute("UPDATE incidents SET decision = ? WHERE id = ?", (codec.dump(decision), incident))

    def announce(self, incident: int, *, now: datetime) -> None:
        """Record that people were told of this incident."""
        self._db.execute("UPDATE incidents SET announced_at = ? WHERE id = ?", (text_of(now), incident))

    def escalate(self, incident: int) -> None:
        """Record that certmedic is at its end with this incident, and a person is needed."""
        self._db.execute("UPDATE incidents SET state = 'escalated' WHERE id = ? AND state = 'open'", (incident,))

    def resolve(self, incident: int, *, now: datetime) -> None:
        """Close an incident; nothing of it is looked at again."""
        self._db.execute(
            "UPDATE incidents SET state = 'resolved', resolved_at = ? WHERE id = ?", (text_of(now), incident)
        )
        self._db.execute("DELETE FROM rechecks WHERE incident = ?", (incident,))

    def event(self, incident: int, what: str, said: str, *, now: datetime) -> None:
        """Add a line to the story of an incident."""
        self._db.execute(
            "INSERT INTO events (incident, at, what, said) VALUES (?, ?, ?, ?)", (incident, text_of(now), what, said)
        )

    def event_once(self, incident: int, what: str, said: str, *, now: datetime) -> None:
        """Add a line to the story of an incident, unless it stands there already."""
        self._db.execute(
            "INSERT INTO events (incident, at, what, said) SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS"
            " (SELECT 1 FROM events WHERE incident = ?1 AND what = ?3 AND said = ?4)",
            (incident, text_of(now), what, said),
        )

    def has_event(self, incident: int, what: str) -> bool:
        """Whether the story of an incident has such a line."""
        known = self._db.execute("SELECT 1 FROM events WHERE incident = ? AND what = ? LIMIT 1", (incident, what))
        return known.fetchone() is not None

    def events(self, incident: int) -> list[dict[str, Any]]:
        """Return the story of an incident, oldest first."""
        rows = self._db.execute("SELECT at, what, said FROM events WHERE incident = ? ORDER BY id", (incident,))
        return [dict(row) for row in rows]

    def prune(self, *, now: datetime) -> None:
        """Drop what was resolved long ago, with all that hangs on it, and lines that no source will bring again."""
        old = text_of(now - KEEP_RESOLVED)
        self._db.execute("DELETE FROM incidents WHERE state = 'resolved' AND resolved_at < ?", (old,))
        self._db.execute(
            "DELETE FROM lines WHERE at < max(?, coalesce((SELECT at FROM lines ORDER BY at DESC LIMIT 1 OFFSET ?), ''))",
            (text_of(now - KEEP_LINES), MOST_LINES),
        )

    def lasting(self, key: str) -> Incident | None:
        """Return the incident of a key that is not resolved."""
        row = self._db.execute("SELECT * FROM incidents WHERE key = ? AND state <> 'resolved'", (key,)).fetchone()
        return self._incident(row) if row else None

    # ------------------------------------------------------------ what is looked at again

    def recheck(self, kind: str, incident: int | None, due: datetime) -> None:
        """Look again at `due`; a second call for the same thing moves the time."""
        self._db.execute("INSERT OR REPLACE INTO rechecks VALUES (?, ?, ?)", (kind, incident or 0, text_of(due)))

    def recheck_by(self, kind: str, incident: int | None, due: datetime) -> None:
        """Look again at `due` at the latest; an earlier time that stands already stays."""
        self._db.execute(
            "INSERT INTO rechecks VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET due_at = min(due_at, excluded.due_at)",
            (kind, incident or 0, text_of(due)),
        )

    def no_recheck(self, kind: str, incident: int | None) -> None:
        """Do not look again."""
        self._db.execute("DELETE FROM rechecks WHERE kind = ? AND incident = ?", (kind, incident or 0))

    def due(self, *, now: datetime) -> list[Recheck]:
        """Return what is due, the longest overdue first. Each stays until it is moved or dropped."""
        rows = self._db.execute("SELECT * FROM rechecks WHERE due_at <= ? ORDER BY due_at", (text_of(now),))
        return [
            Recheck(kind=r["kind"], incident=r["incident"] or None, due=datetime.fromisoformat(r["due_at"]))
            for r in rows
        ]

    def next_due(self) -> datetime | None:
        """Return when the next recheck or delivery is due."""
        row = self._db.execute(
            "SELECT min(due_at) FROM (SELECT due_at FROM rechecks UNION ALL"
            " SELECT due_at FROM deliveries WHERE state = 'pending')"
        ).fetchone()
        return moment_of(row[0])
