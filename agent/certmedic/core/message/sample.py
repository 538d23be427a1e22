"""Sample incidents for `certmedic test-notify --sample CAUSE`.

Only the log line and the facts are made up: those of an etcd member on an imaginary kops master. The agent's own code makes the
diagnosis, the decision and the message of them.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from certmedic.core import blind, certificates, diagnose, planes, symptoms, verdict
from certmedic.core.decision import History, Policy, decide
from certmedic.core.message.compose import compose
from certmedic.core.model import (
    Cause,
    Certificate,
    Container,
    Diagnosis,
    Facts,
    Fold,
    LogEntry,
    Message,
    MessageKind,
    Origin,
    Served,
    Stored,
    Trust,
)

MARK = "[TEST] Nothing is wrong: "
# The other two are information, which is never sent.
CAUSES = tuple(cause for cause in Cause if cause not in (Cause.MISSING_CLIENT_CERT, Cause.DISTRUSTED))
NO_INCIDENT = 0  # so that no command in the message concerns a real incident
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
FOLDER = "/mnt/master-vol-0123456789abcdef0/pki/etcd-cluster-token-etcd/peers"
POD, IMAGE = "etcd-manager-main-ip-10-0-0-11", "registry.k8s.io/etcdadm/etcd-manager:3.0.20210228"
PEER, PORT = "10.0.0.12", 2380
# A CA and its leaf, in DER. The private keys were thrown away, and the dates are replaced.
CA = """
MIIBbjCCARSgAwIBAgIUfBmMrEA4m4bi1fRiDGfUzLRD1LowCgYIKoZIzj0EAwIwHTEbMBkGA1UEAwwSZXRjZC1wZWVycy1jYS1tYWluMB4XDTI2
MDEwMTAwMDAwMFoXDTM1MTIzMDAwMDAwMFowHTEbMBkGA1UEAwwSZXRjZC1wZWVycy1jYS1tYWluMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
a7Yuak//L8cvg37SQ3ATHxofZq8KCvhrcLSQZRcy6+EkDPAXjqtmYbYk+gV4m0PwgT2bAL3DZoP1rrHf7DfZ0aMyMDAwDwYDVR0TAQH/BAUwAwEB
/zAdBgNVHQ4EFgQUMMMl9lvpbu/8hUUB/BjGFUd7+3gwCgYIKoZIzj0EAwIDSAAwRQIhAMec5cTV/zd6Le0RrL7b8F7bfJHWQkK0mqDBCnZb/+Uw
AiBHJngrfYR5ozNLCVBKsq/MMMeli3gfA4OZfqSekFeMSg==
"""
LEAF = """
MIIBuTCCAV6gAwIBAgIUfuZKMkBDh2mUmLyXmf/+pKM6wsYwCgYIKoZIzj0EAwIwHTEbMBkGA1UEAwwSZXRjZC1wZWVycy1jYS1tYWluMB4XDTI2
MDEwMTAwMDAwMFoXDTI3MTEyOTEwMzIxOFowETEPMA0GA1UEAwwGZXRjZC1hMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEIwT1Q8nosOGBM85F
W6oBlyeRqCG5MdhYFdG7WoBLwL/UWUVHCdVtwdG4kdgVMtTCAp1Tsna7uwwbtauOJmVKAKOBhzCBhDAMBgNVHRMBAf8EAjAAMB8GA1UdIwQYMBaA
FDDDJfZb6W7v/IVFAfwYxhVHe/t4MB0GA1UdJQQWMBQGCCsGAQUFBwMBBggrBgEFBQcDAjA0BgNVHREELTArggZldGNkLWGCG2V0Y2QtYS5pbnRl
cm5hbC5leGFtcGxlLmNvbYcECgAACzAKBggqhkjOPQQDAgNJADBGAiEA4F36CxlI9fDmUHFlU2nZNaNmynig5lTg3wm6qwphqb8CIQDVNIaQrpUW
bxyIMbctR7tTk4A8lT+9+ZYlZUzPDK7nKA==
"""
REJECTED = f'embed: rejected connection from "{PEER}:41012" (error "{{}}", ServerName "etcd-a.internal.example.com")'
REFUSED = REJECTED.format("remote error: tls: bad certificate")
LINES: Mapping[Cause, str] = {
    Cause.KEY_MISMATCH: f'failed to load key pair "{FOLDER}/me.crt": tls: private key does not match public key',
    Cause.REVOKED: REJECTED.format("transport: certificate serial 1f2e revoked"),
    Cause.CRL_EXPIRED: "client SSL certificate verify error: (12:CRL has expired) while reading client request headers",
    Cause.UNEXPLAINED: f"open {FOLDER}/me.key: permission denied",
}


def sample(cause: Cause, *, host: str, now: datetime, policy: Policy, cluster: str = "") -> tuple[Diagnosis, Message]:
    """Return a diagnosis of a cause, one of `CAUSES`, and its first message, marked as a test."""
    facts = facts_of(cause, now)
    diagnosis = diagnosis_of(cause, facts)
    decision = decide(diagnosis, facts, History(started_at=now - DAY), policy)
    written = compose(
        MessageKind.OPENED,
        diagnosis,
        incident=NO_INCIDENT,
        host=host,
        cluster=cluster,
        now=now,
        decision=decision,
        mark=MARK,
    )
    return diagnosis, written


def diagnosis_of(cause: Cause, facts: Facts) -> Diagnosis:
    """Return the diagnosis of the facts, and of the line that this cause makes a program log."""
    now = facts.at
    if cause is Cause.BLIND:
        return blind.diagnose("journal", "the journal cannot be opened: Input/output error", now - 2 * MINUTE)
    if cause is Cause.EXPIRES_SOON:
        return verdict.survey(facts, warn_within=30 * DAY)[0]
    origin = Origin(pod=POD, namespace="kube-system", container_id="c1", image=IMAGE, trust=Trust.SYSTEM)
    entry = LogEntry(stream="sample", position="", time=now, text=LINES.get(cause, REFUSED), origin=origin)
    if sighting := symptoms.parse(entry):
        fold = Fold(sighting=sighting, count=3, first_seen=now - 2 * MINUTE, last_seen=now)
        if diagnosis := diagnose.diagnose(fold, facts):
            return diagnosis
    raise ValueError(f"no sample shows {cause}")


def facts_of(cause: Cause, now: datetime) -> Facts:
    """Return the facts of the machine: a certificate and its CA, with the fault of this cause."""
    past, expired = now - 700 * DAY, now - 5 * MINUTE
    ca = read(CA, "ca.crt", not_before=past, not_after=expired if cause is Cause.CA_EXPIRED else now + 2950 * DAY)
    dates = {"not_before": past, "not_after": now + 30 * DAY}
    changes: Mapping[Cause, Mapping[str, Any]] = {
        Cause.EXPIRED: {"not_after": expired},
        Cause.EXPIRES_SOON: {"not_after": now + 7 * DAY},
        Cause.NOT_YET_VALID: {"not_before": now + 60 * MINUTE},
        Cause.CLOCK: {"not_before": now + 60 * MINUTE},
        Cause.NAME_MISMATCH: {"dns_names": ("etcd-a",)},
        Cause.UNKNOWN_AUTHORITY: {"issuer": "CN=etcd-peers-ca-old", "issuer_cn": "etcd-peers-ca-old"},
        Cause.USAGE: {"usages": frozenset({"server"})},
    }
    leaf = read(LEAF, "me.crt", **{**dates, **changes.get(cause, {})})
    old = replace(leaf, path="", fingerprint="", not_after=expired)
    shown = Served(address="127.0.0.1", port=PORT, certificate=old, trust=Trust.SYSTEM)
    container = Container(
        id="c1",
        name=f"k8s_etcd-manager_{POD}_kube-system_0123_0",
        image=IMAGE,
        pod=POD,
        namespace="kube-system",
        container_name="etcd-manager",
        state="running",
        started_at=past,
        trust=Trust.SYSTEM,
    )
    return Facts(
        at=now,
        host="",
        addresses=frozenset({"127.0.0.1", "10.0.0.11"}),
        stored=tuple(
            Stored(
                certificate=certificate,
                place=planes.place(certificate.path, certificate),
                modified=past,
                key_matches=cause is not Cause.KEY_MISMATCH,
                trust=Trust.SYSTEM,
                authorised=True,
            )
            for certificate in (leaf, ca)
        ),
        served=(shown,) if cause is Cause.STALE_IN_MEMORY else (),
        containers=(container,),
        peers=frozenset({PEER}),
        clock_synchronised=cause is not Cause.CLOCK,
    )


def read(text: str, name: str, **changes: Any) -> Certificate:
    """Return one of the sample certificates, as if it were read from a file of this name."""
    return replace(certificates.parse_der(b64decode(text), f"{FOLDER}/{name}"), **changes)
