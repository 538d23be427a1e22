"""A lease in etcd as the lock among masters, over the JSON gateway that etcd itself serves.

The key /certmedic/<group>/acting holds the name of who acts, on a lease that ends by itself. It is written only where it is not
there (compare create_revision with 0), in one transaction of etcd's, so two can never both have it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from typing import Any

from certmedic.core.lease import Access
from certmedic.core.model import Lease

DEADLINE = 4.0  # seconds for all that is asked at once
PREFIXES = ("/v3", "/v3beta", "/v3alpha")  # etcd from 3.4, 3.3, 3.2
MOST_READ = 64 * 1024


class _AskError(Exception):
    pass


class EtcdLock:
    """The lock in etcd itself. `ttl` in seconds, after which it ends by itself; `deadline` in seconds, for all that is asked at once."""

    def __init__(self, *, ttl: int, deadline: float = DEADLINE) -> None:
        self.ttl = ttl
        self.deadline = deadline
        self._taken: dict[str, Access] = {}

    def take(self, group: str, access: Access) -> Lease:
        """Have the lease, unless another has it. What is ours already is taken anew."""
        if not access.doors or not access.credentials:
            what = (
                "no etcd here shows clients a good certificate"
                if not access.doors
                else "no certificate here that it would accept is good"
            )
            return Lease(state="none", why=f"no lease in etcd was had ({what}), so handshakes alone decide")
        try:
            other = self._within(access, lambda door: _take(door, _key(group), access.holder, self.ttl))
        except _AskError as error:
            return Lease(state="none", why=f"no lease in etcd was had ({error}), so handshakes alone decide")
        if other:
            why = f"{other} holds the lease in etcd and acts; opens when it gives it back, or after {self.ttl} s of its silence"
            return Lease(state="theirs", why=why)
        self._taken[group] = access
        return Lease(state="ours", why="the lease in etcd is this member's")

    def release(self, group: str) -> None:
        """Remove the key, if it is still ours."""
        access = self._taken.pop(group, None)
        if access is not None:
            with contextlib.suppress(_AskError):
                self._within(access, lambda door: _give_back(door, _key(group), access.holder))

    def _within(self, access: Access, ask: Callable[[_Door], str]) -> str:
        """Ask one door after the other until one answers. On a thread of its own: a look-up of a name has no deadline."""
        answers: queue.SimpleQueue[str | _AskError] = queue.SimpleQueue()
        until = time.monotonic() + self.deadline

        def knock() -> None:
            try:
                answers.put(_first_answer(access, ask, until))
            except _AskError as error:
                answers.put(error)

        threading.Thread(target=knock, daemon=True, name="lease").start()
        try:
            answer = answers.get(timeout=self.deadline)
        except queue.Empty:
            raise _AskError(f"no answer within {self.deadline:g} s") from None
        if isinstance(answer, _AskError):
            raise answer
        return answer


class _Door:
    """One member's door for clients."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, until: float) -> None:
        self.host = host
        self.port = port
        self.context = context
        self.until = until

    def post(self, what: str, body: Mapping[str, Any]) -> Any:
        """Ask for something, by whichever name this version has for it. Raises _AskError."""
        for prefix in PREFIXES:
            status, told = self._post(f"{prefix}{what}", json.dumps(body))
            if status == HTTPStatus.OK:
                try:
                    return json.loads(told)
                except ValueError:
                    break
            if status != HTTPStatus.NOT_FOUND:
                raise _AskError(f"{self.host}:{self.port} answers {status}: {told[:200]!r}")
        raise _AskError(f"{self.host}:{self.port} has no JSON gateway of etcd's")

    def _post(self, path: str, body: str) -> tuple[int, bytes]:
        left = self.until - time.monotonic()
        if left <= 0:
            raise _AskError("others took all the time")
        connection = HTTPSConnection(self.host, self.port, timeout=left, context=self.context)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read(MOST_READ)
        except (OSError, HTTPException) as error:
            raise _AskError(f"{self.host}:{self.port}: {getattr(error, 'reason', None) or error}") from error
        finally:
            connection.close()


def _first_answer(access: Access, ask: Callable[[_Door], str], until: float) -> str:
    why: list[str] = []
    for certificate, key in access.credentials:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # members are dialled by address; that they are of this CA is what counts
        try:
            context.load_verify_locations(access.ca_path)
            context.load_cert_chain(certificate, key)
        except OSError as error:
            why.append(f"{key}: {error.strerror or error}")
            continue
        for number, (host, port) in enumerate(access.doors):
            # Of the time that is left each door has its share, so that one that hangs does not keep the others from being asked.
            share = (until - time.monotonic()) / (len(access.doors) - number)
            try:
                return ask(_Door(host, port, context, time.monotonic() + share))
            except _AskError as error:
                why.append(str(error))
    raise _AskError("; ".join(dict.fromkeys(why))[:300])


def _take(door: _Door, key: str, holder: str, ttl: int) -> str:
    """Return "" where the key is ours now, else who has it."""
    lease = door.post("/lease/grant", {"TTL": ttl})["ID"]
    put = {"request_put": {"key": key, "value": _text(holder), "lease": lease}}
    created = {"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"}
    mine = {"key": key, "target": "VALUE", "result": "EQUAL", "value": _text(holder)}
    answer: dict[str, Any] = {}
    for compare in (created, mine):
        answer = door.post(
            "/kv/txn", {"compare": [compare], "success": [put], "failure": [{"request_range": {"key": key}}]}
        )
        if answer.get("succeeded"):
            return ""
    with contextlib.suppress(_AskError):
        door.post("/kv/lease/revoke", {"ID": lease})
    try:
        found = answer["responses"][0]["response_range"]["kvs"][0]["value"]
        return base64.b64decode(found).decode(errors="replace")[:200] or "another"
    except (KeyError, IndexError, TypeError, ValueError):
        return "another"  # who gave it back in this very moment


def _give_back(door: _Door, key: str, holder: str) -> str:
    mine = {"key": key, "target": "VALUE", "result": "EQUAL", "value": _text(holder)}
    door.post("/kv/txn", {"compare": [mine], "success": [{"request_delete_range": {"key": key}}]})
    return ""


def _key(group: str) -> str:
    return _text(f"/certmedic/{group or 'etcd'}/acting")


def _text(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
