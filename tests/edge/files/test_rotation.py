"""A log is rotated between any two system calls of its reader: each test repeats its story for every such moment.

The files and the rotation are real; a hook before each system call chooses the moment. CERTMEDIC_TURNS sets how often
the stories of several steps run, each time at other moments.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import time
from collections.abc import Iterator

import pytest

from certmedic.core.model import Item, LogEntry, SourceStatus
from certmedic.edge.files import source as follow
from certmedic.edge.files.rotation import Position
from certmedic.edge.files.tail import Tail
from labs.reading import settle
from labs.rotated import LINE, Lab, Moments, PodLab

pytestmark = pytest.mark.slow


def number(entry: LogEntry) -> int:
    return int(entry.text[:8])


def all_of(log: Tail) -> Iterator[LogEntry]:
    """Read as the follower does, until another look yields no more entries."""
    for _ in range(4):
        log.behind = True
        while log.behind:
            yield from log.read()
        log.look()


def some(lab: Lab, count: int = 10) -> str:
    """Read the first `count` lines of an existing log, like a reader that is killed; return the position behind them."""
    with contextlib.closing(lab.log()) as log:
        log.open(None, since=0.0)
        position = list(all_of(log))[count - 1].position
    assert position is not None
    return position


# ---------------------------------------------------------------- positions of the reader


def in_the_newest(lab: Lab) -> str:
    lab.write()
    position = some(lab)
    lab.write()
    return position


def in_a_rotated_one(lab: Lab) -> str:
    position = in_the_newest(lab)
    lab.do("rename write")
    return position


def in_a_compressed_one(lab: Lab) -> str:
    position = in_a_rotated_one(lab)
    lab.do("pack remove_packed")
    return position


def at_the_end(lab: Lab) -> str:
    lab.write()
    return some(lab, 30)


def at_the_end_of_a_rotated_one(lab: Lab) -> str:
    position = at_the_end(lab)
    lab.do("rename write")
    return position


STANDS = [in_the_newest, in_a_rotated_one, in_a_compressed_one, at_the_end, at_the_end_of_a_rotated_one]

# ---------------------------------------------------------------- rotation steps

GROW = "write write write write"  # beyond the former size
AT_ONCE = [
    *("copy truncate", "copy truncate write_little", f"copy truncate {GROW}", "rename", "rename write", "write"),
    *(f"copy truncate write_little copy truncate {GROW}", "rename write copy truncate write_little"),
]
COPYTRUNCATE = "copy_half copy_rest truncate"
STORIES = [
    f"{COPYTRUNCATE} write",
    f"write {COPYTRUNCATE} write write {COPYTRUNCATE}",
    f"rename write {COPYTRUNCATE} write",
    f"{COPYTRUNCATE} rename write rename write",
    "rename write pack remove_packed write rename write",
    f"{COPYTRUNCATE} pack remove_packed write {COPYTRUNCATE} write",
]
TURNS = int(os.environ.get("CERTMEDIC_TURNS", "6"))


def came(lab: Lab, position: str, steps: list[tuple[int, str]], *, running: bool) -> list[int]:
    """Read from `position` to the end while `steps` happen; `running`: the reader has read all existing lines before."""
    with contextlib.closing(lab.log()) as log:
        entries = []
        if running:
            log.open(Position.parse(position), since=None)
            entries += all_of(log)
            lab.write(7)
        with pytest.MonkeyPatch.context() as patched:
            Moments(patched, lab, steps)
            with contextlib.suppress(FileNotFoundError):  # the follower too would look again
                if not running:
                    log.open(Position.parse(position), since=None)
                entries += all_of(log)
        for _, late in steps:
            lab.do(late)
            entries += all_of(log) if log.contents else []
        lab.write(5)
        if not log.contents:
            log.open(Position.parse(position), since=None)
        entries += all_of(log)
    numbers = [number(entry) for entry in entries]
    if numbers == wanted(position, lab):
        # Simulate a kill at an entry: its position must yield the entries after it.
        for index in range(0, len(entries), 9):
            with contextlib.closing(lab.log()) as log:
                log.open(Position.parse(entries[index].position), since=None)
                again = [number(entry) for entry in all_of(log)]
            if again != numbers[index + 1 :]:
                return again
    return numbers


def wanted(position: str, lab: Lab) -> list[int]:
    return list(range(Position.parse(position).offset // len(LINE.format(0)), lab.written))


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("happens", AT_ONCE)
@pytest.mark.parametrize("stands", STANDS)
def test_rotation_between_any_two_calls_gives_each_line_once(tmp_path, stands, happens, running):
    wrong = []
    for at in itertools.count():
        lab = Lab(tmp_path / str(at))
        position = stands(lab)
        steps = [(at, happens)]
        numbers = came(lab, position, steps, running=running)
        if numbers != wanted(position, lab):
            wrong.append((at, numbers))
        shutil.rmtree(lab.path.parent)
        if steps:
            break  # the log was read to its end before this call
    assert at > 12
    assert not wrong, (len(wrong), at, wrong[:3])


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("stands", STANDS)
def test_rotation_steps_at_any_moment_give_each_line_once(tmp_path, stands, story, running):
    steps = story.split()
    rng = random.Random(7)  # noqa: S311 - a seed that can be tried again
    wrong = []
    for turn in range(TURNS):
        lab = Lab(tmp_path / str(turn))
        position = stands(lab)
        moments = sorted(rng.sample(range(60), len(steps)))
        numbers = came(lab, position, list(zip(moments, steps, strict=True)), running=running)
        if numbers != wanted(position, lab):
            wrong.append((turn, moments, numbers))
        shutil.rmtree(lab.path.parent)
    assert not wrong, (len(wrong), wrong[:3])


# ---------------------------------------------------------------- the follower of many files, killed and restarted


def followed(lab: Lab, positions: dict[str, str], steps: list[tuple[int, str]]) -> list[Item]:
    """Follow the log from `positions` while `steps` happen, until it is idle; return all items."""
    items: list[Item] = []
    reached = dict(positions)

    def put(item: Item) -> None:
        nonlocal reports, idle
        items.append(item)
        settle(reached, [item])
        if isinstance(item, SourceStatus):
            reports += 1
            if reports > 60:
                moments.do_all()
            idle = idle + 1 if item.lag_seconds == 0 and not steps else 0

    reports = idle = 0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(follow, "REPORT_EVERY", 0.01)
        moments = Moments(patched, lab, steps)
        with contextlib.closing(lab.source().reads(reached.get, put)) as reads:
            for pause in reads:
                if idle >= 4:
                    break
                time.sleep(min(pause.seconds, 0.002))
    return items


DONE_TO = {  # kind of log -> steps that may happen to it
    Lab: ["write", "write", "write", "rename", "copy+truncate", COPYTRUNCATE, "pack remove_packed", "pack_delayed"],
    PodLab: ["write", "write", "write", "rename+write", "pack", "restart+write"],
}


def story(rng: random.Random, some: list[str]) -> list[str]:
    """Return random steps in order; "+" joins steps that happen at the same moment."""
    together = [step for _ in range(rng.randrange(1, 7)) for step in rng.choice(some).split()]
    return [step.replace("+", " ") for step in together]


@pytest.mark.parametrize("seed", range(TURNS))
@pytest.mark.parametrize("kind", DONE_TO)
def test_follower_killed_and_restarted_reads_each_line_once(tmp_path, kind, seed):
    rng = random.Random(seed)  # noqa: S311 - a seed that can be tried again
    lab = kind(tmp_path / "logs")
    lab.write(4)
    positions: dict[str, str] = {}
    settle(positions, followed(lab, positions, []))  # the first start begins at the end of the log
    received: list[int] = []
    for turn in range(6):
        for step in story(rng, DONE_TO[kind]) if rng.random() < 0.5 else []:
            lab.do(step)  # while the follower is down
        steps = story(rng, DONE_TO[kind])
        moments = sorted(rng.randrange(rng.choice([40, 120, 400])) for _ in steps)
        items = followed(lab, positions, list(zip(moments, steps, strict=True)))
        # A kill leaves a prefix of the items stored.
        kept = items[: rng.randrange(len(items) + 1)] if turn < 5 else items
        settle(positions, kept)
        received += [number(item) for item in kept if isinstance(item, LogEntry)]
    assert sorted(received) == list(range(4, lab.written))
