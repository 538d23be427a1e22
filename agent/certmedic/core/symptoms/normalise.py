"""Normalising: one spelling for rules and messages.

`CERT_HAS_EXPIRED`, `cert has expired` and `Cert-Has-Expired` become the same words. Words also show who refused whom (`remote
error`, `received fatal alert`, `... alert ...` in reports of OpenSSL); an address never shows it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SPELLING: Final = str.maketrans("_-\t`\u2018\u2019\u201c\u201d", "   '''\"\"")

# Reports of a received alert: OpenSSL (also its errors in capitals), Java and rustls, rustls in its Debug
# form, Erlang (new, then old), .NET, OpenSSL's callback, GnuTLS (three kinds), curl's trace. Go has `remote error: `.
HEARD: Final = re.compile(
    r"(?:sslv3|tlsv1(?:\.[0-3])?|tlsv13|ssl/tls) (?:alert )?(?=[a-z])|received (?:a )?(?:fatal|warning) alert: ?|alertreceived\("
    r"|received (?:client|server) alert: fatal +|sent a tls alert: '?|ssl alert\.erl:\d{1,5}:fatal error: |received alert ['\[]\d{1,3}['\]]: "
    r"|alert \(?read\)?: ?(?:fatal|warning): ?|alert has been received\.?: (?=\w)|gnutls handshake\(\) failed: (?=\w)|\(in\), tls alert, "
)
# Reports of a sent alert: Go, Erlang (new), OpenSSL's callback, rustls, curl's trace, Erlang (old).
SENT: Final = re.compile(
    r"local error: (?:tls: )?|generated (?:client|server) alert: fatal +"
    r"|alert \(?write\)?: ?(?:fatal|warning): ?|sending (?:fatal |warning )?alert:? "
    r"|\(out\), tls alert, |(?:ssl handshake|tls connection|ssl connection)\.erl:\d{1,5}:fatal error: "
)

# Strangers choose these: the path of a URL, and the request line of a client.
ASKED: Final = re.compile(
    r"(?<=://)([^\s\"',;/\\)]{1,255})(/[^\s\"',;\\)]{1,4000})|\"((?:get|head|post|put|patch|delete|options) [^\"]{1,4000} http/\d[^\"]{0,8}\")"
)

GO_TIME: Final = "has expired or is not yet valid: current time "
GO_VERDICTS: Final = (
    "certificate has expired or is not yet valid",
    "certificate signed by unknown authority",
    "certificate is valid for ",
    "certificate relies on legacy common name",
    "certificate specifies an incompatible key usage",
    "cannot validate certificate for ",
)
# Go's errors as `%#v` prints them, and the text of the same errors (the numbers: crypto/x509, InvalidReason).
GO_DUMP: Final = re.compile(
    r"x509\.(unknownauthority|hostname|certificateinvalid)error\{(?:[^{}\n]{0,200}?reason:(\d), detail:\"?)?"
)
GO_TEXT: Final = {
    "unknownauthority": "certificate signed by unknown authority ",
    "hostname": "certificate is valid for ",
    "0": "certificate is not authorized to sign other certificates ",
    "1": "certificate has expired or is not yet valid: ",
    "4": "certificate specifies an incompatible key usage ",
}
# Names of alerts with which a longer name begins: a text that ends in one of these is not a cut name.
WHOLE: Final = frozenset(("unknown certificate", "bad certificate", "certificate", "unknown"))


@dataclass(frozen=True, slots=True)
class Words:
    """A message in the spelling of the rules; `heard` and `sent` are the text after the report of an alert, else empty."""

    text: str
    heard: str = ""
    sent: str = ""


def names_alert(tail: str, names: tuple[str, ...]) -> bool:
    """Whether a text begins with one of these names of alerts, or is a cut name."""
    if tail.startswith(names):
        return True
    cut = tail.partition("\n")[0].rstrip(" .>…\"')}")
    return len(cut) >= 5 and cut not in WHOLE and any(name.startswith(cut) for name in names)


def normalise(message: str) -> Words:
    """Return a message in the spelling of the rules, and the alert that it reports. Pairs follow a line end."""
    text = message.lower()
    if "://" in text or " http/" in text:
        text = ASKED.sub(_asked, text)
    text = text.translate(SPELLING)
    if "x509." in text:
        text = GO_DUMP.sub(
            lambda match: "x509: " + GO_TEXT.get(match.group(2) or match.group(1), "certificate invalid "), text
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


def is_normal(phrase: str) -> bool:
    """Whether a phrase can be in a message that `normalise` made."""
    return phrase == phrase.lower().translate(SPELLING)


def _asked(match: re.Match[str]) -> str:
    """Return a text of equal length that keeps only the host."""
    host = match.group(1) or ""
    return host + "/" * (len(match.group()) - len(host))


def _settled(text: str) -> str:
    """Replace Go's "expired or not yet valid" by the one that `current time T is after T` decides."""
    at = text.find(GO_TIME)
    if at < 0:
        return text
    detail = text[at + len(GO_TIME) : at + len(GO_TIME) + 48]
    if " is b" in detail:
        verdict = "is not yet valid: current time "
    elif " is a" in detail:
        verdict = "has expired: current time "
    else:
        return text
    return text[:at] + verdict + text[at + len(GO_TIME) :]


def _completed(text: str) -> str:
    """Complete a cut verdict of Go at the end of a line, if it is the beginning of one verdict only."""
    at = text.rfind("x509: ") + 6
    left, pairs = text[at:].partition("\n")[::2]
    left = left.rstrip(" .>…")
    if not 4 <= len(left) < 48:
        return text
    fits = [verdict for verdict in GO_VERDICTS if verdict.startswith(left)]
    return f"{text[:at]}{fits[0]}\n{pairs}" if len(fits) == 1 else text
