"""Everything foreign on a page is escaped in one place."""

import pytest

from certmedic.core.pages.markup import Markup, badge, element, escaped, page, table

HOSTILE = "</td><script>alert(1)</script>\"'&\x1b[2J\u202e\x00\n"


@pytest.mark.parametrize(
    ("foreign", "text"),
    [
        (HOSTILE, "&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;[2J "),
        ("a\r\nb", "a b"),
        (" a ", " a "),
        (" \x1b", " "),
        (" ", " "),
        ("", ""),
        (7, "7"),
        ("grün", "grün"),
    ],
)
def test_foreign_text_is_escaped(foreign, text):
    assert escaped(foreign) == text
    assert element("p", foreign, title=foreign) == f'<p title="{text}">{text}</p>'


def test_markup_is_not_escaped_again_and_none_is_left_out():
    assert element("p", element("b", "<"), None, Markup("<br/>"), id=None) == "<p><b>&lt;</b><br/></p>"


def test_names_of_attributes_and_elements_without_end():
    assert element("rect", class_="a", stroke_width=2) == '<rect class="a" stroke-width="2"/>'


@pytest.mark.parametrize(
    ("word", "classes"),
    [("critical", "badge critical"), ('" onload="x', "badge"), ("a b", "badge"), ("größe", "badge")],
)
def test_badge_takes_no_class_from_a_word_that_is_none(word, classes):
    assert badge(word).startswith(f'<span class="{classes}">')


def test_table_names_the_column_in_each_cell():
    assert table(["A", "B"], [["<", ""]]).endswith(
        '<td data-head="A"><div>&lt;</div></td><td data-head="B"></td></tr></tbody></table>'
    )


def test_page_loads_nothing_and_runs_nothing():
    text = page("<t>", "x")
    assert "<title>&lt;t&gt;</title>" in text
    assert "default-src &#x27;none&#x27;" in text
    assert not any(word in text for word in ("<script", "src=", "href=", "@import", "url("))
