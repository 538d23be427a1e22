"""Commands for people to type: argv lists, quoted once, when they are rendered.

A foreign value (a path, a name) stands in a command only if `is_plain` holds for it. `shell` checks every argument again, and renders
nothing rather than a command that a shell may read in another way. Nothing may alter its result.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

_PLAIN = re.compile(r"[A-Za-z0-9/._:@%+=-]+")
# Chat services notify everybody in the room for the first, and somebody for a word that begins with "@". Unit names like
# etcd@main.service need neither. Services make links of "name://" and "www.".
_CALLS = re.compile(r"(?i)@(?:everyone|here|channel|all)\b|(?<![a-z0-9._-])@|@(?![a-z0-9._-])|://|\bwww\.")
# Characters that a fixed line of ours may hold; a backtick would end the code span of a chat.
_FIXED = re.compile(r"[ -_a-~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One step: the argv of a program, or a fixed line of shell without foreign values."""

    argv: tuple[str, ...] = ()
    script: str = ""


def run(*argv: str) -> Command:
    """Return the command of an argv."""
    return Command(argv=argv)


def fixed(script: str) -> tuple[Command, ...]:
    """Return a fixed line of shell as the only step; no step for an empty line."""
    return (Command(script=script),) if script else ()


def is_plain(value: str) -> bool:
    """Whether a value means the same quoted and unquoted in every shell, and is no call in a chat."""
    return _PLAIN.fullmatch(value) is not None and _CALLS.search(value) is None


def is_plain_path(path: str) -> bool:
    """Whether a path may stand in a command: plain, and absolute, so that it is never an option."""
    return path.startswith("/") and is_plain(path)


def shell(commands: Sequence[Command]) -> str:
    """Return the steps as one line for a shell, each only if the one before succeeded; "" if one cannot be typed safely."""
    steps = [_step(command) for command in commands]
    return " && ".join(steps) if all(steps) else ""


def _step(command: Command) -> str:
    if command.script:
        return command.script if _FIXED.fullmatch(command.script) else ""
    return shlex.join(command.argv) if all(is_plain(argument) for argument in command.argv) else ""
