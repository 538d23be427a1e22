"""Receivers of messages on loopback, good and bad: a web hook and a mail server."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Hook:
    """A web hook, on loopback or on a socket that was bound elsewhere (in a network namespace, say).

    `mood` says how it answers: ok, an HTTP status, slow, drip, reset, or lying (headers that are none).
    """

    def __init__(self, listener=None):
        listener = listener or socket.create_server(("127.0.0.1", 0))
        self.mood = "ok"
        self.requests = []  # (path, headers, body)
        self.closing = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hook.requests.append((self.path, dict(self.headers), body))
                hook.answer(self)

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a client that gave up is what some tests are about

        self.address, self.port = listener.getsockname()
        self.server = Server((self.address, self.port), Handler, bind_and_activate=False)
        self.server.socket.close()
        self.server.socket = listener
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, handler):
        """Answer as the mood is."""
        if self.mood == "slow":
            self.closing.wait(30)
        if self.mood == "reset":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
            return
        if self.mood == "drip":
            # One byte a second: no read ever times out.
            with contextlib.suppress(OSError):
                for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 60:
                    handler.connection.sendall(bytes([byte]))
                    if self.closing.wait(1):
                        return
            return
        if self.mood == "lying":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nnot a header at all\r\n\r\n{}")
            return
        with contextlib.suppress(OSError):
            handler.send_response(200 if self.mood in ("ok", "slow") else int(self.mood))
            handler.send_header("Content-Length", "2")
            handler.end_headers()
            handler.wfile.write(b"{}")

    @property
    def messages(self):
        """The JSON bodies that came in."""
        return [json.loads(body) for _, _, body in self.requests]

    @property
    def url(self):
        """Its address for apprise, with a secret in it."""
        return f"json://{self.address}:{self.port}/hook-SECRET-token"

    @property
    def titles(self):
        """The titles of the messages that came in."""
        return [message["title"] for message in self.messages]

    @property
    def kinds(self):
        """The kinds of the messages that came in, by their titles."""
        words = {"RESOLVED": "resolved", "NOT FIXED": "escalated", "verifying": "acted", "still open": "reminder"}
        return [next((kind for word, kind in words.items() if word in title), "opened") for title in self.titles]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End."""
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


class Mailbox:
    """A mail server that wants user u and password p."""

    def __init__(self):
        self.mails = []
        box = self

        class Handler:
            async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
                box.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
                return "250 taken"

        def authenticate(server, session, envelope, mechanism, data):
            good = data.login == b"u" and data.password == b"p"
            return AuthResult(success=good, handled=False)

        self.controller = Controller(
            Handler(), hostname="127.0.0.1", port=free_port(), authenticator=authenticate, auth_require_tls=False
        )
        self.controller.start()
        self.port = self.controller.port

    def close(self):
        """End."""
        self.controller.stop()


def free_port():
    """A port where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
