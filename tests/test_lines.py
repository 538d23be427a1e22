"""The door: the fast ways must find exactly what the plain way finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from certmedic.core import lines

NEEDLES = (b"x509:", b"tls: ", b"aa")
soup = some.lists(
    some.sampled_from([b"x509:", b"x50", b"9:", b"tls: ", b"tls:", b"a", b"aa", b"\n", b"\r\n", b" ", b"\x00", b"\xff"])
).map(b"".join)


@given(soup)
def test_spans_are_the_lines_that_hold_a_needle(block):
    expected = [line for line in block.split(b"\n") if any(needle in line for needle in NEEDLES)]
    found = lines.spans(block, NEEDLES)
    assert [block[start:end] for start, end in found] == expected
    assert found == sorted(set(found))


@given(soup, some.integers(0, 60))
def test_what_lies_behind_the_size_is_not_looked_at(block, size):
    size = min(size, len(block))
    assert lines.spans(block, NEEDLES, size) == lines.spans(block[:size], NEEDLES)


@given(soup)
def test_places_hold_needles_and_none_is_left_between_them(block):
    found = lines.places(block, NEEDLES)
    assert found == sorted(found)
    assert all(block.startswith(NEEDLES, at) for at in found)
    assert bool(found) == lines.hit(block, NEEDLES) == any(needle in block for needle in NEEDLES)
    for start, end in lines.spans(block, NEEDLES):
        assert any(start <= at < end for at in found)


@given(some.binary())
def test_text_is_one_line_of_any_bytes(raw):
    text = lines.text(raw)
    assert "\n" not in text
    assert len(text) <= lines.LIMIT
    assert text.encode() == text.encode(errors="strict")


def test_text_keeps_what_is_there():
    assert lines.text(b"a \xc3\xa9 b\r\n") == "a é b"
    assert lines.text(b"a\nb\n\n") == "a b"
    assert len(lines.text(b"a" * 100_000)) == lines.LIMIT
