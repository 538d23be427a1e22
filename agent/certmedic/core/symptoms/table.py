"""The rules: loaded from rules/*.toml and checked at import. A pattern is compiled with the first line that needs it.

The first rule that matches a message is its rule. The numbers in the file names set the order, from certain to vague: faults in
own files, which quote all other verdicts; received alerts; verdicts of the logging process. Two short cuts, for alerts and verdicts of
Go, lead to the same rule: a master writes such lines by the thousand.

Add a rule: write a `[[rule]]` with samples and negatives in a file of rules/. tests/core/symptoms/test_table.py does the rest.
"""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from typing import Any, Final

from certmedic.core import planes
from certmedic.core.needles import RULE_FILES, WORDS
from certmedic.core.symptoms.normalise import Words, is_normal, names_alert
from certmedic.core.vocabulary import RejectedBy, Suspect, Symptom

# In a pattern, %NAME% stands for a name or path; normalising may have put blanks for its dashes. %EXT% in a pattern or
# phrase stands for each extension of a certificate file.
NAME: Final = r"[^\n;,]{1,200}?"
EXTENSIONS: Final = ("crt", "key", "pem", "cert", "cer", "crl", "p12", "pfx", "jks")

_PHRASES: Final = ("says", "heard", "sent", "hints", "unless")
_KEYS: Final = {*_PHRASES, "name", "meaning", "symptom", "rejected_by", "suspect", "pattern", "samples", "negatives"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Negative:
    """A line that a rule must not match: another rule does, or none ("")."""

    line: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of line. A match of `says`, `heard`, `sent` or `pattern` suffices."""

    name: str
    meaning: str  # completes the sentence "<who> refused <whose certificate>: <meaning>."
    symptom: Symptom
    rejected_by: RejectedBy
    suspect: Suspect
    samples: tuple[str, ...]  # lines in the shape in which programs write them
    negatives: tuple[Negative, ...]
    says: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()  # names of a received alert
    sent: tuple[str, ...] = ()  # names of a sent alert
    pattern: str = ""
    hints: tuple[str, ...] = ()  # every match of the pattern holds a hint, so lines without one skip the costly pattern
    unless: tuple[str, ...] = ()  # phrases with which the rule does not match

    def matches(self, words: Words) -> bool:
        """Whether the message is of this kind."""
        return self._is_in(words) and not _any(self.unless, words.text)

    def search(self, words: Words) -> re.Match[str] | None:
        """Search a message for the pattern; None if it is not there, or if the rule has none."""
        return _compiled(self.pattern).search(words.text) if self.pattern else None

    def _is_in(self, words: Words) -> bool:
        return (
            _any(self.says, words.text)
            or (bool(self.heard and words.heard) and names_alert(words.heard, self.heard))
            or (bool(self.sent and words.sent) and names_alert(words.sent, self.sent))
            or ((not self.hints or _any(self.hints, words.text)) and self.search(words) is not None)
        )


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _any(phrases: tuple[str, ...], text: str) -> bool:
    # any() over a generator costs three times as much as a loop, some thirty times a line.
    for phrase in phrases:  # noqa: SIM110 - see above
        if phrase in text:
            return True
    return False


def rules_of(file: str, text: str) -> list[Rule]:
    """Read the rules of one file. Raises ValueError that names the file, the rule and what is wrong."""
    rules = []
    for number, record in enumerate(tomllib.loads(text)["rule"]):
        try:
            rules.append(_rule(record))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file}: rule {record.get('name', number)}: {error!r}") from error
    return rules


def _rule(record: dict[str, Any]) -> Rule:
    if unknown := record.keys() - _KEYS:
        raise ValueError(f"unknown keys: {sorted(unknown)}")
    phrases = {key: tuple(_expanded(record.get(key, ()))) for key in _PHRASES}
    pattern = "|".join(record.get("pattern", ()))
    if wrong := [phrase for listed in phrases.values() for phrase in listed if not is_normal(phrase)]:
        raise ValueError(f"not in the spelling of normalise.py: {wrong}")
    if not (phrases["says"] or phrases["heard"] or phrases["sent"] or pattern):
        raise ValueError("needs says, heard, sent or a pattern")
    if not record["samples"] or not record["negatives"]:
        raise ValueError("needs a sample and a negative")
    return Rule(
        name=record["name"],
        meaning=record["meaning"],
        symptom=Symptom(record["symptom"]),
        rejected_by=RejectedBy(record["rejected_by"]),
        suspect=Suspect(record["suspect"]),
        samples=tuple(record["samples"]),
        negatives=tuple(Negative(**negative) for negative in record["negatives"]),
        pattern=pattern.replace("%NAME%", NAME).replace("%EXT%", f"(?:{'|'.join(EXTENSIONS)})"),
        **phrases,
    )


def _expanded(phrases: list[str]) -> list[str]:
    return [
        phrase.replace("%EXT%", extension)
        for phrase in phrases
        for extension in (EXTENSIONS if "%EXT%" in phrase else ("",))
    ]


def _loaded() -> tuple[Rule, ...]:
    """Read every file of rules/ that holds rules; return the rules in order."""
    files = sorted(file for file in RULE_FILES.iterdir() if file.name != "words.toml")
    return tuple(rule for file in files for rule in rules_of(file.name, file.read_text(encoding="utf-8")))


RULES: Final = _loaded()
SERVER: Final[tuple[str, ...]] = tuple(WORDS["roles"]["server"])
CLIENT: Final[tuple[str, ...]] = tuple(WORDS["roles"]["client"])
OWN_CHECK: Final[tuple[str, ...]] = tuple(WORDS["own_check"]["says"])
CHATTER: Final[dict[str, str]] = WORDS["chatter"]  # phrase -> sample
# Longer names first: the first name that a word begins with counts.
PROGRAMS: Final[tuple[str, ...]] = tuple(
    sorted({*WORDS["programs"]["known"], *planes.every(lambda plane: plane.programs)}, key=len, reverse=True)
)
STARTS_ETCD: Final[frozenset[str]] = frozenset(WORDS["programs"]["starts_etcd"])
OTHER_TRADES: Final[frozenset[str]] = frozenset(WORDS["programs"]["other_trades"])
ETCD_WORDS: Final[tuple[str, ...]] = tuple(WORDS["programs"]["etcd"])
OTHER_WORDS: Final[tuple[tuple[str, str], ...]] = tuple(WORDS["programs"]["words"].items())

_CHATTER: Final = tuple(CHATTER)
_ALERTS: Final = tuple(rule for rule in RULES if rule.rejected_by is RejectedBy.REMOTE)
_GO: Final = "x509: certificate "
_GO_VERDICTS: Final = tuple((words, rule) for rule in RULES for words in rule.says if words.startswith(_GO))


def rule_for(words: Words) -> Rule | None:
    """Return the rule of a message; None if it reports no failure of a certificate."""
    if words.heard:
        for rule in _ALERTS:
            if rule.matches(words):
                return rule
    if _GO in words.text:
        for verdict, rule in _GO_VERDICTS:
            if verdict in words.text:
                return rule
    for rule in RULES:
        if rule.matches(words):
            return None if rule.suspect is Suspect.PEER and _any(_CHATTER, words.text) else rule
    return None
