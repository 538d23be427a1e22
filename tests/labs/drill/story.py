"""The timeline of `./dev drill`: the code of the agent on a scratch master, printed as it happens.

The agent sees only the machine of member a: the member's folder as `/`, its log, and one container that the drill's runtime can
restart. All output comes from the agent's state, with real times; nothing is scripted.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from certmedic.core.decision import explain
from certmedic.core.examine import stamp
from certmedic.core.model import Facts, Message, Origin, Severity, VoterList
from certmedic.edge import inbox, link
from certmedic.edge.actor import ActorClient
from certmedic.edge.facts.machine import Machine
from certmedic.edge.identity import Identity
from certmedic.edge.notify import AppriseNotifier
from certmedic.edge.os.owners import Judge, Tree
from certmedic.edge.static_pods import cluster_name
from certmedic.edge.store import Incident, Store
from certmedic.edge.wire import Watching
from certmedic.loop import Loop
from certmedic.ports import Channel, Delivered, World
from labs import AGENT, TESTS
from labs.activation import activated
from labs.drill import recorded
from labs.drill.actor import CONFIG, Runtime, machine_of, seen_by
from labs.drill.etcd import EtcdMissingError, find
from labs.drill.master import Master, Member, scratch_master
from labs.drill.timeline import HOST, INDENT, Say, Timeline

LIFE = 20.0  # life of the first certificates of member a, in seconds
PATIENCE = 90.0  # seconds for the whole story
TICK = 2.0  # seconds between two looks at the story
OLD = "keeps an expired file, as versions before 3.0.20200428 do"
NEW = "reissues at its start, as versions from 3.0.20200428 do"


@dataclass
class Eyes:
    """Gathers the files and listeners of member a and the container of the drill."""

    machine: Machine
    member: Member

    def gather(self, *, now: datetime, with_members: bool = False, nameless: bool = False) -> Facts:
        """Return the facts of the machine of member a. Other members are not asked."""
        ports = (self.member.peer_port, self.member.client_port)
        return seen_by(self.machine, self.member.container(), ports, now=now, nameless=nameless)

    def meet(self, known: Mapping[str, VoterList]) -> Mapping[str, VoterList]:
        """Return the known groups unchanged: the machine finds the only group itself."""
        return known

    def learn(self, origin: Origin) -> None:
        """Do nothing: the processes of the drill do not belong to the simulated machine."""

    def is_own_probe(self, address: str) -> bool:
        """Whether the agent used this address for a probe."""
        return self.machine.is_own_probe(address)


@dataclass
class Screen:
    """Delivers every message to the terminal and to the given addresses."""

    timeline: Timeline
    real: AppriseNotifier

    def channels(self, severity: Severity, tag: str = "") -> Sequence[Channel]:
        """Return the terminal and the given addresses."""
        return [Channel(id="screen", label="this terminal"), *self.real.channels(severity, tag)]

    def refresh(self) -> None:
        """Reload the given addresses."""
        self.real.refresh()

    def send_all(self, batch: Sequence[tuple[str, Message]]) -> Iterator[tuple[int, Delivered]]:
        """Print or send each message; yield its place in `batch` and the result."""
        for place, (channel, message) in enumerate(batch):
            if channel == "screen":
                self.timeline("message", f"{message.title}\n{message.plain}", "cyan")
                yield place, Delivered(ok=True)
                continue
            result = self.real.send(channel, message)
            how, colour = ("delivered", "green") if result.ok else ("NOT SENT", "red")
            self.timeline(how, f"{message.kind} to the address given {result.error}", colour)
            yield place, result


class Silent:
    """Drops journal entries: the timeline prints everything."""

    def emit(self, fields: Mapping[str, str]) -> None:
        """Do nothing."""


def play(*, old: bool, urls: Sequence[str], say: Say) -> int:
    """Run and print the story; return 0 if it ended as expected."""
    try:
        etcd = find()
    except EtcdMissingError as error:
        say(f"{error}\nSo this is NOT live. A recording of a real etcd follows, judged now.", bold=True)
        return recorded.play(say)
    timeline = Timeline(say)
    say(f"A scratch master with three real etcd members ({etcd}); member a's certificates live {LIFE:.0f} seconds.")
    say(f"Its etcd-manager is a stand-in that {OLD if old else NEW}.\n")
    with scratch_master(etcd, life=LIFE, keep_expired=old) as master:
        if not master.wait_healthy():
            say(f"etcd did not become healthy; its log: {master.members['a'].log}", colour="red")
            return 1
        timeline("healthy", "three members, certificates good")
        return watch(master, timeline, old=old, urls=urls)


def watch(master: Master, timeline: Timeline, *, old: bool, urls: Sequence[str]) -> int:
    """Run the agent on member a until the story is over."""
    member = master.members["a"]
    runtime, path = master.root / "runtime.sock", master.root / "actor.sock"
    Runtime(runtime, member).start()
    ports = (str(member.peer_port), str(member.client_port))
    command = [sys.executable, "-P", "-m", "labs.drill.actor", str(member.root), str(master.root / "actor")]
    world = World(
        senses=Eyes(machine_of(member.root), member),
        hands=ActorClient(str(path)),
        notifier=Screen(timeline, AppriseNotifier((), {}, urls)),
        journal=Silent(),
        host=HOST,
        identity=Identity(
            "", lambda: cluster_name(str(member.root), Judge(Tree(root=str(member.root), owner=os.geteuid())))
        ),
        boot_id="drill",
    )
    stop, box = threading.Event(), inbox.Inbox()
    with (
        activated(
            path,
            [*command, str(runtime), *ports],
            environment={"PYTHONPATH": f"{AGENT}:{TESTS}"},
            log=master.root / "actor.log",
        ),
        Store(master.root / "state.sqlite3") as store,
    ):
        loop = Loop(config=CONFIG, store=store, world=world, started_at=datetime.now(UTC), sources={})
        reader = link.Link(link.child, Watching(files=(str(member.log),)), {}, box, stop)
        reader.start()
        story = Story(timeline, store, master, old=old)
        loop.run(lambda seconds: box.drain(min(seconds, TICK)), lambda: datetime.now(UTC), story.goes_on)
        stop.set()
        reader.join()
        return story.end()


class Story:
    """Reads the state of the agent after each turn and prints new events."""

    def __init__(self, timeline: Timeline, store: Store, master: Master, *, old: bool) -> None:
        self.timeline, self.store, self.master, self.old = timeline, store, master, old
        self.member = master.members["a"]
        self.until = time.monotonic() + PATIENCE
        self.printed = 0  # events
        self.has_failed = False
        self.has_expired = False
        self.is_good = False
        self.ends = self.member.ends
        timeline("issued", f"{self.member.me} ends {stamp(self.ends)}")

    def goes_on(self) -> bool:
        """Print new events; return whether the story goes on."""
        if not self.has_expired and datetime.now(UTC) > self.ends:
            self.has_expired = True
            files = f"{self.member.me.name} and {self.member.server.name} of member a"
            self.timeline("EXPIRED", f"{files}; the sessions that are open live on", "red")
        for incident in self.store.incidents():
            if incident.id == 1:
                events = self.store.events(incident.id)
                if not self.has_failed and (folds := self.store.folds(incident.id)):
                    self.has_failed = True
                    self.timeline("failing line", f"{folds[0]['sample']}")
                for event in events[self.printed :]:
                    self.event(incident, str(event["what"]), str(event["said"]))
                self.printed = len(events)
        # The file cannot be read during a write of the stand-in.
        with contextlib.suppress(OSError, ValueError):
            if (ends := self.member.ends) > self.ends:
                self.ends = ends
                self.timeline("reissued", f"{self.member.me} now ends {stamp(ends)}", "green")
        return time.monotonic() < self.until

    def event(self, incident: Incident, what: str, text: str) -> None:
        """Print one event."""
        colour = {"resolved": "green", "failed": "red", "acted": "yellow"}.get(what)
        self.timeline({"opened": "sighting", "acted": "restart"}.get(what, what), text, colour)
        if what == "resolved":
            self.is_good = self.master.wait_healthy()
            answer, colour = ("yes", "green") if self.is_good else ("NO", "red")
            self.timeline("healthy", f"all three members answer: {answer}", colour)
            self.until = time.monotonic() + 1
        if what == "decided" and self.old and incident.decision is not None:
            for gate in incident.decision.gates:
                answer, colour = ("pass   ", None) if gate.passed else ("BLOCKED", "yellow")
                self.timeline.say(f"{INDENT}{answer} {gate.name:<11} {explain(gate)}", colour=colour)
            self.until = time.monotonic() + 3
            self.is_good = incident.decision.action is None

    def end(self) -> int:
        """Print the end of the story; return the exit code."""
        acts = len(self.store.acts())
        if self.old:
            why = "no blind restart was made: it would have kept the expired file, and taken the member down for good"
            return self.timeline.end(why if self.is_good and acts == 0 else "")
        return self.timeline.end("one restart, verified, resolved" if self.is_good and acts == 1 else "")
