"""An agent on a machine that is played: its files, its hands and its channels, on a real store, in a time of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from certmedic.config import Config
from certmedic.core.lease import Access
from certmedic.core.means import Means
from certmedic.core.model import (
    Container,
    Facts,
    Item,
    Lease,
    Member,
    Message,
    MessageKind,
    Origin,
    Served,
    Severity,
    Silence,
    Stored,
    Told,
    Trust,
)
from certmedic.edge.notify import AppriseNotifier
from certmedic.edge.restart import RestartError
from certmedic.edge.store import Incident, Store
from certmedic.loop import Loop
from certmedic.ports import Aside, CertificateFiles, Channel, Delivered, Renewed, World
from labs.values import DAY, NOW, OLD_IMAGE, VOLUME, container, entry, facts, k3s, kubeadm, member, unit

REFUSED = (
    'embed: rejected connection from "10.0.0.2:{}" (error "remote error: tls: bad certificate", ServerName "etcd-a")'
)
REFUSING = (
    'embed: rejected connection from "10.0.0.2:{}" (error "tls: failed to verify client certificate: x509: certificate has expired'
    ' or is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-11-19T15:30:41Z", ServerName "etcd-a")'
)
K3S_REFUSED = (
    "http: TLS handshake error from 127.0.0.1:{}: tls: failed to verify certificate: x509: certificate has expired or is not yet"
    " valid: current time 2026-11-24T15:40:00Z is after 2026-11-23T15:40:00Z"
)
OWN_TIME = '2026-11-24 15:32:44.{:06} W | embed: rejected connection from "10.0.0.2:41001" (error "remote error: tls: bad certificate", ServerName "etcd-a")'
ME, SERVER = f"{VOLUME}/peers/me.crt", f"{VOLUME}/clients/server.crt"
BOTH = frozenset({ME, SERVER})
COMMAND = Means(renewer="kubeadm", command=("/usr/local/sbin/renew", "all etcd"), renews=True)


def sick() -> tuple[Stored, ...]:
    """The files of a member whose peer certificate has expired."""
    return member(peer_ends=NOW - DAY)


def group(*, a: str, b: str, c: str) -> tuple[Member, ...]:
    """The three members as their handshakes show them: "good", "expired", or nothing."""
    good, bad = (member(peer_ends=ends)[0].certificate for ends in (NOW + 300 * DAY, NOW - DAY))
    shown = {"good": good, "expired": bad, "gone": None}
    return tuple(
        Member(
            name=f"etcd-{n}",
            group="main",
            address=n,
            port=2380,
            verified=True,
            serves=shown[how],
            refused=how == "gone",
            is_self=n == "a",
        )
        for n, how in (("a", a), ("b", b), ("c", c))
    )


@dataclass
class Played:
    """A machine, its hands and its channels: what they are told to be, and what was asked of them."""

    files: tuple[Stored, ...] = ()
    containers: tuple[Container, ...] = (container(),)
    renews: bool = True
    lease: str = ""  # what etcd says of it; empty: nobody asks
    released: list[str] = field(default_factory=list)
    keeps: bool = False  # what is there, as an old manager does
    fails: str = ""
    dead: set[str] = field(default_factory=set)
    members: tuple[Member, ...] = ()
    told: dict[str, Told] = field(default_factory=dict)  # who the members are, as etcd says
    met: list[dict[str, Told]] = field(default_factory=list)  # what was known of them before it was asked
    idle: tuple[str, ...] = ()  # files that nothing shows
    signable: frozenset[str] = frozenset()
    renewed: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    aside: dict[str, Stored] = field(default_factory=dict)
    restarts: list[Container] = field(default_factory=list)
    sent: list[tuple[str, MessageKind]] = field(default_factory=list)
    journal: list[Mapping[str, str]] = field(default_factory=list)

    def gather(self, *, now: datetime, with_members: bool = False, nameless: bool = False) -> Facts:
        leaves = [s for s in self.files if not s.certificate.is_ca and s.certificate.path not in self.idle]
        served = tuple(
            Served(address="127.0.0.1", port=p, certificate=s.certificate, trust=Trust.SYSTEM)
            for s in leaves
            for p in s.place.ports
        )
        members = self.members if with_members else ()
        return facts(
            self.files,
            at=now,
            containers=self.containers,
            served=served,
            members=members,
            signable=self.signable,
            peers=frozenset({"10.0.0.2", "10.0.0.3"}),
        )

    def learn(self, origin: Origin) -> None:
        pass

    def meet(self, known: Mapping[str, Told]) -> dict[str, Told]:
        self.met.append(dict(known))
        return {**known, **self.told}

    def take(self, group: str, access: Access) -> Lease:
        return Lease(state=self.lease, why=f"the lease is {self.lease}")

    def release(self, group: str) -> None:
        self.released.append(group)

    def is_own_probe(self, address: str) -> bool:
        return address == "127.0.0.1:9"

    def restart(self, target: Container) -> str:
        self.restarts.append(target)
        if self.fails:
            raise RestartError(self.fails)
        if target.runtime == "docker":
            self.containers = (container(number="c2", image=target.image),)
        elif target.runtime == "systemd":
            self.containers = (replace(target, invocation=f"{target.invocation}+"),)
        if self.renews and self.keeps:
            there = {one.certificate.path for one in self.files}
            self.files += tuple(one for one in member() if one.certificate.path not in there)
        elif self.renews:
            self.files = k3s(NOW + 300 * DAY) if self.files[0].place.plane == "k3s" else member()
        return f"restarted {target.name}"

    def renew(self, one: Stored, *, now: datetime, about_to: Callable[[Renewed], object]) -> None:
        """Renew a file; where nothing renews, it reads as before."""
        path = one.certificate.path
        about_to(Renewed(path=path, backup=f"{path}.old", not_after=now, ca_path="ca.crt", fingerprint="f"))
        self.renewed.append(path)
        if self.renews:
            both = zip(self.files, member(), strict=True)
            self.files = tuple(fresh if fresh.certificate.path == path else old for old, fresh in both)

    def undo(self, renewed: Renewed) -> None:
        self.undone.append(renewed.path)

    def plan_aside(self, one: Stored) -> Aside:
        return Aside(path=one.certificate.path, backup=f"{one.certificate.path}.old", fingerprint="f")

    def move_aside(self, aside: Aside) -> None:
        gone = [one for one in self.files if one.certificate.path == aside.path]
        if gone:
            self.aside[aside.path] = gone[0]
            self.files = tuple(one for one in self.files if one not in gone)

    def put_back(self, aside: Aside) -> bool:
        if any(one.certificate.path == aside.path for one in self.files):
            return False
        self.files = (self.aside.pop(aside.path), *self.files)
        self.undone.append(aside.path)
        return True

    def refresh(self) -> None:
        pass

    def channels(self, severity: Severity, tag: str = "") -> Sequence[Channel]:
        return [Channel(id="good", label="json://good"), Channel(id="other", label="json://other")]

    def send_all(self, batch: Sequence[tuple[str, Message]]) -> Iterator[tuple[int, Delivered]]:
        for place, (channel, message) in enumerate(batch):
            if channel not in self.dead:
                self.sent.append((channel, message.kind))
            yield place, Delivered(ok=False, error="refused") if channel in self.dead else Delivered(ok=True)

    def emit(self, fields: Mapping[str, str]) -> None:
        self.journal.append(fields)

    def kinds(self, channel: str = "good") -> list[MessageKind]:
        return [kind for to, kind in self.sent if to == channel]


class Reached(Played):
    """A played machine whose messages go out for real."""

    def __init__(self, *urls: str, **played: Any) -> None:
        super().__init__(**played)
        self.way = AppriseNotifier([], {}, urls)

    def refresh(self) -> None:
        self.way.refresh()

    def channels(self, severity: Severity, tag: str = "") -> Sequence[Channel]:
        return self.way.channels(severity, tag)

    def send_all(self, batch: Sequence[tuple[str, Message]]) -> Iterator[tuple[int, Delivered]]:
        return self.way.send_all(batch)


@dataclass
class Lab:
    """An agent on a played machine, and its time."""

    world: Played
    path: Path
    config: Config
    now: datetime = NOW
    position: int = 0
    sources: dict[str, bool] = field(default_factory=lambda: {"journal": True, "docker": False, "certificates": False})

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start the agent, or start it anew after a kill."""
        self.store = Store(self.path)
        world = World(
            senses=self.world,
            hands=self.world,
            pen=cast("CertificateFiles", self.world),
            notifier=self.world,
            journal=self.world,
            host="master-a",
            boot_id="b",
            lock=self.world if self.world.lease else None,
        )
        self.loop = Loop(
            config=self.config,
            store=self.store,
            world=world,
            started_at=self.now,
            sources=self.sources,
        )

    def kill(self) -> None:
        """What `kill -9` leaves: the file."""
        self.store.close()
        self.begin()

    def step(self, *texts: str, seconds: float = 1.0, at: datetime | None = None, stream: str = "journal") -> None:
        self.now += timedelta(seconds=seconds)
        items: list[Item] = []
        for text in texts:
            self.position += 1
            items.append(
                replace(
                    entry(text.format(40000 + self.position), at=at or self.now, stream=stream),
                    position=str(self.position),
                )
            )
        self.loop.step(items, self.now)

    def go(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.step()

    def incidents(self) -> list[Incident]:
        return self.store.incidents()

    @property
    def ails(self) -> bool:
        """Whether a certificate of this machine has expired, and is there."""
        certificates = [one.certificate for one in self.world.files]
        return any(not one.is_ca and one.not_after < NOW for one in certificates)

    def suffer(self, turns: int) -> None:
        """Take turns in which the failure is logged, as long as there is a reason for it."""
        for _ in range(turns):
            line = K3S_REFUSED if self.world.files[0].place.plane == "k3s" else REFUSED
            self.step(*([line] if self.ails else []))

    def hush(self, *, hours: float = 2.0, **what: Any) -> None:
        """Begin a silence, in the lab's time."""
        asked: dict[str, Any] = {
            "cause": "",
            "file": "",
            "plane": "",
            "author": "alice",
            "comment": "known",
            "starts_at": self.now,
        }
        with self.store.transaction():
            self.store.silence(Silence(id=0, ends_at=self.now + timedelta(hours=hours), **(asked | what)), now=self.now)


def old_manager(lab: Callable[..., Lab], **changed: Any) -> Lab:
    """A lab with an old manager, which may be helped by moving the expired files aside."""
    usual: dict[str, Any] = {
        "containers": (container(image=OLD_IMAGE),),
        "signable": BOTH,
        "keeps": True,
        "remedy": {"reissue": True},
    }
    return lab(member(peer_ends=NOW - DAY, server_ends=NOW - DAY), **{**usual, **changed})


def renewed_by(lab: Callable[..., Lab], kind: str) -> Lab:
    """A lab whose one expired certificate is renewed by a unit, or by a command."""
    if kind == "unit":
        return lab(k3s(), containers=(unit(),), remedy={"restart": ("k3s",)})
    return lab(kubeadm(), containers=(), remedy={"restart": ("kubeadm",), "means": (COMMAND,)})
