"""One HTTP request and its reply, with an absolute deadline and a byte cap; http.client has a time-out for each byte only.

HTTP/1.0 is asked for, so that the reply ends with the connection and is never in chunks.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from dataclasses import dataclass

MOST_HEAD = 64 * 1024  # bytes of a reply's head


class ReplyError(OSError):
    """What came back is no reply in HTTP, or is too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a server answered."""

    status: int
    body: bytes


def exchange(  # noqa: PLR0913 - each is a part of the request, or a bound
    sock: socket.socket,
    method: str,
    path: str,
    *,
    deadline: float,
    most: int,
    body: bytes = b"",
    host: str = "localhost",
) -> Reply:
    """Send a request over a connection and return the reply. `deadline` is on the monotonic clock. Raises OSError."""
    head = f"{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    left(sock, deadline)
    sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode("ascii") + body)
    data = bytearray()
    while len(data) <= MOST_HEAD + most:
        left(sock, deadline)
        try:
            block = sock.recv(65536)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            block = b""
        data += block
        if not block or _is_whole(data):
            return _parsed(bytes(data), most)
    raise ReplyError(0, f"a reply of more than {most} bytes is not read")


def left(sock: socket.socket, deadline: float) -> float:
    """Give the next call on a socket the time that is left, and return it. Raises TimeoutError where none is."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("no answer in time")
    sock.settimeout(seconds)
    return seconds


def _is_whole(data: bytearray) -> bool:
    """Whether the reply is complete by its Content-Length: a server need not close at once."""
    head, mark, body = data.partition(b"\r\n\r\n")
    return bool(mark) and 0 <= _length(bytes(head)) <= len(body)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            with contextlib.suppress(ValueError):
                return int(value)
    return -1


def _parsed(data: bytes, most: int) -> Reply:
    head, mark, body = data.partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].split(maxsplit=2)
    if not mark or len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ReplyError(0, "the answer is not HTTP")
    if len(body) > most:
        raise ReplyError(0, f"a reply of more than {most} bytes is not read")
    length = _length(head)
    if len(body) < length:
        raise ReplyError(0, "the answer was cut short")
    return Reply(status=int(words[1][:3]), body=body if length < 0 else body[:length])
