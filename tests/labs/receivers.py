"""Receivers of messages on loopback, good and bad: a web hook and a mail server."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import socket
import struct
import threading
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


class Hook:
    """A web hook, on loopback or on a given socket (in a network namespace, for instance).

    `mood` sets its reply: ok, an HTTP status, late (after 3 s), slow (after 30 s), drip, reset, or lying (invalid headers).
    """

    def __init__(self, listener: socket.socket | None = None) -> None:
        listener = listener or socket.create_server(("127.0.0.1", 0))
        self.mood = "ok"
        self.requests: list[tuple[str, dict[str, str], bytes]] = []  # (path, headers, body)
        self.closing = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hook.requests.append((self.path, dict(self.headers), body))
                hook.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # some tests let the client give up

        self.address, self.port = listener.getsockname()
        self.server = Server((self.address, self.port), Handler, bind_and_activate=False)
        self.server.socket.close()
        self.server.socket = listener
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer according to `mood`."""
        if self.mood in ("late", "slow"):
            self.closing.wait(3 if self.mood == "late" else 30)
        if self.mood == "reset":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
            return
        if self.mood == "drip":
            # One byte a second, so that no single read times out.
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
            handler.send_response(200 if self.mood in ("ok", "late", "slow") else int(self.mood))
            handler.send_header("Content-Length", "2")
            handler.end_headers()
            handler.wfile.write(b"{}")

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The JSON bodies of the requests."""
        return [json.loads(body) for _, _, body in self.requests]

    @property
    def url(self) -> str:
        """The address for apprise, which holds a secret."""
        return f"json://{self.address}:{self.port}/hook-SECRET-token"

    @property
    def titles(self) -> list[str]:
        """The titles of the messages."""
        return [message["title"] for message in self.messages]

    @property
    def kinds(self) -> list[str]:
        """The kinds of the messages, read from their titles."""
        words = {"RESOLVED": "resolved", "NOT FIXED": "escalated", "still open": "reminder"}
        return [next((kind for word, kind in words.items() if word in title), "opened") for title in self.titles]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End."""
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


class Mailbox:
    """A mail server that requires user u and password p."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        box = self

        class Handler:
            async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
                assert isinstance(envelope.content, bytes)
                box.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
                return "250 taken"

        def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
            good = data.login == b"u" and data.password == b"p"
            return AuthResult(success=good, handled=False)

        self.controller = Controller(
            Handler(), hostname="127.0.0.1", port=free_port(), authenticator=authenticate, auth_require_tls=False
        )
        self.controller.start()
        self.port = self.controller.port

    def close(self) -> None:
        """End."""
        self.controller.stop()


def free_port() -> int:
    """Return a port without a listener."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
