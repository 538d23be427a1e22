"""What a rule is, and the one spelling in which rules and messages meet.

A rule knows words, not lines: the message of a line, without its dress, is brought to one spelling (`plain`), so that
`CERT_HAS_EXPIRED`, `cert has expired` and `Cert-Has-Expired` are the same words. Who was refused is told by the words
(`remote error`, `received fatal alert`, `... alert ...` in what OpenSSL reports), never by an address: FIELD 4.2 has
the truth table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from certmedic.core.model import RejectedBy, Suspect, Symptom

__all__ = ["LOCAL", "NAME", "OWN", "PEER", "REMOTE", "Rule", "Symptom", "Words", "plain"]

OWN, PEER = Suspect.OWN, Suspect.PEER
LOCAL, REMOTE = RejectedBy.LOCAL, RejectedBy.REMOTE

SPELLING: Final = str.maketrans("_-\t`\u2018\u2019\u201c\u201d", "   '''\"\"")

# How programs report an alert that came in: OpenSSL (also where it names its error in capitals), Java and rustls, rustls
# in its Debug form, Erlang (new, then old), .NET, OpenSSL's callback, GnuTLS (three kinds), curl's trace. Go's `remote error: ` is looked for by itself.
HEARD: Final = re.compile(
    r"(?:sslv3|tlsv1(?:\.[0-3])?|tlsv13|ssl/tls) (?:alert )?(?=[a-z])|received (?:a )?(?:fatal|warning) alert: ?|alertreceived\("
    r"|received (?:client|server) alert: fatal +|sent a tls alert: '?|ssl alert\.erl:\d{1,5}:fatal error: |received alert ['\[]\d{1,3}['\]]: "
    r"|alert \(?read\)?: ?(?:fatal|warning): ?|alert has been received\.?: (?=\w)|gnutls handshake\(\) failed: (?=\w)|\(in\), tls alert, "
)
# How programs report an alert that they sent: Go, Erlang (new), OpenSSL's callback, rustls, curl's trace, Erlang (old).
SENT: Final = re.compile(
    r"local error: (?:tls: )?|generated (?:client|server) alert: fatal +"
    r"|alert \(?write\)?: ?(?:fatal|warning): ?|sending (?:fatal |warning )?alert:? "
    r"|\(out\), tls alert, |(?:ssl handshake|tls connection|ssl connection)\.erl:\d{1,5}:fatal error: "
)

# What a stranger chose: the path of a URL, and what a client asked a web server for.
ASKED: Final = re.compile(
    r"(?<=://)([^\s\"',;/\\)]{1,255})(/[^\s\"',;\\)]{1,4000})|\"((?:get|head|post|put|patch|delete|options) [^\"]{1,4000} http/\d[^\"]{0,8}\")"
)

# In a pattern: a name or a path, in whose place `plain` may have put blanks for dashes.
NAME: Final = r"[^\n;,]{1,200}?"

GO_TIME: Final = "has expired or is not yet valid: current time "
GO_VERDICTS: Final = (
    "certificate has expired or is not yet valid",
    "certificate signed by unknown authority",
    "certificate is valid for ",
    "certificate relies on legacy common name",
    "certificate specifies an incompatible key usage",
    "cannot validate certificate for ",
)
# Go's errors as `%#v` shows them, and what the same errors say of themselves (the numbers: crypto/x509, InvalidReason).
GO_DUMP: Final = re.compile(
    r"x509\.(unknownauthority|hostname|certificateinvalid)error\{(?:[^{}\n]{0,200}?reason:(\d), detail:\"?)?"
)
GO_SAID: Final = {
    "unknownauthority": "certificate signed by unknown authority ",
    "hostname": "certificate is valid for ",
    "0": "certificate is not authorized to sign other certificates ",
    "1": "certificate has expired or is not yet valid: ",
    "4": "certificate specifies an incompatible key usage ",
}
# Names of alerts that are the beginning of another's name, so that no cut explains them.
WHOLE: Final = frozenset(("unknown certificate", "bad certificate", "certificate", "unknown"))


@dataclass(frozen=True, slots=True)
class Words:
    """A message in the spelling of the rules; `heard` and `sent` are what follows the report of an alert, else empty."""

    text: str
    heard: str = ""
    sent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that a line can say. `says`, `heard`, `sent` and `pattern` are in the spelling of `plain`; one suffices.

    `hints` are words of which one is in whatever the pattern finds: without them it is not tried, for it costs more.
    `heard` are names of an alert that came in, `sent` of one that this process sent. `unless` names words that take the
    sense away. `samples` are lines in the shape in which programs write them.
    """

    name: str
    meaning: str  # ends the sentence "<who> refused <whose certificate>: <meaning>."
    symptom: Symptom
    rejected_by: RejectedBy
    suspect: Suspect
    samples: tuple[str, ...]
    says: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    hints: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()

    def matches(self, words: Words) -> bool:
        """Whether the message says this."""
        return self._is_in(words) and not _any(self.unless, words.text)

    def _is_in(self, words: Words) -> bool:
        return (
            _any(self.says, words.text)
            or (bool(self.heard and words.heard) and named(words.heard, self.heard))
            or (bool(self.sent and words.sent) and named(words.sent, self.sent))
            or (
                self.pattern is not None
                and (not self.hints or _any(self.hints, words.text))
                and self.pattern.search(words.text) is not None
            )
        )


