"""How a message is shortened: files are left out first, then facts are cut, then left out; never a command."""

from itertools import pairwise

import pytest

from certmedic.core.message.render import FACT, Block, Form, _as_plain, _fewer, _fitted, _sentences

LEAD = Block("", ("lead",), Form.LEAD)
FILES = Block("Files", ("/a", "/b", "/long-c", "/long-d"))
FIX = Block("Fix", ("f" * 200,))
TYPE = Block("Type", ("command",), Form.CODE)
CUT = f"Fix: {'f' * (FACT - 1)}\u2026"
FEWER = "Files:\n  /a\n  /b\n  and 2 more\n"


def test_message_that_is_too_long_loses_files_and_facts_but_no_command():
    shapes = [
        f"lead\n\nFiles:\n  /a\n  /b\n  /long-c\n  /long-d\nFix: {'f' * 200}\nType: command",
        f"lead\n\n{FEWER}Fix: {'f' * 200}\nType: command",
        f"lead\n\n{FEWER}{CUT}\nType: command",
        f"lead\n\n{FEWER}Type: command",
        "lead\n\nType: command",
    ]
    for longer, shorter in pairwise(shapes):
        assert written(len(longer)) == longer
        assert written(len(longer) - 1) == shorter
    assert written(1) == shapes[-1]


@pytest.mark.parametrize(
    ("line", "short"),
    [
        ("a" * FACT, "a" * FACT),
        ("a" * (FACT + 1), "a" * (FACT - 1) + "\u2026"),
        (f"One. Two. {'a' * FACT}", "One. Two."),
    ],
)
def test_fact_is_cut_after_a_sentence_if_there_is_one(line, short):
    assert _sentences(line) == short


def written(room):
    return _as_plain(_fitted((LEAD, FILES, FIX, TYPE), _as_plain, room))


@pytest.mark.parametrize(("count", "lines"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_long_list_of_files_becomes_two_files_and_a_count(count, lines):
    few = _fewer(Block("Files", tuple(f"/{number}" for number in range(count))))
    assert len(few.lines) == lines
    assert (few.lines[-1] == f"and {count - 2} more") is (count > 2)
