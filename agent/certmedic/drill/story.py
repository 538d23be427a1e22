"""The time line of `certmedic drill`: the service's own code on a scratch master, told as it happens.

The agent sees member a's machine only: its folder as `/`, its log, and one container that the drill's runtime can restart. What is
printed is taken from the agent's own state, with real times; nothing of it is scripted.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from certmedic.config import Certificates, Config, Notify, RemedyPolicy
from certmedic.core import planes
from certmedic.core.decision import explain
from certmedic.core.examine import stamp
from certmedic.core.model import Container, Facts, Message, Origin, Severity, Told
from certmedic.core.origin import Trust
from certmedic.core.symptoms import NEEDLES
from certmedic.drill import pki
from certmedic.drill.etcd import EtcdMissingError, find
from certmedic.drill.master import Master, Member, scratch_master
from certmedic.edge import inbox
from certmedic.edge.facts import Machine
from certmedic.edge.files import FileSource
from certmedic.edge.notify import AppriseNotifier
from certmedic.edge.renew import Pen
from certmedic.edge.restart import RestartError
from certmedic.edge.service import Journal
from certmedic.edge.store import Incident, Store
from certmedic.loop import Loop
from certmedic.ports import Channel, Delivered, World

LIFE = 20.0  # seconds that member a's first certificates live
PATIENCE = 90.0  # seconds for the whole story

Say = Callable[..., None]


@dataclass
class Timeline:
    """What is printed, with the seconds since the start."""

    say: Say
    started: float = field(default_factory=time.monotonic)

    def __call__(self, what: str, text: str, colour: str | None = None) -> None:
        """Print one event; further lines of it are indented below the first."""
        first, *rest = text.split("\n")
        self.say(
            f"{time.monotonic() - self.started:6.1f} s  {datetime.now(UTC):%H:%M:%S}  {what:<13} {first}", colour=colour
        )
        for line in rest:
            self.say(f"{'':>34}{line}")


@dataclass
class Runtime:
    """The drill's container runtime: it restarts the stand-in of one member."""

    member: Member

    def restart(self, container: Container) -> str:
        """Restart member a, if that is what was meant."""
        if container.id != self.member.container().id:
            raise RestartError(f"{container.name} is not here any more")
        self.member.restart()
        return f"restarted {container.name}"


@dataclass
class Eyes:
    """What the agent can see: member a's files and listeners, and the drill's container."""

    machine: Machine
    member: Member

    def gather(self, *, now: datetime, with_members: bool = False, nameless: bool = False) -> Facts:  # noqa: ARG002 - the neighbours are no other machines
        """Return the facts of member a's machine."""
        ports = (self.member.peer_port, self.member.client_port)
        seen = self.machine.gather(now=now, ports=ports, nameless=nameless)
        # Whether a stranger's laptop keeps time, and which etcds it has of its own, is not what a drill is about.
        return replace(
            seen,
            served=tuple(one for one in seen.served if one.port in ports),
            containers=(self.member.container(),),
            host="drill-master-a",
            clock_synchronised=None,
        )

    def meet(self, known: Mapping[str, Told]) -> Mapping[str, Told]:
        """There is but one."""
        return known

    def learn(self, origin: Origin) -> None:
        """Nothing: the drill's processes are not the machine's."""

    def is_own_probe(self, address: str) -> bool:
        """Whether an address was the agent's own."""
        return self.machine.is_own_probe(address)


@dataclass
class Screen:
    """The channel of last resort: the messages in full, on the terminal; and for real where addresses were given."""

    timeline: Timeline
    real: AppriseNotifier

    def channels(self, severity: Severity, tag: str = "") -> Sequence[Channel]:
        """Return the terminal and the addresses given."""
        return [Channel(id="screen", label="this terminal"), *self.real.channels(severity, tag)]

    def refresh(self) -> None:
        """Read the files of channels."""
        self.real.refresh()

    def send_all(self, batch: Sequence[tuple[str, Message]]) -> Iterator[tuple[int, Delivered]]:
        """Print, or hand over."""
        for place, (channel, message) in enumerate(batch):
            yield place, self.send(channel, message)

    def send(self, channel: str, message: Message) -> Delivered:
        """Print one, or hand it over."""
        if channel != "screen":
            result = self.real.send(channel, message)
            how, colour = ("delivered", "green") if result.ok else ("NOT SENT", "red")
            self.timeline(how, f"{message.kind} to the address given {result.error}", colour)
            return result
        self.timeline("message", f"{message.title}\n{message.plain}", "cyan")
        return Delivered(ok=True)


def play(*, old: bool, urls: Sequence[str], say: Say) -> int:
    """Tell the story; return 0 if it ended as it should."""
    try:
        etcd = find()
    except EtcdMissingError as error:
        from certmedic.drill import recorded  # noqa: PLC0415 - only where there is no etcd

        say(f"{error}\nSo this is NOT live: what follows is recorded output of a real etcd, judged now.", bold=True)
        return recorded.play(say)
    timeline = Timeline(say)
    say(f"A scratch master with three real etcd members ({etcd}); member a's certificates live {LIFE:.0f} seconds.")
    say(
        f"Its etcd-manager is a stand-in that {'keeps an expired file, as versions before 3.0.20200428 do' if old else 'reissues at its start, as versions from 3.0.20200428 do'}.\n"
    )
    with scratch_master(etcd, life=LIFE, keep_expired=old) as master:
        if not master.wait_healthy():
            say(f"etcd did not become healthy; its log: {master.members['a'].log}", colour="red")
            return 1
        timeline("healthy", "three members, certificates good")
        return watch(master, timeline, old=old, urls=urls)


