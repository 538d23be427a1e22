"""The log of apprise, without addresses."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Beginnings of apprise's log messages about a file. The rest of such a message may contain an address.
REASONS = (
    "Could not load URL",
    "Invalid Apprise TEXT configuration format",
    "Invalid URL",
    "Unparseable URL",
    "Unparseable tag assignment",
    "Unsupported URL",
)


class _LogCapture(logging.Handler):
    """Keeps the harmless parts of the records of one thread: places in a file with a known reason, and HTTP status codes."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != self._thread:
            return
        text = record.getMessage()
        status = re.search(r"\berror=(\d{3})\b", text)
        place = re.search(r"\b(line|entry) #?(\d+)", text)
        reason = next((f": {reason}" for reason in REASONS if text.startswith(reason)), "")
        fault = f"{place[1]} {place[2]}: apprise cannot use it{reason}" if place else reason
        self.records.append(f"HTTP {status[1]}" if status else fault)


@contextmanager
def captured() -> Iterator[list[str]]:
    """Capture what apprise logs on this thread: "HTTP 403", "line 7: ...", ": reason", or "" for any other record."""
    capture = _LogCapture()
    logger = logging.getLogger("apprise")
    logger.addHandler(capture)
    try:
        yield capture.records
    finally:
        logger.removeHandler(capture)
