"""Who the members of an etcd are by its own word: GET /members on its peers' port, which wants a peer's certificate."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection

from certmedic.core import planes

DEADLINE = 2.0  # seconds, for each step of one question
MOST_READ = 256 * 1024

Voters = tuple[tuple[str, str, int], ...]  # name, host and port of peers


def voters(host: str, port: int, *, certificate: str, cas: Sequence[str]) -> Voters:
    """Return (name, host, port) of each member that votes, as an etcd here tells it; empty where it does not. Never raises.

    `host` is an address. It does not tell those whose own certificate has expired, so that it is asked while that is good.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # it is dialled by address, and on this machine
    try:
        for ca in cas:
            context.load_verify_locations(ca)
        context.load_cert_chain(certificate, planes.key_beside(certificate) or None)
        connection = HTTPSConnection(host, port, timeout=DEADLINE, context=context)
        try:
            connection.request("GET", "/members")
            answer = connection.getresponse()
            told = answer.read(MOST_READ)
        finally:
            connection.close()
    except (OSError, HTTPException):
        return ()
    return planes.voters_told(told) if answer.status == HTTPStatus.OK else ()
