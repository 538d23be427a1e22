"""Asking a Docker daemon, with plain HTTP over its unix socket."""

from __future__ import annotations

import contextlib
import json
import socket
import urllib.parse
from typing import Any

BLOCK = 256 * 1024  # bytes read at a time
DEADLINE = 10.0  # seconds for the daemon to answer a request


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
        connection.settimeout(DEADLINE)
        try:
            connection.connect(self.path)
            connection.sendall(f"GET {path}?{urllib.parse.urlencode(query)} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
            head, body = _head(connection)
            if head.split(None, 2)[1:2] != [b"200"]:
                why = _message(body + _rest(connection)) or head[:200].decode(errors="replace")
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
        return connection, body

    def get(self, path: str, **query: str) -> Any:
        """Send one GET request; returns what the JSON in the answer says."""
        connection, body = self.open(path, **query)
        with contextlib.closing(connection):
            try:
                return json.loads(body + _rest(connection))
            except (OSError, ValueError) as error:
                raise DockerError(f"the Docker daemon at {self.path} answered {path} with no JSON: {error}") from error


def _head(connection: socket.socket) -> tuple[bytes, bytes]:
    """Read the head of an answer; returns it with what came of the body."""
    told = b""
    while b"\r\n\r\n" not in told and (data := connection.recv(BLOCK)):
        told += data
    head, _, body = told.partition(b"\r\n\r\n")
    return head, body


def _rest(connection: socket.socket) -> bytes:
    parts = []
    while data := connection.recv(BLOCK):
        parts.append(data)
    return b"".join(parts)


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
