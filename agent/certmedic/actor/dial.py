"""The machine's network for an actor that has none: its dialer connects, and the actor checks where each connection leads."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import select
import socket
import time
from collections.abc import Iterator

from certmedic.edge.os import http

VARIABLE = "CERTMEDIC_DIALER"  # path of the dialer's socket, set by the unit; without it, the actor connects by itself
LOOK_UP = 5.0  # seconds for the answer to a look-up
_MOST_BYTES = 300  # of an answer


class DialerError(OSError):
    """The dialer does not answer, or not with what was asked."""


class Dialled:
    """The network of the machine's first process. `path` is the dialer's socket. Each operation opens a new connection to the dialer."""

    process = "1"

    def __init__(self, path: str) -> None:
        self._path = path

    def connect(self, address: str, port: int, *, patience: float) -> socket.socket:
        """See `Network`. `address` is numeric."""
        until = time.monotonic() + patience
        try:
            wanted = _packed(address), port
        except ValueError as error:
            raise DialerError(errno.EINVAL, f"{address} is no address") from error
        with self._asked(f"connect {address} {port}", until) as (reply, handle):
            if reply != "connected" or handle is None:
                raise _refusal(reply)
            sock = socket.socket(fileno=os.dup(handle))
        try:
            _check(sock, wanted, until)
            http.left(sock, until)
        except BaseException:
            sock.close()
            raise
        return sock

    def look_up(self, host: str) -> str:
        """See `Network`."""
        if not host.isascii() or not host.isprintable() or " " in host:
            raise DialerError(errno.EINVAL, f"{host!r} is no host")
        with self._asked(f"look up {host}", time.monotonic() + LOOK_UP) as (reply, _):
            word, _, address = reply.partition(" ")
            if word != "is":
                raise _refusal(reply)
        try:
            _packed(address)
        except ValueError as error:
            raise DialerError(errno.EPROTO, "the dialer's answer makes no sense") from error
        return address

    @contextlib.contextmanager
    def _asked(self, question: str, until: float) -> Iterator[tuple[str, int | None]]:
        """Yield the dialer's reply and the descriptor that came with it, which is closed afterwards. Raises OSError."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            try:
                http.left(connection, until)
                connection.connect(self._path)
                connection.sendall(question.encode("ascii"))
                http.left(connection, until)
                data, handles, flags, _ = socket.recv_fds(connection, _MOST_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
            except TimeoutError:
                raise
            except OSError as error:
                raise DialerError(error.errno, f"the actor's dialer does not answer: {error.strerror}") from error
        try:
            if flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC) or not data or not data.isascii():
                raise DialerError(errno.EPROTO, "the dialer ended, or its answer makes no sense")
            yield data.decode("ascii"), handles[0] if handles else None
        finally:
            for handle in handles:
                os.close(handle)


def _check(sock: socket.socket, wanted: tuple[bytes, int], until: float) -> None:
    """Wait until a socket is connected. Raises OSError if it does not get connected, or is not a TCP connection to `wanted`."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
        raise DialerError(errno.EPROTO, "the dialer sent something else than a TCP connection")
    ready = select.poll()
    ready.register(sock, select.POLLOUT)
    left = until - time.monotonic()
    if left <= 0 or not ready.poll(left * 1000):
        raise TimeoutError("no answer in time")
    if failed := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(failed, os.strerror(failed))
    host, port = sock.getpeername()[:2]
    if (_packed(host), port) != wanted:
        raise DialerError(errno.EPROTO, f"the dialer sent a connection to {host}:{port}, which nobody asked for")


def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def _refusal(reply: str) -> OSError:
    word, _, number = reply.partition(" ")
    if word == "error" and number.isdecimal() and 0 < int(number) < 4096:
        return OSError(int(number), os.strerror(int(number)))
    return DialerError(errno.EPROTO, "the dialer's answer makes no sense")
