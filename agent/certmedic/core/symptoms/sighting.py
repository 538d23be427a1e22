"""From a line to a sighting: undress it, find its rule, settle who is to blame, read what it states."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from certmedic.core import lines
from certmedic.core.model import LogEntry, RejectedBy, Role, Sighting, Suspect, Symptom
from certmedic.core.symptoms.dress import FURNITURE, Bare, undress
from certmedic.core.symptoms.fields import moment, stated
from certmedic.core.symptoms.program import program_of
from certmedic.core.symptoms.rules import CHATTER, RULES, Rule, Words, plain

NEEDLES: Final[tuple[bytes, ...]] = (b"ertificat", b"x509: ", b"tls: ", b"CERT", b"alert", b"nown")

HEAD, TAIL = 12 * 1024, 4 * 1024  # characters of a long line that are read: a verdict stands at either end
SAID = 1024
FIELD = 512

SERVER: Final = (
    "rejected connection", "handshake error from", "failed to verify client", "client didn't provide",
    "authenticate the request", "verifying certificate sn=", "client ssl certificate", "client certificate verif",
    "ssl client c", "tls server", "sent by client", "process client certificate", "did not return a certificate",
    "requires a valid client cert", "could not accept", "ssl accept", "accepting a client", "client sent no",
    "empty client cert", "null cert chain", "while reading client request", "while ssl handshaking, client:", "this server's certificate",
    "failed to read byte", "http client did not trust", "sslv3 alert certificate unknown:ssl alert number 46:host", "reading preface from client",
)  # fmt: skip
CLIENT: Final = (
    "authentication handshake failed", "error reading server preface", "could not connect", "unable to connect", "failed to connect",
    "cannot connect", "couldn't connect", "failed to dial", "error dialing", "dial tcp", "prober ", "peer url", "peerurl", "unary invoker", "get https://", 'get "https://', "post https://", 'post "https://',
    "put https://", 'put "https://', "patch https://", 'patch "https://', "delete https://", 'head "https://', "head https://", "calling webhook", "process server certificate", "get server certificate",
    "to upstream", "upstream ssl", "ssl connect", "curl: (", "tls client", "unable to access", "broker certificate", "urlopen", "max retries exceeded",
    "failed to make", "server certificate", "health check for peer", "could not call", "certificate problem", "fetch", "pulling", "pinging",
)  # fmt: skip

# Words of programs that check files of their own machine with the same verdicts as they check a peer's.
OWN_CHECK: Final = (
    "not signed by ca certificate",
    "could not validate bounds",
    "loading tls certificate in",
    "[certs] certificate",
    "error checking external ca",
    "failure loading",
    "got the wrong ca cert",
    "apiserver loopback client",
)
_LOOPBACK_API: Final = re.compile(r"https://(\[::1\]|127\.0\.0\.1|localhost)(?::(\d+))?(?:/|$)")
_ETCD_PORTS: Final = ("2379", "2380", "4001", "4002")
_LOOPBACK_PEER: Final = re.compile(r"(?:127\.|\[?::1\]?:|localhost)")


def interesting(raw: bytes) -> bool:
    """Whether undecoded bytes may hold a line that a rule knows."""
    return lines.hit(raw, NEEDLES)


def parse(entry: LogEntry) -> Sighting | None:
    """Return what a line says of a TLS certificate's failure; None where it says nothing of the kind. Never raises."""
    line = entry.text
    if len(line) > HEAD + TAIL:
        line = f"{line[:HEAD]} {line[-TAIL:]}"
    bare = undress(line)
    text = _whole(bare)
    words = plain(text)
    rule = _rule(words)
    if rule is None:
        return None
    told = stated(text, bare.pairs)
    dates = {name: moment(told[name]) for name in ("not_after", "not_before") if name in told}
    fields = {name: printable(value[:FIELD]) for name, value in told.items()}
    program = program_of(line, bare, entry.origin)
    role = _role(rule, words)
    suspect = _suspect(rule, words, program, role, fields)
    symptom = _symptom(rule, words, dates)
    return Sighting(
        entry=entry,
        rule=rule.name,
        symptom=symptom,
        rejected_by=rule.rejected_by,
        suspect=suspect,
        role=role,
        program=program,
        said=_said(bare.message, text, words, rule),
        meaning=_meaning(rule, role, suspect, program, fields),
        fields=fields,
        not_after=dates.get("not_after"),
        not_before=dates.get("not_before"),
    )


