"""What a log line says: needles of the byte gate, the rules, and the way from a line to a `Sighting`.

rules/     the rules and the shared phrases, as data
table      loads, checks and compiles them once
envelope   takes the message out of what it was logged in
normalise  brings a message to the spelling of the rules
fields     reads what the line states; `program`: which program wrote it
parse      from a line to a sighting; `cache`: the same for a storm of equal lines
"""

from certmedic.core.symptoms.cache import ParseCache
from certmedic.core.symptoms.parse import explanation, interesting, parse, printable
from certmedic.core.symptoms.table import NEEDLES, RULES, Rule

__all__ = ["NEEDLES", "RULES", "ParseCache", "Rule", "explanation", "interesting", "parse", "printable"]
