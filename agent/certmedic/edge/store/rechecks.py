"""Rechecks, each with its due time."""

from __future__ import annotations

from datetime import datetime

from certmedic.core.model import Recheck
from certmedic.edge.store.database import Database, moment_of, text_of


class Rechecks(Database):
    """One due time for each kind of recheck and incident."""

    def recheck(self, kind: str, incident: int | None, due: datetime) -> None:
        """Look again at `due`; this replaces an earlier due time."""
        self._db.execute("INSERT OR REPLACE INTO rechecks VALUES (?, ?, ?)", (kind, incident or 0, text_of(due)))

    def recheck_by(self, kind: str, incident: int | None, due: datetime) -> None:
        """Look again at `due` at the latest; an earlier due time stays."""
        self._db.execute(
            "INSERT INTO rechecks VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET due_at = min(due_at, excluded.due_at)",
            (kind, incident or 0, text_of(due)),
        )

    def no_recheck(self, kind: str, incident: int | None) -> None:
        """Do not look again."""
        self._db.execute("DELETE FROM rechecks WHERE kind = ? AND incident = ?", (kind, incident or 0))

    def due(self, *, now: datetime) -> list[Recheck]:
        """Return what is due, the longest overdue first. A recheck stays until it is moved or dropped."""
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
