"""Rechecks, each with its due time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from certmedic.core.model import Recheck
from certmedic.edge.store.database import Database, moment_of, text_of

# In memory and part of each transaction: later due times for rows of `rechecks`, as long as their due time is `instead_of`.
_LATER: Final = """
    CREATE TEMP TABLE later (
        kind TEXT NOT NULL, incident INTEGER NOT NULL, instead_of TEXT NOT NULL, due_at TEXT NOT NULL,
        PRIMARY KEY (kind, incident)
    ) STRICT;
    CREATE TEMP VIEW looks AS
    SELECT r.kind, r.incident, coalesce(l.due_at, r.due_at) AS due_at
    FROM main.rechecks r LEFT JOIN later l ON l.kind = r.kind AND l.incident = r.incident AND l.instead_of = r.due_at;
    CREATE TEMP TRIGGER dropped AFTER DELETE ON main.rechecks BEGIN
        DELETE FROM later WHERE kind = OLD.kind AND incident = OLD.incident;
    END;
"""
_NEVER: Final = "9999"


class Rechecks(Database):
    """One due time for each kind of recheck and incident.

    A look that is repeated every few seconds would write to the disk each time. `recheck_often` keeps its due time in memory, and
    on the disk that of the first look, so that after a restart it is due at once.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        super().__init__(path, readonly=readonly)
        self._db.executescript(_LATER)

    def recheck(self, kind: str, incident: int | None, due: datetime) -> None:
        """Look again at `due`; this replaces an earlier due time."""
        self._db.execute("INSERT OR REPLACE INTO rechecks VALUES (?, ?, ?)", (kind, incident or 0, text_of(due)))
        self._db.execute("DELETE FROM later WHERE kind = ? AND incident = ?", (kind, incident or 0))

    def recheck_often(self, kind: str, incident: int | None, due: datetime) -> None:
        """Look again at `due`, or as soon as the agent starts again; this replaces an earlier due time."""
        key = (kind, incident or 0, text_of(due))
        kept = self._db.execute(
            "INSERT OR REPLACE INTO later SELECT kind, incident, due_at, ?3 FROM rechecks"
            " WHERE kind = ?1 AND incident = ?2 AND due_at <= ?3",
            key,
        )
        self._aside += kept.rowcount
        if not kept.rowcount:
            self.recheck(kind, incident, due)

    def recheck_by(self, kind: str, incident: int | None, due: datetime) -> None:
        """Look again at `due` at the latest; an earlier due time stays."""
        known = self._db.execute(
            "SELECT 1 FROM looks WHERE kind = ? AND incident = ? AND due_at <= ?", (kind, incident or 0, text_of(due))
        )
        if known.fetchone() is None:
            self.recheck(kind, incident, due)

    def answer(self, recheck: Recheck, look: Callable[[], None]) -> None:
        """Call `look`, and drop the recheck unless `look` gave it another due time."""
        key = (recheck.kind, recheck.incident or 0)
        begun = self._db.execute(
            "INSERT OR REPLACE INTO later SELECT kind, incident, due_at, ?3 FROM rechecks WHERE kind = ?1 AND incident = ?2",
            (*key, _NEVER),
        )
        self._aside += begun.rowcount
        look()
        self._db.execute(
            "DELETE FROM rechecks WHERE kind = ?1 AND incident = ?2 AND EXISTS"
            " (SELECT 1 FROM later WHERE kind = ?1 AND incident = ?2 AND due_at = ?3)",
            (*key, _NEVER),
        )

    def due(self, *, now: datetime) -> list[Recheck]:
        """Return what is due, the longest overdue first. A recheck stays until it is moved or dropped."""
        rows = self._db.execute("SELECT * FROM looks WHERE due_at <= ? ORDER BY due_at", (text_of(now),))
        return [
            Recheck(kind=r["kind"], incident=r["incident"] or None, due=datetime.fromisoformat(r["due_at"]))
            for r in rows
        ]

    def looked_at(self, kind: str) -> set[int]:
        """Return the incidents that have a recheck of this kind."""
        return {row[0] for row in self._db.execute("SELECT incident FROM rechecks WHERE kind = ?", (kind,))}

    def next_due(self) -> datetime | None:
        """Return when the next recheck or delivery is due."""
        row = self._db.execute(
            "SELECT min(due_at) FROM (SELECT due_at FROM looks UNION ALL"
            " SELECT due_at FROM deliveries WHERE state = 'pending')"
        ).fetchone()
        return moment_of(row[0])
