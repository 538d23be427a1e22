"""A listener that shows the metrics to Prometheus over HTTP, for those who set metrics.listen; nothing else of the agent listens.

One thread serves all clients. A client has a fixed time for its whole request and the whole answer, clients beyond the first few
are turned away, and few are accepted in a second, so that nobody who connects costs more than that. The answer is the last text that the loop published: a request
makes the agent do nothing.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from dataclasses import dataclass

PATIENCE = 5.0  # seconds for one client
MOST_CLIENTS = 16
MOST_A_SECOND = 50  # clients; more wait
LONGEST_REQUEST = 8 * 1024  # bytes
LOOK_EVERY = 0.5  # seconds between two looks for a stop and for clients whose time is over
BIND_EVERY = 10.0  # seconds between two attempts to listen

TEXT = "text/plain; version=0.0.4; charset=utf-8"

log = logging.getLogger(__name__)


def answer(request: bytes, text: bytes) -> bytes | None:
    """Return the answer to a request; None while the request is not complete. `text`: the metrics, empty if there are none yet."""
    head, end, _ = request.partition(b"\r\n\r\n")
    if not end:
        return (
            None if len(request) < LONGEST_REQUEST else _response("431 Request Header Fields Too Large", b"too long\n")
        )
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return _response("400 Bad Request", b"not HTTP/1.1\n")
    method, path = words[0], words[1].partition(b"?")[0]
    status, body = "200 OK", text
    if method not in (b"GET", b"HEAD"):
        status, body = "405 Method Not Allowed", b"only GET\n"
    elif path != b"/metrics":
        status, body = "404 Not Found", b"see /metrics\n"
    elif not text:
        status, body = "503 Service Unavailable", b"no metrics yet\n"
    return _response(status, body, with_body=method != b"HEAD")


def _response(status: str, body: bytes, *, with_body: bool = True) -> bytes:
    kind = TEXT if status.startswith("200") else "text/plain; charset=utf-8"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (body if with_body else b"")


@dataclass(slots=True, eq=False)
class _Client:
    connection: socket.socket
    deadline: float
    request: bytes = b""
    left: memoryview | None = None  # of the answer; None: the request is not complete


class Listener:
    """Serves the published text at /metrics of one address and port."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._text = b""
        self._clients: list[_Client] = []

    def publish(self, text: bytes) -> None:
        """Show this text from now on."""
        self._text = text

    def start(self, stop: threading.Event) -> threading.Thread:
        """Listen on another thread until `stop` is set. An address that is taken is tried again."""
        thread = threading.Thread(target=self._run, args=(stop,), name="metrics", daemon=True)
        thread.start()
        return thread

    def _run(self, stop: threading.Event) -> None:
        complaint = ""
        while not stop.is_set():
            try:
                with socket.create_server((self.host, self.port), family=_family(self.host)) as server:
                    log.info("metrics.listen: %s port %d", self.host, self.port)
                    self._serve(server, stop)
            except OSError as error:
                if str(error) != complaint:
                    complaint = str(error)
                    log.warning("metrics.listen: %s port %d: %s", self.host, self.port, error.strerror or error)
                stop.wait(BIND_EVERY)

    def _serve(self, server: socket.socket, stop: threading.Event) -> None:
        server.setblocking(False)
        with selectors.DefaultSelector() as selector:
            accepted, second = MOST_A_SECOND, time.monotonic() - 1
            try:
                while not stop.is_set():
                    now = time.monotonic()
                    if now - second >= 1:  # the server is registered while clients may be accepted
                        if accepted >= MOST_A_SECOND:
                            selector.register(server, selectors.EVENT_READ)
                        accepted, second = 0, now
                    for key, _ in selector.select(LOOK_EVERY):
                        client: _Client | None = key.data
                        if client is not None:
                            self._advance(client, selector)
                            continue
                        self._accept(server, selector)
                        accepted += 1
                        if accepted >= MOST_A_SECOND:
                            selector.unregister(server)
                    now = time.monotonic()
                    for client in [client for client in self._clients if client.deadline <= now]:
                        self._drop(client, selector)
            finally:
                for client in list(self._clients):
                    self._drop(client, selector)

    def _accept(self, server: socket.socket, selector: selectors.BaseSelector) -> None:
        try:
            connection, _ = server.accept()
        except OSError:  # the client has gone, or no descriptor is left
            return
        if len(self._clients) >= MOST_CLIENTS:
            connection.close()
            return
        connection.setblocking(False)
        client = _Client(connection, time.monotonic() + PATIENCE)
        self._clients.append(client)
        selector.register(connection, selectors.EVENT_READ, client)

    def _advance(self, client: _Client, selector: selectors.BaseSelector) -> None:
        """Read the request, or send what fits of the answer."""
        try:
            if client.left is None:
                received = client.connection.recv(LONGEST_REQUEST)
                client.request += received
                reply = answer(client.request, self._text)
                if reply is None and received:
                    return
                client.left = memoryview(reply or b"")
                selector.modify(client.connection, selectors.EVENT_WRITE, client)
            client.left = client.left[client.connection.send(client.left) :]
        except BlockingIOError:
            return
        except OSError:
            client.left = memoryview(b"")
        if not client.left:
            self._drop(client, selector)

    def _drop(self, client: _Client, selector: selectors.BaseSelector) -> None:
        selector.unregister(client.connection)
        self._clients.remove(client)
        with contextlib.suppress(OSError):
            client.connection.shutdown(
                socket.SHUT_WR
            )  # a close alone may reset the connection before the answer is read
        client.connection.close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
