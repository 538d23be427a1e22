"""The remedy for each fault: whether a restart fixes it, why, and the commands.

A remedy is offered only if it fixes the fault. No restart on this machine fixes an expired CA, a wrong name, a wrong clock, a
certificate that another program issues, or a fault on another machine.
A command names a file only if the file was read from disk and its path is plain (core/command.py). Otherwise the remedy has
words only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from certmedic.core import cures, planes
from certmedic.core.command import Command, fixed, is_plain_path, run
from certmedic.core.model import Cause, Facts, Helps, Place, Remedy, RemedyKind, Stored, Trust


def _x509(*options: str) -> Callable[[str, str], tuple[Command, ...]]:
    return lambda path, _ca: (run("openssl", "x509", "-noout", *options, "-in", path),)


# Why no restart fixes the fault, and the commands that show it, from the file and its CA file.
MANUAL: Mapping[Cause, tuple[str, Callable[[str, str], tuple[Command, ...]]]] = {
    Cause.CA_EXPIRED: (
        "The CA itself has expired, and every certificate that it signs is refused too. Replace it on all masters.",
        _x509("-enddate", "-subject"),
    ),
    Cause.NOT_YET_VALID: (
        "A clock is behind, or the certificate was issued too early. It becomes valid by itself. Renew nothing: a newer one becomes valid later.",
        lambda path, ca: (run("timedatectl"), *_x509("-startdate")(path, ca)),
    ),
    Cause.CLOCK: ("This machine's clock is wrong. Set it right first.", lambda _path, _ca: (run("timedatectl"),)),
    Cause.NAME_MISMATCH: (
        "The certificate lacks the name that a client called. Correct the client's configuration or reissue the certificate.",
        _x509("-ext", "subjectAltName"),
    ),
    Cause.UNKNOWN_AUTHORITY: (
        "The certificate was signed by a CA that its users do not trust. The right CA must issue it.",
        lambda path, ca: (run("openssl", "verify", "-CAfile", ca or "CA-FILE", path),),
    ),
    Cause.KEY_MISMATCH: (
        "The certificate does not belong to the private key beside it. One of the two files was replaced alone.",
        lambda path, _ca: (
            run("openssl", "x509", "-noout", "-pubkey", "-in", path),
            run("openssl", "pkey", "-pubout", "-in", planes.key_beside(path)),
        ),
    ),
    Cause.USAGE: (
        "The certificate was issued for another use. Reissue it with both server and client authentication.",
        _x509("-ext", "extendedKeyUsage"),
    ),
    Cause.REVOKED: ("The certificate was revoked. Reissue it.", _x509("-serial")),
}
KINDS: Mapping[str, tuple[RemedyKind, Helps]] = {
    "renews": (RemedyKind.RESTART, Helps.YES),
    "keeps_expired": (RemedyKind.REISSUE_AND_RESTART, Helps.NO),
    "rereads": (RemedyKind.RENEW, Helps.NO),
    "nothing": (RemedyKind.MANUAL, Helps.NO),
    "unknown": (RemedyKind.MANUAL, Helps.UNKNOWN),
}
UNTYPABLE = "No command is shown, because the file's path has unusual characters or was not read from a trusted place."


def effect_of(cause: Cause, places: Sequence[Place]) -> str:
    """Return what stops working when certificates at these places are refused, in a sentence or two."""
    uses = ["ca"] if cause is Cause.CA_EXPIRED else [place.use for place in places]
    is_forecast = cause is Cause.EXPIRES_SOON
    texts = ((is_forecast and use.will_break) or use.refused for use in map(planes.use_of, uses))
    return " ".join(dict.fromkeys(filter(None, texts))) or "Programs that use it are refused."


def effect_of_files(cause: Cause, stored: Sequence[Stored], facts: Facts) -> str:
    """Return what stops working when these files are refused, in a sentence or two."""
    if cures.is_only_embedded(stored, facts):
        return "The next start of the kubelet fails. Until then it uses the certificate that it renewed itself."
    return effect_of(cause, [item.place for item in stored])


def image_of(group: str, facts: Facts) -> str | None:
    """Return the etcd-manager image of an etcd group: that of the running container, or of the manifest if it shows the version."""
    running = [c.image for c in facts.containers if c.trust is Trust.SYSTEM and planes.runs_renewer(c, group)]
    named = [image for image in (*running, facts.images.get(group)) if image]
    return next((image for image in named if planes.manager_version(image)), named[0] if named else None)


def for_own(cause: Cause, stored: Sequence[Stored], facts: Facts) -> Remedy:
    """Return the remedy for a fault in files of this machine that have one owner."""
    place, certificate = stored[0].place, stored[0].certificate
    target = (
        f"{place.plane}/{place.group}" if place.plane and planes.renewer_of(place.renewer).is_grouped else place.plane
    )
    is_of_a_ca = cause is Cause.CA_EXPIRED or (cause is Cause.EXPIRES_SOON and certificate.is_ca)
    if is_of_a_ca and (replaced := _for_cas(place, stored, has_expired=cause is Cause.CA_EXPIRED)) is not None:
        return replace(replaced, target=target)
    if cause not in (Cause.EXPIRED, Cause.EXPIRES_SOON):
        why, commands_for = MANUAL[cause]
        path = (place.ca_path or certificate.path) if cause is Cause.CA_EXPIRED else certificate.path
        remedy = Remedy(
            kind=RemedyKind.MANUAL,
            helps=Helps.NO,
            why=why,
            commands=commands_for(path, place.ca_path if is_plain_path(place.ca_path) else ""),
            target=target,
        )
        return remedy if is_plain_path(path) or cause is Cause.CLOCK else _in_words(remedy)
    remedy = for_place(place, facts, path=certificate.path, residual=certificate.not_after - facts.at)
    if (ordered := _in_order(stored, facts)) is not None:
        return replace(ordered, target=target)
    if remedy.kind is RemedyKind.REISSUE_AND_RESTART and planes.renewer_of(place.renewer).issues_missing:
        paths = [leaf.certificate.path for leaf in stored]
        moves = tuple(run("sudo", "mv", path, f"{path}.expired") for path in paths)
        restart = fixed(planes.restart_command(place.group, runtime_of(facts)))
        remedy = replace(remedy, commands=(*moves, *restart)) if all(map(is_plain_path, paths)) else _in_words(remedy)
    return replace(remedy, target=target)


_AFTER_SIGNING = {  # what the commands of a plane do with a CA that was signed again, and what is left to do
    **dict.fromkeys(
        ("kubeadm", "etcd"),
        "The command below does that and restarts what reads the CA."
        " Copy the file to the other masters and its text into every other kubeconfig. Restart one master after the other.",
    ),
    "kops": "Type the commands with sudo here, and the others where kops runs, with the files copied there (kops 1.22 or later).",
    **dict.fromkeys(
        ("k3s", "rke2"),
        "The supervisor must run for that. After a new server-ca.crt, nodes that joined with a secure token need the new token."
        " Restart the other servers, then the agents.",
    ),
}
# k3s-io/k3s#12910: rotate-ca first checks the supervisor against the CA that has expired (pkg/clientaccess/token.go, getCACerts).
_SUPERVISED = (
    " rotate-ca fails with an expired CA, so the command sets the clock back while rotate-ca works."
    " With several servers, set back the clocks of the others first."
)


def _for_cas(place: Place, stored: Sequence[Stored], *, has_expired: bool) -> Remedy | None:
    """Return the remedy for CAs of a plane that has one, when they expire; None for CAs that nobody here can sign again.

    `stored` are the CAs, or leaves that they signed.
    """
    leaves = [(s.certificate, s.place.ca_path) for s in stored]
    cas = [(leaf.path, leaf.subject_cn) if leaf.is_ca else (ca or leaf.path, leaf.issuer_cn) for leaf, ca in leaves]
    ends = "has expired" if has_expired else "expires"
    ended = min((leaf.not_after for leaf, _ in leaves if leaf.is_ca), default=None) if has_expired else None
    if place.plane in _AFTER_SIGNING and (commands := cures.of_cas(cas, place.plane, ended=ended)):
        why = (
            f"The CA itself {ends}. If its key is here, sign the CA again with the same key: no other certificate has to change."
            f" {_AFTER_SIGNING[place.plane]}{_SUPERVISED if has_expired and place.plane in ('k3s', 'rke2') else ''}"
        )
    elif effect := planes.plane_of(place.plane).ca.command:
        why, commands = f"The CA itself {ends}. {planes.plane_of(place.plane).ca.why}", fixed(effect)
    else:
        return None
    return Remedy(kind=RemedyKind.MANUAL, helps=Helps.NO, why=why, commands=commands)


def _in_order(stored: Sequence[Stored], facts: Facts) -> Remedy | None:
    """Return the remedy that renews all files and restarts all holders, in order; None if the plane has no such commands."""
    place = stored[0].place
    if any(item.certificate.is_ca for item in stored):
        return None
    if place.renewer == "kubeadm" and (commands := cures.of_kubeadm(stored, facts)):
        names = cures.to_restart(stored)
        after = [f"restart {' and '.join(names)}"] if names else []
        after += ["restart the kubelet, which ends its back-off"] if commands[-1].script == cures.BACK_OFF else []
        why = "kubeadm renews only on command, and on each control-plane node separately."
        if "kube-apiserver" in names:
            after.append("the API of this master is away for about a minute")
        why += f" Then {'; '.join(after)}." if after else " No program needs a restart."
        return Remedy(kind=RemedyKind.RENEW, helps=Helps.NO, why=why, commands=commands)
    if place.renewer == "kubelet" and (commands := cures.of_kubelet(stored, facts)):
        why = (
            "The kubelet renewed its certificate itself, but kubelet.conf still holds the first one, and its next start fails."
            " Let kubelet.conf name the renewed file. No new certificate is needed."
            if cures.is_only_embedded(stored, facts)
            else "The API refuses an expired kubelet. On a control-plane node kubeadm makes a new kubelet.conf."
        )
        return Remedy(kind=RemedyKind.MANUAL, helps=Helps.NO, why=why, commands=commands)
    if place.renewer == "nodeup":
        effect = planes.restart_effect(place, None)
        commands = cures.of_nodeup(stored)
        late = " Then restart the programs that read it only at their start." if len(commands) > 1 else ""
        return Remedy(kind=RemedyKind.MANUAL, helps=Helps.NO, why=effect.why + late, commands=commands)
    return None


def _in_words(remedy: Remedy) -> Remedy:
    """Return a remedy without its commands, and with the reason."""
    return replace(remedy, commands=(), why=f"{remedy.why} {UNTYPABLE}")


def runtime_of(facts: Facts) -> str:
    """Return the container runtime for the commands; docker if it is not known."""
    return next((c.runtime for c in facts.containers if c.runtime in ("docker", "containerd")), "docker")


def for_place(place: Place, facts: Facts, *, path: str = "", residual: timedelta | None = None) -> Remedy:
    """Return the remedy for an expired certificate at a place."""
    effect = planes.restart_effect(
        place,
        image_of(place.group, facts),
        path=path if is_plain_path(path) else "",
        residual=residual,
        runtime=runtime_of(facts),
    )
    kind, helps = KINDS[effect.kind]
    return Remedy(
        kind=kind,
        helps=helps,
        why=effect.why,
        commands=fixed(effect.command),
        target=f"{place.plane}/{place.group}",
    )


def for_memory(plane: str, group: str, facts: Facts) -> Remedy:
    """Return the remedy for a certificate that is only in the memory of etcd-manager."""
    return Remedy(
        kind=RemedyKind.RESTART,
        helps=Helps.YES,
        why="The certificate is only in etcd-manager's memory. Every version issues a new one when it starts.",
        commands=fixed(planes.restart_command(group, runtime_of(facts))),
        target=f"{plane}/{group}",
    )


def for_old_pool(name: str, place: Place, facts: Facts, *, pids: Sequence[int]) -> Remedy:
    """Return the remedy for a program that checks against CAs which its files no longer have; kops' etcd runs in etcd-manager."""
    usual = for_holders([name], place.plane, pids=pids)
    if name != "etcd" or place.plane != "kops":
        return usual
    why = "The CA file is good by now. Restart etcd-manager, which starts etcd again. Renew nothing, and restart nothing else."
    return replace(usual, why=why, commands=fixed(planes.restart_command(place.group, runtime_of(facts))))


