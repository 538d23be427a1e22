"""One incident, as a message about it needs to know it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo

from certmedic.core.decision.urgency import urgency
from certmedic.core.model import (
    Cause,
    Decision,
    Diagnosis,
    Gate,
    GateName,
    Helps,
    MessageKind,
    RemedyKind,
    Severity,
    WaitsFor,
)

GROUP = (GateName.MEMBERS, GateName.SAFE, GateName.TURN)  # a restart against these could cost the quorum


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An incident at one moment, and the news about it."""

    kind: MessageKind
    diagnosis: Diagnosis
    incident: int
    host: str
    cluster: str = ""
    now: datetime
    decision: Decision | None = None
    outcome: str = (
        ""  # the result of an action or a check, in a sentence; of a first message: members with the same fault
    )
    sick: str = ""  # of the last message: the other members that still have the fault
    opened_at: datetime | None = None
    failed: bool = False  # certmedic tried to fix it, and the fix failed
    zone: tzinfo | None = None  # of dates, beside UTC

    @property
    def severity(self) -> Severity:
        """How urgent the message is."""
        if self.kind is MessageKind.RESOLVED:
            return Severity.INFO
        return urgency(self.diagnosis, self.decision, failed=self.failed or self.kind is MessageKind.ESCALATED)

    @property
    def tried(self) -> bool:
        """Whether certmedic took an action."""
        return self.decision is not None and self.decision.action is not None

    @property
    def acts(self) -> bool:
        """Whether certmedic is about to act; a reminder never announces an action."""
        return self.kind is MessageKind.OPENED and self.decision is not None and self.decision.action is not None

    @property
    def in_place(self) -> bool:
        """Whether the action, planned or done, renews files in place and restarts nothing."""
        action = self.decision.action if self.decision else None
        return action is not None and action.kind is RemedyKind.RENEW

    @property
    def closed(self) -> tuple[Gate, ...]:
        """The gates that keep certmedic from acting."""
        return self.decision.blocked_by if self.decision else ()

    @property
    def not_now(self) -> Gate | None:
        """The gate that says why a restart would harm the group now; None if it would not."""
        remedy = self.diagnosis.remedy
        restarts = remedy.helps is Helps.YES or remedy.kind is RemedyKind.REISSUE_AND_RESTART
        if not restarts or self.diagnosis.cause is Cause.EXPIRES_SOON:
            return None
        return next((gate for gate in self.closed if gate.name in GROUP), None)

    @property
    def waits(self) -> bool:
        """Whether certmedic will act by itself as soon as other members have had their turn."""
        return self.decision is not None and self.decision.waits_for is WaitsFor.TURN

    @property
    def approval(self) -> str | None:
        """The command by which a person allows the proposed action; None if none is proposed."""
        waits = self.decision is not None and self.decision.waits_for is WaitsFor.APPROVAL
        return f"sudo certmedic approve {self.incident}" if waits else None
