"""A master's ordinary day, played at its own speed into a journal and the folder of the pods' logs, until it is ended.

SOCKET FOLDER SEED      the socket of journald; the folder that stands for /var/log/pods

The rates are those of a real kops-like master at rest (kubelet 1.20, etcd-manager 3.0.20210228 for main and events, one master,
measured on 2026-11-29): each etcd-manager writes 14 lines at once every 10 s, 90 a minute with some others, and kube-apiserver
6 to 18 a minute. What the journal gets (kubelet, containerd, sshd, cron) and a pod of a CronJob every minute are an estimate.
The words are made up after the real ones.
"""

from __future__ import annotations

import heapq
import random
import shutil
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from bench import lines

# static pod -> (times a minute, lines each time, templates)
MANAGER = (
    "I{klog}   10362 controller.go:187] starting controller iteration",
    "I{klog}   10362 controller.go:264] Broadcasting leadership assertion with token {n}",
    "I{klog}   10362 controller.go:299] I am leader with token {n}",
    "I{klog}   10362 controller.go:308] etcd cluster members: map[{n}:etcd-a]",
    "I{klog}   10362 controller.go:557] controller loop complete",
    "{day} {clock} I | mvcc: store.index: compact {n}",
    "{day} {clock} I | mvcc: finished scheduled compaction at {n} (took {ms}.{b}ms)",
)
PODS: dict[str, tuple[float, int, tuple[str, ...]]] = {
    "etcd-manager-main-master-a": (6, 15, MANAGER),
    "etcd-manager-events-master-a": (6, 15, MANAGER),
    "kube-apiserver-master-a": (12, 1, (lines.CHATTER[0], lines.CHATTER[6])),
    "kube-controller-manager-master-a": (4, 1, (lines.CHATTER[8],)),
    "kube-scheduler-master-a": (1, 1, (lines.CHATTER[7],)),
}
# program -> the same
JOURNAL: dict[str, tuple[float, int, tuple[str, ...]]] = {
    "kubelet": (12, 1, (lines.CHATTER[1], lines.CHATTER[7])),
    "containerd": (6, 1, (lines.CHATTER[5],)),
    "sshd": (1, 1, ("Connection closed by authenticating user root 203.0.113.{b} port {port} [preauth]",)),
    "CRON": (1, 1, ("(root) CMD (test -x /etc/cron.daily/popularity-contest)",)),
}
EVERY = 60.0  # seconds from one pod of the CronJob to the next
KEPT = 3  # pods of it that the kubelet keeps


def main() -> None:
    """Write the lines, each at its time; programs are independent of each other."""
    path, folder, dice = sys.argv[1], Path(sys.argv[2]), random.Random(int(sys.argv[3]))  # noqa: S311 - the same day each time
    out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    out.connect(path)

    def to_journal(program: str, templates: tuple[str, ...]) -> None:
        text = lines.written(dice.choice(templates), datetime.now(UTC), dice)
        out.send(f"SYSLOG_IDENTIFIER={program}\nPRIORITY=6\nMESSAGE={text}\n".encode())

    def to_pod(name: str, templates: tuple[str, ...]) -> None:
        at = datetime.now(UTC)
        with _log(folder, name).open("a") as log:
            log.write(f"{at:%Y-%m-%dT%H:%M:%S.%f}000Z stderr F {lines.written(dice.choice(templates), at, dice)}\n")

    def job(name: str, templates: tuple[str, ...]) -> None:
        number = next(started)
        for _ in range(20):
            to_pod(f"{name}-{number}", templates)
        shutil.rmtree(_log(folder, f"{name}-{number - KEPT}").parent.parent, ignore_errors=True)

    started, order = count(), count()
    due: list[tuple[float, int, float, int, Callable[[str, tuple[str, ...]], None], str, tuple[str, ...]]] = []
    now = time.monotonic()
    for write, programs in ((to_pod, PODS), (to_journal, JOURNAL)):
        for name, (rate, together, templates) in programs.items():
            due.append((now + dice.uniform(0, 60 / rate), next(order), 60 / rate, together, write, name, templates))
    due.append((now + 10, next(order), EVERY, 1, job, "nightly", (lines.CHATTER[8],)))
    heapq.heapify(due)
    while True:
        at, number, every, together, write, name, templates = heapq.heappop(due)
        time.sleep(max(0.0, at - time.monotonic()))
        for _ in range(together):
            write(name, templates)
            time.sleep(0.002)
        heapq.heappush(due, (at + every * dice.uniform(0.9, 1.1), number, every, together, write, name, templates))


def _log(folder: Path, pod: str) -> Path:
    """Return the log of a pod's only container; its folder is made when needed."""
    home = folder / f"kube-system_{pod}_{pod.encode().hex()[:32]}" / pod
    home.mkdir(parents=True, exist_ok=True)
    return home / "0.log"


main()