def for_holders(names: Sequence[str], plane: str, *, pids: Sequence[int] = (), why: str = "") -> Remedy:
    """Return the remedy if programs still hold certificates that their files no longer have: restart these programs, no others.

    `why` begins the sentence instead of the usual one; `pids` are those of the programs, if known.
    """
    who = " and ".join(names) or "the program that uses it"
    process = f" (process {', '.join(map(str, pids))})" if pids else ""
    return Remedy(
        kind=RemedyKind.RESTART,
        helps=Helps.YES,
        why=f"{why or 'The files are good by now.'} Restart {who}{process}. Renew nothing, and restart nothing else.",
        commands=cures.restarts(names, plane),
        target=plane,
    )


def for_peer(
    cause: Cause, whom: str, *, is_here: bool = False, is_called: bool = False, is_member_id: bool = False
) -> Remedy:
    """Return the remedy for a fault of the other side, `whom`: nothing on this machine.

    `is_here`: the other side is a program on this machine. `is_called`: it was called, and did not call.
    `is_member_id`: the line names only the id of an etcd member.
    """
    there = whom or "the other side"
    commands: tuple[Command, ...] = ()
    if cause is Cause.UNKNOWN_AUTHORITY:
        why = f"This machine does not trust the CA of {there}. If that CA is new, its certificate is missing here."
    elif cause is Cause.MISSING_CLIENT_CERT:
        why = f"{there} called without a client certificate: a misconfigured client, a probe or a scan."
    elif cause is Cause.NOT_YET_VALID:
        why, commands = for_clock(there).why, for_clock(there).commands
    elif is_here:
        at_fault = f"the one that {there} on this machine serves" if is_called else f"that of {there}, the caller"
        why = f"The certificate at fault is {at_fault}. Do not restart the program that refuses it."
        commands = (run("sudo", "certmedic", "certs", "--wide"),)
    else:
        why = f"Fix the certificate on {there}: `sudo certmedic certs` there shows it. A restart on this machine does not help."
        if is_member_id:
            why += " `etcdctl member list` shows which machine that member is."
    return Remedy(kind=RemedyKind.NONE, helps=Helps.NO, why=why, commands=commands)


