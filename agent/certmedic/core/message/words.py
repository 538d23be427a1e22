"""Phrases for faults, and foreign text made harmless for chats.

Strangers write the text of logs, certificates and other machines. `harmless` removes everything that calls people, formats, links
or hides. `spans` marks the words that must be set as code, so that no chat sees markup or a link in them. Neither ever changes a
command (core/command.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from hashlib import sha256

from certmedic.core import planes
from certmedic.core.blind import SOURCES
from certmedic.core.model import Cause, Certificate, Confidence, Diagnosis, Suspect
from certmedic.core.text import ago, cut, minute, printable, span

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
    Cause.CRL_EXPIRED: "list of revoked certificates (CRL) expired",
    Cause.STALE_IN_MEMORY: "old certificate still in memory",
    Cause.DISTRUSTED: "good certificate refused",
    Cause.EXPIRES_SOON: "certificate expires soon",
    Cause.UNEXPLAINED: "TLS failure, not explained",
    Cause.BLIND: "cannot be read",
}
# The same as a clause, of what certificate and of whose.
CLAUSES: Mapping[Cause, str] = {
    Cause.EXPIRED: "{what} has expired",
    Cause.CA_EXPIRED: "the CA behind {whose} has expired",
    Cause.NOT_YET_VALID: "{what} is not valid yet",
    Cause.CLOCK: "the clock is wrong, so a good certificate of {whose} looks bad",
    Cause.NAME_MISMATCH: "{what} lacks the name that a client called",
    Cause.UNKNOWN_AUTHORITY: "{what} was signed by a CA that is not trusted",
    Cause.KEY_MISMATCH: "{what} does not match the private key",
    Cause.USAGE: "{what} was issued for another use",
    Cause.MISSING_CLIENT_CERT: "{whose} called without a client certificate",
    Cause.REVOKED: "{what} was revoked",
    Cause.CRL_EXPIRED: "the list of revoked certificates (CRL) of {whose} has expired",
    Cause.STALE_IN_MEMORY: "an old certificate is still in the memory of {whose}",
    Cause.DISTRUSTED: "{what} is refused, but all local checks pass",
    Cause.EXPIRES_SOON: "{what} expires soon",
    Cause.UNEXPLAINED: "TLS fails at {whose}, and no certificate on this machine explains it",
    Cause.BLIND: "{whose} cannot be read",
}
PLURAL = {"is": "are", "was": "were", "has": "have", "lacks": "lack", "does": "do", "expires": "expire"}
# The purpose of a certificate, by its use.
ROLES: Mapping[str, str] = {
    "peer": "etcd peer certificate",
    "server": "etcd server certificate",
    "client": "etcd client certificate",
    "etcd-healthcheck-client": "kubeadm's client certificate for etcd",
    "apiserver": "serving certificate of kube-apiserver",
    "apiserver-etcd-client": "kube-apiserver's client certificate for etcd",
    "apiserver-kubelet-client": "kube-apiserver's client certificate for kubelets",
    "front-proxy-client": "kube-apiserver's client certificate for aggregated APIs",
    "kubelet": "serving certificate of kubelet",
    "kubelet-client": "client certificate of kubelet",
    "controller-manager": "serving certificate of kube-controller-manager",
    "controller-manager-client": "client certificate of kube-controller-manager",
    "scheduler": "serving certificate of kube-scheduler",
    "scheduler-client": "client certificate of kube-scheduler",
    "manager-server": "serving certificate of etcd-manager",
    "manager-client": "client certificate of etcd-manager",
    "kubectl": "client certificate of kubectl",
    "bootstrap": "client certificate of a kubelet that bootstraps",
    "dynamic-listener": "serving certificate of the supervisor",
}


def whose(diagnosis: Diagnosis) -> str:
    """Return the subject of a diagnosis in a word or two: "etcd main", "kube-apiserver", "10.0.0.2"."""
    if diagnosis.source:
        return SOURCES.get(diagnosis.source, (diagnosis.source,))[0]
    if diagnosis.suspect is Suspect.PEER:
        return diagnosis.whom or next(iter(diagnosis.neighbours), "a neighbour")
    if diagnosis.suspect is Suspect.OUTSIDE and not diagnosis.certificates:
        return next(iter(diagnosis.neighbours), "a client outside the cluster")
    if diagnosis.holders:
        return " and ".join(diagnosis.holders)
    if diagnosis.group:
        return f"etcd {diagnosis.group}"
    owners = tuple(dict.fromkeys(owner(leaf) for leaf in diagnosis.certificates))
    several = len(owners) > 2 and bool(diagnosis.plane)
    return (not several and " and ".join(owners[:2])) or diagnosis.plane or "a program on this machine"


def owner(certificate: Certificate) -> str:
    """Return whose certificate a file is, by its place; by its subject if its place is not known."""
    place = planes.place(certificate.path, certificate)
    if place.use == "ca":
        return f"the CA {certificate.subject_cn}".rstrip()
    return planes.use_of(place.use).holder or certificate.subject_cn or place.plane or "a program on this machine"


def role(certificate: Certificate) -> str:
    """Return the purpose of a file: "etcd peer certificate", "CA etcd-peers-ca-main"; its subject if its place is not known."""
    use = planes.place(certificate.path, certificate).use
    if use == "ca":
        return f"CA {certificate.subject_cn}".rstrip()
    return ROLES.get(use) or f"CN {certificate.subject_cn or 'none'}"


def program(diagnosis: Diagnosis) -> str:
    """Return the program whose restart fixes a fault; "it" if that is not known."""
    if diagnosis.holders:
        return " and ".join(diagnosis.holders)
    places = [planes.place(leaf.path, leaf) for leaf in diagnosis.certificates]
    renewers = {place.renewer for place in places if planes.renewer_of(place.renewer).restartable}
    return next(iter(renewers)) if len(renewers) == 1 and renewers != {"kubeadm"} else "it"


def number(diagnosis: Diagnosis) -> int:
    """Return how many certificates a diagnosis is about, as far as they are known."""
    return len({(leaf.path, leaf.index) for leaf in diagnosis.certificates})


def thread(diagnosis: Diagnosis, incident: int, host: str) -> str:
    """Return what the messages of one trouble share: those of a forecast and of the expiry that it foretold, too."""
    owner_and_end = f"{diagnosis.plane}/{diagnosis.group}|{whose(diagnosis)}|{diagnosis.since}"
    dated = diagnosis.cause in (Cause.EXPIRED, Cause.EXPIRES_SOON) and diagnosis.suspect is Suspect.OWN
    about = owner_and_end if dated and diagnosis.since else str(incident)
    return sha256(f"{host}|{about}".encode(errors="replace")).hexdigest()[:24]


def machine(cluster: str, host: str, most: int = 48) -> str:
    """Return the name of a machine, after that of its cluster if it is known; each of at most `most` characters."""
    return " ".join(cut(name, most) for name in (cluster, host) if name)


def is_unusable(diagnosis: Diagnosis) -> bool:
    """Whether a file at the place of a certificate holds none."""
    return diagnosis.cause is Cause.UNEXPLAINED and diagnosis.confidence is Confidence.PROVEN


def brief(diagnosis: Diagnosis, now: datetime, *, is_over: bool = False) -> str:
    """Return the fault in a few words; for a forecast, when the certificate expires, or that it was to expire."""
    if is_unusable(diagnosis):
        return "certificate file is unusable"
    many, names_ca = number(diagnosis), whose(diagnosis).startswith("the CA ")
    what = "CA certificate" if _is_ca(diagnosis) and not names_ca else "certificate"
    what = what if many < 2 else f"{many} certificates"
    if diagnosis.cause is Cause.EXPIRES_SOON and diagnosis.since is not None:
        return f"{what} {was_to(many) if is_over else soon(diagnosis.since, now, many)}"
    has_expired = diagnosis.cause is Cause.EXPIRED or (names_ca and diagnosis.cause is Cause.CA_EXPIRED)
    return f"{what} expired" if has_expired else WHAT[diagnosis.cause]


def clause(diagnosis: Diagnosis, now: datetime, zone: tzinfo | None = None, *, is_over: bool = False) -> str:
    """Return the fault as a clause without a full stop, with the time that matters, in UTC and in `zone`."""
    subject, since = cut(whose(diagnosis), 80), diagnosis.since
    if is_unusable(diagnosis):
        return f"a file of {subject} holds no certificate that a program could load"
    if diagnosis.cause is Cause.CLOCK and diagnosis.suspect is not Suspect.OWN:
        there = next(iter(diagnosis.neighbours), "the other side")
        return f"the clock of {cut(there, 80)} seems wrong: it refuses a good certificate of {subject}"
    many = number(diagnosis)
    what = one_certificate(diagnosis) if many < 2 else f"{many} certificates of {subject}"
    if diagnosis.cause is Cause.EXPIRES_SOON and since is not None:
        when = was_to(many) if is_over else f"{soon(since, now, many)},"
        return f"{what} {when} on {minute(since, zone)}"
    if diagnosis.cause is Cause.EXPIRED and since is not None and since <= now:
        return f"{what} expired {ago(now - since)}, on {minute(since, zone)}"
    if diagnosis.cause is Cause.CA_EXPIRED and since is not None and since <= now:
        return f"{authority(subject)} expired {ago(now - since)}, on {minute(since, zone)}"
    starts = [leaf.not_before for leaf in diagnosis.certificates if leaf.not_before > now]
    if diagnosis.cause is Cause.NOT_YET_VALID and starts:
        return f"{what} {'is' if many < 2 else 'are'} valid only from {minute(max(starts), zone)}"
    words = CLAUSES[diagnosis.cause]
    if many > 1 and words.startswith("{what} "):
        _, verb, rest = words.split(" ", 2)
        words = f"{{what}} {PLURAL[verb]} {rest}"
    return words.format(what=what, whose=subject)


def one_certificate(diagnosis: Diagnosis) -> str:
    """Return the name of the only certificate of a diagnosis: by its role, else by whose it is."""
    leaf = next(iter(diagnosis.certificates), None)
    if _is_ca(diagnosis):
        return authority(cut(whose(diagnosis), 80))
    purpose = ROLES.get(planes.place(leaf.path, leaf).use) if leaf is not None else None
    if purpose is None or diagnosis.suspect is not Suspect.OWN:
        return f"the certificate of {cut(whose(diagnosis), 80)}"
    article = "" if "'s " in purpose else "the "  # "kube-apiserver's client certificate"
    return f"{article}{purpose} of group {cut(diagnosis.group, 40)}" if diagnosis.group else f"{article}{purpose}"


def authority(subject: str) -> str:
    """Return the name of the CA of a subject, which may be that name."""
    return subject if subject.startswith("the CA ") else f"the CA behind {subject}"


def _is_ca(diagnosis: Diagnosis) -> bool:
    """Whether a diagnosis is about one certificate of this machine that is a CA by its place."""
    leaves = diagnosis.certificates if diagnosis.suspect is Suspect.OWN else ()
    return len(leaves) == 1 and planes.place(leaves[0].path, leaves[0]).use == "ca"


def soon(moment: datetime, now: datetime, many: int = 1) -> str:
    """Return how soon certificates expire that were still good when they were judged."""
    expires = "expires" if many < 2 else "expire"
    return f"{expires} in {span(moment - now)}" if moment > now else f"{expires} now"


def was_to(many: int) -> str:
    """Return that certificates were to expire, of a forecast that is over."""
    return f"{'was' if many < 2 else 'were'} to expire"


# ---------------------------------------------------------------- text of strangers

LOOKALIKES = str.maketrans({"`": "'", "<": "\u2039", ">": "\u203a", "@": "(at)", "\uff20": "(at)"})
# A word that holds more than letters, digits and the marks of a sentence, or looks like a host name or an :emoji:. A lone "/" or "="
# (two times, a setting) is markup nowhere.
PLAIN = frozenset("/=")
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
        if word.isspace() or word in PLAIN or not MARKED.search(word):
            yield False, word
            continue
        match = EDGES.fullmatch(word)
        before, inside, after = match.groups() if match else ("", word, "")
        yield from ((False, before), (True, inside), (False, after))
