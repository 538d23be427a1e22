"""Endpoints of etcd members: their names looked up, and handshakes with all of them at once."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from certmedic.core.model import Served
from certmedic.edge.facts.etcds import Endpoint, is_address
from certmedic.edge.facts.listeners import Proof, probe
from certmedic.edge.os.network import OWN, Network

MARGIN = 0.5  # seconds over a deadline, for the threads to start and report
MOST_AT_ONCE = 128  # endpoints

_Answer = TypeVar("_Answer")


def addresses(endpoints: Sequence[Endpoint], deadline: float, network: Network = OWN) -> dict[Endpoint, str]:
    """Return the address of each endpoint, if it is known within `deadline` seconds. Never raises."""
    known = {endpoint: endpoint.address for endpoint in endpoints}
    unknown = [endpoint for endpoint, address in known.items() if not address]
    looked_up = _at_once(unknown, lambda endpoint: _look_up_or_none(endpoint, network), deadline)
    return {endpoint: address for endpoint, address in {**known, **looked_up}.items() if address}


def handshakes(
    endpoints: Sequence[Endpoint], deadline: float, network: Network = OWN
) -> dict[Endpoint, tuple[Served, Proof]]:
    """Shake hands with each endpoint, all at once, within `deadline` seconds and `MARGIN`. Never raises."""
    seen = _at_once(endpoints, lambda endpoint: _shake_hands(endpoint, deadline, network), deadline + MARGIN)
    silent = f"no answer within {deadline:g} s"
    return {endpoint: seen.get(endpoint) or (_nothing(endpoint, silent), Proof()) for endpoint in endpoints}


def _at_once(
    endpoints: Sequence[Endpoint], ask: Callable[[Endpoint], _Answer], deadline: float
) -> dict[Endpoint, _Answer]:
    """Ask about each endpoint on a separate thread, since DNS look-ups have no deadline; return the answers that came in time."""
    answers: queue.SimpleQueue[tuple[Endpoint, _Answer]] = queue.SimpleQueue()
    asked = endpoints[:MOST_AT_ONCE]
    for endpoint in asked:
        threading.Thread(
            target=lambda target=endpoint: answers.put((target, ask(target))),
            daemon=True,
            name=f"endpoint {endpoint.host}:{endpoint.port}",
        ).start()
    seen: dict[Endpoint, _Answer] = {}
    until = time.monotonic() + deadline
    while len(seen) < len(asked) and (left := until - time.monotonic()) > 0:
        try:
            endpoint, answer = answers.get(timeout=left)
        except queue.Empty:
            break
        seen[endpoint] = answer
    return seen


def _shake_hands(endpoint: Endpoint, deadline: float, network: Network) -> tuple[Served, Proof]:
    name = None if is_address(endpoint.host) else endpoint.host
    try:
        address = endpoint.address or network.look_up(endpoint.host)
        return probe(address, endpoint.port, server_name=name, deadline=deadline, network=network)
    except Exception as error:  # noqa: BLE001 - on a thread, where nobody else would hear of it
        return _nothing(endpoint, f"could not be tried: {str(error) or type(error).__name__}"), Proof()


def _nothing(endpoint: Endpoint, error: str) -> Served:
    return Served(address=endpoint.host, port=endpoint.port, certificate=None, error=error)


def _look_up_or_none(endpoint: Endpoint, network: Network) -> str:
    try:
        return network.look_up(endpoint.host)
    except (OSError, UnicodeError):
        return ""
