"""Cost against the amount of work, as a table and a picture: lines a second, pods, certificates, members, open incidents.

`./dev bench scale` writes agent/BENCH.md and packaging/examples/scale.svg. Each point runs in a separate process
(`python3 -m bench.scale WHAT COUNT FOLDER` prints its figure), measured in CPU time, so that other programs on the machine disturb it little.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import lines
from bench.measure import FailedError
from bench.verdicts import Row, Verdict
from labs.pki import authority
from labs.trusted import trusted_folder

ROOT = Path(__file__).parents[2]
TABLE, PICTURE = ROOT / "agent/BENCH.md", ROOT / "packaging/examples/scale.svg"
CYCLES = 20  # repetitions of what is short


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One kind of work: how it is measured at which counts, and where it ends."""

    what: str  # what is counted
    unit: str  # of the figure
    measure: Callable[[int, Path], float]
    counts: Sequence[int]
    end: str


def of_lines(rate: int, folder: Path) -> float:
    """Return the CPU, in % of a core, of following a pod's log that grows by so many lines a second."""
    from certmedic.core.symptoms import NEEDLES  # noqa: PLC0415 - each process loads what it measures
    from certmedic.edge.files import PodSource  # noqa: PLC0415 - as above

    path = folder / "kube-system_pod_0123" / "main" / "0.log"
    path.parent.mkdir(parents=True)
    path.touch()
    stop, source = threading.Event(), PodSource(NEEDLES, root=folder)
    threading.Thread(target=source.follow, args=(lambda _: None, lambda _: None, stop), daemon=True).start()
    _until(lambda: len(source._logs) == 1)
    script = (
        "import sys,time\n"
        "rate,due,begun=int(sys.argv[2]),0,time.monotonic()\n"
        "line='2026-11-30T00:00:00.000000000Z stderr F '+sys.argv[3]+'\\n'\n"
        "with open(sys.argv[1],'a',buffering=1<<20) as log:\n"
        " while time.monotonic()<begun+20:\n"
        "  n=int((time.monotonic()-begun)*rate)-due;due+=n;log.write(line*n);log.flush();time.sleep(max(.02,1/rate))\n"
    )
    text = lines.CHATTER[0].format(klog="1130 00:00:00.000000", n=1, b=2, ms=3)
    with subprocess.Popen([sys.executable, "-c", script, str(path), str(rate), text]) as writer:
        time.sleep(2)
        began, used = time.monotonic(), time.process_time()
        time.sleep(15)
        used, passed = time.process_time() - used, time.monotonic() - began
        writer.kill()
    return 100 * used / passed


