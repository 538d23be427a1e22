"""Programs of strangers for `House.stranger`, in Python.

home.stranger("python3", "-c", DRIPPING, "127.0.0.1", "4001", cert, key)
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

# A TLS server that serves its certificate and then sends a byte every 0.1 s as long as the client reads.
DRIPPING = """
import socket, ssl, sys, threading, time
host, port, cert, key = sys.argv[1:5]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
def drip(conn):
    came, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(came, going, server_side=True)
    try:
        came.write(conn.recv(65536))
        try:
            tls.do_handshake()
        except ssl.SSLError:
            pass
        conn.sendall(going.read())
        while True:
            conn.sendall(b"x")
            time.sleep(0.1)
    except OSError:
        pass
server = socket.create_server((host, int(port)))
while True:
    threading.Thread(target=drip, args=(server.accept()[0],), daemon=True).start()
"""

# A process named etcd that answers requests for its members and records the client certificates that it gets.
# Its arguments: record cert key ca port answer, then any flags of etcd.
ETCD = """
import socket, ssl, sys, threading
open("/proc/self/comm", "w").write("etcd")
record, cert, key, ca, port, answer = sys.argv[1:7]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
context.load_verify_locations(ca)
context.verify_mode = ssl.CERT_OPTIONAL
def serve(conn):
    try:
        with context.wrap_socket(conn, server_side=True) as tls:
            if tls.getpeercert():
                with open(record, "a") as file:
                    file.write(f"{tls.getpeercert()['subject']}\\n")
            tls.recv(65536)
            body = answer.encode()
            tls.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    except OSError:
        pass
server = socket.create_server(("127.0.0.1", int(port)), backlog=64)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


@contextlib.contextmanager
def slow(server: socket.socket, begun: bytes, *, drips: bool, context: ssl.SSLContext | None = None) -> Iterator[None]:
    """Answer every client with `begun`, then send a byte every 0.1 s if `drips`, otherwise nothing."""

    def answer(plain: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) if context else plain as conn:
            conn.recv(65536)
            conn.sendall(begun)
            while drips:
                conn.sendall(b" ")
                time.sleep(0.1)
            conn.recv(1)  # until the client closes

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    server.listen(16)
    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


class Watchdog:
    """Listens for the watchdog pings of an agent and records their times."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.pings: list[float] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                if b"WATCHDOG=1" in self._socket.recv(65536):
                    self.pings.append(time.monotonic())
            except OSError:
                return

    def environ(self, seconds: float) -> dict[str, str]:
        """Return the environment in which systemd requests a ping at least every `seconds`."""
        return {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": str(int(seconds * 1e6))}

    def longest_gap(self, until: float | None = None) -> float:
        """Return the longest time between pings so far, in seconds."""
        moments = [*self.pings, time.monotonic() if until is None else until]
        return max((b - a for a, b in itertools.pairwise(moments)), default=float("inf"))

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
