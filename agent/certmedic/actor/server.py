"""The actor's socket: one request a connection, from the agent's user or root, small and soon. Everything odd is refused.

systemd listens and starts the actor at the first connection. The actor ends when nobody has asked for a while.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import socket
from collections.abc import Callable

from certmedic.actor.listen import caller_of
from certmedic.actor.verbs import Caller
from certmedic.core import codec
from certmedic.core.message.requests import request_fields
from certmedic.core.request import MOST_BYTES, MalformedError, Reply, Request, parse
from certmedic.edge import service
from certmedic.ports import Entries

USER = "certmedic"  # of the agent
PATIENCE = 5.0  # seconds for a caller to send its request, and to take the reply
IDLE = 30.0  # seconds without a request until the actor ends


def allowed_users() -> frozenset[int]:
    """Return the uids that may ask: root, the agent's user, and the user that runs this actor."""
    users = {0, os.geteuid()}
    with contextlib.suppress(KeyError):
        users.add(pwd.getpwnam(USER).pw_uid)
    return frozenset(users)


def serve(  # noqa: PLR0913 - each is one thing that it needs
    listener: socket.socket,
    answer: Callable[[Request, Caller], Reply],
    entries: Entries,
    *,
    allowed: frozenset[int],
    idle: float = IDLE,
    patience: float = PATIENCE,
) -> None:
    """Answer one connection after another until none comes for `idle` seconds."""
    listener.setblocking(False)
    while select.select([listener], [], [], idle)[0]:
        service.watchdog()
        with contextlib.suppress(BlockingIOError):  # the caller is gone already
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(patience)
                reply = _answer(connection, answer, entries, allowed)
                with contextlib.suppress(OSError):
                    connection.sendall(codec.dump(reply).encode())
        service.watchdog()


def _answer(
    connection: socket.socket,
    answer: Callable[[Request, Caller], Reply],
    entries: Entries,
    allowed: frozenset[int],
) -> Reply:
    pid, uid = caller_of(connection)
    why = "this user may not ask the actor"
    try:
        if uid in allowed:
            return answer(parse(connection.recv(MOST_BYTES + 1)), Caller(uid=uid, pid=pid))
        connection.recv(MOST_BYTES, socket.MSG_DONTWAIT)  # else closing would tear down the reply as well
    except MalformedError as error:
        why = str(error)
    except OSError:
        why = "no request came in time" if uid in allowed else why
    entries.emit(request_fields("refused", None, uid, pid, why=why))
    return Reply(result="refused", why=why)
