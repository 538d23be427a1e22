"""Certificates that only the memory of a program holds, seen in handshakes (FIELD 8.2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from certmedic.core.model import Place, Program, Stored, Trust
from certmedic.core.planes import IN_MEMORY, InMemory
from certmedic.edge.facts.listeners import shake_hands
from certmedic.edge.os.network import OWN, Network

LOOK_EVERY = 3600.0  # seconds, and whenever a program has started: each handshake is a line in the program's log
HANDSHAKE = 2.0  # seconds


@dataclass(slots=True)
class Memory:
    """Looks at the ports of the programs that sign certificates in memory, and remembers what they served."""

    trusts: Callable[[Sequence[int]], Mapping[tuple[str, int], Trust]]  # ports -> each listener, with its trust
    probed: Callable[[str, int], None] = lambda _address, _port: None  # told each handshake by our end
    network: Network = OWN
    _until: float = 0.0
    _running: frozenset[int] = frozenset()
    _seen: tuple[Stored, ...] = field(default=())

    def look(self, stored: Sequence[Stored], programs: Sequence[Program], now: datetime) -> tuple[Stored, ...]:
        """Return the certificates that no file holds, as if their path were "(memory of PROGRAM)". Never raises."""
        running = frozenset(p.pid for p in programs if p.trust is Trust.SYSTEM)
        if time.monotonic() < self._until and running == self._running:
            return self._seen
        self._until, self._running = time.monotonic() + LOOK_EVERY, running
        names = {program.name for program in programs if program.trust is Trust.SYSTEM}
        filed = {item.certificate.fingerprint for item in stored}
        plane = next((item.place.plane for item in stored if item.place.use == "apiserver"), "")
        seen: list[Stored] = []
        for kept in IN_MEMORY:
            ports = [port for item in stored if kept.use and item.place.use == kept.use for port in item.place.ports]
            if kept.program in names and (
                certificate := self._served(kept, ports or list(kept.ports), filed, plane, now)
            ):
                seen.append(certificate)
        self._seen = tuple(seen)
        return self._seen

    def _served(
        self, kept: InMemory, ports: Sequence[int], filed: set[str], plane: str, now: datetime
    ) -> Stored | None:
        for (address, port), trust in self.trusts(ports).items():
            if trust is not Trust.SYSTEM:
                continue
            name = kept.server_name or None
            served = shake_hands(address, port, server_name=name, deadline=HANDSHAKE, network=self.network)
            self.probed(address, served.local_port)
            leaf = served.certificate
            if leaf is not None and leaf.fingerprint not in filed and leaf.subject_cn.startswith(kept.subject):
                place = Place(plane=plane, group="", use="memory", renewer=kept.program, ports=(port,))
                inside = replace(leaf, path=f"(memory of {kept.program})")
                return Stored(certificate=inside, place=place, modified=now, trust=Trust.SYSTEM)
        return None
