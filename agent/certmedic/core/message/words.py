"""Phrases for faults, and foreign text made harmless for chats.

Strangers write the text of logs, certificates and other machines. `harmless` removes everything that calls people, formats, links
or hides. `spans` marks the words that must be set as code, so that no chat sees markup or a link in them. Neither ever changes a
command (core/command.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from certmedic.core.blind import SOURCES
from certmedic.core.model import Cause, Diagnosis, Suspect
from certmedic.core.text import cut, printable, span

# In a title, after a colon.
WHAT: Mapping[Cause, str] = {
    Cause.EXPIRED: "certificate expired",
    Cause.CA_EXPIRED: "CA certificate expired",
    Cause.NOT_YET_VALID: "certificate not valid yet",
    Cause.CLOCK: "clock is wrong",
    Cause.NAME_MISMATCH: "certificate lacks a name",
    Cause.UNKNOWN_AUTHORITY: "certificate from an untrusted CA",
    Cause.KEY_MISMATCH: "certificate and key do not match",
    Cause.USAGE: "certificate issued for another use",
    Cause.MISSING_CLIENT_CERT: "client without a certificate",
    Cause.REVOKED: "certificate revoked",
    Cause.STALE_IN_MEMORY: "old certificate still in memory",
    Cause.DISTRUSTED: "good certificate refused",
    Cause.EXPIRES_SOON: "certificate expires soon",
    Cause.UNEXPLAINED: "TLS failure, not explained",
    Cause.BLIND: "cannot be read",
}
# The same as a clause; {} is the subject.
CLAUSES: Mapping[Cause, str] = {
    Cause.EXPIRED: "the certificate of {} has expired",
    Cause.CA_EXPIRED: "the CA behind {} has expired",
    Cause.NOT_YET_VALID: "the certificate of {} is not valid yet",
    Cause.CLOCK: "the clock is wrong, so a good certificate of {} looks bad",
    Cause.NAME_MISMATCH: "the certificate of {} lacks the name that its client called",
    Cause.UNKNOWN_AUTHORITY: "the certificate of {} was signed by a CA that is not trusted",
    Cause.KEY_MISMATCH: "the certificate of {} does not belong to its private key",
    Cause.USAGE: "the certificate of {} was issued for another use",
    Cause.MISSING_CLIENT_CERT: "{} called without a client certificate",
    Cause.REVOKED: "the certificate of {} was revoked",
    Cause.STALE_IN_MEMORY: "{} still uses an old certificate from its memory",
    Cause.DISTRUSTED: "the certificate of {} is refused, but all local checks pass",
    Cause.EXPIRES_SOON: "the certificate of {} expires soon",
    Cause.UNEXPLAINED: "TLS fails at {}, and no certificate on this machine explains it",
    Cause.BLIND: "{} cannot be read, so certmedic is blind there",
}


def whose(diagnosis: Diagnosis) -> str:
    """Return the subject of a diagnosis in a word or two: "etcd main", "kubeadm kube-apiserver", "10.0.0.2"."""
    if diagnosis.source:
        return SOURCES.get(diagnosis.source, (diagnosis.source,))[0]
    if diagnosis.suspect is Suspect.PEER:
        return diagnosis.neighbours[0] if diagnosis.neighbours else "a neighbour"
    if diagnosis.group:
        return f"etcd {diagnosis.group}"
    name = diagnosis.certificates[0].subject_cn if diagnosis.certificates else ""
    return " ".join(filter(None, (diagnosis.plane, name))) or "a program on this machine"


def brief(diagnosis: Diagnosis, now: datetime) -> str:
    """Return the fault in a few words; for a forecast, when the certificate expires."""
    if diagnosis.cause is Cause.EXPIRES_SOON and diagnosis.since is not None:
        return f"certificate {soon(diagnosis.since, now)}"
    return WHAT[diagnosis.cause]


def clause(diagnosis: Diagnosis, now: datetime) -> str:
    """Return the fault as a clause without a full stop."""
    if diagnosis.cause is Cause.EXPIRES_SOON and diagnosis.since is not None:
        return f"the certificate of {cut(whose(diagnosis), 80)} {soon(diagnosis.since, now)}"
    return CLAUSES[diagnosis.cause].format(cut(whose(diagnosis), 80))


def soon(moment: datetime, now: datetime) -> str:
    """Return how soon a certificate expires that was still good when it was judged."""
    return f"expires in {span(moment - now)}" if moment > now else "expires now"


# ---------------------------------------------------------------- text of strangers

LOOKALIKES = str.maketrans({"`": "'", "<": "\u2039", ">": "\u203a", "@": "(at)", "\uff20": "(at)"})
# A word that holds more than letters, digits and the marks of a sentence, or looks like a host name or an :emoji:.
MARKED = re.compile(r"[^\w,;:.?!\"'()%…\u2039\u203a-]|_|\w\.\w|:[A-Za-z]\w*:")
EDGES = re.compile(r"""([("']*)(.*?)([,;:.?!)"']*)""", re.DOTALL)


def harmless(text: str) -> str:
    """Return foreign text that calls nobody, formats nothing, links nowhere and hides nothing, in any chat.

    "@" becomes "(at)", angle brackets and backticks become look-alikes, and what makes a link (a scheme, "www.", a
    bracketed label) is taken apart by a space.
    """
    shown = printable(text).translate(LOOKALIKES)
    shown = re.sub(r":(?=//)", ": ", shown)
    shown = re.sub(r"\](?=[(\[])", "] ", shown)
    return re.sub(r"(?i)\b(www)(?=\.)", r"\1 ", shown)


def spans(text: str) -> Iterator[tuple[bool, str]]:
    """Yield harmless text in pieces, each with whether it must be set as code because a chat might see markup in it."""
    for word in re.split(r"( +)", text):
        if word.isspace() or not MARKED.search(word):
            yield False, word
            continue
        match = EDGES.fullmatch(word)
        before, inside, after = match.groups() if match else ("", word, "")
        yield from ((False, before), (True, inside), (False, after))
