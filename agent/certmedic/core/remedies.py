"""What cures a fault, whether a restart does, and what a person would type.

The rule of the house: a remedy is offered only where it cures. An expired CA, a wrong name, a wrong clock, a certificate that
another program issues and a fault on the other side are cured by no restart here (FIELD 6).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from certmedic.core import planes
from certmedic.core.model import Cause, Facts, Helps, Place, Remedy, RemedyKind, Stored

# What stops working when a certificate with this use is refused, in words for the person who is woken by it.
EFFECTS: Mapping[str, str] = {
    "peer": "etcd members refuse this one: it is out of its group, or will be at its next restart.",
    "server": "Clients of this etcd, kube-apiserver first, cannot connect to it: the API goes down with the last member.",
    "manager-server": "The etcd-managers of the other masters cannot reach this one.",
    "manager-client": "This etcd-manager cannot reach those of the other masters.",
    "apiserver-etcd-client": "kube-apiserver on this master cannot reach etcd: the API is down here.",
    "apiserver": "Every client of this API server, kubectl and kubelets too, refuses it.",
    "kubelet-client": "This node's kubelet cannot reach the API: the node goes NotReady.",
    "ca": "Every certificate that this CA signed is refused, on every master.",
}
MANUAL: Mapping[Cause, tuple[str, str]] = {
    Cause.CA_EXPIRED: (
        "The CA itself has expired: whatever it signs anew is refused as well. It must be replaced on all masters.",
        "openssl x509 -noout -enddate -subject -in {path}",
    ),
    Cause.NOT_YET_VALID: (
        "The certificate becomes valid later: either a clock is wrong, or it was issued too early. A restart changes neither.",
        "timedatectl; openssl x509 -noout -startdate -in {path}",
    ),
    Cause.CLOCK: ("This machine's clock is wrong; set it right first.", "timedatectl"),
    Cause.NAME_MISMATCH: (
        "The certificate does not hold the name by which it was called: the name in the configuration or the certificate is wrong.",
        "openssl x509 -noout -ext subjectAltName -in {path}",
    ),
    Cause.UNKNOWN_AUTHORITY: (
        "The certificate was signed by a CA that the others do not trust: it must be issued by the right one.",
        "openssl verify -CAfile {ca} {path}",
    ),
    Cause.KEY_MISMATCH: (
        "The certificate does not belong to the private key beside it: one of the two files was replaced without the other.",
        "openssl x509 -noout -pubkey -in {path}; openssl pkey -pubout -in {key}",
    ),
    Cause.USAGE: (
        "The certificate was issued for another use; it must be issued anew with both server and client authentication.",
        "openssl x509 -noout -ext extendedKeyUsage -in {path}",
    ),
    Cause.REVOKED: ("The certificate was revoked; it must be issued anew.", "openssl x509 -noout -serial -in {path}"),
}
KINDS: Mapping[str, tuple[RemedyKind, Helps]] = {
    "renews": (RemedyKind.RESTART, Helps.YES),
    "keeps_expired": (RemedyKind.REISSUE_AND_RESTART, Helps.NO),
    "rereads": (RemedyKind.RENEW, Helps.NO),
    "nothing": (RemedyKind.MANUAL, Helps.NO),
    "unknown": (RemedyKind.MANUAL, Helps.UNKNOWN),
}


def effect_of(cause: Cause, places: Sequence[Place]) -> str:
    """Return what a fault of certificates with these uses breaks, in a sentence or two."""
    uses = ["ca"] if cause is Cause.CA_EXPIRED else [place.use for place in places]
    told = list(dict.fromkeys(EFFECTS[use] for use in uses if use in EFFECTS))
    text = " ".join(told) or "Programs that use it are refused."
    return f"At that time: {text}" if cause is Cause.EXPIRES_SOON else text


def image_of(group: str, facts: Facts) -> str | None:
    """Return the etcd-manager image of an etcd group: of the container that runs, or of the manifest where that has no tag."""
    prefix = planes.etcd_manager_pod_prefix(group)
    running = [
        c.image for c in facts.containers if group and c.pod.startswith(prefix) and c.container_name == "etcd-manager"
    ]
    named = [image for image in (*running, facts.images.get(group)) if image]
    return next((image for image in named if planes.manager_version(image)), named[0] if named else None)


def for_own(cause: Cause, stored: Sequence[Stored], facts: Facts) -> Remedy:
    """Return the remedy for a fault in this machine's own files, all of one owner."""
    place, certificate = stored[0].place, stored[0].certificate
    target = f"{place.plane}/{place.group}" if place.plane and place.renewer == "etcd-manager" else place.plane
    if cause not in (Cause.EXPIRED, Cause.EXPIRES_SOON):
        why, command = MANUAL[cause]
        if cause is Cause.CA_EXPIRED:
            command = command.format(path=place.ca_path or certificate.path)
        else:
            key = certificate.path.removesuffix(".crt") + ".key"
            command = command.format(path=certificate.path, ca=place.ca_path or "CA-FILE", key=key)
        return Remedy(kind=RemedyKind.MANUAL, helps=Helps.NO, why=why, command=command, target=target)
    remedy = for_place(place, facts, path=certificate.path, residual=certificate.not_after - facts.at)
    if remedy.kind is RemedyKind.REISSUE_AND_RESTART and place.renewer == "etcd-manager":
        paths = [shlex.quote(one.certificate.path) for one in stored]
        moves = [f"sudo mv {path} {path}.expired" for path in paths]
        remedy = replace(remedy, command=" && ".join([*moves, planes.restart_command(place.group, runtime_of(facts))]))
    return replace(remedy, target=target)


