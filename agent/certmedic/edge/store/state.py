"""The whole state file."""

from __future__ import annotations

from datetime import datetime, timedelta

from certmedic.edge.store.acts import Acts
from certmedic.edge.store.certificates import Certificates
from certmedic.edge.store.clock import Clock
from certmedic.edge.store.database import text_of
from certmedic.edge.store.incidents import Incidents
from certmedic.edge.store.outbox import Outbox
from certmedic.edge.store.rechecks import Rechecks
from certmedic.edge.store.sources import Sources
from certmedic.edge.store.strangers import Strangers

KEEP_RESOLVED = timedelta(days=90)
KEEP_LINES = timedelta(days=2)  # the lines of a source that lags longer are not deduplicated
MOST_LINES = 100_000


class Store(Certificates, Sources, Incidents, Rechecks, Acts, Outbox, Strangers, Clock):
    """The state file, open. Raises StoreError if it cannot be opened, is of a later version, or is damaged."""

    def prune(self, *, now: datetime) -> None:
        """Drop incidents that were resolved long ago, with all their rows, and lines that are too old to deduplicate."""
        old = text_of(now - KEEP_RESOLVED)
        self._db.execute("DELETE FROM incidents WHERE state = 'resolved' AND resolved_at < ?", (old,))
        self._db.execute(
            "DELETE FROM lines WHERE at < max(?, coalesce((SELECT at FROM lines ORDER BY at DESC LIMIT 1 OFFSET ?), ''))",
            (text_of(now - KEEP_LINES), MOST_LINES),
        )