def _any(phrases: tuple[str, ...], text: str) -> bool:
    # A loop, since any() over a generator costs three times as much, and this is asked some thirty times a line.
    for phrase in phrases:  # noqa: SIM110 - see above
        if phrase in text:
            return True
    return False


def named(tail: str, names: tuple[str, ...]) -> bool:
    """Whether a text begins with one of the names, or is cut off within one."""
    if tail.startswith(names):
        return True
    cut = tail.partition("\n")[0].rstrip(" .>…\"')}")
    return len(cut) >= 5 and cut not in WHOLE and any(name.startswith(cut) for name in names)


def plain(message: str) -> Words:
    """Bring a message to the one spelling, and find the alert that it reports. Behind a line end stand its pairs."""
    text = message.lower()
    if "://" in text or " http/" in text:
        text = ASKED.sub(_asked, text)
    text = text.translate(SPELLING)
    if "x509." in text:
        text = GO_DUMP.sub(
            lambda found: "x509: " + GO_SAID.get(found.group(2) or found.group(1), "certificate invalid "), text
        )
    if "x509: " in text:
        text = _completed(_settled(text))
    at = text.find("remote error: ")
    if at >= 0:
        heard = text[at + 14 :]
        return Words(text=text, heard=heard.removeprefix("tls: "))
    if (
        "alert" not in text
        and "gnutls" not in text
        and "tlsv1" not in text
        and "local error" not in text
        and "fatal error" not in text
    ):
        return Words(text=text)
    heard_at, sent_at = HEARD.search(text), SENT.search(text)
    return Words(
        text=text,
        heard=text[heard_at.end() :] if heard_at else "",
        sent=text[sent_at.end() :] if sent_at else "",
    )


def _asked(found: re.Match[str]) -> str:
    """Return as many characters that say nothing; a host stays, for it tells who was called."""
    host = found.group(1) or ""
    return host + "/" * (len(found.group()) - len(host))


def _settled(text: str) -> str:
    """Put what Go's detail tells, `current time T is after T`, in the place of its either-or."""
    at = text.find(GO_TIME)
    if at < 0:
        return text
    detail = text[at + len(GO_TIME) : at + len(GO_TIME) + 48]
    if " is b" in detail:
        said = "is not yet valid: current time "
    elif " is a" in detail:
        said = "has expired: current time "
    else:
        return text
    return text[:at] + said + text[at + len(GO_TIME) :]


def _completed(text: str) -> str:
    """Write out a verdict of Go's that was cut off at the end of a line, where what is left of it fits one only."""
    at = text.rfind("x509: ") + 6
    left, pairs = text[at:].partition("\n")[::2]
    left = left.rstrip(" .>…")
    if not 4 <= len(left) < 48:
        return text
    fits = [verdict for verdict in GO_VERDICTS if verdict.startswith(left)]
    return f"{text[:at]}{fits[0]}\n{pairs}" if len(fits) == 1 else text
