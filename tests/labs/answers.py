"""A program on loopback that answers each connection with given bytes, whatever it is asked."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def reply(body: object, status: int = 200) -> bytes:
    """Return an HTTP answer; what is no text is sent as JSON."""
    text = body if isinstance(body, str) else json.dumps(body)
    return f"HTTP/1.0 {status} x\r\nContent-Type: application/json\r\n\r\n{text}".encode()


class Answers:
    """The requests that came in, and the address."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.requests: list[str] = []


@contextmanager
def answering(data: bytes, *, drip: float | None = None) -> Iterator[Answers]:
    """Answer on loopback until the block ends. `drip`: one byte each so many seconds, without an end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        answers, stop = Answers(server.getsockname()[1]), threading.Event()

        def run() -> None:
            while not stop.is_set():
                with suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        answers.requests.append(connection.recv(65536).decode(errors="replace"))
                        connection.sendall(data)
                        while drip is not None and not stop.wait(drip):
                            connection.sendall(b" ")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield answers
        stop.set()
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
