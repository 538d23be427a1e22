"""One module prints, and no foreign text steers a terminal."""

import re
from pathlib import Path

import pytest

from certmedic.cli import show

ROOT = Path(__file__).parents[1]
PRINTS = re.compile(r"\bclick\.(?:echo|secho)\(|(?<![\w.])print\(|sys\.std(?:out|err)\.write\(")


def test_only_one_module_of_the_commands_prints():
    folder = ROOT / "agent/certmedic/cli"
    others = [
        path.name for path in sorted(folder.glob("*.py")) if path.name != "show.py" and PRINTS.search(path.read_text())
    ]
    assert others == []


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("etcd-a", "etcd-a"),
        ("a\x1b[2J\x1b]0;x\x07b", "a\ufffd[2J\ufffd]0;x\ufffdb"),
        ("a\u202eb", "a\ufffdb"),
        ("a\x9b31mb", "a\ufffd31mb"),
        ("a\rb\tc\nd", "a\ufffdb c\nd"),
        ("\ud800", "\ufffd"),
        ("grün …", "grün …"),
    ],
)
def test_foreign_text_moves_no_cursor(foreign, shown, capsys):
    assert show.harmless(foreign) == shown
    show.say(foreign)
    show.write(foreign)
    show.table(["A"], [[foreign.replace("\n", "")]])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x9b" not in out
    assert "\u202e" not in out
