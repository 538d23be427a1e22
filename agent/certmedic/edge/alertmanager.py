"""Open incidents as alerts for Alertmanager's API v2: state that is posted again and again, not messages.

Every instance gets every alert, since the instances of a cluster share no alerts. Each post runs on a separate thread with an
absolute deadline, so that a dead instance delays neither the loop nor the others. Addresses may hold a password: an instance is
named by its host and port alone.
"""

from __future__ import annotations

import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from urllib.parse import unquote, urlsplit

from certmedic.edge.os import readfile
from certmedic.edge.os.post import failure, post

DEADLINE = 10.0  # seconds for one post, with the TLS handshake; as Prometheus has it
Check = Callable[[Path], str | None]  # why a file is not believed; None if it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The files by which the agent proves itself to Alertmanager, and knows Alertmanager. None: not needed."""

    token: Path | None = None  # a bearer token
    certificate: Path | None = None  # a client certificate with its key, in PEM
    authority: Path | None = None  # the CAs of Alertmanager; None: those of the system
    check: Check = field(default=lambda _: None, repr=False)

    def headers(self, user: str | None, password: str | None) -> dict[str, str]:
        """Return the header that authenticates. Raises OSError if the token cannot be read."""
        if self.token is not None:
            self._believe(self.token)
            return {"Authorization": f"Bearer {readfile.read_bytes(str(self.token)).decode('ascii').strip()}"}
        if user is None:
            return {}
        pair = f"{unquote(user)}:{unquote(password or '')}".encode()
        return {"Authorization": f"Basic {b64encode(pair).decode()}"}

    def context(self) -> ssl.SSLContext:
        """Return the settings of TLS, from the files as they are now. Raises OSError."""
        if self.authority is not None:
            self._believe(self.authority)
        context = ssl.create_default_context(cafile=str(self.authority) if self.authority else None)
        if self.certificate is not None:
            self._believe(self.certificate)
            context.load_cert_chain(self.certificate)
        return context

    def _believe(self, path: Path) -> None:
        if fault := self.check(path):
            raise OSError(0, fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """The result of a post to one instance."""

    instance: str  # host and port
    error: str  # "" if it was accepted


class Alertmanager:
    """The instances of one Alertmanager. For use from one thread."""

    def __init__(self, urls: Sequence[str], access: Access | None = None) -> None:
        self._urls = tuple(dict.fromkeys(urls))
        self._access = access or Access()
        self._threads: dict[str, threading.Thread] = {}
        self._results: SimpleQueue[Posted] = SimpleQueue()

    def __repr__(self) -> str:
        return f"Alertmanager({len(self._urls)} instances)"

    @property
    def instances(self) -> list[str]:
        """The instances by host and port."""
        return [name_of(url) for url in self._urls]

    def post(self, body: bytes) -> None:
        """Begin to post alerts, a JSON array, to every instance. An instance that still hangs in the last post fails."""
        for url in self._urls:
            last = self._threads.get(url)
            if last is not None and last.is_alive():
                self._results.put(Posted(instance=name_of(url), error="no answer in time"))
                continue
            thread = threading.Thread(target=self._post, args=(url, body), name="alertmanager", daemon=True)
            self._threads[url] = thread
            thread.start()

    def result(self) -> Posted | None:
        """Return the result of a post; None if there is no new one."""
        try:
            return self._results.get_nowait()
        except Empty:
            return None

    def _post(self, url: str, body: bytes) -> None:
        try:
            error = send(url, body, self._access)
        except Exception as fault:  # noqa: BLE001 - its text may hold the address
            error = failure(fault)
        self._results.put(Posted(instance=name_of(url), error=error))


def send(url: str, body: bytes, access: Access) -> str:
    """Post alerts to one instance; return "" or why it refused them. Raises OSError."""
    parts = urlsplit(url)
    reply = post(
        f"{url.rstrip('/')}/api/v2/alerts",
        body,
        headers=access.headers(parts.username, parts.password),
        context=access.context,
        seconds=DEADLINE,
    )
    return "" if reply.status == 200 else f"HTTP {reply.status}"


def name_of(url: str) -> str:
    """Return host and port of an address, without user and password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def address_towards(peers: frozenset[str]) -> str:
    """Return this machine's own address as its peers see it; "" if there is none. No packet is sent."""
    for peer in sorted(peers):
        family = socket.AF_INET6 if ":" in peer else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((peer, 9))
                return str(probe.getsockname()[0])
        except OSError:
            continue
    return ""
