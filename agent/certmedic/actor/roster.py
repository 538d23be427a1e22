"""The members of an etcd, from etcd itself: GET /members on its peer port, with a peer certificate."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from http import HTTPStatus

from certmedic.core import planes
from certmedic.edge.facts.members import Voters
from certmedic.edge.os import http
from certmedic.edge.os.network import OWN, Network

DEADLINE = 2.0  # seconds for the whole request
MOST_READ = 256 * 1024  # bytes of the reply


def voters(host: str, port: int, *, certificate: str, cas: Sequence[str], network: Network = OWN) -> Voters:
    """Return (name, host, port) of each voting member, as an etcd here answers; empty if it does not. Never raises.

    `host` is an address. etcd refuses an expired client certificate, so ask while ours is valid.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not cas:
        return ()
    context.check_hostname = False  # etcd is dialled by address, on this machine
    try:
        for ca in cas:
            context.load_verify_locations(ca)
        context.load_cert_chain(certificate, planes.key_beside(certificate) or None)
        deadline = time.monotonic() + DEADLINE
        with network.connect(host, port, patience=DEADLINE) as plain:
            http.left(plain, deadline)
            with context.wrap_socket(plain) as sock:
                reply = http.exchange(sock, "GET", "/members", deadline=deadline, most=MOST_READ)
    except (OSError, ValueError):
        return ()
    members = planes.voters_of(reply.body) if reply.status == HTTPStatus.OK else ()
    # No member has a name or host with unprintable characters.
    return members if all(f"{name}{host}".isprintable() for name, host, _ in members) else ()
