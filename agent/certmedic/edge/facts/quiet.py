"""Handshakes that need no repetition. etcd logs each one of ours as a rejected connection, since we send no client certificate.

A handshake of ours is repeated only if it could show something else: the listening process has changed, a file of the port has
changed, or the listener did not serve what the files hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from certmedic.core.model import Served, Stored

MOST_REMEMBERED = 256  # calls

Call = tuple[str, int, str | None]  # address, port and SNI
_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Settled:
    """The last handshake of each call, with what it depends on."""

    def __init__(self) -> None:
        self._seen: dict[Call, tuple[Hashable, Served]] = {}

    def get(self, call: Call, state: Hashable) -> Served | None:
        """Return the handshake of a call if its listener and its files are in the same `state` as then."""
        before = self._seen.get(call)
        return before[1] if before is not None and before[0] == state else None

    def keep(self, call: Call, state: Hashable, served: Served, files: Collection[str]) -> None:
        """Remember a handshake that showed one of the certificates in the `files`, by fingerprint; forget any other."""
        self._seen.pop(call, None)
        if served.certificate is None or served.certificate.fingerprint not in files:
            return
        if len(self._seen) >= MOST_REMEMBERED:
            self._seen.clear()
        self._seen[call] = state, served


class Brief(Generic[_Key, _Value]):
    """Answers that stay good for `seconds`; with 0, none does."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._seen: dict[_Key, tuple[float, _Value]] = {}

    def ask(self, keys: Sequence[_Key], ask: Callable[[Sequence[_Key]], Mapping[_Key, _Value]]) -> dict[_Key, _Value]:
        """Return the answer for each key; `ask` is called with the keys whose answer is too old."""
        since = self._clock() - self._seconds
        self._seen = {key: kept for key, kept in self._seen.items() if kept[0] > since}
        asked = ask([key for key in keys if key not in self._seen])
        now = self._clock()
        self._seen |= {key: (now, value) for key, value in asked.items()}
        return {key: self._seen[key][1] for key in keys}


def files_by_port(stored: Sequence[Stored]) -> Mapping[int, frozenset[str]]:
    """Return port -> fingerprints of the leaves on disk that are served there."""
    ports: dict[int, set[str]] = {}
    for item in stored:
        if not item.certificate.is_ca:
            for port in item.place.ports:
                ports.setdefault(port, set()).add(item.certificate.fingerprint)
    return {port: frozenset(marks) for port, marks in ports.items()}
