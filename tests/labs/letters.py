"""Every message that one channel gets in the stories of a master, from the first warning to the end of the trouble."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from certmedic.config import Config, Notify, RemedyPolicy
from certmedic.core import planes
from certmedic.core.model import Message, SourceDown, SourceUp, Stored
from labs import LABS, pki
from labs.played import REFUSED, REFUSING, Lab, Played
from labs.values import DAY, NOW, OLD_IMAGE, PEERS_CA, VOLUME, container, member, stored

DATA = LABS.parent / "data" / "messages.txt"
MINUTE = timedelta(minutes=1)
KUBEADM = "/etc/kubernetes/pki"
LEAVES = {  # file -> its CN
    "pki/apiserver.crt": "kube-apiserver",
    "pki/apiserver-kubelet-client.crt": "kube-apiserver-kubelet-client",
    "pki/apiserver-etcd-client.crt": "kube-apiserver-etcd-client",
    "pki/front-proxy-client.crt": "front-proxy-client",
    "pki/etcd/server.crt": "kmaster",
    "pki/etcd/peer.crt": "kmaster",
    "pki/etcd/healthcheck-client.crt": "kube-etcd-healthcheck-client",
    "admin.conf": "kubernetes-admin",
    "controller-manager.conf": "system:kube-controller-manager",
    "scheduler.conf": "system:kube-scheduler",
}
OF_A_USER = (
    'E1124 15:40:00.000000       1 authentication.go:63] "Unable to authenticate the request" err="[x509: certificate has expired or'
    ' is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-10-01T08:00:00Z, verifying certificate SN=7, SKID=, AKID=]"'
)


def of_kubeadm(*, ends: Any) -> tuple[Stored, ...]:
    """Return the ten leaves of a kubeadm master that expire together, and their CA."""
    ca = pki.authority("kubernetes", not_before=NOW - 400 * DAY)
    files = []
    for name, cn in LEAVES.items():
        path = f"/etc/kubernetes/{name}"
        leaf = stored(ca.leaf(cn, not_before=NOW - 365 * DAY, not_after=ends), path)
        files.append(replace(leaf, place=planes.place(path, leaf.certificate)))
    top = stored(ca, f"{KUBEADM}/ca.crt")
    return (*files, replace(top, place=planes.place(top.certificate.path, top.certificate)))


def one_expires(lab: Callable[..., Lab]) -> Lab:
    """The peer certificate expires after all warnings; a person renews it."""
    played = lab(member(peer_ends=NOW + 16 * DAY), mode="notify")
    expire(played, timedelta(days=16))
    return cured(played)


def expire(lab: Lab, after: timedelta) -> None:
    """Pass the time, with four looks a day, until certificates expire; then a peer refuses this member for a while."""
    end = lab.now + after
    while lab.now < end - timedelta(hours=6):
        lab.step(seconds=6 * 3600)
    lab.step(seconds=(end - lab.now).total_seconds() + 1)
    for _ in range(40):
        lab.step(REFUSED)


def cured(lab: Lab, files: tuple[Stored, ...] | None = None) -> Lab:
    """Renew the files, as a person would, and look until the incidents have ended."""
    lab.world.files = renewed() if files is None else files
    for _ in range(120):
        lab.step(seconds=15)
    return lab


def renewed() -> tuple[Stored, ...]:
    """Return the files of a member with certificates that are good for two years."""
    return member(peer_ends=NOW + 730 * DAY, server_ends=NOW + 730 * DAY)


def seen(lab: Lab, line: str = REFUSED, turns: int = 60) -> Lab:
    """Log a line again and again, as long as a certificate has expired or until the turns are over."""
    for _ in range(turns):
        lab.step(*([line] if lab.ails or line != REFUSED else []))
    return lab


def all_expired(lab: Callable[..., Lab], **more: Any) -> Lab:
    """All certificates of the member expired a day ago."""
    return lab(member(peer_ends=NOW - DAY, server_ends=NOW - DAY), **more)


def ca_expired(lab: Callable[..., Lab]) -> Lab:
    """The CA of the peers has expired; a person replaces it."""
    ca = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, not_after=NOW - DAY)
    me, _, *rest = member(peer=ca.leaf("etcd-a", not_after=NOW + 100 * DAY, dns=("etcd-a",), ips=("127.0.0.1",)))
    return cured(seen(lab((me, stored(ca, f"{VOLUME}/peers/ca.crt", "ca"), *rest), mode="notify")))


def kubeadm(lab: Callable[..., Lab]) -> Lab:
    """A kubeadm master after a year: ten certificates expired ten minutes ago; a person renews them all."""
    sick = lab(of_kubeadm(ends=NOW - 10 * MINUTE), mode="notify", containers=())
    sick.go(60)
    return cured(sick, of_kubeadm(ends=NOW + 365 * DAY))


def neighbour(lab: Callable[..., Lab]) -> Lab:
    """Another member's certificate has expired; it is fixed there."""
    return cured(seen(lab(member(), mode="notify"), REFUSING))


