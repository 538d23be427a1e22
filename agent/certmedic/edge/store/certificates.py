"""The certificates that files held before, so that a line about an old one still leads to its file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from certmedic.core.codec import dump, load
from certmedic.core.model import Replaced, Stored, Trust
from certmedic.edge.store.database import Database, text_of

KEEP = timedelta(days=400)  # a program that runs longer with an old certificate has long been refused
MOST = 1000


class Certificates(Database):
    """The certificate that each file holds, and those that it held before."""

    def keep_certificates(self, files: Iterable[Stored], *, now: datetime) -> None:
        """Compare files with what they held at the last look, and remember each certificate that was replaced."""
        known = {
            row["path"]: load(Replaced, row["certificate"])
            for row in self._db.execute("SELECT * FROM certificates").fetchall()
        }
        seen: set[str] = set()
        for stored in files:
            leaf = stored.certificate
            # The leaf of a kubeconfig is that of its first user; the CA of the cluster stands before it.
            is_first = leaf.embedded_kind == "user" or (not leaf.embedded_kind and not leaf.index)
            if not is_first or leaf.path in seen or stored.trust is not Trust.SYSTEM:
                continue
            seen.add(leaf.path)
            before = known.get(leaf.path)
            if before is not None and before.fingerprint == leaf.fingerprint:
                continue
            held = Replaced(
                path=leaf.path,
                serial=leaf.serial,
                authority_key_id=leaf.authority_key_id,
                not_after=leaf.not_after,
                fingerprint=leaf.fingerprint,
                at=min(stored.modified, now),
            )
            self._db.execute("INSERT OR REPLACE INTO certificates VALUES (?, ?)", (leaf.path, dump(held)))
            if before is not None:
                old = replace(before, at=held.at)
                values = (old.path, old.fingerprint, dump(old), text_of(old.at))
                self._db.execute("INSERT OR REPLACE INTO replaced VALUES (?, ?, ?, ?)", values)
            # A file that got an earlier certificate back holds it now.
            self._db.execute("DELETE FROM replaced WHERE path = ? AND fingerprint = ?", (leaf.path, leaf.fingerprint))
        self._db.execute(
            "DELETE FROM replaced WHERE at < max(?, coalesce((SELECT at FROM replaced ORDER BY at DESC LIMIT 1 OFFSET ?), ''))",
            (text_of(now - KEEP), MOST),
        )

    def replaced(self) -> tuple[Replaced, ...]:
        """Return the certificates that files held before, the latest last."""
        rows = self._db.execute("SELECT certificate FROM replaced ORDER BY at, path").fetchall()
        return tuple(load(Replaced, row["certificate"]) for row in rows)
