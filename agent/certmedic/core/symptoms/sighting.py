"""From a line to a sighting: undress it, find its rule, settle whose certificate is at fault, read what it states."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from certmedic.core import lines
from certmedic.core.model import LogEntry, RejectedBy, Role, Sighting, Suspect, Symptom
from certmedic.core.symptoms.dress import Bare, undress
from certmedic.core.symptoms.fields import moment, stated
from certmedic.core.symptoms.program import program_of
from certmedic.core.symptoms.rule import Rule, Words, plain
from certmedic.core.symptoms.rules import rule_for

# What a program logs of a certificate holds one of these, and a healthy master rarely writes one. Each begins with two letters
# that seldom stand together in a log: `rtificat` is found half as fast again as `ertificat`. A few words of the table stand
# outside the gate: those of commands that a person runs (the table of kubeadm, `linkerd check`, wget).
NEEDLES: Final[tuple[bytes, ...]] = (
    *(b"rtificat", b"x509: ", b"tls: ", b"SSL", b"CERT", b"nown", b"no such file"),
    *(b"Cert", b"client cert ", b"CommonName a", b"mission denied", b"CRL", b"VERIFY", b"X509", b"asn1: "),
)

HEAD, TAIL = 12 * 1024, 4 * 1024  # characters of a long line that are read: verdicts stand at either end
SAID = 1024
FIELD = 512

SERVER: Final = (
    "rejected connection",
    "handshake error from",
    "failed to verify client",
    "client didn't provide",
    "authenticate the request",
    "verifying certificate sn=",
    "client ssl certificate",
    "client certificate verif",
    "ssl client c",
    "tls server: ",
    "tls :server: ",
    "sent by client",
    "client sent no",
    "client certificate chain",
    "null cert chain",
    "process client certificate",
    "get client certificate",
    "did not return a certificate",
    "requires a valid client cert",
    "could not accept",
    "ssl accept",
    "accepting a client",
    "while reading client request",
    "handshaking, client: ",
    "did not trust",
    "reading preface from client",
    "failed to read byte",
)
CLIENT: Final = (
    "authentication handshake failed",
    "error reading server preface",
    "get https://",
    'get "https://',
    "post https://",
    'post "https://',
    'put "https://',
    'patch "https://',
    'delete "https://',
    'head "https://',
    "could not connect",
    "unable to connect",
    "failed to connect",
    "cannot connect",
    "failed to dial",
    "error dialing",
    "dial tcp",
    'prober "',
    "prober detected",
    "peer url",
    "peerurl(",
    "unary invoker",
    "health check for peer",
    "calling webhook",
    "process server certificate",
    "get server certificate",
    "server certificate",
    "to upstream",
    "upstream ssl",
    "ssl connect",
    "curl: (",
    "certificate problem",
    "tls client: ",
    "tls :client: ",
    "unable to access",
    "broker certificate",
    "urlopen",
    "max retries exceeded",
    "failed to make",
    "pkix path",
    "altnames",
)

# Words of programs that check files of their own machine and say so with the verdicts they use for a peer.
OWN_CHECK: Final = (
    "not signed by ca certificate",
    "could not validate bounds",
    "loading tls certificate in",
    "[certs] certificate",
    "checking external ca",
    "failure loading",
    "failed to load certificate",
    "unable to sign certificate",
    "got the wrong ca cert",
    "apiserver loopback client",
    "does not contain a common name",
    "does not include an id which matches",
    "failed to write or validate certificate",
    "validating ssl certificate",
    "pem cert /",
)
# Programs that have certificates, but none of TLS: of SSH, of DNSSEC, of Kerberos.
OTHER_TRADES: Final = frozenset(("sshd", "sshd-session", "ssh", "ssh-agent", "named", "krb5kdc"))
_CALLS_API: Final = re.compile(r"https://(\[::1\]|127\.0\.0\.1|localhost)(?::(\d{1,5}))?(?:/|$)")
_ETCD_PORTS: Final = ("2379", "2380", "4001", "4002")
_FROM_ITSELF: Final = re.compile(r"127\.|\[?::1\]?:|localhost:")


def interesting(raw: bytes) -> bool:
    """Whether undecoded bytes may hold a line that a rule knows."""
    return lines.hit(raw, NEEDLES)


def parse(entry: LogEntry) -> Sighting | None:
    """Return what a line says of a TLS certificate's failure; None where it says nothing of the kind. Never raises."""
    line = entry.text if len(entry.text) <= HEAD + TAIL else f"{entry.text[:HEAD]} {entry.text[-TAIL:]}"
    bare = undress(line)
    text = _whole(bare)
    words = plain(text)
    rule = rule_for(words)
    if rule is None:
        return None
    told = stated(text, bare.pairs)
    not_after, not_before = moment(told.get("not_after", "")), moment(told.get("not_before", ""))
    fields = {name: printable(value[:FIELD]) for name, value in told.items()}
    program = printable(program_of(line, bare.program, entry.origin))
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
        said=_said(bare.message, text, words, rule),
        meaning=_meaning(rule, role, suspect, program, fields),
        fields=fields,
        not_after=not_after,
        not_before=not_before,
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


