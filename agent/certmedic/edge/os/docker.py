"""Docker over its socket: the SDK would cost 17 MB and a third of a second for three requests, and has no absolute deadline."""

from __future__ import annotations

import json
import socket
import time
from http import HTTPStatus
from typing import Any

from certmedic.edge.os import http

MOST_READ = 16 * 1024 * 1024  # bytes of a reply: a list of all containers, with their labels


class DockerError(OSError):
    """The daemon refused; the text is its own."""


def ask(url: str, path: str, *, deadline: float) -> Any:
    """Return the daemon's answer to a question, parsed. `deadline` is on the monotonic clock. Raises OSError or ValueError."""
    return json.loads(_reply(url, "GET", path, deadline).body)


def order(url: str, path: str, *, deadline: float) -> None:
    """Have the daemon do something. Raises OSError."""
    _reply(url, "POST", path, deadline)


def _reply(url: str, method: str, path: str, deadline: float) -> http.Reply:
    if not url.startswith("unix://"):
        raise DockerError(0, f"{url} is no socket of this machine, which begins with unix://")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(max(deadline - time.monotonic(), 0.001))
        sock.connect(url.removeprefix("unix://"))
        reply = http.exchange(sock, method, path, deadline=deadline, most=MOST_READ, host="docker")
    if reply.status >= HTTPStatus.BAD_REQUEST:
        raise DockerError(0, _refusal(reply.body) or f"it answers {reply.status}")
    return reply


def _refusal(body: bytes) -> str:
    try:
        told = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    text = str(told)[:300]
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
