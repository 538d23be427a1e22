"""Text for people: foreign text made printable, times, spans and cuts.

Text from logs, certificates and other machines goes through `printable` before it reaches a message, a journal field or a terminal.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo

# Control, format (direction marks, zero-width), private, surrogate, unassigned; line and paragraph separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    """Return text on one line, without invisible characters and direction marks."""
    shown = (
        " " if char.isspace() else char
        for char in text
        if char.isspace() or unicodedata.category(char) not in _INVISIBLE
    )
    return re.sub(r" {2,}", " ", "".join(shown)).strip()


def nearest(word: object, known: Iterable[str]) -> str:
    """Return the known word that is most like another one, as the end of an error: "; did you mean X?"; "" if none is."""
    import difflib  # noqa: PLC0415 - only errors need it, and the service stays in memory

    near = difflib.get_close_matches(str(word), known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def in_html(text: str) -> str:
    """Return text as it stands between tags. Python's `html` comes with a table of all entities, a third of a megabyte."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def given(value: object) -> str:
    """Return what stands in the place of a value that must be given, as the beginning of an error."""
    return "it is missing" if value is None else f"found {value!r}"


def cut(text: str, limit: int) -> str:
    """Return text of at most `limit` characters; an ellipsis marks a cut."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def stamp(moment: datetime) -> str:
    """Return a time as people and logs write it."""
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def minute(moment: datetime, zone: tzinfo | None = None) -> str:
    """Return a time without its seconds, for messages: in UTC, then in `zone` if there is one."""
    utc = moment.strftime("%Y-%m-%d %H:%M UTC")
    if zone is None:
        return utc
    here = moment.astimezone(zone)
    name = here.tzname() or ""
    name = name if name.isalpha() else f"UTC{here:%z}"  # a zone without letters is called by its offset, e.g. -03
    return f"{utc} / {here:{'%H:%M' if here.date() == moment.date() else '%Y-%m-%d %H:%M'}} {name}"


def span(length: timedelta) -> str:
    """Return a span in its largest whole unit: "13 days", "1 hour"; a negative span is "0 seconds"."""
    seconds = max(int(length.total_seconds()), 0)
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return count(seconds // size, unit)
    return count(seconds, "second")


def ago(length: timedelta) -> str:
    """Return how long ago a time is, "2 days ago" or "just now"; for a negative span how far ahead, "in 2 days"."""
    if timedelta() <= length < timedelta(seconds=1):
        return "just now"
    return f"{span(length)} ago" if length >= timedelta() else f"in {span(-length)}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: "1 day", "2 days"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
