"""Whether certmedic acts on a diagnosis, and every condition that says why or why not."""

from certmedic.core.decision.decide import decide
from certmedic.core.decision.gates import explain
from certmedic.core.decision.policy import FRESH_FOR, History, Policy, troubled

__all__ = ["FRESH_FOR", "History", "Policy", "decide", "explain", "troubled"]
