"""Recorded output of a real etcd whose certificates ran out, for machines without one; judged anew each time it is played.

The lines and certificates are those of the recording (README.md), and so are all times. What they mean is worked out by the same
code as the service's: nothing of the verdict is recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
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
    Message,
    MessageKind,
    Origin,
    Sighting,
    Stored,
    Suspect,
    Trust,
)

FOLDER = Path(__file__).parent
HOST = "drill-master-a"
STAMP = len("2026-11-24 15:30:16.608539")  # at the head of each of etcd's lines

Say = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One drill: member a fell ill and was restarted, member b looked on."""

    etcd: str  # version
    image: str  # of the etcd-manager for which the stand-in stood
    addresses: Mapping[str, str]  # by member
    times: Mapping[str, datetime]  # started, healthy, restarted, cured
    logs: Mapping[str, str]  # by member
    before: Mapping[str, tuple[Stored, ...]]  # certificates by member, until the restart
    after: Mapping[str, tuple[Stored, ...]]

    def facts(self, member: str, at: datetime) -> Facts:
        """Return what was so on a member's machine at a moment, as far as it was recorded: its certificates."""
        cured = at >= self.times["cured"] and member in self.after
        return Facts(
            at=at,
            host=f"drill-master-{member}",
            addresses=frozenset({"127.0.0.1", self.addresses[member]}),
            stored=(self.after if cured else self.before)[member],
            images={"main": self.image},
        )

    def sightings(self, member: str) -> Iterator[Sighting]:
        """Yield what a member's log says of certificates, in order."""
        origin = Origin(container="etcd-manager", path="/var/log/etcd.log", trust=Trust.SYSTEM)
        for line in self.logs[member].splitlines():
            try:
                moment = datetime.fromisoformat(line[:STAMP]).replace(tzinfo=UTC)
            except ValueError:
                continue  # not one of etcd's: raft and the manager say nothing of certificates
            found = symptoms.parse(LogEntry(stream="recorded", position="", time=moment, text=line, origin=origin))
            if found is not None:
                yield found

    def first_verdict(self, member: str) -> tuple[Sighting, Diagnosis] | None:
        """Return a member's first sighting that is no known noise, with what is behind it."""
        for sighting in self.sightings(member):
            moment = sighting.entry.time
            fold = Fold(sighting=sighting, count=1, first_seen=moment, last_seen=moment)
            found = diagnose.diagnose(fold, self.facts(member, moment))
            if found is not None:
                return sighting, found
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
    """Return the certificates below `root` as if that were the root of the machine."""
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
    """Tell the recorded story, with its own times; return 0 if both verdicts are as they should be."""
    recording = load()
    times = recording.times

    def tell(at: datetime, what: str, text: str, colour: str | None = None) -> None:
        first, *rest = text.split("\n")
        since = (at - times["started"]).total_seconds()
        say(f"{since:6.1f} s  {at:%H:%M:%S}  {what:<13} {first}", colour=colour)
        for line in rest:
            say(f"{'':>34}{line}")

    def told(kind: MessageKind, verdict: Diagnosis, at: datetime, outcome: str = "") -> Message:
        return message.compose(kind, verdict, incident=1, host=HOST, now=at, outcome=outcome, drill=True)

    say(
        f"RECORDED {times['started']:%Y-%m-%d}: three members of etcd {recording.etcd}; the times are those of the recording.\n"
    )
    own, others = recording.first_verdict("a"), recording.first_verdict("b")
    if own is None or others is None:
        say("Nothing was made of the recording: this is a fault of certmedic.", colour="red")
        return 1
    (sighting, verdict), (their_sighting, their_verdict) = own, others
    seen_at, cured_at = sighting.entry.time, times["cured"]
    tell(times["healthy"], "healthy", "three members, certificates good")
    if verdict.since is not None:
        tell(verdict.since, "EXPIRED", ", ".join(one.path for one in verdict.certificates), "red")
    tell(seen_at, "failing line", sighting.entry.text)
    tell(seen_at, "sighting", f"{verdict.cause}, {verdict.suspect}: {verdict.evidence[0]}")
    written = told(MessageKind.OPENED, verdict, seen_at)
    tell(seen_at, "message", f"{written.title}\n{written.plain}", "cyan")
    tell(their_sighting.entry.time, "neighbour", f"member b says: {their_sighting.entry.text}")
    tell(
        their_sighting.entry.time,
        "neighbour",
        f"{their_verdict.cause}, {their_verdict.suspect}: nothing is restarted there",
    )
    tell(times["restarted"], "restart", "of member a's etcd-manager", "yellow")
    good, said = examine.healthy([one.path for one in verdict.certificates], recording.facts("a", cured_at))
    tell(cured_at, "reissued", said, "green" if good else "red")
    if good:
        written = told(MessageKind.RESOLVED, verdict, cured_at, said)
        tell(cured_at, "message", f"{written.title}\n{written.plain}", "cyan")
    right = (
        good
        and (verdict.cause, verdict.suspect) == (Cause.EXPIRED, Suspect.OWN)
        and (their_verdict.cause, their_verdict.suspect) == (Cause.EXPIRED, Suspect.PEER)
    )
    tell(
        cured_at,
        "the end",
        "recorded, not live" if right else "this is not how it should end",
        "green" if right else "red",
    )
    return 0 if right else 1
