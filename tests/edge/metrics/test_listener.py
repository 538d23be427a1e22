"""The listener for metrics: real sockets, good and bad clients."""

import contextlib
import socket
import threading
import time
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from certmedic.edge.metrics import Listener, listener
from labs.receivers import free_port
from labs.waiting import until

TEXT = b"# HELP x y\nx 1.0\n"


@pytest.fixture
def listening(monkeypatch):
    """Return a function that starts a listener and waits until it takes clients."""
    stop, threads = threading.Event(), []

    def start(text=TEXT, host="127.0.0.1", patience=30.0):
        monkeypatch.setattr(listener, "PATIENCE", patience)
        started = Listener(host, free_port())
        started.publish(text)
        threads.append(started.start(stop))
        until(lambda: takes_clients(started))
        return started

    yield start
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def takes_clients(started):
    with contextlib.suppress(OSError), socket.create_connection((started.host, started.port)):
        return True
    return False


def ask(started, request):
    """Send a request and return the whole answer."""
    with socket.create_connection((started.host, started.port), timeout=30) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_metrics_are_shown_as_prometheus_expects(listening, host):
    started = listening(host=host)
    shown = f"[{host}]" if ":" in host else host
    with urlopen(f"http://{shown}:{started.port}/metrics") as reply:
        assert (reply.status, reply.read()) == (200, TEXT)
        assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    started.publish(b"x 2.0\n")
    with urlopen(f"http://{shown}:{started.port}/metrics?x=1") as reply:
        assert reply.read() == b"x 2.0\n"


def test_request_before_the_first_inventory_is_asked_to_come_again(listening):
    started = listening(text=b"")
    with pytest.raises(HTTPError, match="503"):
        urlopen(f"http://127.0.0.1:{started.port}/metrics")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200"),
        (b"HEAD /metrics HTTP/1.0\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics/../etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"400"),
        (b"GET /metrics SPDY/3\r\n\r\n", b"400"),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (b"G" * listener.LONGEST_REQUEST, b"431"),
        (b"G", None),
        (b"", None),
    ],
)
def test_request_gets_its_status(request_, status):
    reply = listener.answer(request_, TEXT)
    assert status is None if reply is None else reply.startswith(b"HTTP/1.1 " + status)


def test_head_has_the_length_and_no_body():
    reply = listener.answer(b"HEAD /metrics HTTP/1.1\r\n\r\n", TEXT)
    assert reply.endswith(b"\r\n\r\n")
    assert f"Content-Length: {len(TEXT)}\r\n".encode() in reply


def test_client_that_says_nothing_is_dropped_and_delays_nobody(listening):
    started = listening(patience=1.0)
    with socket.create_connection((started.host, started.port), timeout=30) as silent:
        silent.sendall(b"GET /met")
        began = time.monotonic()
        assert ask(started, b"GET /metrics HTTP/1.1\r\n\r\n").endswith(TEXT)
        assert silent.recv(10) == b""
        assert time.monotonic() - began < 25


def test_client_that_drips_bytes_is_dropped_at_its_deadline(listening):
    started = listening(patience=1.0)
    with socket.create_connection((started.host, started.port), timeout=30) as slow, pytest.raises(OSError):  # noqa: PT012
        for _ in range(600):
            slow.sendall(b"G")
            time.sleep(0.05)


def test_client_that_reads_nothing_is_dropped_at_its_deadline(listening):
    started = listening(text=b"x" * 50_000_000, patience=1.0)
    with socket.create_connection((started.host, started.port), timeout=30) as deaf:
        deaf.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        until(lambda: not started._clients)


def test_clients_beyond_the_limit_are_turned_away_and_later_served(listening):
    started = listening()
    with contextlib.ExitStack() as stack:
        for _ in range(listener.MOST_CLIENTS):
            stack.enter_context(socket.create_connection((started.host, started.port)))
        until(lambda: len(started._clients) == listener.MOST_CLIENTS)
        with socket.create_connection((started.host, started.port), timeout=30) as more:
            assert more.recv(10) == b""
    until(lambda: not started._clients)
    assert ask(started, b"GET /metrics HTTP/1.1\r\n\r\n").endswith(TEXT)


def test_flood_of_clients_is_accepted_in_measure(listening, monkeypatch):
    monkeypatch.setattr(listener, "MOST_A_SECOND", 5)
    started = listening()
    began = time.monotonic()
    for _ in range(16):
        assert ask(started, b"GET /metrics HTTP/1.1\r\n\r\n").endswith(TEXT)
    assert time.monotonic() - began > 2


def test_large_text_arrives_whole(listening):
    text = b"x 1.0\n" * 500_000
    started = listening(text=text)
    assert ask(started, b"GET /metrics HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n" + text)


def test_port_that_is_taken_is_reported_once_and_tried_again(monkeypatch, caplog):
    monkeypatch.setattr(listener, "BIND_EVERY", 0.05)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as holder:
        waiting = Listener("127.0.0.1", holder.getsockname()[1])
        thread = waiting.start(stop)
        until(lambda: caplog.records)
    until(lambda: takes_clients(waiting))
    stop.set()
    thread.join(30)
    assert [record.levelname for record in caplog.records if record.levelname == "WARNING"] == ["WARNING"]
