"""How urgent an incident is: the severity of its diagnosis, and whether a person is needed.

critical  something is down, or will be at the next restart, and a person is needed
warning   a person is needed this week, or certmedic fixes it by itself
info      nobody is needed
"""

from __future__ import annotations

from certmedic.core import planes
from certmedic.core.model import Cause, Decision, Diagnosis, Severity, WaitsFor

IDLE_USES = frozenset({"admin"})  # of certificates that no program uses: kubectl on this master does


def urgency(diagnosis: Diagnosis, decision: Decision | None, *, failed: bool) -> Severity:
    """Return the severity of an incident. `failed`: certmedic tried to fix it, and the fix failed."""
    if diagnosis.severity is Severity.INFO:
        return Severity.INFO
    if failed:
        return Severity.CRITICAL
    return Severity.WARNING if acts(decision) or stops_nothing(diagnosis) else diagnosis.severity


def acts(decision: Decision | None) -> bool:
    """Whether certmedic fixes it by itself, now or when its turn comes."""
    return decision is not None and (decision.action is not None or decision.waits_for is WaitsFor.TURN)


def stops_nothing(diagnosis: Diagnosis) -> bool:
    """Whether an expired certificate stops no program, now or at its next restart."""
    if diagnosis.cause is not Cause.EXPIRED or not diagnosis.certificates:
        return False
    uses = {planes.place(leaf.path, leaf).use for leaf in diagnosis.certificates}
    return diagnosis.is_unused or uses <= IDLE_USES
