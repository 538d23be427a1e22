"""Docker over its socket. Its SDK costs 17 MB and a third of a second, and has no absolute deadline.

A `url` is that of a socket, e.g. unix:///var/run/docker.sock. Deadlines are on the monotonic clock.
"""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

from certmedic.edge.os import http

BAD_REQUEST = 400  # and all above are errors
MOST_READ = 64 * 1024 * 1024  # bytes of a reply: a list of all containers, with their labels


class RefusedError(OSError):
    """The daemon refused; the text is its own."""


def ask(url: str, path: str, *, deadline: float) -> Any:
    """Return the parsed JSON of a GET request. Raises OSError or ValueError."""
    sock, head = _request(url, "GET", path, deadline)
    with contextlib.closing(sock):
        return json.loads(http.rest(sock, head, deadline=deadline, most=MOST_READ))


def order(url: str, path: str, *, deadline: float) -> None:
    """Send a POST request. Raises OSError."""
    _request(url, "POST", path, deadline)[0].close()


def stream(url: str, path: str, *, deadline: float) -> tuple[socket.socket, bytes]:
    """Send a GET request and return the connection, with the beginning of the body. The deadline is for the head. Raises OSError."""
    sock, head = _request(url, "GET", path, deadline)
    return sock, head.begun


def _request(url: str, method: str, path: str, deadline: float) -> tuple[socket.socket, http.Head]:
    if not url.startswith("unix:///"):
        raise RefusedError(0, f"{url} is no socket of this machine, which begins with unix://")
    sock = socket.socket(socket.AF_UNIX)
    try:
        http.left(sock, deadline)
        sock.connect(url.removeprefix("unix://"))
        head = http.request(sock, method, path, deadline=deadline, host="docker")
        if head.status < BAD_REQUEST:
            return sock, head
        body = http.rest(sock, head, deadline=deadline, most=MOST_READ)
    except BaseException:
        sock.close()
        raise
    sock.close()
    raise RefusedError(0, _refusal(body) or f"it answers {head.status}")


def _refusal(body: bytes) -> str:
    try:
        text = str(json.loads(body)["message"])[:300]
    except (ValueError, KeyError, TypeError):
        text = body[:300].decode(errors="replace").strip()
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
