"""How urgent an incident is: the severity of its diagnosis, and whether a person is needed.

critical  something is down, or will be at the next restart, and a person is needed
warning   a person is needed this week, or certmedic fixes it by itself
info      nobody is needed
"""

from __future__ import annotations

from certmedic.core.model import Decision, Diagnosis, Severity, WaitsFor


def urgency(diagnosis: Diagnosis, decision: Decision | None, *, failed: bool) -> Severity:
    """Return the severity of an incident. `failed`: certmedic tried to fix it, and the fix failed."""
    if diagnosis.severity is Severity.INFO:
        return Severity.INFO
    if failed:
        return Severity.CRITICAL
    return Severity.WARNING if acts(decision) else diagnosis.severity


def acts(decision: Decision | None) -> bool:
    """Whether certmedic fixes it by itself, now or when its turn comes."""
    return decision is not None and (decision.action is not None or decision.waits_for is WaitsFor.TURN)
