"""A socket that systemd listens on and hands over, and who is at the other end of a connection to it."""

from __future__ import annotations

import os
import socket
import struct

FIRST_SOCKET = 3  # of systemd, sd_listen_fds(3)
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred, unix(7)


class NoSocketError(Exception):
    """The process was not started with its socket."""


def inherited(unit: str = "certmedic-actor.socket") -> socket.socket:
    """Return the listening socket that systemd handed over for a unit. Raises NoSocketError."""
    if (os.environ.get("LISTEN_PID"), os.environ.get("LISTEN_FDS")) != (str(os.getpid()), "1"):
        raise NoSocketError(f"this program is started by its socket: systemctl start {unit}")
    listener = socket.socket(fileno=FIRST_SOCKET)
    if (listener.family, listener.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        raise NoSocketError("the socket is not of the kind ListenSequentialPacket=")
    return listener


def caller_of(connection: socket.socket) -> tuple[int, int]:
    """Return pid and uid of the process that connected, as the kernel names them."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return pid, uid