def printable(text: str) -> str:
    """Put a blank for every control character, and a mark for whatever else does not print."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else " " if one.isspace() or one < " " else "\N{REPLACEMENT CHARACTER}" for one in text
    )


def _whole(bare: Bare) -> str:
    """Return the message, and behind a line end the pairs that are not in it already."""
    more = [f'{key}="{value}"' for key, value in bare.pairs.items() if value and value not in bare.message]
    return f"{bare.message}\n{' '.join(more)}" if more else bare.message


def _symptom(rule: Rule, fields: Mapping[str, str]) -> Symptom:
    """Return the rule's symptom, or what the stated date makes of an either-or."""
    if rule.symptom is Symptom.EXPIRED_OR_NOT_YET_VALID and ("not_after" in fields) != ("not_before" in fields):
        return Symptom.EXPIRED if "not_after" in fields else Symptom.NOT_YET_VALID
    return rule.symptom


def _role(words: Words) -> Role:
    """Return the part that the program played in the handshake: who was called is a server."""
    for phrase in SERVER:
        if phrase in words.text:
            return Role.SERVER
    for phrase in CLIENT:
        if phrase in words.text:
            return Role.CLIENT
    return Role.UNKNOWN


def _suspect(rule: Rule, words: Words, program: str, role: Role, fields: Mapping[str, str]) -> Suspect:
    """Return whose certificate is at fault: as the rule says, but for a process that met its own."""
    if rule.rejected_by is RejectedBy.REMOTE or rule.suspect is not Suspect.PEER:
        return rule.suspect
    for phrase in OWN_CHECK:
        if phrase in words.text:
            return Suspect.OWN
    if role is Role.SERVER:
        # etcd's gateway shows the server certificate as a client's when it dials the port of its own process.
        gateway = (
            rule.symptom is Symptom.USAGE
            and "rejected connection" in words.text
            and _FROM_ITSELF.match(fields.get("remote_addr", ""))
        )
        return Suspect.OWN if gateway else Suspect.PEER
    called = _CALLS_API.match(fields.get("endpoint", ""))
    if called and called.group(2) not in _ETCD_PORTS and (called.group(1) == "[::1]" or program == "kube-apiserver"):
        return Suspect.OWN  # the API server calls itself, and keeps the certificate for that in memory
    return Suspect.PEER


def _said(message: str, text: str, words: Words, rule: Rule) -> str:
    """Return what a person reads of a message: all of it, or the part around what its rule found."""
    if len(message) <= SAID:
        return printable(message.strip())
    start = max(0, min(_place(words, rule) - SAID // 2, len(text) - SAID))
    return printable(text[start : start + SAID].strip())


def _place(words: Words, rule: Rule) -> int:
    """Return about where in a message its rule found its words."""
    if words.heard and rule.heard:
        return len(words.text) - len(words.heard)
    for phrase in rule.says:
        at = words.text.find(phrase)
        if at >= 0:
            return at
    found = rule.pattern.search(words.text) if rule.pattern else None
    return found.start() if found else 0


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
        start = f"{who} finds fault with its own files"
    elif suspect is Suspect.OWN:
        start = f"{who} refused a certificate of its own"
    else:
        start = f"{who} refused the certificate of {them}"
    if start.startswith("the "):
        start = f"T{start[1:]}"
    return printable(f"{start}: {rule.meaning}.")