def user(lab: Callable[..., Lab]) -> Lab:
    """A user calls with an old kubeconfig for hours."""
    played = lab(member(), mode="notify")
    for _ in range(120):
        played.step(OF_A_USER, seconds=60)
    return played


def flood(lab: Callable[..., Lab]) -> Lab:
    """Twenty etcds on one machine expire together."""
    files = [
        stored(PEERS_CA.leaf(f"etcd-{n}", not_after=NOW - DAY), f"/opt/etcd-{n}/peer.crt", plane="etcd", group=f"g{n}")
        for n in range(20)
    ]
    played = lab(tuple(files), mode="notify")
    for _ in range(60):
        played.step(*(line.replace("etcd-a", f"etcd-{n}") for n, line in enumerate([REFUSED] * 20)), seconds=5)
    return played


def blind(lab: Callable[..., Lab]) -> Lab:
    """The journal cannot be read for ten minutes."""
    played = lab(member(), mode="notify")
    played.loop.step(
        [SourceDown(source="journal", reason="the journal cannot be opened: Input/output error")], played.now
    )
    for _ in range(40):
        played.step(seconds=15)
    played.loop.step([SourceUp(source="journal")], played.now)
    for _ in range(40):
        played.step(seconds=15)
    return played


STORIES: Mapping[str, Callable[[Callable[..., Lab]], Lab]] = {
    "one certificate expires, a person renews it": one_expires,
    "all certificates expired, certmedic restarts etcd-manager": lambda lab: seen(all_expired(lab)),
    "all certificates expired, certmedic waits for an approval": lambda lab: cured(
        seen(all_expired(lab, mode="approve"))
    ),
    "all certificates expired, the restart renews nothing": lambda lab: cured(seen(all_expired(lab, renews=False))),
    "all certificates expired, an old etcd-manager": lambda lab: cured(
        seen(all_expired(lab, mode="notify", containers=(container(image=OLD_IMAGE),)))
    ),
    "the CA has expired": ca_expired,
    "kubeadm after a year": kubeadm,
    "a neighbour's certificate has expired": neighbour,
    "a user's old kubeconfig": user,
    "twenty etcds at once": flood,
    "the journal cannot be read": blind,
}


# ---------------------------------------------------------------- three masters

ADDRESSES = {"master-a": "10.0.0.1", "master-b": "10.0.0.2", "master-c": "10.0.0.3"}
Cluster = list[Lab]


def together(cluster: Cluster, turns: int, lines: Callable[[Lab], Sequence[str]], seconds: float = 20.0) -> Cluster:
    """Let all agents take turns, each with its lines. The last one begins, as if a restart of the first took some seconds."""
    for _ in range(turns):
        for lab in reversed(cluster):
            lab.step(*lines(lab), seconds=seconds)
    return cluster


def from_member(line: str, whom: Lab) -> str:
    return line.replace("10.0.0.2", whom.world.address)


def of_members(sick: Sequence[int]) -> Callable[[Cluster], Callable[[Lab], Sequence[str]]]:
    """Return what the masters log while some of them are sick: the others refuse those, and those are refused."""

    def lines(cluster: Cluster) -> Callable[[Lab], Sequence[str]]:
        def of(lab: Lab) -> Sequence[str]:
            ill = [cluster[n] for n in sick if cluster[n].ails and not cluster[n].world.down]
            refusing = [from_member(REFUSING, other) for other in ill if other is not lab]
            refused = [from_member(REFUSED, other) for other in cluster if other is not lab]
            return [*refusing, *(refused if lab in ill else [])]

        return of

    return lines


def one_of_three(cluster: Cluster) -> Cluster:
    """The certificates of one master have expired; a person renews them after eight hours and a half."""
    lines = of_members([1])(cluster)
    cluster[1].world.files = member(peer_ends=NOW - DAY, server_ends=NOW - DAY)
    together(cluster, 90, lines)
    together(cluster, 60, lines, seconds=480)
    cluster[1].world.files = renewed()
    return together(cluster, 60, lines)


