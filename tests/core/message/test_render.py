"""How a message is shortened: it drops evidence first, then files, then whole lines at the end."""

import pytest

from certmedic.core.message.render import Block, Form, _as_plain, _fewer, _fitted

LEAD = Block("", ("lead",), Form.LEAD)
FILES = Block("Files", ("/a", "/b", "/c"))
EVIDENCE = Block("Evidence", ("one line", "another line"), Form.QUOTE)


@pytest.mark.parametrize(
    ("room", "shown"),
    [
        (1000, "lead\n\nFiles:\n  /a\n  /b\n  /c\nEvidence:\n  one line\n  another line"),
        (50, "lead\n\nFiles:\n  /a\n  /b\n  /c\nEvidence: one line"),
        (46, "lead\n\nFiles:\n  /a\n  /b\n  /c\nEvidence: one line"),
        (45, "lead\n\nFiles:\n  /a\n  /b\n  /c"),
        (27, "lead\n\nFiles:\n  /a\n  /b\n  /c"),
        (26, "lead\n\nFiles:\n  /a\n  /b"),
        (22, "lead\n\nFiles:\n  /a\n  /b"),
        (21, "lead\n\nFiles:\n  /a"),
        (16, "lead\n"),  # no heading without lines
        (5, "lead\n"),
        (4, "lead"),
    ],
)
def test_message_is_cut_to_its_limit_in_whole_lines(room, shown):
    assert _fitted((LEAD, FILES, EVIDENCE), _as_plain, room) == shown
    assert len(shown) <= room


@pytest.mark.parametrize(("count", "lines"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_long_list_of_files_becomes_two_files_and_a_count(count, lines):
    few = _fewer(Block("Files", tuple(f"/{number}" for number in range(count))))
    assert len(few.lines) == lines
    assert (few.lines[-1] == f"and {count - 2} more") is (count > 2)
