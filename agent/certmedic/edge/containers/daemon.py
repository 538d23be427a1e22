"""The Docker daemon whose containers are read: requests to it, and errors that say what to do."""

from __future__ import annotations

import contextlib
import socket
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

from certmedic.edge.os import docker, http

BLOCK = 256 * 1024  # bytes read at a time
DEADLINE = 10.0  # seconds for a whole answer, or for the head of a stream


class DockerError(Exception):
    """The daemon cannot be asked, or refuses; says which and what to do."""


class RefusedError(DockerError):
    """The daemon answered, and what it answered is the message."""


class Daemon:
    """The daemon behind a unix socket, e.g. unix:///var/run/docker.sock."""

    def __init__(self, base_url: str) -> None:
        self._url = base_url
        self.path = base_url.removeprefix("unix://")

    def open(self, path: str, **query: str) -> tuple[socket.socket, bytes]:
        """Send one GET request; return the connection, with the beginning of the body that came with the head."""
        with self._asking(path):
            connection, begun = docker.stream(self._url, _target(path, query), deadline=time.monotonic() + DEADLINE)
        connection.settimeout(DEADLINE)
        return connection, begun

    def get(self, path: str, **query: str) -> Any:
        """Send one GET request; return the parsed JSON of the answer."""
        with self._asking(path):
            return docker.ask(self._url, _target(path, query), deadline=time.monotonic() + DEADLINE)

    @contextlib.contextmanager
    def _asking(self, path: str) -> Iterator[None]:
        if not self.path.startswith("/"):
            raise DockerError(f"{self._url}: only a daemon on this machine can be read, as unix:///var/run/docker.sock")
        try:
            yield
        except (docker.RefusedError, http.ReplyError) as error:
            raise RefusedError(f"the Docker daemon at {self.path} refuses {path}: {error.strerror}") from error
        except OSError as error:
            late = f"no whole answer within {DEADLINE:.0f} s" if isinstance(error, TimeoutError) else ""
            raise DockerError(
                f"no Docker daemon answers at {self.path} ({late or error.strerror or error}): is it running, and may this"
                " user reach its socket? Where this machine has none, set docker = false under [watch]"
            ) from error
        except ValueError as error:
            raise DockerError(f"the Docker daemon at {self.path} answered {path} with no JSON: {error}") from error


def _target(path: str, query: dict[str, str]) -> str:
    return f"{path}?{urllib.parse.urlencode(query)}"


def receive(connection: socket.socket) -> bytes:
    """Read a block; b"" at the end of the connection and after any error."""
    try:
        return connection.recv(BLOCK)
    except OSError:
        return b""
