"""An agent on a simulated machine: simulated files, restarts, channels and time, and a real store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from certmedic.actor.ports import Aside, Renewed
from certmedic.actor.record import Record
from certmedic.actor.restart import RestartError
from certmedic.actor.verbs import Actor, Body, Caller, policy_for
from certmedic.config import Config, policy_of
from certmedic.core.decision import away
from certmedic.core.lease import Access
from certmedic.core.means import Means
from certmedic.core.model import (
    Action,
    Container,
    Facts,
    FileFault,
    Item,
    Lease,
    Member,
    Message,
    MessageKind,
    Origin,
    Program,
    Served,
    Severity,
    Silence,
    Stored,
    Trust,
    VoterList,
)
from certmedic.core.request import Release, Reply, Request, Take, Undo, cure_of, pack, parse
from certmedic.edge.identity import Identity
from certmedic.edge.notify import AppriseNotifier
from certmedic.edge.store import Incident, Store
from certmedic.loop import Loop
from certmedic.ports import Channel, Delivered, World
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
    """Return the files of a member whose peer certificate has expired."""
    return member(peer_ends=NOW - DAY)


def group(*, a: str, b: str, c: str) -> tuple[Member, ...]:
    """Return the three members with the certificates that they serve: "good", "expired", or none."""
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
    """A simulated machine, with its restarts and channels: settings of the test, and a record of the requests."""

    files: tuple[Stored, ...] = ()
    containers: tuple[Container, ...] = (container(),)
    renews: bool = True
    lease: str = ""  # state of the lease in etcd; empty: it is never asked for
    released: list[str] = field(default_factory=list)
    keeps: bool = False  # a restart keeps existing files, like an old manager
    fails: str = ""
    unable: str = ""  # why no actor acts for this agent
    dead: set[str] = field(default_factory=set)
    members: tuple[Member, ...] = ()
    rosters: dict[str, VoterList] = field(default_factory=dict)  # the member lists of etcd
    met: list[dict[str, VoterList]] = field(default_factory=list)  # the member lists known before each request
    shutdown_at: datetime | None = None  # of this machine
    idle: tuple[str, ...] = ()  # files that no listener serves
    programs: tuple[Program, ...] = ()
    signable: frozenset[str] = frozenset()
    renewed: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    aside: dict[str, Stored] = field(default_factory=dict)
    restarts: list[Container] = field(default_factory=list)
    sent: list[tuple[str, MessageKind]] = field(default_factory=list)
    letters: list[Message] = field(default_factory=list)  # those that the first channel took
    journal: list[Mapping[str, str]] = field(default_factory=list)
    faults: tuple[FileFault, ...] = ()
    host: str = "master-a"
    address: str = "10.0.0.1"
    others: Sequence[Played] = ()  # the other masters of its group, if they are simulated too
    down: bool = False  # its etcd is being restarted
    away: Mapping[str, datetime] = field(default_factory=dict)  # as in `Facts`

    def gather(self, *, now: datetime, with_members: bool = False, nameless: bool = False) -> Facts:
        leaves = [s for s in self.files if not s.certificate.is_ca and s.certificate.path not in self.idle]
        served = tuple(
            Served(address="127.0.0.1", port=p, certificate=s.certificate, trust=Trust.SYSTEM)
            for s in leaves
            for p in s.place.ports
        )
        members = (self.members or self.seen_members()) if with_members else ()
        self.away = away(members, self.away, now) if with_members else self.away
        looked = facts(
            self.files,
            at=now,
            containers=self.containers,
            served=served,
            members=members,
            shutdown_at=self.shutdown_at,
            signable=self.signable,
            programs=self.programs,
            peers=frozenset({"10.0.0.1", "10.0.0.2", "10.0.0.3"} - {self.address}),
            names={other.address: other.host.replace("master", "etcd") for other in self.others},
        )
        own = frozenset({"127.0.0.1", self.address})
        return replace(
            looked, host=self.host, faults=self.faults, addresses=own, away=self.away if with_members else {}
        )

    def seen_members(self) -> tuple[Member, ...]:
        """Return the members of the group as handshakes show them; none if no other master is simulated, or while its etcd is down."""
        return tuple(
            Member(
                name=world.host.replace("master", "etcd"),
                group=file.place.group,
                address=world.address,
                port=2380,
                verified=not world.down,
                serves=None if world.down else file.certificate,
                is_self=world is self,
                dialled=world.address,
            )
            for world in ((self, *self.others) if self.others and not self.down else ())
            for file in world.files
            if file.place.use == "peer"
        )

    def learn(self, origin: Origin) -> None:
        pass

    def meet(self, known: Mapping[str, VoterList]) -> dict[str, VoterList]:
        self.met.append(dict(known))
        return {**known, **self.rosters}

    def take(self, group: str, access: Access) -> Lease:
        return Lease(state=self.lease, why=f"the lease is {self.lease}")

    def release(self, group: str, access: Access) -> None:
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
            there = {file.certificate.path for file in self.files}
            self.files += tuple(file for file in member() if file.certificate.path not in there)
        elif self.renews:
            self.files = k3s(NOW + 300 * DAY) if self.files[0].place.plane == "k3s" else member()
        return f"restarted {target.name}"

    def renew(self, stored: Stored, *, now: datetime, about_to: Callable[[Renewed], None]) -> Renewed:
        """Renew a file; it stays unchanged unless `renews`."""
        path = stored.certificate.path
        renewed = Renewed(path=path, backup=f"{path}.old", not_after=now, ca_path="ca.crt", fingerprint="f")
        about_to(renewed)
        self.renewed.append(path)
        if self.renews:
            both = zip(self.files, member(), strict=True)
            self.files = tuple(fresh if fresh.certificate.path == path else old for old, fresh in both)
        return renewed

    def undo(self, renewed: Renewed) -> None:
        self.undone.append(renewed.path)

    def plan_aside(self, stored: Stored) -> Aside:
        return Aside(path=stored.certificate.path, backup=f"{stored.certificate.path}.old", fingerprint="f")

    def move_aside(self, aside: Aside) -> None:
        gone = [file for file in self.files if file.certificate.path == aside.path]
        if gone:
            self.aside[aside.path] = gone[0]
            self.files = tuple(file for file in self.files if file not in gone)

    def put_back(self, aside: Aside) -> bool:
        if any(file.certificate.path == aside.path for file in self.files):
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
                self.letters += [message] if channel == "good" else []
            yield place, Delivered(ok=False, error="refused") if channel in self.dead else Delivered(ok=True)

    def emit(self, fields: Mapping[str, str]) -> None:
        self.journal.append(fields)

    def kinds(self, channel: str = "good") -> list[MessageKind]:
        return [kind for to, kind in self.sent if to == channel]


class Reached(Played):
    """A simulated machine that really delivers its messages."""

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
class Asked:
    """The real actor on the simulated machine, in this process and in the time of the lab."""

    lab: Lab

    def actor(self) -> Actor:
        folder = self.lab.path.with_suffix(".actor")
        folder.mkdir(exist_ok=True)
        world = self.lab.world
        return Actor(
            Body(eyes=Own(world), restarts=world, files=world, lock=world, boot_id="b"),
            Record(folder),
            policy_for(policy_of(self.lab.config)),
            verify_for=self.lab.config.remedy.verify_for,
            entries=world,
            now=lambda: self.lab.now,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        self.lab.now += timedelta(seconds=seconds)

    def ask(self, request: Request) -> Reply:
        return self.actor().answer(parse(pack(request)), Caller(uid=0, pid=1))

    def cure(self, ref: int, action: Action) -> Reply:
        return self.ask(cure_of(ref, action))

    def undo(self, ref: int) -> Reply:
        return self.ask(Undo(ref=ref))

    def take(self, group: str) -> Lease:
        reply = self.ask(Take(group=group))
        return reply.lease or Lease(state="none", why=reply.why)

    def release(self, group: str) -> None:
        self.ask(Release(group=group))


@dataclass
class Own:
    """The actor's own eyes on the simulated machine, which knows all members."""

    world: Played

    def gather(self, *, now: datetime, with_members: bool = False, nameless: bool = False) -> Facts:
        return self.world.gather(now=now, with_members=with_members, nameless=nameless)

    def meet(self, known: Mapping[str, VoterList]) -> Mapping[str, VoterList]:
        return known


