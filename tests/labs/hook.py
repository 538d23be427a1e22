"""A web hook: keeps every JSON body that is posted to it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer


class Hook:
    """What came in, in order; `url` is for apprise."""

    def __init__(self, listener: socket.socket) -> None:
        self.received: list[dict[str, str]] = []
        self.address = listener.getsockname()

    @property
    def url(self) -> str:
        host, port = self.address
        return f"json://{host}:{port}/hook-SECRET-token"

    @property
    def titles(self) -> list[str]:
        return [message["title"] for message in self.received]


@contextlib.contextmanager
def hook(listener: socket.socket | None = None) -> Iterator[Hook]:
    """Serve on loopback, or on a socket that was bound elsewhere (in a network namespace, say)."""
    if listener is None:
        listener = socket.create_server(("127.0.0.1", 0))
    made = Hook(listener)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.received.append(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(made.address, Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
