"""What a log line says: the gate's needles, the rule table, and the way from a line to a `Sighting`."""

from certmedic.core.symptoms.sighting import NEEDLES, explanation, interesting, parse
from certmedic.core.symptoms.rules import RULES, Rule

__all__ = ["NEEDLES", "RULES", "Rule", "explanation", "interesting", "parse"]
