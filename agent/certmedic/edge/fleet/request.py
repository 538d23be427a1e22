"""A JSON answer over HTTP, with an absolute deadline and a cap in bytes, or a sentence on what to do."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

from certmedic.core.text import cut, printable
from certmedic.edge.os import http

DEADLINE = 30.0  # seconds for one answer, from the connection to its last byte
MOST = 64 * 1024 * 1024  # bytes of one answer: a hundred clusters have about 3 MB
DO: Mapping[int, str] = {
    401: "write the password into the address: https://USER:PASSWORD@HOST",
    403: "write the password into the address: https://USER:PASSWORD@HOST",
    404: "is the address right, with the path under which the program lives?",
}


class FleetError(Exception):
    """A source of the fleet cannot be read. The text says what to do, and holds no password."""


def address_of(url: str) -> SplitResult:
    """Return the parts of an address. Raises FleetError unless it is http:// or https:// with a host."""
    wrong = FleetError("the address is not usable: write http://HOST:PORT or https://HOST/PATH")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        raise wrong from None
    if not usable or not url.isascii() or any(char.isspace() for char in url):
        raise wrong
    return parts


def shown(parts: SplitResult) -> str:
    """Return an address without its password."""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def ask(url: str, path: str, query: Mapping[str, str]) -> Any:
    """Return the JSON at a path below an address, whatever its status. Raises FleetError."""
    parts = address_of(url)
    name = shown(parts)
    try:
        reply = _get(parts, f"{parts.path.rstrip('/')}{path}?{urlencode(query)}")
    except ssl.SSLError as error:
        reason = error.reason or error
        raise FleetError(f"{name}: TLS fails: {reason}: name its CA in the variable SSL_CERT_FILE") from error
    except TimeoutError as error:
        raise FleetError(f"{name}: no answer within {DEADLINE:.0f} s: is it overloaded?") from error
    except http.ReplyError as error:
        raise FleetError(f"{name}: {_clean(str(error.strerror or error))}") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FleetError(f"{name}: cannot be reached: {reason}: is the address right, and does it listen?") from error
    if reply.status in DO or 300 <= reply.status < 400:
        do = DO.get(reply.status, "it sends elsewhere: write the address to which it sends")
        raise FleetError(f"{name}: HTTP {reply.status}: {do}")
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise FleetError(f"{name}: HTTP {reply.status}, and the answer is not JSON: is the address right?") from error


def _get(parts: SplitResult, path: str) -> http.Reply:
    assert parts.hostname is not None  # noqa: S101 - address_of has checked; for the type checker
    deadline = time.monotonic() + DEADLINE
    port = parts.port or (443 if parts.scheme == "https" else 80)
    headers = {}
    if parts.username is not None:
        word = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(word).decode()}"
    plain = socket.create_connection((parts.hostname, port), timeout=DEADLINE)
    host = parts.netloc.rpartition("@")[2]
    with plain:
        if parts.scheme == "http":
            return http.exchange(plain, "GET", path, deadline=deadline, most=MOST, host=host, headers=headers)
        http.left(plain, deadline)
        with ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname) as safe:
            return http.exchange(safe, "GET", path, deadline=deadline, most=MOST, host=host, headers=headers)


def _clean(text: str) -> str:
    return cut(printable(text), 200)
