"""The bones that all sources share: what a source counts and reports, and how it stores a position."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from certmedic.core.model import SourceStatus

_Kept = TypeVar("_Kept")


def moment(seconds: float) -> str:
    """Write a time (seconds since 1970) for a person."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


# ---------------------------------------------------------------- checkpoints


def to_checkpoint(**fields: object) -> str:
    """Write a position for the store."""
    return json.dumps(fields)


def from_checkpoint(stored: str | None, make: Callable[[Mapping[str, Any]], _Kept]) -> _Kept | None:
    """Read a stored position; None if there is none, and for one that makes no sense."""
    try:
        return make(json.loads(stored or "null"))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


# ---------------------------------------------------------------- status


class Status:
    """What a source has read since it started, and the last that it could not read."""

    def __init__(self, name: str, logger: logging.Logger) -> None:
        self.seen = self.matched = 0  # lines read, and of these passed on
        self.detail = ""
        self._name, self._logger = name, logger

    def say(self, trouble: str, *, log: bool = True) -> None:
        """Note what cannot be read or was skipped, each once in a row; `log` also writes it to the agent's own log."""
        if self.detail.endswith(f" UTC: {trouble}"):
            return
        self.detail = f"{moment(datetime.now(UTC).timestamp())}: {trouble}"
        if log:
            self._logger.warning("%s: %s", self._name, trouble)

    def report(self, *, lag: float, position: str) -> SourceStatus:
        """Return the source's sign of life; `lag` in seconds."""
        return SourceStatus(
            source=self._name,
            seen=self.seen,
            matched=self.matched,
            lag_seconds=max(lag, 0.0),
            position=position,
            detail=self.detail,
        )

    @property
    def read(self) -> tuple[int, int, str]:
        """How many lines were read, how many of them passed on, and what could not be read."""
        return self.seen, self.matched, self.detail