def runtime_of(facts: Facts) -> str:
    """Return the container runtime for the commands that are shown; docker where nothing tells."""
    return facts.containers[0].runtime if facts.containers else "docker"


def for_place(place: Place, facts: Facts, *, path: str = "", residual: timedelta | None = None) -> Remedy:
    """Return the remedy for an expired certificate at a place."""
    effect = planes.restart_effect(
        place, image_of(place.group, facts), path=path, residual=residual, runtime=runtime_of(facts)
    )
    kind, helps = KINDS[effect.kind]
    return Remedy(kind=kind, helps=helps, why=effect.why, command=effect.command, target=f"{place.plane}/{place.group}")


def for_memory(plane: str, group: str) -> Remedy:
    """Return the remedy for a certificate that only a process of etcd-manager holds."""
    return Remedy(
        kind=RemedyKind.RESTART,
        helps=Helps.YES,
        why="The certificate lives only in etcd-manager's memory and is issued anew whenever it starts, in every version.",
        command=planes.restart_command(group),
        target=f"{plane}/{group}",
    )


MEMBER = "etcd member "  # before its id, where a line tells no address


def for_neighbour(cause: Cause, whom: str) -> Remedy:
    """Return the remedy for a fault on the other side: nothing here."""
    there = whom or "the other side"
    if cause is Cause.UNKNOWN_AUTHORITY:
        why = f"The certificate of {there} was signed by a CA that this machine does not trust; if that CA is new, its certificate is missing here."
    elif cause is Cause.MISSING_CLIENT_CERT:
        why = f"{there} called without a client certificate: a misconfigured client, a probe or a scan. Nothing here is at fault."
    elif there.endswith("on this machine"):
        why = f"The certificate at fault is that of {there} which calls from here. Restarting who refuses it cures nothing and can cost the quorum."
        return Remedy(kind=RemedyKind.NONE, helps=Helps.NO, why=why, command="certmedic certs --wide")
    else:
        why = f"The certificate at fault is on {there}. Restarting anything on this machine cures nothing and can cost the quorum."
        if there.startswith(MEMBER):
            why += " `etcdctl member list` tells which machine that is."
    return Remedy(kind=RemedyKind.NONE, helps=Helps.NO, why=why, command=f"on {there}: certmedic certs")


def for_unseen(path: str) -> Remedy:
    """Return the remedy for a fault in a file of this machine that is not among the certificates that were read; `path`, where it is known."""
    why = "Which file it is in, and so who renews it, is not known here; certificates.paths can name further places."
    if path:
        why = f"{path} must be there, whole, and readable for the program; who wrote it can write it again."
    command = f"sudo ls -l {shlex.quote(path)}" if path else "certmedic certs --wide"
    return Remedy(kind=RemedyKind.MANUAL, helps=Helps.UNKNOWN, why=why, command=command)


def for_unused(said: str, path: str) -> Remedy:
    """Return the remedy for a file that is not in use: none is needed, and a restart would not renew it."""
    return Remedy(
        kind=RemedyKind.MANUAL,
        helps=Helps.NO,
        why=f"{said}. A restart renews what is in use, and not this: put the file aside, or unmount the volume that it is on.",
        command=f"sudo mv {shlex.quote(path)} {shlex.quote(path + '.expired')}" if path else "",
    )


def for_distrust(whom: str) -> Remedy:
    """Return the remedy where ours was refused though nothing here explains it."""
    there = whom or "the other side"
    return Remedy(
        kind=RemedyKind.MANUAL,
        helps=Helps.UNKNOWN,
        why=f"Nothing on this machine explains it: look at the log, the clock and the CA file of {there}. It may also be a scanner.",
        command="certmedic certs --wide",
    )
