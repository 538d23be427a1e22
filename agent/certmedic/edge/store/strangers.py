"""Lines of strangers: a bounded table that only `certmedic incidents --all` reads."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from certmedic.edge.store.database import Database, text_of

MOST_ROWS = 200


class Strangers(Database):
    """Lines that strangers logged, counted by origin and symptom."""

    def stranger(  # noqa: PLR0913 - the columns of a row
        self, who: str, symptom: str, line: str, *, times: int, first: datetime, last: datetime
    ) -> None:
        """Add equal lines of one stranger."""
        self._db.execute(
            "INSERT INTO strangers VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (who, symptom) DO UPDATE SET"
            " count = count + excluded.count, last_seen = max(last_seen, excluded.last_seen),"
            " first_seen = min(first_seen, excluded.first_seen)",
            (who, symptom, line, times, text_of(first), text_of(last)),
        )

    def prune_strangers(self) -> None:
        """Keep the `MOST_ROWS` rows that were seen last."""
        self._db.execute(
            "DELETE FROM strangers WHERE rowid IN (SELECT rowid FROM strangers ORDER BY last_seen DESC LIMIT -1 OFFSET ?)",
            (MOST_ROWS,),
        )

    def strangers(self) -> list[dict[str, Any]]:
        """Return all rows, newest first. Keys: who, symptom, line, count, first_seen, last_seen."""
        return [dict(row) for row in self._db.execute("SELECT * FROM strangers ORDER BY last_seen DESC")]
