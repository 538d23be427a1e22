"""The clocks of other masters, by the Date of a TLS server."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from certmedic.core.model import Member, Place
from certmedic.edge.facts.dates import Dates
from certmedic.edge.os.network import OWN
from labs import pki
from labs.values import DAY, facts, stored

NOW = datetime.now(UTC).replace(microsecond=0)
AHEAD = timedelta(hours=-1)
CA = pki.authority("kubernetes", not_before=NOW - 400 * DAY)


@pytest.fixture
def api(tmp_path) -> Iterator[tuple[int, list[str]]]:
    """An API server whose clock is an hour behind, and that lets nobody in."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.path)
            self.send_response_only(403)
            self.send_header("Date", format_datetime(NOW + AHEAD, usegmt=True))
            self.end_headers()

    CA.leaf("a", not_before=NOW - 400 * DAY, not_after=NOW - DAY).write(tmp_path / "a.crt")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "a.crt", tmp_path / "a.key")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, asked
        server.shutdown()


def seen(port: int, *, starts: datetime):
    file = stored(CA.leaf("a", not_before=starts, not_after=NOW + DAY), "/etc/kubernetes/pki/apiserver.crt")
    place = Place(plane="kubeadm", group="", use="apiserver", renewer="kubeadm", ports=(port,))
    members = [
        Member(name=name, group="", address=name, port=2380, serves=None, is_self=is_self, dialled="127.0.0.1")
        for name, is_self in (("a", True), ("b", False))
    ]
    return replace(facts((replace(file, place=place),)), at=NOW, members=tuple(members))


def test_clock_of_another_master_is_known_by_the_date_of_its_api_server(api):
    port, asked = api
    dates = Dates(OWN, lambda: NOW)
    for _ in range(3):
        assert dates.witnessed(seen(port, starts=NOW)).clocks == {"b": AHEAD}
    assert asked == ["/version"]  # once, and then remembered


def test_nobody_is_asked_while_no_clock_is_in_doubt(api):
    port, asked = api
    assert Dates(OWN).witnessed(seen(port, starts=NOW - 3 * DAY)).clocks == {}
    assert asked == []


def test_master_that_does_not_answer_is_no_witness(api):
    port, _ = api
    assert Dates(OWN).witnessed(seen(port + 1 if port < 65535 else 1, starts=NOW)).clocks == {}
