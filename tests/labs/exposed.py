"""The state of agents at one moment, for their metrics: incidents, actions, and a master that has every trouble at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from certmedic.core.incident import Act, ActState, Incident, IncidentState
from certmedic.core.model import (
    Action,
    Cause,
    Confidence,
    Decision,
    Diagnosis,
    FileFault,
    Gate,
    Helps,
    Place,
    Remedy,
    RemedyKind,
    Revocations,
    Served,
    Stored,
    Suspect,
    Trust,
)
from certmedic.edge.metrics import Numbers
from labs.pki import authority
from labs.values import DAY, NOW, VOLUME, facts, stored


def incident(
    number: int = 1,
    *,
    suspect: Suspect = Suspect.OWN,
    closed: Sequence[str] = ("mode", "fresh"),
    opened_at: datetime = NOW,
    cause: Cause = Cause.EXPIRED,
) -> Incident:
    """Return an open incident of etcd main, and a decision that these closed gates forbid."""
    diagnosis = Diagnosis(
        key=str(number),
        cause=cause,
        suspect=suspect,
        confidence=Confidence.PROVEN,
        certificates=(),
        evidence=("x",),
        effect="",
        remedy=Remedy(kind=RemedyKind.RESTART, helps=Helps.YES, why=""),
        plane="kops",
        group="main",
    )
    return Incident(
        id=number,
        key=str(number),
        state=IncidentState.OPEN,
        diagnosis=diagnosis,
        decision=Decision(reason="", gates=tuple(Gate(name=name, passed=False, why="") for name in closed)),
        opened_at=opened_at,
        announced_at=None,
        last_seen=opened_at,
        resolved_at=None,
        count=1,
    )


def act(
    state: ActState, kind: RemedyKind = RemedyKind.RESTART, ended_at: datetime | None = None, at: datetime = NOW
) -> Act:
    """Return an action on record."""
    return Act(
        id=1,
        incident=1,
        target="kops/main",
        action=Action(kind=kind, container=None, watched=()),
        state=state,
        boot_id="b",
        at=at,
        ended_at=ended_at,
        detail="",
        undo=(),
    )


class Troubled:
    """A master that has every trouble at once, with certificates that end before and after `now`."""

    def __init__(self, now: datetime, *, cluster: str, host: str) -> None:
        self.cluster, self.host = cluster, host
        self._files = _files(now)
        old = authority("etcd-peers-ca-main", not_before=now - 400 * DAY).leaf("etcd-a", not_after=now + 3 * DAY)
        self._served = Served(
            address="10.0.0.1",
            port=2380,
            certificate=stored(old, "").certificate,
            trust=Trust.SYSTEM,
        )
        self._faults = (
            *(FileFault(path=f"/etc/etcd/{n}.crt", reason="empty", detail="", trust=Trust.SYSTEM) for n in range(7)),
            FileFault(path="/etc/etcd/x.p12", reason="password", detail="", trust=Trust.SYSTEM),
        )

        self._lists = tuple(
            Revocations(
                path=f"/etc/etcd/{days}.crl",
                issuer="CN=ca",
                number=1,
                this_update=now - 9 * DAY,
                next_update=now + days * DAY,
                trust=Trust.SYSTEM,
            )
            for days in (-1, 1)
        )

    def numbers(self, now: datetime, *, hangs: bool = False) -> Numbers:
        """Return its state. `hangs`: its last inventory is old."""
        at = now - timedelta(hours=2) if hangs else now
        return Numbers(
            at=at,
            version="1.0",
            mode="remedy",
            cluster=self.cluster,
            host=self.host,
            facts=facts(
                self._files,
                at=at - timedelta(hours=hangs),
                served=(self._served,),
                faults=self._faults,
                revocations=self._lists,
            ),
            sources=[{"source": "journal", "down": "it has gone", "seen": 7}, {"source": "pods", "down": ""}],
            sightings=round(now.timestamp()) % 100_000,
            incidents=[
                incident(opened_at=at - DAY),
                incident(2, suspect=Suspect.PEER, cause=Cause.UNKNOWN_AUTHORITY, opened_at=at - DAY),
            ],
            acts=[act(ActState.VERIFIED, at=at - DAY), act(ActState.FAILED, RemedyKind.RENEW, at=at - DAY)],
            tripped=True,
            waiting=1,
            oldest=at - DAY,
        )


def _files(now: datetime) -> tuple[Stored, ...]:
    ca = authority("etcd-peers-ca-main", not_before=now - 400 * DAY)
    files = [stored(ca, f"{VOLUME}/peers/ca.crt", "ca")]
    ends = (-1, 5, 20, 60, 150, 300, 900)
    own: dict[str, Any] = {"renewer": "operator", "plane": "etcd", "group": ""}
    for number, days in enumerate(ends):
        leaf = ca.leaf(f"etcd-{number}", not_before=now - 300 * DAY, not_after=now + days * DAY)
        files.append(stored(leaf, f"/etc/etcd/{days}.crt", "client", **own))
    files.append(
        stored(ca.leaf("etcd-a", not_after=now + 365 * DAY), "/etc/etcd/peer.crt", "peer", ports=(2380,), **own)
    )
    late = ca.leaf("late", not_before=now + 2 * DAY, not_after=now + 400 * DAY)
    admin = stored(
        ca.leaf("admin", not_before=now - DAY, not_after=now + 40 * DAY), "/etc/kubernetes/admin.conf", "kubectl"
    )
    inside = replace(admin.certificate, embedded_kind="user", embedded_key="kubernetes-admin")
    place = Place(plane="kubeadm", group="", use="kubectl", renewer="kubeadm")
    return (*files, stored(late, "/etc/etcd/late.crt", "client"), replace(admin, certificate=inside, place=place))
