"""The log of a real etcd whose certificates expired, for machines without etcd.

Lines, certificates and times are those of the recording (README.md). The code of the agent judges them at every playback: no
verdict is recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from certmedic.core import certificates, diagnose, examine, message, planes, symptoms
from certmedic.core.model import (
    Cause,
    Diagnosis,
    Facts,
    Fold,
    LogEntry,
    MessageKind,
    Origin,
    Sighting,
    Stored,
    Suspect,
    Trust,
)
from labs.drill.timeline import HOST, NOT_RIGHT, Say, Timeline

FOLDER = Path(__file__).parent
STAMP = len("2026-11-24 15:30:16.608539")  # length of the timestamp in lines of etcd


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One drill: member a failed and was restarted; member b logged its view of that."""

    etcd: str  # version
    image: str  # image of the simulated etcd-manager
    addresses: Mapping[str, str]  # by member
    times: Mapping[str, datetime]  # started, healthy, restarted, cured
    logs: Mapping[str, str]  # by member
    before: Mapping[str, tuple[Stored, ...]]  # certificates by member, until the restart
    after: Mapping[str, tuple[Stored, ...]]

    def facts(self, member: str, at: datetime) -> Facts:
        """Return the recorded facts of a member's machine at a moment: its certificates."""
        cured = at >= self.times["cured"] and member in self.after
        return Facts(
            at=at,
            host=f"drill-master-{member}",
            addresses=frozenset({"127.0.0.1", self.addresses[member]}),
            stored=(self.after if cured else self.before)[member],
            images={"main": self.image},
        )

    def sightings(self, member: str) -> Iterator[Sighting]:
        """Yield the sightings in a member's log, in order."""
        origin = Origin(container="etcd-manager", path="/var/log/etcd.log", trust=Trust.SYSTEM)
        for line in self.logs[member].splitlines():
            try:
                moment = datetime.fromisoformat(line[:STAMP]).replace(tzinfo=UTC)
            except ValueError:
                continue  # no timestamp of etcd: raft and the manager log nothing about certificates
            entry = LogEntry(stream="recorded", position="", time=moment, text=line, origin=origin)
            if (sighting := symptoms.parse(entry)) is not None:
                yield sighting

    def first_verdict(self, member: str) -> tuple[Sighting, Diagnosis] | None:
        """Return a member's first sighting that is not known noise, with its diagnosis."""
        for sighting in self.sightings(member):
            moment = sighting.entry.time
            fold = Fold(sighting=sighting, count=1, first_seen=moment, last_seen=moment)
            if (verdict := diagnose.diagnose(fold, self.facts(member, moment))) is not None:
                return sighting, verdict
        return None


def load() -> Recording:
    """Read the recording."""
    about = json.loads((FOLDER / "about.json").read_text())
    return Recording(
        etcd=about["etcd"],
        image=about["image"],
        addresses=about["addresses"],
        times={name: datetime.fromisoformat(text) for name, text in about["times"].items()},
        logs={member: (FOLDER / f"{member}.log").read_text() for member in ("a", "b")},
        before={member: _stored(FOLDER / "before" / member) for member in ("a", "b")},
        after={"a": _stored(FOLDER / "after" / "a")},
    )


def _stored(root: Path) -> tuple[Stored, ...]:
    """Return the certificates below `root`, with paths as if `root` were the root of the machine."""
    return tuple(
        Stored(
            certificate=certificate,
            place=planes.place(certificate.path, certificate),
            modified=certificate.not_before,
            trust=Trust.SYSTEM,
        )
        for path in sorted(root.rglob("*.crt"))
        for certificate in certificates.parse(path.read_bytes(), f"/{path.relative_to(root)}")
    )


def play(say: Say) -> int:
    """Print the recorded story with its recorded times; return 0 if both verdicts are as expected."""
    recording = load()
    times, timeline = recording.times, Timeline(say)

    def tell(at: datetime, what: str, text: str, colour: str | None = None) -> None:
        timeline.print((at - times["started"]).total_seconds(), at, what, text, colour)

    def send(kind: MessageKind, at: datetime, outcome: str = "") -> None:
        written = message.compose(kind, verdict, incident=1, host=HOST, now=at, outcome=outcome)
        tell(at, "message", f"{written.title}\n{written.plain}", "cyan")

    say(
        f"RECORDED {times['started']:%Y-%m-%d}: three members of etcd {recording.etcd}; the times are those of the recording.\n"
    )
    own, other = recording.first_verdict("a"), recording.first_verdict("b")
    if own is None or other is None:
        say("Nothing was made of the recording: this is a fault of certmedic.", colour="red")
        return 1
    (sighting, verdict), (their_sighting, their_verdict) = own, other
    seen_at, their_time, cured_at = sighting.entry.time, their_sighting.entry.time, times["cured"]
    tell(times["healthy"], "healthy", "three members, certificates good")
    paths = [certificate.path for certificate in verdict.certificates]
    if verdict.since is not None:
        tell(verdict.since, "EXPIRED", ", ".join(paths), "red")
    tell(seen_at, "failing line", sighting.entry.text)
    tell(seen_at, "sighting", f"{verdict.cause}, {verdict.suspect}: {verdict.evidence[0]}")
    send(MessageKind.OPENED, seen_at)
    tell(their_time, "neighbour", f"member b says: {their_sighting.entry.text}")
    tell(their_time, "neighbour", f"{their_verdict.cause}, {their_verdict.suspect}: nothing is restarted there")
    tell(times["restarted"], "restart", "of member a's etcd-manager", "yellow")
    good, reason = examine.healthy(paths, recording.facts("a", cured_at))
    tell(cured_at, "reissued", reason, "green" if good else "red")
    if good:
        send(MessageKind.RESOLVED, cured_at, reason)
    verdicts = [(judged.cause, judged.suspect) for judged in (verdict, their_verdict)]
    right = good and verdicts == [(Cause.EXPIRED, Suspect.OWN), (Cause.EXPIRED, Suspect.PEER)]
    tell(cured_at, "the end", "recorded, not live" if right else NOT_RIGHT, "green" if right else "red")
    return 0 if right else 1
