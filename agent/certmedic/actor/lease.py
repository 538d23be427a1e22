"""A lease in etcd as the lock among masters, over etcd's JSON gateway.

The key /certmedic/<group>/acting holds the name of the member that acts, on a lease that expires by itself. One transaction in
etcd writes the key only if it does not exist (create_revision is 0), so that two members never both hold it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from certmedic.core import text
from certmedic.core.lease import Access
from certmedic.core.model import Lease
from certmedic.edge.os import http
from certmedic.edge.os.network import OWN, Network

DEADLINE = 4.0  # seconds for all requests of one `take` or `release`
REQUEST = 2.0  # seconds for one request, from the connection to the end of the reply
PREFIXES = ("/v3", "/v3beta", "/v3alpha")  # etcd from 3.4, 3.3, 3.2
MOST_READ = 64 * 1024  # bytes of a reply


class _AskError(Exception):
    pass


class EtcdLock:
    """The lock in etcd. `ttl`: seconds until the lease expires; `deadline`: seconds for all requests of one call."""

    def __init__(self, *, ttl: int, deadline: float = DEADLINE, network: Network = OWN) -> None:
        self.ttl = ttl
        self.deadline = deadline
        self.network = network

    def take(self, group: str, access: Access) -> Lease:
        """Take the lease unless another member holds it. A lease that this member holds already is renewed."""
        if not access.endpoints or not access.credentials:
            what = (
                "no etcd here shows clients a good certificate"
                if not access.endpoints
                else "no certificate here that it would accept is good"
            )
            return Lease(state="none", why=f"no lease in etcd was had ({what}), so handshakes alone decide")
        try:
            other = self._ask(access, lambda etcd: _take(etcd, _key(group), access.holder, self.ttl))
        except _AskError as error:
            return Lease(state="none", why=f"no lease in etcd was had ({error}), so handshakes alone decide")
        if other:
            why = f"{other} holds the lease in etcd and acts; opens when it gives it back, or after {self.ttl} s of its silence"
            return Lease(state="theirs", why=why)
        return Lease(state="ours", why="the lease in etcd is this member's")

    def release(self, group: str, access: Access) -> None:
        """Remove the key if it still holds this member's name."""
        if access.endpoints and access.credentials:
            with contextlib.suppress(_AskError):
                self._ask(access, lambda etcd: _release(etcd, _key(group), access.holder))

    def _ask(self, access: Access, ask: Callable[[_Endpoint], str]) -> str:
        """Return the answer of the first endpoint that gives one. Raises _AskError."""
        until = time.monotonic() + self.deadline
        why: list[str] = []
        for certificate, key in access.credentials:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False  # members are dialled by address; their CA identifies them
            try:
                context.load_verify_locations(access.ca_path)
                context.load_cert_chain(certificate, key)
            except OSError as error:
                why.append(f"{key}: {error.strerror or error}")
                continue
            for number, (host, port) in enumerate(access.endpoints):
                # Each endpoint gets its share of the time that is left, so that one that hangs does not use up all of it.
                share = (until - time.monotonic()) / (len(access.endpoints) - number)
                try:
                    return ask(_Endpoint(host, port, context, time.monotonic() + share, self.network))
                except _AskError as error:
                    why.append(str(error))
        raise _AskError("; ".join(dict.fromkeys(why))[:300])


class _Endpoint:
    """Where one member serves clients: an address and a port, until a deadline on the monotonic clock."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, until: float, network: Network = OWN) -> None:
        self.network = network
        self.host = host
        self.port = port
        self.context = context
        self.until = until

    def post(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request under the prefix that this version of etcd knows; return the parsed reply. Raises _AskError."""
        for prefix in PREFIXES:
            reply = self._exchange(f"{prefix}{what}", json.dumps(body).encode())
            if reply.status == HTTPStatus.OK:
                with contextlib.suppress(ValueError, RecursionError):
                    parsed = json.loads(reply.body)
                    if isinstance(parsed, dict):
                        return parsed
                break
            if reply.status != HTTPStatus.NOT_FOUND:
                raise _AskError(f"{self.host}:{self.port} answers {reply.status}: {reply.body[:200]!r}")
        raise _AskError(f"{self.host}:{self.port} has no JSON gateway of etcd's")

    def _exchange(self, path: str, body: bytes) -> http.Reply:
        deadline = min(self.until, time.monotonic() + REQUEST)
        patience = max(deadline - time.monotonic(), 0.001)
        try:
            with self.network.connect(self.host, self.port, patience=patience) as plain:
                http.left(plain, deadline)
                with self.context.wrap_socket(plain) as sock:
                    return http.exchange(sock, "POST", path, deadline=deadline, most=MOST_READ, body=body)
        except OSError as error:
            why = getattr(error, "reason", None) or error.strerror or error
            raise _AskError(f"{self.host}:{self.port}: {why}") from error


def _take(etcd: _Endpoint, key: str, holder: str, ttl: int) -> str:
    """Return "" if this member holds the key now, else the name of the member that does."""
    lease = etcd.post("/lease/grant", {"TTL": ttl}).get("ID")
    if not isinstance(lease, str):
        raise _AskError(f"{etcd.host}:{etcd.port} grants no lease")
    put = {"request_put": {"key": key, "value": _base64(holder), "lease": lease}}
    created = {"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"}
    mine = {"key": key, "target": "VALUE", "result": "EQUAL", "value": _base64(holder)}
    reply: dict[str, Any] = {}
    for compare in (created, mine):
        reply = etcd.post(
            "/kv/txn", {"compare": [compare], "success": [put], "failure": [{"request_range": {"key": key}}]}
        )
        if reply.get("succeeded"):
            return ""
    with contextlib.suppress(_AskError):
        etcd.post("/kv/lease/revoke", {"ID": lease})
    try:
        value = reply["responses"][0]["response_range"]["kvs"][0]["value"]
        return text.printable(base64.b64decode(value).decode(errors="replace"))[:200] or "another"
    except (KeyError, IndexError, TypeError, ValueError):
        return "another"  # the holder released the key in this moment


def _release(etcd: _Endpoint, key: str, holder: str) -> str:
    mine = {"key": key, "target": "VALUE", "result": "EQUAL", "value": _base64(holder)}
    etcd.post("/kv/txn", {"compare": [mine], "success": [{"request_delete_range": {"key": key}}]})
    return ""


def _key(group: str) -> str:
    return _base64(f"/certmedic/{group or 'etcd'}/acting")


def _base64(plain: str) -> str:
    return base64.b64encode(plain.encode()).decode("ascii")
