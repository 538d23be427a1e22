"""Catching up: from the beginning of a log to all failures in it found."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import inputs
from bench.measure import Contender, FailedError, Figures, side_by_side
from bench.verdicts import Row, Verdict
from certmedic.core.symptoms import NEEDLES
from certmedic.edge.os.spawn import GLIBC_TUNABLES
from labs import waiting
from labs.docker import BUSYBOX, start_dockerd

PATTERN = "|".join(re.escape(needle.decode()).replace("\\ ", " ") for needle in NEEDLES)
Say = Callable[[str], None]


def number(output: str) -> int:
    """Return the number that is all of an output."""
    return int(output.rsplit(maxsplit=1)[-1])


def ours(kind: str, what: str, empty: str = "") -> Contender:
    """Return certmedic's source and parser as one process."""
    command = ["env", f"GLIBC_TUNABLES={GLIBC_TUNABLES}", sys.executable, "-P", "-m", "bench.reader", kind]
    return Contender(name="certmedic", command=[*command, what], empty=[*command, empty] if empty else (), found=number)


def grep(path: str, empty: str) -> Contender:
    """Return grep of the same words; it ends with 1 where it finds nothing."""
    return Contender(
        name="grep -cE",
        command=["grep", "-cE", PATTERN, path],
        empty=["sh", "-c", 'grep -cE "$0" "$1" || true', PATTERN, empty],
        found=number,
    )


def faster(figures: dict[str, Figures], other: str, at_least: float) -> list[Verdict]:
    """Return how many times as fast as another we are; nothing where it is missing."""
    if other not in figures:
        return []
    we, they = figures["certmedic"], figures[other]
    return [
        Verdict(
            what=f"speed against {other}",
            reached=they.wall / we.wall,
            to_reach=at_least,
            note=f"by CPU {they.cpu / we.cpu:.2f}",
        )
    ]


def c_loop(folder: Path) -> str:
    """Compile the least that a reader of a journal can do; return the program."""
    program = str(folder / "loop")
    source = str(Path(__file__).with_name("loop.c"))
    subprocess.run(["gcc", "-O2", "-o", program, source, "-lsystemd"], check=True)
    return program


def journal(count: int, rounds: int, say: Say) -> Row:
    """Read a journal."""
    with tempfile.TemporaryDirectory() as scratch:
        return _journal(str(inputs.journal(count)), c_loop(Path(scratch)), count, rounds, say)


def _journal(folder: str, loop: str, count: int, rounds: int, say: Say) -> Row:
    contenders = [
        ours("journal", folder),
        Contender(
            name="a loop in C",
            command=[loop, folder, *(needle.decode() for needle in NEEDLES)],
            found=number,
        ),
        Contender(
            name="journalctl --grep",
            command=[
                "journalctl",
                f"--directory={folder}",
                f"--grep={PATTERN}",
                "--output=cat",
                "--quiet",
                "--no-pager",
            ],
            found=lambda output: len(output.splitlines()),
        ),
        Contender(
            name="fail2ban-regex",
            # A failregex must name whom it would ban.
            command=["fail2ban-regex", f"systemd-journal[journalpath='{folder}']", f"(?:{PATTERN})<F-ID>.*</F-ID>"],
            found=lambda output: number(re.findall(r"(\d+) matched", output)[0]),
        ),
    ]
    figures = side_by_side(contenders, inputs.failures(count), rounds, say)
    verdicts = [
        *faster(figures, "a loop in C", 0.6),
        *faster(figures, "journalctl --grep", 0.8),
        *faster(figures, "fail2ban-regex", 8),
    ]
    return Row(f"journal catch-up, {count:,} entries", figures, verdicts)


def certificates(count: int, rounds: int, say: Say) -> Row:
    """Read certificates, and a small part of them against what the field's own advisory does: one openssl for each."""
    few, empty = count * 3 // 100, str(inputs.certificates(0))
    folders = {each: str(inputs.certificates(each)) for each in (few, count)}
    each = ["sh", "-c", 'find "$0" -name "*.crt" -exec openssl x509 -noout -enddate -in {} ";"']
    openssl = Contender(
        name="openssl x509 -enddate",
        command=[*each, folders[few]],
        empty=[*each, empty],
        found=lambda output: output.count("notAfter="),
    )
    of_few = side_by_side([ours("certificates", folders[few], empty), openssl], few, rounds, say)
    of_all = side_by_side([ours("certificates", folders[count], empty)], count, rounds, say)["certmedic"]
    verdicts = [
        *faster(of_few, openssl.name, 10),
        Verdict(what=f"{few:,}", reached=of_few["certmedic"].wall, to_reach=0.1, unit="s", at_most=True),
        Verdict(what=f"{count:,}", reached=of_all.wall, to_reach=0.8, unit="s", at_most=True),
    ]
    work = f"inventory, {few:,} and {count:,} certificates with RSA keys beside them, start-up taken off"
    return Row(work, {**of_few, f"certmedic, {count:,}": of_all}, verdicts)


