"""From a line to a sighting: unwrap the message, find its rule, decide whose certificate is at fault, read its fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from certmedic.core import lines
from certmedic.core.entries import LogEntry
from certmedic.core.needles import NEEDLES
from certmedic.core.sightings import Sighting
from certmedic.core.symptoms.envelope import Unwrapped, unwrap
from certmedic.core.symptoms.fields import moment, stated_in
from certmedic.core.symptoms.normalise import Words, normalise
from certmedic.core.symptoms.program import program_of
from certmedic.core.symptoms.table import CLIENT, OTHER_TRADES, OWN_CHECK, SERVER, Rule, rule_for
from certmedic.core.vocabulary import RejectedBy, Role, Suspect, Symptom

HEAD, TAIL = 12 * 1024, 4 * 1024  # characters of a long line that are read: a verdict is at one of its ends
LONGEST_MESSAGE: Final = 1024
LONGEST_FIELD: Final = 512

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_NAMES: Final = ("program", "unit", "container", "container_id", "image", "pod", "path", "namespace")
_CALLS_API: Final = re.compile(r"https://(\[::1\]|127\.0\.0\.1|localhost)(?::(\d{1,5}))?(?:/|$)")
_ETCD_PORTS: Final = ("2379", "2380", "4001", "4002")
_FROM_ITSELF: Final = re.compile(r"127\.|\[?::1\]?:|localhost:")


def interesting(raw: bytes) -> bool:
    """Whether undecoded bytes may hold a line that a rule knows."""
    return lines.hit(raw, NEEDLES)


def parse(entry: LogEntry) -> Sighting | None:
    """Return the failure of a TLS certificate that a line reports; None if it reports none. Never raises."""
    entry = _encodable(entry)
    line = entry.text if len(entry.text) <= HEAD + TAIL else f"{entry.text[:HEAD]} {entry.text[-TAIL:]}"
    unwrapped = unwrap(line)
    text = _whole(unwrapped)
    words = normalise(text)
    rule = rule_for(words)
    if rule is None:
        return None
    stated = stated_in(text, unwrapped.pairs)
    fields = {name: printable(value[:LONGEST_FIELD]) for name, value in stated.items()}
    program = printable(program_of(line, unwrapped.program, entry.origin))
    if program in OTHER_TRADES:
        return None
    role = _role(words)
    suspect = _suspect(rule, words, program, role, fields)
    return Sighting(
        entry=entry,
        rule=rule.name,
        symptom=_symptom(rule, fields),
        rejected_by=rule.rejected_by,
        suspect=suspect,
        role=role,
        program=program,
        message=_excerpt(unwrapped.message, text, words, rule),
        meaning=_meaning(rule, role, suspect, program, fields),
        fields=fields,
        not_after=moment(stated.get("not_after", "")),
        not_before=moment(stated.get("not_before", "")),
    )


def explanation(sighting: Sighting | None) -> dict[str, object]:
    """Return the object that `explain --json` prints."""
    return {
        "schema": 1,
        "failure": sighting is not None,
        "fault": str(sighting.symptom) if sighting else "none",
        "rejected_by": str(sighting.rejected_by if sighting else RejectedBy.UNKNOWN),
        "suspect": str(sighting.suspect if sighting else Suspect.UNKNOWN),
        "role": str(sighting.role if sighting else Role.UNKNOWN),
        "fields": dict(sighting.fields) if sighting else {},
        "meaning": sighting.meaning if sighting else "This line reports no failure of a TLS certificate.",
    }


def printable(text: str) -> str:
    """Replace every control character by a blank, and every other character that does not print by a mark."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else " "
        if character.isspace() or character < " "
        else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def _encodable(entry: LogEntry) -> LogEntry:
    """Return an entry that can be stored and printed: a mark replaces each lone surrogate."""
    text, origin = _without_surrogates(entry.text), entry.origin
    names = {name: getattr(origin, name) for name in _NAMES}
    clean: dict[str, Any] = {name: _without_surrogates(value) for name, value in names.items()}
    if clean != names:
        origin = replace(origin, **clean)
    elif text is entry.text:
        return entry
    return replace(entry, text=text, origin=origin)


