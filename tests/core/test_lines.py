"""One line: whether it contains a needle, and its text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from certmedic.core import lines


@given(some.binary(), some.lists(some.binary(min_size=1, max_size=3), max_size=3))
def test_hit_is_true_if_the_line_contains_a_needle(raw, needles):
    assert lines.hit(raw, tuple(needles)) == any(needle in raw for needle in needles)


@given(some.binary())
def test_text_of_any_bytes_is_one_line(raw):
    text = lines.text(raw)
    assert "\n" not in text
    assert len(text) <= lines.LIMIT
    assert text.encode() == text.encode(errors="strict")


def test_text_is_decoded_joined_and_cut():
    assert lines.text(b"a \xc3\xa9 b\r\n") == "a é b"
    assert lines.text(b"a\nb\n\n") == "a b"
    assert len(lines.text(b"a" * 100_000)) == lines.LIMIT
