"""The dialer connects for the actor, which has no network. It passes the connection on, and neither reads from it nor writes to it.

One question a connection, and root alone asks:

    connect ADDRESS PORT    "connected", with a TCP socket that may still be connecting; ADDRESS is numeric
    look up HOST            "is ADDRESS", by the machine's resolver
                            "error NUMBER", an errno, is the answer to both if there is no other

The actor waits until the connection is made, checks where it leads, and checks the certificate at its end. No library beside Python's is loaded.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import select
import socket
import sys
import threading
import time
from collections.abc import Collection

from certmedic.actor.listen import NoSocketError, caller_of, inherited
from certmedic.edge import service
from certmedic.edge.os.network import first_address

MOST_BYTES = 300  # of a question: a host has at most 253 characters
MOST_AT_ONCE = 128  # questions; only a look-up takes longer than an instant
PATIENCE = 1.0  # seconds for a caller to send its question
IDLE = 60.0  # seconds without a question until the dialer ends: longer than the actor
_TICK = 5.0  # seconds between two signs of life
_ROOT = frozenset({0})


def main() -> int:
    """Answer root until nobody asks for a while; return the exit status."""
    try:
        listener = inherited("certmedic-actor-dialer.socket")
    except NoSocketError as error:
        sys.stderr.write(f"certmedic-actor-dialer: {error}\n")
        return 2
    service.notify_ready("waiting for the actor")
    serve(listener, allowed=_ROOT)
    return 0


def serve(listener: socket.socket, *, allowed: Collection[int], idle: float = IDLE, patience: float = PATIENCE) -> None:
    """Answer each connection on a thread until none comes for `idle` seconds."""
    listener.setblocking(False)
    free = threading.Semaphore(MOST_AT_ONCE)
    until = time.monotonic() + idle
    while (left := until - time.monotonic()) > 0:
        service.watchdog()
        if not select.select([listener], [], [], min(left, _TICK))[0]:
            continue
        until = time.monotonic() + idle
        with contextlib.suppress(BlockingIOError):  # the caller is gone already
            connection, _ = listener.accept()
            if not free.acquire(blocking=False):
                connection.close()
                continue
            connection.settimeout(patience)
            threading.Thread(target=_serve, args=(connection, allowed, free), daemon=True).start()


def _serve(connection: socket.socket, allowed: Collection[int], free: threading.Semaphore) -> None:
    try:
        with connection, contextlib.suppress(OSError):
            _answer(connection, allowed)
    finally:
        free.release()


def _answer(connection: socket.socket, allowed: Collection[int]) -> None:
    pid, uid = caller_of(connection)
    if uid not in allowed:
        with contextlib.suppress(OSError):
            connection.recv(MOST_BYTES, socket.MSG_DONTWAIT)  # else closing would tear down the reply as well
        sys.stderr.write(f"certmedic-actor-dialer: refused process {pid} of user {uid}\n")
        connection.send(_error(errno.EACCES))
        return
    try:
        match connection.recv(MOST_BYTES + 1).decode("ascii").split(" "):
            case ["connect", address, port]:
                with _begin(address, port) as begun:
                    socket.send_fds(connection, [b"connected"], [begun.fileno()])
            case ["look", "up", host] if host.isprintable():
                connection.send(f"is {first_address(host)}".encode("ascii"))
            case _:
                connection.send(_error(errno.EINVAL))
    except socket.gaierror:
        connection.send(_error(errno.ENOENT))
    except OSError as error:
        connection.send(_error(error.errno or errno.EIO))
    except ValueError:
        connection.send(_error(errno.EINVAL))


def _begin(address: str, port: str) -> socket.socket:
    """Return a TCP socket that connects to a numeric address, without waiting for it. Raises OSError or ValueError."""
    ipaddress.ip_address(address)  # "1", a number alone, is none
    if not (port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError(port)
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    family, kind, number, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=numeric)[0]
    begun = socket.socket(family, kind, number)
    begun.setblocking(False)
    try:
        begun.connect(where)
    except BlockingIOError:  # under way
        return begun
    except BaseException:
        begun.close()
        raise
    return begun


def _error(number: int) -> bytes:
    return f"error {number}".encode("ascii")


if __name__ == "__main__":
    sys.exit(main())