def _without_surrogates(text: str) -> str:
    return text if text.isascii() or not _SURROGATE.search(text) else _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def _whole(unwrapped: Unwrapped) -> str:
    """Return the message and, after a line end, the pairs that it does not contain."""
    message = unwrapped.message
    more = [f'{key}="{value}"' for key, value in unwrapped.pairs.items() if value and value not in message]
    return f"{message}\n{' '.join(more)}" if more else message


def _symptom(rule: Rule, fields: Mapping[str, str]) -> Symptom:
    """Return the symptom of the rule; a stated date decides between "expired" and "not yet valid"."""
    if rule.symptom is Symptom.EXPIRED_OR_NOT_YET_VALID and ("not_after" in fields) != ("not_before" in fields):
        return Symptom.EXPIRED if "not_after" in fields else Symptom.NOT_YET_VALID
    return rule.symptom


def _role(words: Words) -> Role:
    for phrase in SERVER:
        if phrase in words.text:
            return Role.SERVER
    for phrase in CLIENT:
        if phrase in words.text:
            return Role.CLIENT
    return Role.UNKNOWN


def _suspect(rule: Rule, words: Words, program: str, role: Role, fields: Mapping[str, str]) -> Suspect:
    """Return whose certificate is at fault: the suspect of the rule, unless a process refused its own certificate."""
    if rule.rejected_by is RejectedBy.REMOTE or rule.suspect is not Suspect.PEER:
        return rule.suspect
    for phrase in OWN_CHECK:
        if phrase in words.text:
            return Suspect.OWN
    if role is Role.SERVER:
        # etcd's gateway sends the server certificate as its client certificate when it dials the port of the same process.
        gateway = (
            rule.symptom is Symptom.USAGE
            and "rejected connection" in words.text
            and _FROM_ITSELF.match(fields.get("remote_addr", ""))
        )
        return Suspect.OWN if gateway else Suspect.PEER
    called = _CALLS_API.match(fields.get("endpoint", ""))
    if called and called.group(2) not in _ETCD_PORTS and (called.group(1) == "[::1]" or program == "kube-apiserver"):
        return Suspect.OWN  # the API server calls itself with a certificate in memory
    return Suspect.PEER


def _excerpt(message: str, text: str, words: Words, rule: Rule) -> str:
    """Return the message, or the part of a long message around the words that the rule matched."""
    if len(message) <= LONGEST_MESSAGE:
        return printable(message.strip())
    start = max(0, min(_place(words, rule) - LONGEST_MESSAGE // 2, len(text) - LONGEST_MESSAGE))
    return printable(text[start : start + LONGEST_MESSAGE].strip())


def _place(words: Words, rule: Rule) -> int:
    if words.heard and rule.heard:
        return len(words.text) - len(words.heard)
    for phrase in rule.says:
        at = words.text.find(phrase)
        if at >= 0:
            return at
    match = rule.search(words)
    return match.start() if match else 0


def _meaning(rule: Rule, role: Role, suspect: Suspect, program: str, fields: Mapping[str, str]) -> str:
    """Return one sentence: who refused whose certificate, and why."""
    who = program or "the program that wrote this"
    other = (
        fields.get("remote_addr") or fields.get("endpoint", "").partition("?")[0] or fields.get("remote_peer_id", "")
    )
    them = {Role.SERVER: "the client", Role.CLIENT: "the server", Role.UNKNOWN: "the other side"}[role]
    them = f"{them} {other}" if other else them
    if rule.rejected_by is RejectedBy.REMOTE:
        shown = {Role.SERVER: "the certificate that {} serves", Role.CLIENT: "the client certificate of {}"}
        start = f"{them} refused {shown.get(role, 'the certificate of {}').format(who)}"
        if rule.suspect is Suspect.PEER:
            start = f"{them} turned {who} away"
    elif rule.suspect is Suspect.OWN:
        start = f"{who} reports a fault in its files"
    elif suspect is Suspect.OWN:
        start = f"{who} refused its own certificate"
    else:
        start = f"{who} refused the certificate of {them}"
    if start.startswith("the "):
        start = f"T{start[1:]}"
    return printable(f"{start}: {rule.meaning}.")