def of_pods(count: int, folder: Path) -> float:
    """Return the milliseconds of CPU for which the source is busy when a pod comes and one goes beside so many others."""
    from certmedic.core.symptoms import NEEDLES  # noqa: PLC0415 - each process loads what it measures
    from certmedic.edge.files import PodSource  # noqa: PLC0415 - as above

    def log(number: int) -> Path:
        home = folder / f"kube-system_pod-{number}_{number:032x}" / "main"
        home.mkdir(parents=True)
        path = home / "0.log"
        path.write_text("2026-11-30T00:00:00.000000000Z stderr F hello\n")
        return path

    for number in range(count):
        log(number)
    stop, source = threading.Event(), PodSource(NEEDLES, root=folder)
    reader = threading.Thread(target=source.follow, args=(lambda _: None, lambda _: None, stop), daemon=True)
    reader.start()
    _until(lambda: len(source._logs) == count)
    began = time.process_time()
    for number in range(CYCLES // 2):
        path = log(count + number)
        _until(lambda path=path: str(path) in source._logs)
        shutil.rmtree(path.parent.parent)
        _until(lambda path=path: str(path) not in source._logs)
    return 1000 * (time.process_time() - began) / (CYCLES // 2)


def of_certificates(count: int, folder: Path) -> float:
    """Return the milliseconds of CPU of an inventory of so many unchanged files."""
    from certmedic.edge.facts.inventory import Inventory  # noqa: PLC0415 - each process loads what it measures

    ca = authority("etcd-peers-ca-main")
    pems = [ca.leaf(f"etcd-{number}").cert_pem for number in range(min(count, 200))]
    for number in range(count):
        home = folder / str(number // 1000)
        home.mkdir(exist_ok=True)
        (home / f"{number}.crt").write_bytes(pems[number % len(pems)])
    time.sleep(3)  # a file that has just changed is read again
    inventory = Inventory([f"{folder}/*/*.crt"])
    inventory.look()
    rounds = max(1, min(CYCLES, 20_000 // count))
    began = time.process_time()
    for _ in range(rounds):
        inventory.look()
    return 1000 * (time.process_time() - began) / rounds


def of_members(count: int, folder: Path) -> float:
    """Return the milliseconds of CPU of handshakes with so many members, at two ports each."""
    from certmedic.edge.facts.endpoints import handshakes  # noqa: PLC0415 - each process loads what it measures
    from certmedic.edge.facts.etcds import Endpoint  # noqa: PLC0415 - as above

    leaf = authority("etcd-peers-ca-main").leaf("etcd-a", ips=("127.0.0.1",))
    leaf.write(folder / "a.crt", folder / "a.key")
    script = (
        "import socket,ssl,sys,threading\n"
        "c=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER);c.load_cert_chain(*sys.argv[1:3])\n"
        "def serve(s):\n"
        " while True:\n"
        "  try: c.wrap_socket(s.accept()[0],server_side=True).close()\n"
        "  except OSError: pass\n"
        "ss=[socket.create_server(('127.0.0.1',0)) for _ in range(int(sys.argv[3]))]\n"
        "[threading.Thread(target=serve,args=(s,),daemon=True).start() for s in ss]\n"
        "print(*(s.getsockname()[1] for s in ss),flush=True);sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(folder / "a.crt"), str(folder / "a.key"), str(2 * count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        ends = [Endpoint("127.0.0.1", int(port), "127.0.0.1") for port in server.stdout.readline().split()]
        handshakes(ends, 30.0)
        began = time.process_time()
        for _ in range(CYCLES):
            seen = handshakes(ends, 30.0)
        used = time.process_time() - began
        if not all(served.certificate for served, _ in seen.values()):
            raise FailedError("a member did not answer")
        server.kill()
    return 1000 * used / CYCLES


def of_incidents(count: int, folder: Path) -> float:
    """Return the milliseconds of CPU of the loop in which all open incidents are looked at once."""
    from bench.agent import world  # noqa: PLC0415 - each process loads what it measures
    from certmedic.config import Config  # noqa: PLC0415 - as above
    from certmedic.core.incident import RecheckKind  # noqa: PLC0415 - as above
    from certmedic.core.model import LogEntry, Origin, Trust  # noqa: PLC0415 - as above
    from certmedic.edge.store import Store  # noqa: PLC0415 - as above
    from certmedic.loop import Loop  # noqa: PLC0415 - as above

    config, now = Config(mode="observe", state=folder), datetime.now(UTC)
    with Store(folder / "state.sqlite3") as store:
        loop = Loop(config=config, store=store, world=world(config), started_at=now, sources={})
        loop.step([], now)
        program, text = lines.KINDS[0]
        origin = Origin(program=program, unit=f"{program}.service", trust=Trust.SYSTEM)
        line = text.replace("{now}", f"{now:%Y-%m-%dT%H:%M:%S}").format(day=f"{now:%Y-%m-%d}", clock="00:00:00", port=1)
        loop.step([LogEntry(stream="journal", position="1", time=now, text=line, origin=origin)], now)
        (first,) = store.incidents(unresolved=True)
        with store.transaction():
            for number in range(1, count):
                store.open_incident(replace(first.diagnosis, key=f"{first.key}/{number}"), now=now)
        used = 0.0
        for _ in range(4):
            now += timedelta(seconds=60)
            with store.transaction():
                for incident in store.incidents(unresolved=True):
                    store.recheck(RecheckKind.INCIDENT, incident.id, now)
            began = time.process_time()
            loop.step([], now)
            used = time.process_time() - began  # the last: then all decisions were written
        if len(store.incidents(unresolved=True)) != count:
            raise FailedError("incidents ended")
    return 1000 * used


def _until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not condition():
        if time.monotonic() > until:
            raise FailedError("the source does not follow")
        time.sleep(0.02)


AXES: Mapping[str, Axis] = {
    axis.what: axis
    for axis in (
        Axis(
            what="lines a second",
            unit="% of a core to follow a pod's log",
            measure=of_lines,
            counts=(1, 10, 100, 1_000, 10_000, 100_000),
            end="one core; beyond that the files are the buffer",
        ),
        Axis(
            what="pods",
            unit="ms of CPU when a pod comes and one goes",
            measure=of_pods,
            counts=(10, 30, 100, 200, 500),
            end="fs.inotify.max_user_watches of the kernel; beyond that files are looked at every second",
        ),
        Axis(
            what="certificates",
            unit="ms of CPU for an inventory of unchanged files",
            measure=of_certificates,
            counts=(10, 100, 1_000, 10_000, 20_000, 100_000),
            end="20,000 files of root and 1,000 of others; more are not looked at, only listed",
        ),
        Axis(
            what="members",
            unit="ms of CPU for handshakes with all at two ports",
            measure=of_members,
            counts=(1, 3, 5, 7, 9),
            end="32 members of a group and 8 etcds on a machine",
        ),
        Axis(
            what="open incidents",
            unit="ms of CPU to look at all of them",
            measure=of_incidents,
            counts=(1, 10, 100, 300, 1_000),
            end="no limit; the messages are held back from the third incident on",
        ),
    )
}


def scale(_count: int, rounds: int, say: Callable[[str], None]) -> Row:
    """Measure all points, and write the table and the picture."""
    found: dict[str, list[tuple[int, float]]] = {}
    verdicts = []
    for what, axis in AXES.items():
        points = found[what] = []
        for count in axis.counts:
            points.append((count, min(_point(what, count) for _ in range(rounds))))
            say(f"{what}: {count:,}: {points[-1][1]:.3g} {axis.unit}")
        verdicts.append(
            Verdict(what=f"growth with {what}", reached=growth(points), to_reach=1.15, unit="", at_most=True)
        )
    TABLE.write_text(table(found))
    PICTURE.write_text(picture(found))
    return Row("scale: the exponent with which cost grows, 1 is linear", {}, verdicts, {"points": found})


def _point(what: str, count: int) -> float:
    with trusted_folder() as folder:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "bench.scale", what, str(count), str(folder)],
            capture_output=True,
            check=False,
            text=True,
        )
    if done.returncode:
        raise FailedError(done.stderr[-1000:])
    return float(done.stdout)


def growth(points: Sequence[tuple[int, float]]) -> float:
    """Return the exponent of the steepest tenfold of work, or of the whole if there is less than a tenfold."""
    pairs = [(a, b) for a in points for b in points if b[0] >= 10 * a[0]] or [(points[0], points[-1])]
    return max(math.log(b[1] / a[1]) / math.log(b[0] / a[0]) for a, b in pairs)


def table(found: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """Return the table as Markdown."""
    load = os.getloadavg()[0]
    rows = [
        "# Cost against work",
        "",
        (
            f"Measured on {datetime.now(UTC):%Y-%m-%d} by `./dev bench scale` on {os.cpu_count()} cores load {load:.0f} at the end, in CPU time. `growth` is the "
            "exponent of the steepest tenfold: 1 is linear, 0 costs nothing more."
        ),
        "",
        "![cost against work](../packaging/examples/scale.svg)",
    ]
    for what, points in found.items():
        rows += [
            "",
            f"| {what} | {' | '.join(f'{count:,}' for count, _ in points)} | growth |",
            f"|---|{'---|' * (len(points) + 1)}",
            f"| {AXES[what].unit} | {' | '.join(number(cost) for _, cost in points)} | {growth(points):.2f} |",
            "",
            f"It ends at: {AXES[what].end}.",
        ]
    return "\n".join([*rows, ""])


def number(cost: float) -> str:
    """Return a figure with the digits that mean something."""
    return f"{cost:,.0f}" if cost >= 100 else f"{cost:.3g}"


def picture(found: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """Return a chart for each kind of work as SVG, both scales logarithmic; the dashed line is linear growth."""
    width, height, room = 270, 150, 34
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width * len(found)} {height + 2 * room}" '
            'font-family="sans-serif" font-size="10"><rect width="100%" height="100%" fill="#fff"/>'
        )
    ]
    for place, (what, points) in enumerate(found.items()):
        left, right = math.log10(points[0][0]), math.log10(points[-1][0])
        low = math.log10(min(cost for _, cost in points)) - 0.1
        high = max(math.log10(max(cost for _, cost in points)), low + right - left) + 0.2

        def at(count: float, cost: float, frame: tuple[float, ...] = (place, left, right, low, high)) -> str:
            place, left, right, low, high = frame
            x = place * width + room + (math.log10(count) - left) / (right - left) * (width - 2 * room)
            return f"{x:.1f},{room + (high - math.log10(cost)) / (high - low) * height:.1f}"

        first, last = points[0], points[-1]
        x, y = place * width + room, room + height
        linear = f"{at(*first)} {at(last[0], first[1] * last[0] / first[0])}"
        parts += [
            f'<text x="{x}" y="14" font-weight="bold">{what}</text><text x="{x}" y="27">{AXES[what].unit}</text>',
            f'<path d="M{x},{room}V{y}H{x + width - 2 * room}" fill="none" stroke="#999"/>',
            f'<polyline points="{linear}" fill="none" stroke="#999" stroke-dasharray="3"/>',
            f'<polyline points="{" ".join(at(*point) for point in points)}" fill="none" stroke="#06c" stroke-width="2"/>',
            *(
                f'<text x="{at(*point).split(",")[0]}" y="{y + 13}" text-anchor="middle">{point[0]:,}</text>'
                for point in (first, last)
            ),
            f'<text x="{x + 4}" y="{float(at(*first).split(",")[1]) - 4}">{first[1]:.2g}</text>',
            f'<text x="{x + width - 2 * room}" y="{float(at(*last).split(",")[1]) - 4}" text-anchor="end">{number(last[1])}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Measure one point."""
    what, count, folder = sys.argv[1:]
    sys.stdout.write(f"{AXES[what].measure(int(count), Path(folder))}\n")
    sys.stdout.flush()
    os._exit(0)  # without waiting for the threads


if __name__ == "__main__":
    main()
