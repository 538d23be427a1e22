"""Actions, stored as intents before they are done, so that no kill repeats or forgets one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from certmedic.core import codec
from certmedic.core.incident.state import Act, ActState
from certmedic.core.model import Action
from certmedic.edge.store.database import Database, moment_of, text_of


class Acts(Database):
    """Actions, approvals and resets."""

    def _act(self, row: sqlite3.Row) -> Act:
        return Act(
            id=row["id"],
            incident=row["incident"],
            target=row["target"],
            action=codec.load(Action, row["action"]),
            state=ActState(row["state"]),
            boot_id=row["boot_id"],
            at=datetime.fromisoformat(row["at"]),
            ended_at=moment_of(row["ended_at"]),
            detail=row["detail"],
            undo=tuple(json.loads(row["undo"])),
        )

    def intend(self, incident: int, target: str, action: Action, *, boot_id: str, now: datetime) -> None:
        """Store an intent, before the action."""
        self._db.execute(
            "INSERT INTO actions (incident, target, action, state, boot_id, at) VALUES (?, ?, ?, 'intent', ?, ?)",
            (incident, target, codec.dump(action), boot_id, text_of(now)),
        )

    def acts(self, *, state: ActState | None = None, incident: int | None = None) -> list[Act]:
        """Return actions, oldest first; only of one state or one incident if given."""
        rows = self._db.execute(
            "SELECT * FROM actions WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR incident = ?2) ORDER BY id",
            (state, incident),
        )
        return [self._act(row) for row in rows]

    def can_undo(self, number: int, replaced: Sequence[Mapping[str, str]]) -> None:
        """Record the files that an action replaced, so that they can be put back."""
        self._db.execute("UPDATE actions SET undo = ? WHERE id = ?", (json.dumps(list(replaced)), number))

    def end_act(self, number: int, state: ActState, detail: str, *, now: datetime) -> None:
        """Record the result of an action: done, verified, undoing or failed."""
        self._db.execute(
            "UPDATE actions SET state = ?, detail = ?, ended_at = ? WHERE id = ?", (state, detail, text_of(now), number)
        )

    def not_looked(self, gap: timedelta) -> None:
        """Extend verification deadlines by the time for which the agent was suspended."""
        for act in self.acts(state=ActState.DONE):
            ended = text_of((act.ended_at or act.at) + gap)
            self._db.execute("UPDATE actions SET ended_at = ? WHERE id = ?", (ended, act.id))

    def approve(self, incident: int, author: str, *, until: datetime) -> None:
        """Record that a person approved an action on one incident, valid until `until`."""
        self._db.execute("INSERT OR REPLACE INTO approvals VALUES (?, ?, ?)", (incident, author, text_of(until)))

    def approved(self, incident: int, *, now: datetime) -> str:
        """Return who approved an action on an incident; "" if nobody did or the approval has ended."""
        row = self._db.execute(
            "SELECT author FROM approvals WHERE incident = ? AND until > ?", (incident, text_of(now))
        ).fetchone()
        return str(row[0]) if row else ""

    def reset(self, author: str, *, now: datetime) -> None:
        """Record that a person allows actions again after a failure."""
        self._db.execute("INSERT INTO resets VALUES (?, ?)", (text_of(now), author))

    def tripped(self) -> str:
        """Return target and result of the last action that failed since the last reset; "" if none did."""
        row = self._db.execute(
            "SELECT target || ': ' || detail FROM actions WHERE state = 'failed'"
            " AND ended_at > coalesce((SELECT max(at) FROM resets), '') ORDER BY id DESC LIMIT 1"
        ).fetchone()
        return str(row[0]) if row else ""
