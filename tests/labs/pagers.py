"""PagerDuty, Opsgenie and Splunk On-Call on loopback: fakes that enforce the documented contracts (FIELD 10) and keep incidents."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "0123456789abcdef0123456789abcdef"  # of each service
ROUTING = "masters"


class Pagers:
    """The three services in two regions, each below /SERVICE-REGION of one port.

    `incidents` has the history of each (place, key): "open", "update", "close". `answers` are (status, Retry-After) for the next
    requests; after them each request is judged by its contract.
    """

    def __init__(self) -> None:
        self.incidents: dict[tuple[str, str], list[str]] = {}
        self.answers: list[tuple[int, str]] = []
        self.events: list[tuple[str, Mapping[str, Any]]] = []  # (path, body) of each request
        self.refused: list[str] = []
        pagers = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                pagers.answer(self, self.path, json.loads(raw))

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def bases(self) -> dict[tuple[str, str], str]:
        """Return the addresses, in the place of those of `core.message.BASES`."""
        url = f"http://127.0.0.1:{self.server.server_port}"
        places = [("pagerduty", "us"), ("pagerduty", "eu"), ("opsgenie", "us"), ("opsgenie", "eu"), ("splunk", "us")]
        return {place: f"{url}/{'-'.join(place)}" for place in places}

    def histories(self) -> list[list[str]]:
        """Return the history of each incident."""
        return list(self.incidents.values())

    def answer(self, handler: BaseHTTPRequestHandler, target: str, body: Mapping[str, Any]) -> None:
        """Judge a request, and keep its event if it is good."""
        place, _, path = target.lstrip("/").partition("/")
        self.events.append((target, body))
        status, after, text = 500, "", b"{}"
        if self.answers:
            status, after = self.answers.pop(0)
        else:
            judge = {"pagerduty": self.pagerduty, "opsgenie": self.opsgenie, "splunk": self.splunk}
            try:
                key, over = judge[place.partition("-")[0]](f"/{path}", dict(handler.headers), body)
                status = 200 if place.startswith("splunk") else 202
                text = b'{"result":"success"}'
                self.keep((place, key), over=over)
            except PermissionError:
                status = 401
            except (AssertionError, KeyError) as error:
                self.refused.append(repr(error))
                status = 400
        handler.send_response(status)
        if after:
            handler.send_header("Retry-After", after)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def keep(self, place: tuple[str, str], *, over: bool) -> None:
        """Open, update or close an incident; a close of one that is not open does nothing, as with all three."""
        history = self.incidents.get(place, [])
        is_open = bool(history) and history[-1] != "close"
        if over and not is_open:
            self.refused.append("close without an open incident")
            return
        self.incidents.setdefault(place, []).append("close" if over else "update" if is_open else "open")

    @staticmethod
    def pagerduty(path: str, _: Mapping[str, str], body: Mapping[str, Any]) -> tuple[str, bool]:
        assert path == "/v2/enqueue"
        assert len(body["routing_key"]) == 32
        assert body["event_action"] in ("trigger", "resolve")
        assert 0 < len(body["dedup_key"]) <= 255
        if body["event_action"] == "trigger":
            assert 0 < len(body["payload"]["summary"]) <= 1024
            assert body["payload"]["source"]
            assert body["payload"]["severity"] in ("critical", "error", "warning", "info")
        return body["dedup_key"], body["event_action"] == "resolve"

    @staticmethod
    def opsgenie(path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> tuple[str, bool]:
        if headers["Authorization"] != f"GenieKey {KEY}":
            raise PermissionError
        if path == "/v2/alerts":
            assert 0 < len(body["message"]) <= 130
            assert 0 < len(body["alias"]) <= 512
            assert len(body["description"]) <= 15000
            assert body["priority"] in ("P1", "P2", "P3", "P4", "P5")
            return body["alias"], False
        parts = urlsplit(path)
        _, version, alerts, alias, action = parts.path.split("/")
        assert (version, alerts, action) == ("v2", "alerts", "close")
        assert parse_qs(parts.query) == {"identifierType": ["alias"]}
        return unquote(alias), True

    @staticmethod
    def splunk(path: str, _: Mapping[str, str], body: Mapping[str, Any]) -> tuple[str, bool]:
        assert path == f"/integrations/generic/20131114/alert/{KEY}/{ROUTING}"
        assert body["message_type"] in ("CRITICAL", "WARNING", "INFO", "RECOVERY")
        return body["entity_id"], body["message_type"] == "RECOVERY"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
