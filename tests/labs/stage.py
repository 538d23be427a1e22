"""A master on which commands are shown: its files at their usual places, and the state of its agent.

The commands run in a mount namespace of their own (root), so that nothing of the machine changes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from certmedic.config import Config, Notify
from certmedic.core.model import Severity, SourceStatus
from certmedic.edge.identity import Identity
from certmedic.edge.store.claim import claimed
from certmedic.ports import Channel
from labs import pki, terminal
from labs.played import REFUSED, Lab, Played
from labs.values import CLIENTS_CA, DAY, PEERS_CA, container, member

HOST, CLUSTER = "master-a", "prod-eu-1.example.org"
EXPIRED = timedelta(minutes=38)
ENTER = 'mount -t overlay overlay -o "lowerdir=$1/etc:/etc" /etc && mount --bind "$1/mnt" /mnt && hostname "$2" && shift 2 && exec "$@"'
CONFIG = (
    'mode = "notify"\ncluster = "{cluster}"\nstate = "{state}"\n[notify]\napprise = ["/etc/certmedic/apprise.yml"]\n'
)
SOURCES = {"journal": (48_121, 37), "docker": (9_310, 0), "pods": (70_412, 0)}  # entries read, those that hold a needle


class Heard(Played):
    """A master whose messages go to a mailbox and a chat."""

    def channels(self, severity: Severity, tag: str = "") -> Sequence[Channel]:
        """Return both."""
        return [
            Channel(id="good", label="mailtos://mail.example.org (1f0c)"),
            Channel(id="chat", label="slack:// (9a3e)"),
        ]


@contextmanager
def master() -> Iterator[tuple[str, ...]]:
    """Yield the command that runs certmedic on a kops master whose peer certificate expired 38 minutes ago."""
    now = datetime.now(UTC).replace(microsecond=0)
    with tempfile.TemporaryDirectory(prefix="certmedic-stage-") as folder:
        home = Path(folder)
        leaves = written(home, now)
        state = home / "state"
        state.mkdir()
        lab = Lab(
            Heard(files=member(**leaves), containers=(container(started_at=now - 9 * DAY),)),
            state / "state.sqlite3",
            Config(mode="notify", cluster=CLUSTER, notify=Notify(group_for=timedelta(seconds=2))),
            now=now - EXPIRED - timedelta(minutes=12),
            identity=Identity(CLUSTER, lambda: CLUSTER),
        )
        for _ in range(int((now - lab.now).total_seconds() // 60)):
            lab.step(*([REFUSED] * 3 if now - lab.now < EXPIRED else []), seconds=60)
        lab.loop.step(
            [SourceStatus(source=s, seen=a, matched=b, lag_seconds=0.0) for s, (a, b) in SOURCES.items()], now
        )
        lab.store.close()
        with claimed(state):
            yield ("unshare", "--mount", "--uts", "sh", "-c", ENTER, "sh", folder, HOST, *terminal.MAIN)


def written(home: Path, now: datetime) -> dict[str, Any]:
    """Write the certificates and the configuration of the master; return the leaves of its etcd member."""
    names: dict[str, Any] = {"dns": ("etcd-a", "etcd-a.internal.example"), "ips": ("127.0.0.1",)}
    since = now - 365 * DAY
    peer = PEERS_CA.leaf("etcd-a", not_before=since, not_after=now - EXPIRED, **names)
    server = CLIENTS_CA.leaf("etcd-a", not_before=since, not_after=now + 12 * DAY, **names)
    pki.kops_volume(home / "mnt/master-vol-01", peers_ca=PEERS_CA, clients_ca=CLIENTS_CA, peer=peer, server=server)
    kubernetes = home / "etc/kubernetes"
    manager_ca = pki.authority("etcd-manager-ca-main", not_before=now - 400 * DAY)
    cas: dict[str, Any] = {"manager_ca": manager_ca, "peers_ca": PEERS_CA, "clients_ca": CLIENTS_CA}
    pki.kops_pki(kubernetes / "pki/etcd-manager-main", not_after=now + 240 * DAY, **cas)
    etc = home / "etc/certmedic"
    etc.mkdir()
    (etc / "certmedic.toml").write_text(CONFIG.format(cluster=CLUSTER, state=home / "state"))
    (etc / "apprise.yml").write_text("urls:\n  - mailtos://u:p@mail.example.org?to=oncall@example.org\n")
    for file in etc.iterdir():
        file.chmod(0o640)
    return {"peer": peer, "server": server}
