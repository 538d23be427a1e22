"""The clocks of the other masters, by the Date that their API servers send to anyone; asked only if a clock is in doubt."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from certmedic.core import clocks
from certmedic.core.model import Facts
from certmedic.edge.facts.quiet import Brief
from certmedic.edge.os import http
from certmedic.edge.os.network import Network

DEADLINE = 2.0  # seconds for one API server
DEADLINES = 4.0  # seconds for all of them
DATES_FOR = 600.0  # seconds for which an answer is remembered

Where = tuple[str, str, int]  # name of the member, address and port of its API server


class Dates:
    """The differences between other clocks and this one, as they were last seen."""

    def __init__(self, network: Network, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._network = network
        self._now = now
        self._known: Brief[Where, timedelta | None] = Brief(DATES_FOR)

    def witnessed(self, facts: Facts) -> Facts:
        """Return the facts with the clocks of the other members whose addresses they hold; unchanged if no clock is in doubt."""
        if not clocks.in_doubt(facts):
            return facts
        ports = sorted({port for s in facts.stored if s.place.use == "apiserver" for port in s.place.ports})[:1]
        others = [member for member in facts.members if not member.is_self and member.dialled]
        asked = list(dict.fromkeys((member.name, member.dialled, port) for member in others for port in ports))
        seen = self._known.ask(asked, self._ask)
        return replace(facts, clocks={name: ahead for (name, _, _), ahead in seen.items() if ahead is not None})

    def _ask(self, wanted: Sequence[Where]) -> Mapping[Where, timedelta | None]:
        until = time.monotonic() + DEADLINES
        return {where: self._ahead(where, min(until, time.monotonic() + DEADLINE)) for where in wanted}

    def _ahead(self, where: Where, deadline: float) -> timedelta | None:
        """Return how far the clock of a master is ahead of this one, to the second; None if its API server sends no Date."""
        import ssl  # noqa: PLC0415 - an agent that asks nobody does not load it

        _, address, port = where
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its certificate may be what is at fault
        try:
            with (
                self._network.connect(address, port, patience=max(0.1, deadline - time.monotonic())) as plain,
                context.wrap_socket(plain) as sock,
            ):
                head = http.request(sock, "HEAD", "/version", deadline=deadline, host=address)
                return parsedate_to_datetime(head.date) - self._now() if head.date else None
        except (OSError, ValueError, TypeError):
            return None