def explanation(sighting: Sighting | None) -> dict[str, object]:
    """Return the object that `explain --json` prints."""
    if sighting is None:
        return {
            "schema": 1,
            "failure": False,
            "fault": "none",
            "rejected_by": str(RejectedBy.UNKNOWN),
            "suspect": str(Suspect.UNKNOWN),
            "role": str(Role.UNKNOWN),
            "fields": {},
            "meaning": "This line reports no failure of a TLS certificate.",
        }
    return {
        "schema": 1,
        "failure": True,
        "fault": str(sighting.symptom),
        "rejected_by": str(sighting.rejected_by),
        "suspect": str(sighting.suspect),
        "role": str(sighting.role),
        "fields": dict(sighting.fields),
        "meaning": sighting.meaning,
    }


def _whole(bare: Bare) -> str:
    """Return the message with the pairs that are not in it already."""
    more = [
        f'{key}="{value}"'
        for key, value in bare.pairs.items()
        if key not in FURNITURE and value and value not in bare.message
    ]
    return f"{bare.message} {' '.join(more)}" if more else bare.message


def _rule(words: Words) -> Rule | None:
    for rule in RULES:
        if rule.matches(words):
            if rule.suspect is Suspect.PEER and any(chatter in words.text for chatter in CHATTER):
                return None
            return rule
    return None


def _symptom(rule: Rule, words: Words, dates: Mapping[str, object]) -> Symptom:
    return rule.symptom


def _role(rule: Rule, words: Words) -> Role:
    text = words.text
    for word in SERVER:
        if word in text:
            return Role.SERVER
    for word in CLIENT:
        if word in text:
            return Role.CLIENT
    return Role.UNKNOWN


def _suspect(rule: Rule, words: Words, program: str, role: Role, fields: Mapping[str, str]) -> Suspect:
    """Return whose certificate is at fault: as the rule says, but for a process that met its own."""
    if rule.rejected_by is RejectedBy.REMOTE or rule.suspect is not Suspect.PEER:
        return rule.suspect
    for check in OWN_CHECK:
        if check in words.text:
            return Suspect.OWN
    if role is not Role.SERVER:
        called = _LOOPBACK_API.match(fields.get("endpoint", ""))
        if (
            called
            and (called.group(1) == "[::1]" or program == "kube-apiserver")
            and called.group(2) not in _ETCD_PORTS
        ):
            return Suspect.OWN  # the API server calls itself, with a certificate that it keeps in memory
    elif rule.symptom is Symptom.USAGE and _LOOPBACK_PEER.match(fields.get("remote_addr", "")):
        return Suspect.OWN  # etcd's gateway shows the server certificate as a client's when it dials its own port
    return rule.suspect


def _said(message: str, text: str, words: Words, rule: Rule) -> str:
    """Return the part of a message that a person reads, at most SAID characters."""
    said = message if len(message) <= SAID or len(text) != len(words.text) else _around(text, words, rule)
    return printable(said[:SAID].strip())


def _around(text: str, words: Words, rule: Rule) -> str:
    """Cut a long message around what its rule found."""
    at = max((words.text.find(found) for found in rule.says), default=-1)
    if at < 0 and rule.pattern is not None:
        found = rule.pattern.search(words.text)
        at = found.start() if found else -1
    if at < 0 and words.heard:
        at = len(words.text) - len(words.heard)
    start = max(0, min(at - SAID // 2, len(text) - SAID)) if at > SAID * 3 // 4 else 0
    return text[start : start + SAID]


def _meaning(rule: Rule, role: Role, suspect: Suspect, program: str, fields: Mapping[str, str]) -> str:
    """Return one sentence: who refused whose certificate, and why."""
    who = program or "the program that wrote this"
    them = fields.get("remote_addr") or fields.get("endpoint", "").split("?")[0] or fields.get("remote_peer_id", "")
    beside = f" {them}" if them else ""
    if rule.rejected_by is RejectedBy.REMOTE:
        if rule.suspect is Suspect.PEER:
            start = f"the server{beside} that {who} called turned it away"
        elif role is Role.SERVER:
            start = f"the client{beside} refused the certificate that {who} serves"
        elif role is Role.CLIENT:
            start = f"the server{beside} refused the client certificate of {who}"
        else:
            start = f"the other side{beside} refused the certificate of {who}"
    elif rule.suspect is Suspect.OWN:
        start = f"{who} finds fault with its own files"
    elif suspect is Suspect.OWN:
        start = f"{who} refused a certificate of its own"
    elif role is Role.SERVER:
        start = f"{who} refused the certificate of the client{beside}"
    elif role is Role.CLIENT:
        start = f"{who} refused the certificate of the server{beside}"
    else:
        start = f"{who} refused the certificate of the other side{beside}"
    return printable(f"{start[0].upper()}{start[1:]}: {rule.meaning}.")


def printable(text: str) -> str:
    """Put a blank for every control character and a mark for every other that does not print."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else " " if letter.isspace() or letter < " " else "�" for letter in text
    )
