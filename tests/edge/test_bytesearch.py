"""The search by the C library must find exactly what bytes.find() finds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some

from certmedic.core import symptoms
from certmedic.edge import bytesearch

NEEDLES = (b"x509:", b"tls: ", b"aa")
soup = some.lists(
    some.sampled_from([b"x509:", b"x50", b"9:", b"tls: ", b"tls:", b"a", b"aa", b"\n", b"\r\n", b" ", b"\x00", b"\xff"])
).map(b"".join)
# Few different bytes, so that needles occur often, also at the very beginning and end.
blocks = some.lists(some.sampled_from([b"a", b"b", b"\n", b"\xff", b"\x00"]), max_size=40).map(b"".join) | some.binary()
needles = some.lists(some.sampled_from([b"a", b"b", b"\xff", b"\x00"]), max_size=4).map(b"".join) | some.binary(
    max_size=9
)


@settings(max_examples=10 * settings.default.max_examples)
@given(blocks, needles, some.integers(-5, 50), some.integers(0, 50))
def test_finder_gives_the_same_result_as_find(block, needle, start, end):
    end = min(end, len(block))
    assert bytesearch.finder(block)(needle, start, end) == block.find(needle, start, end)


@given(blocks, needles, some.integers(0, 3000))
def test_finder_never_searches_beyond_its_block(block, needle, padding):
    """A search beyond the block would find the needle in a later block."""
    block = block.replace(b"\0", b".") + b"." * padding
    after = [needle * 3 for _ in range(8)]
    assert bytesearch.finder(block)(needle, 0, len(block)) == block.find(needle)
    assert all(other == needle * 3 for other in after)


def test_finder_keeps_a_reference_to_its_block():
    find = bytesearch.finder(bytes([97]) * 100_000 + b"x509:")
    others = [bytes([98]) * 100_000 for _ in range(20)]
    assert find(b"x509:", 0, 100_005) == 100_000
    assert find(b"b", 0, 100_005) == -1
    assert len(others) == 20


@given(soup)
def test_spans_are_the_lines_that_hold_a_needle(block):
    expected = [line for line in block.split(b"\n") if any(needle in line for needle in NEEDLES)]
    spans = bytesearch.spans(block, NEEDLES)
    assert [block[start:end] for start, end in spans] == expected
    assert spans == sorted(set(spans))


@given(some.lists(some.sampled_from([b"S", b"SS", b"SSL", b"L", b"s", b"SsSL", b"\n", b"CR"])).map(b"".join))
def test_needles_of_capitals_are_found_where_they_are_and_nowhere_else(block):
    needles = (b"SSL", b"CRL")
    expected = [line for line in block.split(b"\n") if any(needle in line for needle in needles)]
    assert [block[start:end] for start, end in bytesearch.spans(block, needles)] == expected


@given(soup, some.integers(0, 60))
def test_spans_end_at_the_given_size(block, size):
    size = min(size, len(block))
    assert bytesearch.spans(block, NEEDLES, size) == bytesearch.spans(block[:size], NEEDLES)


@given(soup, some.integers(0, 3000))
def test_places_are_needles_and_miss_no_line(block, padding):
    block += b"." * padding  # long blocks take another code path than short blocks
    places = bytesearch.places(block, NEEDLES)
    assert places == sorted(places)
    assert all(block.startswith(NEEDLES, at) for at in places)
    assert bool(places) == bytesearch.hit(block, NEEDLES) == any(needle in block for needle in NEEDLES)
    for start, end in bytesearch.spans(block, NEEDLES):
        assert any(start <= at < end for at in places)


def test_block_search_finds_the_line_that_holds_a_needle():
    sick = 'rejected connection from "10.0.0.1:2" (error "remote error: tls: bad certificate", ServerName "")'
    block = b"I | healthy\n" * 50 + sick.encode() + b"\nI | healthy\n"
    assert [block[start:end].decode() for start, end in bytesearch.spans(block, symptoms.NEEDLES)] == [sick]