def all_of_three(cluster: Cluster) -> Cluster:
    """The certificates of all masters have expired; after eight minutes a person renews those that certmedic did not."""
    for lab in cluster:
        lab.world.files = member(peer_ends=NOW - DAY, server_ends=NOW - DAY)
    together(cluster, 25, of_members([0, 1, 2])(cluster))
    return renew_all(cluster, renewed())


def all_of_three_late(cluster: Cluster) -> Cluster:
    """The certificates of all masters have expired; after eight hours a person renews them, one master after the other.

    The etcd of each does not answer for a minute meanwhile.
    """
    for lab in cluster:
        lab.world.files = member(peer_ends=NOW - DAY, server_ends=NOW - DAY)
    lines = of_members([0, 1, 2])(cluster)
    together(cluster, 60, lines)
    together(cluster, 60, lines, seconds=480)
    for lab in cluster:
        lab.world.down = True
        together(cluster, 3, lines)
        lab.world.down, lab.world.files = False, renewed()
        together(cluster, 9, lines)
    return together(cluster, 60, lambda _: ())


def starting(cluster: Cluster, sick: Sequence[int]) -> Cluster:
    """The certificates of some masters have expired; after two hours a person renews them.

    The kubelet restarts their etcds, which run for a minute and wait for one to five minutes between two starts.
    """
    for number in sick:
        cluster[number].world.files = member(peer_ends=NOW - DAY, server_ends=NOW - DAY)
    lines = of_members(sick)(cluster)
    together(cluster, 6, lines)
    for minute in range(120):
        for number in sick:
            cluster[number].world.down = (minute + number) % (2 + min(minute // 10, 4)) > 0
        together(cluster, 3, lines)
    for number in sick:  # one after the other
        cluster[number].world.down, cluster[number].world.files = False, renewed()
        together(cluster, 6, lines)
    return together(cluster, 90, lines)


def first_dies(cluster: Cluster) -> Cluster:
    """The certificates of all masters have expired; the first reports it and dies, and after 45 minutes a person renews the rest."""
    for lab in cluster:
        lab.world.files = member(peer_ends=NOW - DAY, server_ends=NOW - DAY)
    lines = of_members([0, 1, 2])(cluster)
    together(cluster, 6, lines)
    cluster[0].world.down = True
    together(cluster[1:], 135, lines)
    renew_all(cluster[1:], renewed())
    return cluster


def renew_all(cluster: Cluster, files: tuple[Stored, ...]) -> Cluster:
    """Renew the files of all masters, as a person would, and look until the incidents have ended."""
    for lab in cluster:
        lab.world.files = files
    return together(cluster, 90, lambda _: ())


def ca_of_three(cluster: Cluster) -> Cluster:
    """The CA of the peers has expired on all masters; after eight minutes a person replaces it."""
    ca = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, not_after=NOW - DAY)
    me, _, *rest = member(peer=ca.leaf("etcd-a", not_after=NOW + 100 * DAY, dns=("etcd-a",), ips=("127.0.0.1",)))
    for lab in cluster:
        lab.world.files = (me, stored(ca, f"{VOLUME}/peers/ca.crt", "ca"), *rest)
    together(cluster, 25, lambda lab: [from_member(REFUSED, other) for other in cluster if other is not lab])
    return renew_all(cluster, renewed())


def warned_three(cluster: Cluster) -> Cluster:
    """The certificates of all masters expire within 30 days; a person renews them the next day."""
    for lab in cluster:
        lab.world.files = member(peer_ends=NOW + 29 * DAY, server_ends=NOW + 29 * DAY)
    together(cluster, 48, lambda _: (), seconds=1800)
    return renew_all(cluster, member(peer_ends=NOW + 400 * DAY, server_ends=NOW + 400 * DAY))


def warned_late(cluster: Cluster) -> Cluster:
    """The certificates of all masters expire three minutes after the warning; a person renews them five minutes later."""
    for lab in cluster:
        lab.world.files = member(peer_ends=NOW + 3 * MINUTE, server_ends=NOW + 3 * MINUTE)
    lines = of_members([0, 1, 2])(cluster)
    together(cluster, 24, lambda lab: lines(lab) if lab.now > NOW + 3 * MINUTE else ())
    return renew_all(cluster, renewed())


def kubeadm_of_three(cluster: Cluster) -> Cluster:
    """Three kubeadm masters after a year: ten certificates each; a person renews them all."""
    for lab in cluster:
        lab.world.files, lab.world.containers = of_kubeadm(ends=NOW - 10 * MINUTE), ()
    together(cluster, 10, lambda _: ())
    return renew_all(cluster, of_kubeadm(ends=NOW + 365 * DAY))


def dead_neighbour(cluster: Cluster) -> Cluster:
    """The certificate of a member without an agent has expired; it is fixed there after six hours and a half."""
    *watched, unwatched = cluster
    unwatched.world.files = member(peer_ends=NOW - DAY)
    lines = of_members([2])(cluster)
    together(watched, 65, lines, seconds=360)
    unwatched.world.files = renewed()
    together(watched, 20, lines, seconds=60)
    return cluster


def user_of_three(cluster: Cluster) -> Cluster:
    """A user calls all API servers with an old kubeconfig for half an hour."""
    return together(cluster, 15, lambda _: [OF_A_USER], seconds=120)


def flood_of_three(cluster: Cluster) -> Cluster:
    """Six etcds on each master expire together."""
    for lab in cluster:
        lab.world.files = tuple(
            stored(
                PEERS_CA.leaf(f"etcd-{n}", not_after=NOW - DAY), f"/opt/etcd-{n}/peer.crt", plane="etcd", group=f"g{n}"
            )
            for n in range(6)
        )
    return together(cluster, 30, lambda _: [REFUSED.replace("etcd-a", f"etcd-{n}") for n in range(6)], seconds=5)


OF_THREE: Mapping[str, Callable[[Cluster], Cluster]] = {
    "three masters: the certificates of one have expired": one_of_three,
    "three masters: the certificates of all have expired": all_of_three,
    "three masters: the certificates of all have expired, certmedic restarts etcd-manager": all_of_three,
    "three masters: the certificates of all have expired, a person comes late": all_of_three_late,
    "three masters: the certificates of all have expired, their etcds start again and again": lambda cluster: starting(
        cluster, (0, 1, 2)
    ),
    "three masters: the certificates of one have expired, its etcd starts again and again": lambda cluster: starting(
        cluster, (1,)
    ),
    "three masters: the certificates of all have expired, the first master dies": first_dies,
    "three masters: the certificates of all expire in a month": warned_three,
    "three masters: the certificates of all expire in three minutes": warned_late,
    "three masters: the CA has expired": ca_of_three,
    "three masters: kubeadm after a year": kubeadm_of_three,
    "three masters: a member without an agent": dead_neighbour,
    "three masters: a user's old kubeconfig": user_of_three,
    "three masters: six etcds on each at once": flood_of_three,
}
BY_ITSELF = ("three masters: the certificates of all have expired, certmedic restarts etcd-manager",)
WITH_REMINDERS = ("three masters: a member without an agent",)  # the first reminder is the report


@functools.cache
def told(name: str) -> Sequence[Message]:
    """Return the messages of one story that one channel gets, in order; for three masters, those of one after those of another."""
    with tempfile.TemporaryDirectory() as folder:
        made: list[Lab] = []
        remind_every = timedelta(hours=6) if name in WITH_REMINDERS else timedelta(days=30)

        def lab(files: tuple[Stored, ...], *, mode: str = "remedy", **played: Any) -> Lab:
            config = Config(
                mode=mode,
                notify=Notify(group_for=timedelta(seconds=2), remind_every=remind_every),
                remedy=RemedyPolicy(verify_for=timedelta(seconds=30)),
            )
            made.append(Lab(Played(files=files, **played), Path(folder, f"state-{len(made)}"), config))
            return made[-1]

        try:
            if name in STORIES:
                return STORIES[name](lab).world.letters
            mode = "remedy" if name in BY_ITSELF else "notify"
            cluster = [lab(member(), mode=mode, host=host, address=at) for host, at in ADDRESSES.items()]
            for each in cluster:
                each.loop.started_at = NOW - 7 * DAY  # the agents ran before anything expired
                each.world.others = [other.world for other in cluster if other is not each]
            return [letter for each in OF_THREE[name](cluster) for letter in each.world.letters]
        finally:
            for each in made:
                each.store.close()


def text() -> str:
    """Return all messages of all stories."""
    parts = []
    for name in (*STORIES, *OF_THREE):
        letters = told(name)
        parts.append(f"{'=' * 20} {name}: {len(letters)}\n")
        parts += [f"[{letter.severity}] {letter.title}\n\n{letter.plain}\n{'-' * 20}\n" for letter in letters]
    return "\n".join(parts)


if __name__ == "__main__":
    DATA.write_text(text())
