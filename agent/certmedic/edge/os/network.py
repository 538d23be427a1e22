"""The network in which a process looks for listeners and connects: its own, or that of another process that has one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

BLOCK = 4096  # bytes


class Network(Protocol):
    """A network namespace, and a way to connect in it."""

    @property
    def process(self) -> str:
        """The process whose network it is, as /proc names it."""

    def connect(self, address: str, port: int, *, patience: float) -> socket.socket:
        """Return a TCP connection, made within `patience` seconds; later operations on it have that deadline too. Raises OSError."""

    def look_up(self, host: str) -> str:
        """Return the first address of a host. Raises OSError or UnicodeError."""


class OwnNetwork:
    """The network of this process."""

    process = "self"

    def connect(self, address: str, port: int, *, patience: float) -> socket.socket:
        """See `Network`."""
        return socket.create_connection((address, port), timeout=patience)

    def look_up(self, host: str) -> str:
        """See `Network`."""
        return first_address(host)


OWN: Network = OwnNetwork()


def first_address(host: str) -> str:
    """Return the first address that the machine's resolver knows for a host. Raises OSError or UnicodeError."""
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])


def rows(network: Network, name: str) -> Iterator[list[str]]:
    """Yield the fields of each line of such a file but its head, read in blocks as they are needed. Raises OSError."""
    with Path(f"/proc/{network.process}/net/{name}").open("rb", buffering=0) as file:
        left = file.read(BLOCK).partition(b"\n")[2]
        while True:
            *lines, left = left.split(b"\n")
            for line in lines:
                yield line.decode("ascii").split()
            more = file.read(BLOCK)
            if not more:
                return
            left += more


def table(network: Network, name: str) -> str:
    """Return a file of the kernel's about a network, as `tcp` or `fib_trie`. Raises OSError."""
    return Path(f"/proc/{network.process}/net/{name}").read_text("ascii")
