"""HTML elements. Text becomes markup only through `element`, which escapes everything that is not markup already."""

from __future__ import annotations

import html
from collections.abc import Iterable

from certmedic.core.pages.style import STYLE
from certmedic.core.text import printable

VOID = frozenset({"meta", "line", "rect", "circle", "col"})
# Nothing is fetched and no script runs, whatever a page holds.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(text: object) -> str:
    """Return foreign text as it may stand between tags or in a quoted attribute: on one line, nothing invisible, nothing active.

    A space at either end stays, because a neighbour may need it.
    """
    words = str(text)
    before, after = (" " if words[place : place + 1 or None].isspace() else "" for place in (0, -1))
    shown = html.escape(printable(words), quote=True)
    return f"{before}{shown}{after}" if shown else before


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """Return an element. Children that are no markup are escaped, and so is each attribute; "_" in its name becomes "-"."""
    listed = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{listed}/>")
    return Markup(f"<{name}{listed}>{joined(children)}</{name}>")


def joined(children: Iterable[object]) -> Markup:
    """Return several children as one piece of markup; None is left out."""
    return Markup(
        "".join(child if isinstance(child, Markup) else escaped(child) for child in children if child is not None)
    )


def page(title: str, *children: object) -> str:
    """Return a whole document."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(STYLE)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', element('main', *children)), lang='en')}\n"


def badge(word: str, like: str = "") -> Markup:
    """Return a state or a severity as a word in its own colour, or in that of `like`; a word that has no colour is grey."""
    colour = like or word
    return element("span", word, class_=f"badge {colour}" if colour.isalpha() and colour.isascii() else "badge")


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> Markup:
    """Return a table. On a phone each row becomes a card, in which each cell has its head before it."""
    names = tuple(heads)
    body = [element("tr", *map(_cell, names, row)) for row in rows]
    return element(
        "table",
        element("thead", element("tr", *(element("th", name, scope="col") for name in names))),
        element("tbody", *body),
    )


def _cell(head: str, content: object) -> Markup:
    return element("td", None if content == "" else element("div", content), data_head=head)
