"""What a log line says: the gate's needles, the rule table, and the way from a line to a `Sighting`.

dress     takes the message out of what it was logged in
rule      what a rule is, and the spelling that rules and messages share
own, alerts, identity, validity, trust    the table, by what is wrong
rules     the table as one, and the way through it
fields    what the line states; `program`: who wrote it
sighting  needles, `parse`, `explanation`; `memo`: the same for a storm of equal lines
"""

from certmedic.core.symptoms.memo import Memo
from certmedic.core.symptoms.rule import Rule
from certmedic.core.symptoms.rules import RULES
from certmedic.core.symptoms.sighting import NEEDLES, explanation, interesting, parse

__all__ = ["NEEDLES", "RULES", "Memo", "Rule", "explanation", "interesting", "parse"]
