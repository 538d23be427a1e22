"""Text for people at its boundaries: invisible characters, cuts, spans and plurals."""

from datetime import timedelta

import pytest

from certmedic.core.text import ago, count, cut, given, nearest, printable, span

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\n c", "a b c"),
        ("\x1b[2Ja\u202eb\u200b", "[2Jab"),
        ("\u2028a\ufdd0", "a"),
        ("\u20ac \ud800", "\u20ac"),
        ("", ""),
    ],
)
def test_printable_text_is_one_line_without_invisible_characters(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "limit", "shown"), [("abcd", 4, "abcd"), ("abcde", 4, "abc\u2026"), ("ab cde", 4, "ab\u2026"), ("", 4, "")]
)
def test_text_is_cut_at_the_limit(text, limit, shown):
    assert cut(text, limit) == shown


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (timedelta(days=-1), "0 seconds"),
        (timedelta(0), "0 seconds"),
        (SECOND, "1 second"),
        (59 * SECOND, "59 seconds"),
        (60 * SECOND, "1 minute"),
        (timedelta(hours=1) - SECOND, "59 minutes"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(days=1) - SECOND, "23 hours"),
        (timedelta(days=1), "1 day"),
        (timedelta(days=13, hours=23), "13 days"),
    ],
)
def test_span_is_in_its_largest_whole_unit(length, shown):
    assert span(length) == shown


@pytest.mark.parametrize(
    ("length", "shown"),
    [(timedelta(0), "just now"), (SECOND, "1 second ago"), (2 * SECOND, "2 seconds ago"), (-SECOND, "in 1 second")],
)
def test_ago_describes_past_and_future_times(length, shown):
    assert ago(length) == shown


@pytest.mark.parametrize(("number", "shown"), [(0, "0 days"), (1, "1 day"), (2, "2 days")])
def test_noun_agrees_with_its_number(number, shown):
    assert count(number, "day") == shown


def test_nearest_known_word_ends_an_error():
    assert nearest("remdy", ("notify", "remedy")) == "; did you mean remedy?"
    assert nearest(7, ("notify", "remedy")) == ""


def test_value_that_is_missing_is_called_so():
    assert (given(None), given("x")) == ("it is missing", "found 'x'")
