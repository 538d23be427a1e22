"""The life of an incident: its states, and what follows from each look at it."""

from certmedic.core.incident.accusation import accused, accuses
from certmedic.core.incident.circumstances import SILENT, Circumstances, Terms
from certmedic.core.incident.cure import Outcome, Result, tried
from certmedic.core.incident.effects import Effect
from certmedic.core.incident.group import LEADS, LEFT, is_shared
from certmedic.core.incident.life import HELD_BACK, LOOK_EVERY, advance
from certmedic.core.incident.over import is_half_cured, is_of_an_act, resolved, superseded, warned_of
from certmedic.core.incident.state import (
    UNDER_WAY,
    Act,
    ActState,
    Incident,
    IncidentState,
    RecheckKind,
    TransitionError,
    moved,
)

__all__ = [
    "HELD_BACK",
    "LEADS",
    "LEFT",
    "LOOK_EVERY",
    "SILENT",
    "UNDER_WAY",
    "Act",
    "ActState",
    "Circumstances",
    "Effect",
    "Incident",
    "IncidentState",
    "Outcome",
    "RecheckKind",
    "Result",
    "Terms",
    "TransitionError",
    "accused",
    "accuses",
    "advance",
    "is_half_cured",
    "is_of_an_act",
    "is_shared",
    "moved",
    "resolved",
    "superseded",
    "tried",
    "warned_of",
]
