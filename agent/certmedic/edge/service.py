"""The interface to systemd: readiness, watchdog, signals, and structured entries in the journal.

Everything is sent as datagrams without waiting: a journald that hangs must not block the agent (python-systemd's `sendv` holds
the GIL while it waits). systemd documents the formats: sd_notify(3), and systemd.io/JOURNAL_NATIVE_PROTOCOL.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType

JOURNAL_SOCKET = "/run/systemd/journal/socket"
LONGEST_FIELD = 8 * 1024  # bytes: an entry must fit into one datagram
PATIENCE = 2.0  # seconds for notifications that systemd must not miss


def _datagram(path: str, data: bytes, *, wait: float = 0.0) -> bool:
    """Send a datagram to a socket, within `wait` seconds; return whether it was sent."""
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(wait)
        sender.sendto(data, address)
        return True
    return False


# ---------------------------------------------------------------- systemd


def notify(state: str, *, wait: float = 0.0) -> bool:
    """Notify systemd if it started us with Type=notify; return whether that was sent."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    return path.startswith(("/", "@")) and _datagram(path, state.encode(errors="replace"), wait=wait)


def notify_ready(status: str) -> None:
    """Report that the service is ready, with a line for `systemctl status`."""
    notify(f"READY=1\nSTATUS={_line(status)}", wait=PATIENCE)


def notify_status(status: str) -> None:
    """Set the line for `systemctl status`."""
    notify(f"STATUS={_line(status)}")


def notify_reloading() -> None:
    """Report that the configuration is being reloaded; READY follows."""
    notify("RELOADING=1\nSTATUS=taking up the configuration", wait=PATIENCE)


def notify_stopping() -> None:
    """Report that the service stops."""
    notify("STOPPING=1\nSTATUS=stopping", wait=PATIENCE)


def watchdog() -> None:
    """Feed the watchdog. A lost datagram does no harm: another follows."""
    notify("WATCHDOG=1")


def watchdog_interval() -> float | None:
    """Return the seconds within which systemd wants `watchdog` to be called; None if it does not watch this process."""
    interval, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not interval.isdecimal() or int(interval) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(interval) / 1_000_000


def stop_on_signals(stop: threading.Event, reload: threading.Event) -> None:
    """Have SIGTERM and SIGINT set `stop`, and SIGHUP `reload`. Call this from the main thread."""

    def handle(number: int, _: FrameType | None) -> None:
        (reload if number == signal.SIGHUP else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handle)


# ---------------------------------------------------------------- the journal


class Journal:
    """Structured entries for journald if it holds our stderr, otherwise lines on stderr.

    Every entry has the fields that `common` returns, as far as they have a value.
    """

    def __init__(
        self,
        path: str = JOURNAL_SOCKET,
        *,
        identifier: str = "certmedic",
        common: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._path = path
        self._identifier = identifier
        self._common = common
        self._structured = _stderr_is_journal()
        self._lost = 0

    def emit(self, fields: Mapping[str, str]) -> None:
        """Write one entry. Never waits and never raises; lost entries are counted, and the next entry holds their number."""
        if not self._structured:
            with contextlib.suppress(OSError, ValueError):  # ValueError: closed
                sys.stderr.write(f"{self._identifier}: {_line(fields.get('MESSAGE', ''))}\n")
                sys.stderr.flush()
            return
        lost = {"CERTMEDIC_LOST": str(self._lost)} if self._lost else {}
        common = {name: value for name, value in self._common().items() if value}
        entry = {**fields, **common, **lost, "SYSLOG_IDENTIFIER": self._identifier}
        line = f"<{fields.get('PRIORITY', '6')}>{_line(fields.get('MESSAGE', ''))}\n"
        if _datagram(self._path, encode(entry)) or _to_stderr(line.encode(errors="replace")):
            self._lost = 0
        else:
            self._lost += 1


def encode(fields: Mapping[str, str]) -> bytes:
    """Return an entry in journald's native protocol, each field with its length, so that no value can forge a field."""
    parts = []
    for name, value in fields.items():
        data = value.encode(errors="replace")[:LONGEST_FIELD].decode(errors="ignore").encode()
        parts.append(name.encode("ascii") + b"\n" + len(data).to_bytes(8, "little") + data + b"\n")
    return b"".join(parts)


def _stderr_is_journal() -> bool:
    """Whether our own stderr is journald's: JOURNAL_STREAM may be inherited from a service (systemd.exec(5))."""
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _to_stderr(data: bytes) -> bool:
    """Write to journald's stream without waiting; return whether all of it was written."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(2)) as stream:
        return stream.send(data, socket.MSG_DONTWAIT) == len(data)
    return False


def _line(text: str) -> str:
    return " ".join(text.split())