def watch(master: Master, timeline: Timeline, *, old: bool, urls: Sequence[str]) -> int:
    """Run the agent on member a until the story is over."""
    member = master.members["a"]
    config = Config(
        mode="remedy",
        certificates=Certificates(warn_days=()),  # of a life of seconds everybody was warned
        notify=Notify(group_for=timedelta(seconds=2)),
        remedy=RemedyPolicy(cooldown=timedelta(minutes=15), per_day=2, verify_for=timedelta(seconds=20)),
    )
    # No systemd and no kubelet starts the members: they are trusted as this user's own.
    machine = Machine(
        globs=planes.patterns(root=str(member.root)),
        root=str(member.root),
        owner=os.geteuid(),
        trusts=lambda process: Trust.SYSTEM if process.uid == os.geteuid() else Trust.STRANGER,
    )
    world = World(
        senses=Eyes(machine, member),
        hands=Runtime(member),
        pen=Pen(Path(master.root) / "backups", str(member.root), os.geteuid()),
        notifier=Screen(timeline, AppriseNotifier((), {}, urls)),
        journal=Quiet(),
        host="drill-master-a",
        boot_id="drill",
        drill=True,
    )
    stop, box = threading.Event(), inbox.Inbox()
    with Store(Path(master.root) / "state.sqlite3") as store:
        loop = Loop(config=config, store=store, world=world, started_at=datetime.now(UTC), sources={})
        inbox.start([FileSource(NEEDLES, globs=[str(member.log)])], {}, box, stop)
        teller = Teller(timeline, store, master, old=old)

        loop.run(box.drain, lambda: datetime.now(UTC), teller.going)
        stop.set()
        return teller.end()


class Quiet(Journal):
    """No journal: the time line tells everything."""

    def emit(self, fields: object) -> None:
        """Say nothing."""


class Teller:
    """Looks at the agent's state after each turn and tells what is new."""

    def __init__(self, timeline: Timeline, store: Store, master: Master, *, old: bool) -> None:
        self.timeline, self.store, self.master, self.old = timeline, store, master, old
        self.member = master.members["a"]
        self.until = time.monotonic() + PATIENCE
        self.told = 0
        self.expired = False
        self.over_at: float | None = None
        self.good = False
        self.ends = ends_of(self.member)
        timeline("issued", f"{self.member.me} ends {stamp(self.ends)}")

    def going(self) -> bool:
        """Tell what is new; whether the story goes on."""
        if not self.expired and datetime.now(UTC) > self.ends:
            self.expired = True
            self.timeline(
                "EXPIRED",
                f"{self.member.me.name} and {self.member.server.name} of member a; the sessions that are open live on",
                "red",
            )
        for incident in self.store.incidents():
            self.tell(incident)
        ends = ends_of(self.member)
        if ends > self.ends:
            self.ends = ends
            self.timeline("reissued", f"{self.member.me} now ends {stamp(ends)}", "green")
        now = time.monotonic()
        return now < self.until and (self.over_at is None or now < self.over_at)

    def tell(self, incident: Incident) -> None:
        """Tell the events of an incident that were not told yet."""
        events = self.store.events(incident.id)
        if incident.id == 1:
            for event in events[self.told :]:
                self.event(incident, str(event["what"]), str(event["said"]))
            self.told = len(events)

    def event(self, incident: Incident, what: str, said: str) -> None:
        """Tell one event."""
        if what == "opened":
            folds = self.store.folds(incident.id)
            if folds:
                self.timeline("failing line", f"{folds[0]['sample']}")
        colour = {"resolved": "green", "failed": "red", "acted": "yellow"}.get(what)
        self.timeline({"opened": "sighting", "acted": "restart"}.get(what, what), said, colour)
        if what == "resolved":
            self.good = self.master.wait_healthy()
            self.timeline(
                "healthy", f"all three members answer: {'yes' if self.good else 'NO'}", "green" if self.good else "red"
            )
            self.over_at = time.monotonic() + 1
        if what == "decided" and self.old and incident.decision is not None:
            for gate in incident.decision.gates:
                self.timeline.say(
                    f"{'':>34}{'pass   ' if gate.passed else 'BLOCKED'} {gate.name:<11} {explain(gate)}",
                    colour=None if gate.passed else "yellow",
                )
            self.over_at = time.monotonic() + 3
            self.good = incident.decision.action is None

    def end(self) -> int:
        """Say how it ended."""
        acts = self.store.acts()
        if self.old:
            right = self.good and not acts
            self.timeline(
                "the end",
                "no blind restart was made: it would have kept the expired file, and taken the member down for good"
                if right
                else "this is not how it should end",
                "green" if right else "red",
            )
        else:
            right = self.good and len(acts) == 1
            self.timeline(
                "the end",
                "one restart, verified, resolved" if right else "this is not how it should end",
                "green" if right else "red",
            )
        return 0 if right else 1


def ends_of(member: Member) -> datetime:
    """Return NotAfter of a member's peer certificate; the beginning of time while it is being written."""
    try:
        return pki.ends(x509.load_pem_x509_certificate(member.me.read_bytes()))
    except (OSError, ValueError):
        return datetime.min.replace(tzinfo=UTC)