def files(count: int, rounds: int, say: Say) -> Row:
    """Read a plain file."""
    path, empty = str(inputs.plain(count)), str(inputs.plain(0))
    with tempfile.TemporaryDirectory() as folder:
        rule = Path(folder, "sec.conf")
        rule.write_text(
            f"type=Single\nptype=RegExp\npattern={PATTERN}\ndesc=$0\naction=write - %s\n",
        )
        program = Path(folder, "failures.mtail")
        program.write_text(f"counter failures\n/{PATTERN}/ {{\n  failures++\n}}\n")
        sec = ["sec", f"--conf={rule}", "--fromstart", "--notail", "--nointevents", "--debug=1"]
        mtail = ["mtail", "--progs", str(program), "--one_shot", "--logtostderr", "--stderrthreshold=FATAL"]
        contenders = [
            ours("files", path, empty),
            grep(path, empty),
            Contender(
                name="SEC",
                command=[*sec, f"--input={path}"],
                empty=[*sec, f"--input={empty}"],
                found=lambda output: len(output.splitlines()),
            ),
            Contender(
                name="mtail",
                command=[*mtail, "--logs", path],
                empty=[*mtail, "--logs", empty],
                found=_mtail_counter,
            ),
        ]
        figures = side_by_side(contenders, inputs.failures(count), rounds, say)
    verdicts = [
        verdict
        for other, to_reach in (("grep -cE", 1.0), ("SEC", 15), ("mtail", 15))
        for verdict in faster(figures, other, to_reach)
    ]
    return Row(f"file catch-up, {count:,} lines, start-up taken off", figures, verdicts)


def _mtail_counter(output: str) -> int:
    at = output.find("{\n")
    told = json.loads(output[at:]) if at >= 0 else {}
    values = [
        label["Value"]["Value"] for metric in told.get("failures", []) for label in metric.get("LabelValues") or []
    ]
    if not values:
        raise FailedError(f"mtail told no counter: {output[-500:]}")
    return int(values[0])


def pods(count: int, rounds: int, say: Say) -> Row:
    """Read a pod's log as the kubelet has it."""
    folder, empty = inputs.pods(count), inputs.pods(0)
    logs = [str(next(root.rglob("0.log"))) for root in (folder, empty)]
    contenders = [ours("pods", str(folder), str(empty)), grep(*logs)]
    figures = side_by_side(contenders, inputs.failures(count), rounds, say)
    return Row(f"CRI catch-up, {count:,} lines, start-up taken off", figures, faster(figures, "grep -cE", 1.0))


def docker(count: int, rounds: int, say: Say) -> Row:
    """Read a container's log from a daemon of our own, which keeps it with its json-file driver."""
    with _container(inputs.plain(count), say) as (url, name, root):
        contenders = [
            ours("docker", root, _empty(root)),
            grep(f"{root}/containers/{name}/{name}-json.log", "/dev/null"),
            Contender(
                name="docker logs | grep",
                command=[
                    "sh",
                    "-c",
                    'docker --host "$0" logs "$1" 2>&1 | grep -cE "$2"',
                    url,
                    name,
                    PATTERN,
                ],
                found=number,
            ),
        ]
        figures = side_by_side(contenders, inputs.failures(count), rounds, say)
    return Row(
        f"Docker catch-up, {count:,} lines, json-file, start-up taken off", figures, faster(figures, "grep -cE", 0.5)
    )


def _empty(root: str) -> str:
    """Return a folder like Docker's with one container, which has logged nothing."""
    home = Path(root, "empty", "containers", 64 * "e")
    home.mkdir(parents=True)
    (home / "config.v2.json").write_text('{"Name": "/empty", "Config": {}}')
    (home / f"{home.name}-json.log").touch()
    return str(home.parent.parent)


@contextmanager
def _container(log: Path, say: Say) -> Iterator[tuple[str, str, str]]:
    """Run a container that writes a file to its log; yields the daemon's address, the container's id and Docker's folder."""
    say("a Docker daemon takes the log in")
    with start_dockerd() as daemon:
        daemon.busybox()
        name = daemon(
            "run", "-d", "--network=none", f"--volume={log}:/in:ro", "--log-driver=json-file", BUSYBOX, "cat", "/in"
        )
        waiting.until(lambda: daemon("inspect", "--format={{.State.Running}}", name) == "false", seconds=600)
        yield daemon.url, name, str(daemon.home / "data")