@dataclass
class Lab:
    """An agent on a simulated machine, and its time."""

    world: Played
    path: Path
    config: Config
    now: datetime = NOW
    position: int = 0
    identity: Identity = field(default_factory=lambda: Identity("", lambda: ""))
    sources: dict[str, bool] = field(default_factory=lambda: {"journal": True, "docker": False, "certificates": False})

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start the agent, or restart it after a kill."""
        self.store = Store(self.path)
        self.hands = Asked(self)
        world = World(
            senses=self.world,
            hands=self.hands,
            notifier=self.world,
            journal=self.world,
            host=self.world.host,
            identity=self.identity,
            boot_id="b",
            unable=self.world.unable,
            lock=self.hands if self.world.lease else None,
        )
        self.loop = Loop(
            config=self.config,
            store=self.store,
            world=world,
            started_at=self.now,
            sources=self.sources,
        )
        self.hands.actor().take_up()  # systemd starts it again at once

    def kill(self) -> None:
        """Drop the agent as SIGKILL does: only the state file is left."""
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
        """Whether a certificate file of this machine has expired."""
        certificates = [file.certificate for file in self.world.files]
        return any(not certificate.is_ca and certificate.not_after < NOW for certificate in certificates)

    def suffer(self, turns: int) -> None:
        """Take turns; each logs the failure as long as a certificate has expired."""
        for _ in range(turns):
            line = K3S_REFUSED if self.world.files[0].place.plane == "k3s" else REFUSED
            self.step(*([line] if self.ails else []))

    def hush(self, *, hours: float = 2.0, **what: Any) -> None:
        """Begin a silence at the lab's present time."""
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
    """Return a lab with an old manager; moving the expired files aside cures it."""
    usual: dict[str, Any] = {
        "containers": (container(image=OLD_IMAGE),),
        "signable": BOTH,
        "keeps": True,
        "remedy": {"reissue": True},
    }
    return lab(member(peer_ends=NOW - DAY, server_ends=NOW - DAY), **{**usual, **changed})


def renewed_by(lab: Callable[..., Lab], kind: str) -> Lab:
    """Return a lab with one expired certificate that a unit or a command renews."""
    if kind == "unit":
        return lab(k3s(), containers=(unit(),), remedy={"restart": ("k3s",)})
    return lab(kubeadm(), containers=(), remedy={"restart": ("kubeadm",), "means": (COMMAND,)})
