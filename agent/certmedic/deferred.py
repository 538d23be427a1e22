"""The journal within a transaction: an entry is written once what it says is on the disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from certmedic.edge.store import Store
from certmedic.ports import Entries


class Deferred:
    """Transactions of the state, and the journal entries that follow each of them."""

    def __init__(self, journal: Entries, store: Store) -> None:
        self._journal = journal
        self._store = store
        self._entries: list[Mapping[str, str]] = []

    def emit(self, fields: Mapping[str, str]) -> None:
        """Write an entry, or within a transaction keep it until that is on the disk."""
        if self._store.in_transaction:
            self._entries.append(fields)
        else:
            self._journal.emit(fields)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction; if it fails, nothing of it was said either."""
        try:
            with self._store.transaction():
                yield
        except BaseException:
            self._entries = []
            raise
        entries, self._entries = self._entries, []
        for fields in entries:
            self._journal.emit(fields)