def for_unseen(path: str, *, is_known: bool) -> Remedy:
    """Return the remedy for a fault in a file that was not read as a certificate.

    `path` is "" if no file is known. `is_known`: the file was found on disk and not only named by a line.
    """
    why = "The file at fault is not known here. certificates.paths can name further places."
    commands: tuple[Command, ...] = (run("sudo", "certmedic", "certs", "--wide"),)
    if path:
        why = f"{path} must exist, be whole, and be readable for the program. Its renewer can write it again."
        commands = (run("sudo", "ls", "-l", path),) if is_known and is_plain_path(path) else ()
    return Remedy(kind=RemedyKind.MANUAL, helps=Helps.UNKNOWN, why=why, commands=commands)


def for_crl(paths: Sequence[str]) -> Remedy:
    """Return the remedy for a list of revoked certificates that has expired. `paths` are the expired lists on this machine."""
    plain = [path for path in paths if is_plain_path(path)]
    return Remedy(
        kind=RemedyKind.MANUAL,
        helps=Helps.NO,
        why="Have its issuer publish a new list, and put it in the place of the old one. No certificate is to be renewed.",
        commands=tuple(run("openssl", "crl", "-noout", "-issuer", "-nextupdate", "-in", path) for path in plain),
    )


def for_unused(reason: str, path: str) -> Remedy:
    """Return the remedy for a file that is not in use."""
    remedy = Remedy(
        kind=RemedyKind.MANUAL,
        helps=Helps.NO,
        why=f"{reason}. A restart does not renew it. Move the file away, or unmount its volume.",
        commands=(run("sudo", "mv", path, f"{path}.expired"),),
    )
    return remedy if is_plain_path(path) else _in_words(remedy)


def for_distrust(whom: str) -> Remedy:
    """Return the remedy if our certificate was refused and nothing on this machine explains it."""
    there = whom or "the other side"
    return Remedy(
        kind=RemedyKind.MANUAL,
        helps=Helps.UNKNOWN,
        why=f"Check the log, the clock and the CA file of {there}. It may be a scanner.",
        commands=(run("sudo", "certmedic", "certs", "--wide"),),
    )


def for_clock(whom: str) -> Remedy:
    """Return the remedy if the other side calls valid certificates of this machine expired."""
    return Remedy(
        kind=RemedyKind.MANUAL,
        helps=Helps.NO,
        why=f"Compare the clock of {whom} with this one. Renew nothing: a newer certificate is refused for longer.",
        commands=(run("timedatectl"),),
    )


def for_stranger() -> Remedy:
    """Return the remedy for a line of an untrusted origin."""
    return Remedy(
        kind=RemedyKind.NONE,
        helps=Helps.UNKNOWN,
        why="Anyone on this machine can write such a line. Nothing here confirms it.",
    )
