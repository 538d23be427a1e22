# ruff: noqa: INP001 - a program, no module
"""The work that the interpreter is optimised for (PGO): classes, dictionaries, text, patterns, JSON, bytes.

Nothing of it depends on time or place, so that two compilations give the same bytes.
"""

from __future__ import annotations

import dataclasses
import io
import json
import marshal
import re
from pathlib import Path

LINE = "2026-11-24 15:32:44.{0:06} etcd[{0}]: error reading, x509: certificate {0} has expired"


class Item:
    """An object with two attributes and a method."""

    def __init__(self, number: int) -> None:
        self.number, self.text = number, f"item {number}"

    def after(self) -> int:
        """Return the next number."""
        return self.number + 1


def objects(count: int) -> None:
    """Make objects, and dictionaries of them."""
    held: dict[tuple[int, str], int] = {}
    for number in range(count):
        item = Item(number)
        held[number % 100, item.text] = item.after()
        if len(held) > 500:
            sorted((value, key) for key, value in held.items())
            held.clear()


def text(count: int) -> None:
    """Search lines, as text and as bytes, and write what was found as JSON."""
    pattern = re.compile(r"(?P<who>[a-z-]+)\[(?P<pid>\d+)\]: (?:error|failed) .{0,40}?x509: (?P<what>.+)$")
    found: list[dict[str, str]] = []
    for number in range(count):
        line = LINE.format(number)
        if (match := pattern.search(line)) is not None:
            found.append(match.groupdict())
        found = found[-50:]
        raw = line.encode()
        if raw.find(b"tls: ") >= 0 or b"X509" in raw.replace(b"x509", b"").split(b" "):
            found.clear()
        line.lower().strip().partition(": ")
    json.loads(json.dumps(found))


def classes(count: int) -> None:
    """Make classes, as an import does."""
    for number in range(count):
        made = dataclasses.make_dataclass("Made", [("a", int), ("b", str)], frozen=True, kw_only=True, slots=True)
        dataclasses.replace(made(a=number, b="b"), a=1)


def modules() -> None:
    """Compile and load every third module of the library."""
    folder = Path(json.__file__).parent.parent
    for path in sorted(folder.glob("*.py"))[::3]:
        code = compile(path.read_text(encoding="utf-8"), path.name, "exec", dont_inherit=True)
        marshal.loads(marshal.dumps(code))  # noqa: S302 - its own code


def failures(count: int) -> None:
    """Raise and catch errors."""
    for number in range(count):
        try:
            int("x" if number % 3 else "7")
        except ValueError as error:
            str(error)


def streams(count: int) -> None:
    """Write lines, and split them again."""
    buffer = io.StringIO()
    for number in range(count):
        buffer.write(f"{number} words\n")
    buffer.getvalue().splitlines()


objects(400_000)
text(30_000)
classes(150)
modules()
failures(200_000)
streams(100_000)
