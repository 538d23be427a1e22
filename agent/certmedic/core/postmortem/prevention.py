"""Lessons of an incident: by cause, and for an expired certificate by its renewer.

The facts on renewers are those of the planes (core/planes), with their sources there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from certmedic.core.model import Cause, Decision, Diagnosis, GateName, RemedyKind, Suspect

KUBEADM = (
    "kubeadm renews its certificates on each upgrade. Upgrade at least once a year.",
    "Otherwise run `kubeadm certs renew all` from a timer, and restart the static pods afterwards.",
)
RANCHER = ("{plane} renews only when it starts, in the last 90 days. Restart each server in that time.",)
NOBODY = ("Nothing renews this file by itself. Put its renewal into a timer, and alert when the timer fails.",)
# (plane, remedy) -> what renews in time. A remedy of None is any other.
RENEWAL: Mapping[tuple[str, RemedyKind | None], tuple[str, ...]] = {
    ("kops", RemedyKind.RESTART): (
        "etcd-manager renews its certificates only when it starts. Restart each one at least once a year.",
        "A rolling update of the masters does that: `kops rolling-update cluster --instance-group-roles control-plane`.",
    ),
    ("kops", RemedyKind.REISSUE_AND_RESTART): (
        "Upgrade etcd-manager to 3.0.20200428 or later. Earlier versions keep an expired certificate over a restart.",
        "Then restart each etcd-manager at least once a year.",
    ),
    ("kops", None): (
        "nodeup issues this certificate when an instance boots. Replace each master at least once a year.",
    ),
    ("kubeadm", None): KUBEADM,
    ("k3s", None): RANCHER,
    ("rke2", None): RANCHER,
    ("microk8s", None): ("MicroK8s renews only on command. Run `microk8s refresh-certs` from a timer.",),
    ("openshift", None): ("OpenShift's operators renew this certificate. Find out why they did not: `oc get csr`.",),
}
CAUSES: Mapping[Cause, tuple[str, ...]] = {
    Cause.CA_EXPIRED: (
        "No tool renews a CA by itself. Write down when each CA expires: `certmedic certs` lists them.",
        "Replace a CA a year before. For a while, every program must trust the old one and the new one.",
    ),
    Cause.NOT_YET_VALID: ("Check the clock of the machine that issues certificates, and keep it synchronised.",),
    Cause.CLOCK: ("Run chrony or systemd-timesyncd on each master, and alert when the clock is not synchronised.",),
    Cause.NAME_MISMATCH: ("Add a new name to the certificate before clients use that name.",),
    Cause.UNKNOWN_AUTHORITY: ("Give a new CA to every machine before it signs anything. Remove the old CA last.",),
    Cause.KEY_MISMATCH: ("Replace certificate and key together, in one step of whatever installs them.",),
    Cause.USAGE: ("Have the CA issue certificates for etcd with both server and client authentication.",),
    Cause.MISSING_CLIENT_CERT: (
        "Find the client by its address. Configure its certificate, or keep it from this port.",
    ),
    Cause.REVOKED: ("Install the new certificate before the old one is revoked.",),
    Cause.CRL_EXPIRED: ("Issue the list from a timer, well before its nextUpdate. Alert on x509_crl_next_update.",),
    Cause.STALE_IN_MEMORY: ("Have the renewal restart every program that holds the certificate, as its last step.",),
    Cause.DISTRUSTED: ("Run certmedic on the machine that refused the certificate too: only that machine knows why.",),
    Cause.UNEXPLAINED: (
        "Name the places of further certificates in certificates.paths, so that the next one is explained.",
    ),
    Cause.BLIND: ("Watch certmedic itself: set notify.heartbeat, or use the alert CertmedicSourceBlind.",),
}
EARLIER = "Be warned earlier: set certificates.warn_days, or use the alert CertmedicCertificateNeedsRenewal."
AHEAD = 'Let certmedic do it in time: set remedy.plan_ahead_days, and mode = "remedy" or "approve".'
THERE = "Run certmedic on every master: it would have warned on {whom} before the certificate failed."
MODE = 'Every gate but the mode was open. With mode = "remedy", certmedic would have fixed it.'
CHANNELS = "Not every message was delivered. Run `certmedic test-notify`, and add a second channel."


def lessons(diagnosis: Diagnosis, decision: Decision | None, *, undelivered: int) -> tuple[str, ...]:
    """Return what keeps a fault from coming back, most useful first. `undelivered`: messages that reached a channel late or never."""
    return tuple(_lessons(diagnosis, decision, undelivered))


def _lessons(diagnosis: Diagnosis, decision: Decision | None, undelivered: int) -> Iterator[str]:
    expiry = diagnosis.cause in (Cause.EXPIRED, Cause.EXPIRES_SOON)
    if diagnosis.suspect is Suspect.PEER:
        yield THERE.format(whom=diagnosis.neighbours[0] if diagnosis.neighbours else "the other machine")
    if expiry and diagnosis.suspect is Suspect.OWN:
        kind, plane = diagnosis.remedy.kind, diagnosis.plane
        yield from (text.format(plane=plane) for text in RENEWAL.get((plane, kind), RENEWAL.get((plane, None), NOBODY)))
        if kind is not RemedyKind.MANUAL:
            yield AHEAD
    yield from CAUSES.get(diagnosis.cause, ())
    if expiry:
        yield EARLIER
    if decision is not None and [gate.name for gate in decision.blocked_by] == [GateName.MODE]:
        yield MODE
    if undelivered:
        yield CHANNELS
