"""One HTTP request and its reply, with an absolute deadline and a cap in bytes; http.client only limits the wait for each byte.

Requests are HTTP/1.0, so that a reply ends with the connection and is never in chunks. Deadlines are on the monotonic clock.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

MOST_HEAD = 64 * 1024  # bytes of a reply's head
_BLOCK = 256 * 1024

_ENDS_OF_TLS = ("SSLEOFError", "SSLZeroReturnError")  # by name: requests without TLS do not load that module


class ReplyError(OSError):
    """The reply is not HTTP, is cut short or is too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a reply, and the beginning of its body if that came in the same read."""

    status: int
    length: int  # bytes of the body; -1 if the head does not say
    begun: bytes
    retry_after: str = ""
    date: str = ""  # the header of this name


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A server's whole reply."""

    status: int
    body: bytes
    retry_after: str = ""  # the header of this name


def exchange(  # noqa: PLR0913 - each is a part of the request, or a bound
    sock: socket.socket,
    method: str,
    path: str,
    *,
    deadline: float,
    most: int,
    body: bytes = b"",
    host: str = "localhost",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send a request over a connection and return the reply, whose body has at most `most` bytes. Raises OSError."""
    head = request(sock, method, path, deadline=deadline, body=body, host=host, headers=headers)
    whole = rest(sock, head, deadline=deadline, most=most)
    return Reply(status=head.status, body=whole, retry_after=head.retry_after)


def request(  # noqa: PLR0913 - as above
    sock: socket.socket,
    method: str,
    path: str,
    *,
    deadline: float,
    body: bytes = b"",
    host: str = "localhost",
    headers: Mapping[str, str] | None = None,
) -> Head:
    """Send a request over a connection and read the head of the reply. Raises OSError."""
    lines = f"{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    lines += "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    left(sock, deadline)
    sock.sendall(f"{lines}Content-Length: {len(body)}\r\n\r\n".encode("ascii") + body)
    data = b""
    while b"\r\n\r\n" not in data and len(data) <= MOST_HEAD and (block := _receive(sock, deadline)):
        data += block
    head, mark, begun = data.partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].split(maxsplit=2)
    if not data:
        raise ReplyError(0, "it closed the connection without an answer")
    if not mark or len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ReplyError(0, f"the answer is not HTTP: {head[:100]!r}")
    length = _header(head, b"content-length")
    return Head(
        status=int(words[1][:3]),
        length=int(length) if length.isascii() and length.isdigit() else -1,
        begun=begun,
        retry_after=_header(head, b"retry-after"),
        date=_header(head, b"date"),
    )


def rest(sock: socket.socket, head: Head, *, deadline: float, most: int) -> bytes:
    """Read the body of a reply to its end. Raises OSError."""
    body = bytearray(head.begun)
    while (head.length < 0 or len(body) < head.length) and (block := _receive(sock, deadline)):
        body += block
        if len(body) > most:
            break
    if len(body) > most:
        raise ReplyError(0, f"a reply of more than {most} bytes is not read")
    if len(body) < head.length:
        raise ReplyError(0, "the answer was cut short")
    return bytes(body if head.length < 0 else body[: head.length])


def left(sock: socket.socket, deadline: float) -> float:
    """Limit the next call on a socket to the seconds that are left, and return them. Raises TimeoutError if none are."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("no answer in time")
    sock.settimeout(seconds)
    return seconds


def _receive(sock: socket.socket, deadline: float) -> bytes:
    left(sock, deadline)
    try:
        return sock.recv(_BLOCK)
    except OSError as error:
        if type(error).__name__ not in _ENDS_OF_TLS:
            raise
        return b""


def _header(head: bytes, wanted: bytes) -> str:
    """Return the value of the first header of this name; "" if there is none."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == wanted:
            return value.strip().decode("latin-1")
    return ""
