"""The table of rules, and the way through it.

The first rule whose words are in a message is its rule, so the order is from what settles a verdict to what merely
hints at one: faults of own files, which quote the verdicts of the other kinds; alerts that came in; verdicts of this
process, the telling ones before the vague. Two short ways serve the lines that a master writes by the thousand, Go's
alerts and Go's verdicts, and come to the same rule.
"""

from __future__ import annotations

from typing import Final

from certmedic.core.model import Suspect
from certmedic.core.symptoms.alerts import ALERTS
from certmedic.core.symptoms.identity import IDENTITY
from certmedic.core.symptoms.own import OWN_FILES
from certmedic.core.symptoms.rule import Rule, Words
from certmedic.core.symptoms.trust import TRUST
from certmedic.core.symptoms.validity import VALIDITY

RULES: Final[tuple[Rule, ...]] = (*OWN_FILES, *ALERTS, *IDENTITY, *VALIDITY, *TRUST)

_GO: Final = "x509: certificate "
_GO_VERDICTS: Final = tuple((words, rule) for rule in RULES for words in rule.says if words.startswith(_GO))

# Words of good news, of plans and of start-up that stand beside the words of verdicts. They do not count against Go's
# own, which no good news holds.
CHATTER: Final = (
    "about to expire",
    "will expire",
    "expires in",
    "expires soon",
    "near expiry",
    "not expired",
    "certificate verify ok",
    "verify return code: 0 (ok)",
    "verify ok: ",
    "generated self signed",
    "generating self signed",
    "generating a self signed",
    "generate self signed",
    "create self signed",
    "ssh: cert",
    "does not match requested cn",
    "creating self signed",
    "creating a self signed",
    "created self signed",
    "using self signed",
    "using a self signed",
    "will regenerate",
    "cleaning csr",
    "if certificate is expired",
    "whether certificate is expired",
    "revoked successfully",
    "successfully revoked",
    "successfully rotated",
    "disabling certificate verification",
    "certificate verification is disabled",
    "expired certs are permitted",
    "not trusted by the host ca bundle",
    "accepting expired",
    "accepting self signed",
    "accepting not yet valid",
    "self signed certificate created",
    "must be re issued",
    "re issuance",
    "renewing certificate",
    ", renewing",
    "; renewing",
)


def rule_for(words: Words) -> Rule | None:
    """Return the rule of a message; None where it reports no failure of a certificate."""
    if words.heard:
        for rule in ALERTS:
            if rule.matches(words):
                return rule
    if _GO in words.text:
        for verdict, rule in _GO_VERDICTS:
            if verdict in words.text:
                return rule
    for rule in RULES:
        if rule.matches(words):
            return None if rule.suspect is Suspect.PEER and any(chatter in words.text for chatter in CHATTER) else rule
    return None
