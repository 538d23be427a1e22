"""A month of a master in compressed time, through the real source of the pods' logs, Loop, Store, Machine and Pulse.

DAYS FOLDER [trace]      prints a JSON object, or with "trace" also on stderr what grew

The clock of the loop is played; that of the source is the real one. Every ten minutes a pod of a CronJob comes and the oldest goes,
every hour a log is rotated, every six hours a container is restarted, every day the static pods get other uids. Once a day
strangers and the control plane log failures of all kinds from new addresses, and certificates expire and are renewed half an
hour later. The agent sends messages, and nobody acts on them.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import random
import shutil
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import lines
from certmedic.config import Certificates, Config, Metrics
from certmedic.core.model import Item, LogEntry, Message, Origin, Severity, Trust
from certmedic.core.symptoms import NEEDLES
from certmedic.edge import inbox
from certmedic.edge.facts.machine import Machine
from certmedic.edge.facts.programs import ProcessSeen
from certmedic.edge.facts.sight import Direct
from certmedic.edge.files import PodSource, tail
from certmedic.edge.identity import Identity
from certmedic.edge.os import memory
from certmedic.edge.store import Store
from certmedic.loop import Loop
from certmedic.ports import Channel, Delivered, World
from certmedic.pulse import Pulse
from labs.pki import authority
from labs.reading import read_on_thread

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
PODS = ("etcd-manager-main", "etcd-manager-events", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
KEPT = 3  # pods of the CronJob, and rotated files of a log
CHATTER = 20  # lines of each pod every ten minutes
CERTIFICATES = 12


@dataclass
class Outside:
    """A notifier that counts the messages of the agent and keeps none."""

    sent: int = 0
    entries: int = 0

    def refresh(self) -> None:
        """Nothing is read."""

    def channels(self, severity: Severity, tag: str = "") -> Sequence[Channel]:
        """Return the only channel."""
        return [Channel(id="good", label="json://good")]

    def send_all(self, batch: Sequence[tuple[str, Message]]) -> Iterator[tuple[int, Delivered]]:
        """Deliver all of it."""
        for place in range(len(batch)):
            self.sent += 1
            yield place, Delivered(ok=True)

    def emit(self, fields: Mapping[str, str]) -> None:
        """Count it."""
        self.entries += 1


class Bare(Direct):
    """Reads the files of this machine, and sees no program: that of the day has none, and /proc would be half of the work."""

    def programs(self) -> Sequence[ProcessSeen]:
        """See `Sight`."""
        return ()


@dataclass
class Month:
    """The master: its files, and what its programs log."""

    folder: Path
    now: datetime
    dice: random.Random = field(default_factory=lambda: random.Random(5))  # noqa: S311 - the same month each time
    written: int = 0  # lines into the logs of pods
    job: int = 0
    uids: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PODS, 0))
    restarts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PODS, 0))
    position: int = 0

    def __post_init__(self) -> None:
        self.logs, self.certs = self.folder / "pods", self.folder / "certs"
        self.logs.mkdir()
        self.certs.mkdir()
        self.ca = authority("etcd-peers-ca-main")
        self.ends: dict[int, datetime] = {}
        for number in range(CERTIFICATES):
            self.issue(number, hours=30 + 12 * number)

    def issue(self, number: int, hours: float = 168) -> None:
        """Issue or renew a certificate."""
        self.ends[number] = self.now + timedelta(hours=hours)
        leaf = self.ca.leaf(f"etcd-{number}", not_before=self.now - DAY, not_after=self.ends[number])
        new = self.certs / f".{number}"
        leaf.write(new)
        new.rename(self.certs / f"{number}.crt")

    def log(self, pod: str) -> Path:
        """Return the log of a pod's container that runs; its folder is made when needed."""
        home = self.logs / f"kube-system_{pod}-master-a_{self.uids.get(pod, 0):032x}" / pod
        home.mkdir(parents=True, exist_ok=True)
        return home / f"{self.restarts.get(pod, 0)}.log"

    def write(self, path: Path, template: str, count: int) -> None:
        """Append lines of one kind to a log."""
        with path.open("a") as log:
            for _ in range(count):
                text = lines.written(template, self.now, self.dice)
                log.write(f"{self.now:%Y-%m-%dT%H:%M:%S.%f}000Z stderr F {text}\n")
        self.written += count

    def ten_minutes(self, number: int) -> list[Item]:
        """Do what happens in ten minutes, the `number`th of the month; return what comes by the journal."""
        pod = PODS[number // 6 % len(PODS)]
        for name in PODS if number % 144 == 2 else ():  # their lines were read by now
            old = self.log(name).parent.parent
            self.uids[name] += 1
            self.restarts[name] = 0
            shutil.rmtree(old)
        for name in PODS:
            self.write(self.log(name), self.dice.choice(lines.CHATTER), CHATTER)
        self.job += 1
        self.write(self.log(f"nightly-{self.job}"), lines.CHATTER[8], CHATTER)
        shutil.rmtree(self.log(f"nightly-{self.job - KEPT}").parent.parent)
        if number % 6 == 0:
            self.rotate(self.log(pod))
        if number % 36 == 1:
            old = self.log(pod)
            self.restarts[pod] += 1
            for path in old.parent.glob(f"{self.restarts[pod] - 2}.log*"):
                path.unlink()
        for one, end in self.ends.items():
            if end + 3 * 10 * MINUTE < self.now:
                self.issue(one)
        return self.trouble() if number % 144 in (3, 4) else []

    def rotate(self, log: Path) -> None:
        """Rename a log as the kubelet does, and remove the oldest."""
        if log.exists():
            log.rename(log.with_name(f"{log.name}.{self.now:%Y%m%d-%H%M%S}"))
        for old in sorted(log.parent.glob(f"{log.name}.*"))[:-KEPT]:
            old.unlink()

    def trouble(self) -> list[Item]:
        """Return failures of all kinds, ten of each, from new addresses; strangers log them too."""
        items = list[Item]()
        for (program, template), _ in itertools.product(lines.KINDS, range(10)):
            address = f"10.{self.dice.randrange(256)}.{self.dice.randrange(256)}.{self.dice.randrange(256)}"
            text = (
                lines.written(template, self.now, self.dice).replace("10.0.0.2", address).replace("10.0.0.7", address)
            )
            text = text.replace("SN=4711", f"SN={self.dice.randrange(10**9)}")
            for trust in (Trust.SYSTEM, Trust.STRANGER):
                origin = Origin(
                    program=program,
                    unit=f"{program}.service" if trust is Trust.SYSTEM else "",
                    namespace="default",
                    pod="" if trust is Trust.SYSTEM else f"shop-{self.dice.randrange(10**6)}",
                    trust=trust,
                )
                self.position += 1
                at = self.now - timedelta(seconds=self.dice.uniform(0, 60))
                items.append(LogEntry(stream="journal", position=str(self.position), time=at, text=text, origin=origin))
        return items


def resident() -> float:
    """Return the MiB of memory that this process has for itself."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not say")


def main() -> None:
    """Play it."""
    memory.share_one_arena()  # as the service does
    memory.return_large_blocks()
    days, folder, traced = float(sys.argv[1]), Path(sys.argv[2]), "trace" in sys.argv
    start = datetime.now(UTC).replace(microsecond=0)
    month = Month(folder, start)
    os.environ["RUNTIME_DIRECTORY"] = str(folder)
    config = Config(
        mode="notify",
        state=folder / "state",
        certificates=Certificates(warn_days=(1,)),
        metrics=Metrics(textfile=folder / "metrics.prom"),
    )
    outside, senses = Outside(), Machine(globs=[f"{month.certs}/*.crt"], sight=Bare())
    world = World(
        senses=senses,
        hands=None,  # type: ignore[arg-type]  # nothing acts in this mode
        notifier=outside,
        journal=outside,
        host="master-a",
        identity=Identity("bench", str),
        boot_id="b",
    )
    tail.LINGER = 1.0  # of the real clock: in 60 s, for which a rotated file stays open, a day passes and rotates 24
    box, stop, seen = inbox.Inbox(), threading.Event(), list[dict[str, float]]()
    source = PodSource(NEEDLES, root=month.logs)
    with Store(config.state / "state.sqlite3") as store:
        read_on_thread([source], store.positions(), box.put, stop)
        loop = Loop(config=config, store=store, world=world, started_at=start, sources={"pods": True, "journal": True})
        pulse = Pulse(config=config, store=store, world=world, required=())
        memory.freeze()
        first: tracemalloc.Snapshot | None = None
        for number in range(int(days * 144)):
            items = month.ten_minutes(number)
            until = time.monotonic() + 60
            while source.read[0] < month.written and time.monotonic() < until:
                items += box.drain(0.02)
            if source.read[0] < month.written:
                raise RuntimeError(f"{month.written - source.read[0]} lines were not read")
            for _ in range(5):
                until_then = month.now + 2 * MINUTE
                items += box.drain(0)
                loop.step(items, month.now)
                items = []
                while (due := store.next_due()) is not None and due < until_then:
                    month.now = max(due, month.now)
                    loop.step([], month.now)
                month.now = until_then
                pulse.turn(loop, month.now, (month.now - start).total_seconds())
            if (number + 1) % 6 == 0:
                note(config.state, seen)
            if traced and number in (6 * 24 - 1, int(days * 144) - 1):
                gc.collect()
                if first is not None:
                    for line in tracemalloc.take_snapshot().compare_to(first, "lineno")[:25]:
                        sys.stderr.write(f"{line}\n")
                else:
                    tracemalloc.start(1)
                    first = tracemalloc.take_snapshot()
        stop.set()
        told = {
            "days": days,
            "lines": month.written,
            "incidents": len(store.incidents()),
            "open": len(store.incidents(unresolved=True)),
            "sent": outside.sent,
            "positions": len(store.positions()),
            "faults": dict(loop.faults),
            "hours": seen,
        }
    sys.stdout.write(json.dumps(told))


def note(state: Path, seen: list[dict[str, float]]) -> None:
    """Append the figures of an hour; print those of each day's end."""
    seen.append(figures(state))
    if len(seen) % 24 == 0:
        sys.stderr.write(f"day {len(seen) // 24}: {json.dumps(seen[-1])}\n")


def figures(state: Path) -> dict[str, float]:
    """Return what the process has now, and the MiB of its state on the disk."""
    return {
        "memory": resident(),
        "state": sum(path.stat().st_size for path in state.iterdir()) / 2**20,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
    }


main()
