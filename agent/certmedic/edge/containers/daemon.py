"""Asking a Docker daemon, with plain HTTP over its unix socket."""

from __future__ import annotations

import contextlib
import json
import socket
import time
import urllib.parse
from typing import Any

BLOCK = 256 * 1024  # bytes read at a time
DEADLINE = 10.0  # seconds for a whole answer, or for the head of a stream
MOST_HEAD = 64 * 1024  # bytes
MOST_BODY = 64 * 1024 * 1024  # bytes of an answer: a list of all containers


class DockerError(Exception):
    """The daemon cannot be asked, or refuses; says which and what to do."""


class RefusedError(DockerError):
    """The daemon answered, and what it answered is the message."""


class Daemon:
    """The daemon behind a unix socket."""

    def __init__(self, base_url: str) -> None:
        self._url = base_url
        self.path = base_url.removeprefix("unix://")

    def open(self, path: str, **query: str) -> tuple[socket.socket, bytes]:
        """Send one GET request; returns the connection, with the beginning of the body that came with the head."""
        if not self.path.startswith("/"):
            raise DockerError(f"{self._url}: only a daemon on this machine can be read, as unix:///var/run/docker.sock")
        connection = socket.socket(socket.AF_UNIX)
        until = time.monotonic() + DEADLINE
        connection.settimeout(DEADLINE)
        try:
            connection.connect(self.path)
            connection.sendall(f"GET {path}?{urllib.parse.urlencode(query)} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
            head, body = _head(connection, until)
            if head.split(None, 2)[1:2] != [b"200"]:
                why = _message(_rest(connection, body, until)) or head[:200].decode(errors="replace")
                connection.close()
                raise RefusedError(
                    f"the Docker daemon at {self.path} refuses {path}: {why or 'it closed the connection without an answer'}"
                )
        except OSError as error:
            connection.close()
            why = error.strerror or str(error)
            raise DockerError(
                f"no Docker daemon answers at {self.path} ({why}): is it running, and may this user reach its socket? "
                "Where this machine has none, set docker = false under [watch]"
            ) from error
        connection.settimeout(DEADLINE)
        return connection, body

    def get(self, path: str, **query: str) -> Any:
        """Send one GET request; returns what the JSON in the answer says."""
        until = time.monotonic() + DEADLINE
        connection, body = self.open(path, **query)
        with contextlib.closing(connection):
            try:
                return json.loads(_rest(connection, body, until))
            except (OSError, ValueError) as error:
                raise DockerError(f"the Docker daemon at {self.path} answered {path} with no JSON: {error}") from error


def _head(connection: socket.socket, until: float) -> tuple[bytes, bytes]:
    """Read the head of an answer; returns it with the beginning of the body that came with it. Raises OSError."""
    reply = b""
    while b"\r\n\r\n" not in reply and (data := _block(connection, until)):
        reply += data
        if len(reply) > MOST_HEAD + BLOCK:
            raise OSError(0, "its answer has no end of the head")
    head, _, body = reply.partition(b"\r\n\r\n")
    return head, body


def _rest(connection: socket.socket, begun: bytes, until: float) -> bytes:
    """Read an answer to its end. Raises OSError if it is too long or takes too long."""
    body = bytearray(begun)
    while data := _block(connection, until):
        body += data
        if len(body) > MOST_BODY:
            raise OSError(0, f"its answer has more than {MOST_BODY} bytes")
    return bytes(body)


def _block(connection: socket.socket, until: float) -> bytes:
    """Read a block until a time (monotonic): a limit for each byte alone would let a slow answer last for ever."""
    connection.settimeout(max(until - time.monotonic(), 0.001))
    try:
        return connection.recv(BLOCK)
    except TimeoutError:
        raise TimeoutError(0, f"no whole answer within {DEADLINE:.0f} s") from None


def _message(body: bytes) -> str:
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return str(json.loads(body)["message"])
    return body.decode(errors="replace").strip()


def receive(connection: socket.socket) -> bytes:
    """Read a block; nothing at the end, of whatever kind."""
    try:
        return connection.recv(BLOCK)
    except OSError:
        return b""
