"""Stored times after the clock was set back: a past event in the future would hold until that date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from certmedic.edge.store.database import Database, moment_of, text_of

SLACK: Final = timedelta(seconds=5)
APPROVAL_HOLDS: Final = timedelta(hours=4)
LONGEST_PAUSE: Final = timedelta(minutes=20)  # between two attempts at a delivery, with its spread
# Times of past events: none may be later than now.
HAPPENED: Final[Mapping[str, Sequence[str]]] = {
    "incidents": ("opened_at", "announced_at", "last_seen", "resolved_at", "system_seen"),
    "folds": ("first_seen", "last_seen"),
    "strangers": ("first_seen", "last_seen"),
    "messages": ("created_at",),
    "deliveries": ("sent_at",),
    "events": ("at",),
    "lines": ("at",),
    "replaced": ("at",),
    "sources": ("since",),
    "receivers": ("since",),
}


class Clock(Database):
    """All stored times, compared with the clock."""

    def clock_went_back(self, now: datetime, *, latest: datetime) -> None:
        """Clamp every past event to `now`, and every recheck to `latest`.

        Actions and resets keep their order, since a reset clears only the failures before it. Silences keep their length.
        """
        at = text_of(now)
        for table, columns in HAPPENED.items():
            values = ", ".join(f"{column} = min({column}, ?1)" for column in columns)
            self._db.execute(f"UPDATE {table} SET {values}", (at,))  # noqa: S608 - names of our own
        self._shift_acts(now)
        self._shift_silences(now)
        self._db.execute("UPDATE approvals SET until = min(until, ?)", (text_of(now + APPROVAL_HOLDS),))
        for table in ("rechecks", "later"):
            self._db.execute(f"UPDATE {table} SET due_at = min(due_at, ?) WHERE kind <> 'remind'", (text_of(latest),))  # noqa: S608 - as above
        retry = text_of(now + LONGEST_PAUSE)
        self._db.execute("UPDATE deliveries SET due_at = min(due_at, ?) WHERE state = 'pending'", (retry,))

    def is_ahead(self, now: datetime) -> bool:
        """Whether a person's command was recorded while the clock was ahead: the clock may have gone back while no agent ran."""
        late = (text_of(now + SLACK), text_of(now + APPROVAL_HOLDS + SLACK))
        row = self._db.execute(
            "SELECT EXISTS (SELECT 1 FROM resets WHERE at > ?1) OR EXISTS (SELECT 1 FROM approvals WHERE until > ?2)"
            " OR EXISTS (SELECT 1 FROM silences WHERE created_at > ?1)",
            late,
        ).fetchone()
        return bool(row[0])

    def _shift_acts(self, now: datetime) -> None:
        """Move all future times of actions and resets back by the same span."""
        places = (("actions", "at"), ("actions", "ended_at"), ("resets", "at"))
        late = [
            (table, column, row["number"], moment)
            for table, column in places
            for row in self._db.execute(
                f"SELECT rowid AS number, {column} AS moment FROM {table} WHERE {column} > ?",  # noqa: S608 - as above
                (text_of(now),),
            )
            if (moment := moment_of(row["moment"])) is not None
        ]
        span = max((moment for *_, moment in late), default=now) - now
        for table, column, row, moment in late:
            self._db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (text_of(moment - span), row))  # noqa: S608 - as above

    def _shift_silences(self, now: datetime) -> None:
        """Move silences that were created in the future back to now, with their length."""
        for row in self._db.execute("SELECT * FROM silences WHERE created_at > ?", (text_of(now),)).fetchall():
            made, starts, ends = (moment_of(row[name]) for name in ("created_at", "starts_at", "ends_at"))
            if made is None or starts is None or ends is None:
                continue
            span = made - now
            self._db.execute(
                "UPDATE silences SET created_at = ?, starts_at = ?, ends_at = ? WHERE id = ?",
                (text_of(now), text_of(starts - span), text_of(ends - span), row["id"]),
            )
