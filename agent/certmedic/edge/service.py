"""The service among systemd's: readiness, watchdog, signals, and structured entries in the journal.

All of it goes through datagrams that never wait: a journald that hangs must not hang the agent (python-systemd's `sendv` keeps
the interpreter's lock while it waits).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from types import FrameType

JOURNAL_SOCKET = "/run/systemd/journal/socket"
LONGEST_FIELD = 8 * 1024  # bytes: an entry must fit into one datagram


def _datagram(path: str, data: bytes) -> bool:
    """Send without waiting; whether it was taken."""
    address = "\0" + path[1:] if path.startswith("@") else path
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender,
    ):
        sender.sendto(data, address)
        return True
    return False


def notify(state: str) -> None:
    """Tell systemd, where it asked to be told (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        _datagram(path, state.encode())


def notify_ready(status: str) -> None:
    """Say that the service does its work now, with a line for `systemctl status`."""
    notify(f"READY=1\nSTATUS={status}")


def notify_status(status: str) -> None:
    """Set the line for `systemctl status`."""
    notify(f"STATUS={status}")


def notify_reloading() -> None:
    """Say that the configuration is being taken up; READY follows."""
    notify("RELOADING=1\nSTATUS=taking up the configuration")


def notify_stopping() -> None:
    """Say that the service ends."""
    notify("STOPPING=1")


def watchdog() -> None:
    """Say that the line turns."""
    notify("WATCHDOG=1")


def stop_on_signals(stop: threading.Event, reload: threading.Event) -> None:
    """SIGTERM and SIGINT set `stop`, SIGHUP sets `reload`."""

    def handle(number: int, _: FrameType | None) -> None:
        (reload if number == signal.SIGHUP else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handle)


class Journal:
    """Structured entries: to journald under systemd, else to a person's stderr."""

    def __init__(self, path: str = JOURNAL_SOCKET) -> None:
        self._path = path
        self._structured = "JOURNAL_STREAM" in os.environ

    def emit(self, fields: Mapping[str, str]) -> None:
        """Write one entry. Never waits and never raises; what journald does not take goes to stderr."""
        if self._structured and _datagram(self._path, encode({**fields, "SYSLOG_IDENTIFIER": "certmedic"})):
            return
        text = fields.get("MESSAGE", "").replace("\n", " ")
        with contextlib.suppress(OSError):
            sys.stderr.write(f"<{fields.get('PRIORITY', '6')}>{text}\n" if self._structured else f"certmedic: {text}\n")
            sys.stderr.flush()


def encode(fields: Mapping[str, str]) -> bytes:
    """Return an entry in journald's native protocol: each field with its length, so that no value can end it early."""
    parts = []
    for name, value in fields.items():
        data = value.encode(errors="replace")[:LONGEST_FIELD]
        parts.append(name.encode("ascii") + b"\n" + len(data).to_bytes(8, "little") + data + b"\n")
    return b"".join(parts)
