"""From a log line to a `Sighting`: the needles, the rules, and the parser.

rules/     the rules and the shared phrases, as data
table      loads and checks them once
envelope   removes timestamps, syslog heads, JSON and other envelopes
normalise  converts a message to the spelling of the rules
fields     reads the addresses, names and dates in a line; `program`: which program wrote it
parse      from a line to a sighting; `cache`: the same, fast, for a storm of equal lines
report     what is counted of a line of a storm, without its sighting
"""

from certmedic.core.needles import NEEDLES
from certmedic.core.symptoms.cache import ParseCache
from certmedic.core.symptoms.parse import explanation, interesting, parse, printable
from certmedic.core.symptoms.report import Parts, Report
from certmedic.core.symptoms.table import RULES

__all__ = ["NEEDLES", "RULES", "ParseCache", "Parts", "Report", "explanation", "interesting", "parse", "printable"]
