"""Whether certmedic acts on a diagnosis, and every condition that says why or why not."""

from certmedic.core.decision.decide import decide, is_in_use
from certmedic.core.decision.gates import explain
from certmedic.core.decision.policy import FRESH_FOR, History, Policy, Refusal, troubled
from certmedic.core.decision.renewal import cure_of, renews_by_itself
from certmedic.core.decision.urgency import urgency

__all__ = [
    "FRESH_FOR",
    "History",
    "Policy",
    "Refusal",
    "cure_of",
    "decide",
    "explain",
    "is_in_use",
    "renews_by_itself",
    "troubled",
    "urgency",
]
