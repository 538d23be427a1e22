"""Whether certmedic acts on a diagnosis, and every condition that says why or why not."""

from certmedic.core.decision.decide import decide
from certmedic.core.decision.gates import explain
from certmedic.core.decision.pods import still_to_restart
from certmedic.core.decision.policy import FRESH_FOR, History, Policy, Refusal, troubled
from certmedic.core.decision.renewal import cure_of, is_used, renews_by_itself
from certmedic.core.decision.steady import away
from certmedic.core.decision.urgency import urgency

__all__ = [
    "FRESH_FOR",
    "History",
    "Policy",
    "Refusal",
    "away",
    "cure_of",
    "decide",
    "explain",
    "is_used",
    "renews_by_itself",
    "still_to_restart",
    "troubled",
    "urgency",
]
