"""A message as a page for mail programs."""

from datetime import timedelta

import pytest

from certmedic.core import message, verdict
from certmedic.core.message.page import COLOURS, RESOLVED
from certmedic.core.model import MessageKind, Severity
from labs.values import DAY, NOW, facts, member

(EXPIRED,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())


@pytest.mark.parametrize(
    ("kind", "word", "colour"),
    [
        (MessageKind.OPENED, "CRITICAL", COLOURS[Severity.CRITICAL]),
        (MessageKind.RESOLVED, "RESOLVED", RESOLVED),
    ],
)
def test_page_shows_the_severity_by_word_and_colour_and_commands_in_boxes(kind, word, colour):
    written = message.compose(kind, EXPIRED, incident=3, host="master-a", now=NOW, outcome="It is good.")
    page = message.page(written)
    assert f"background:{colour}" in page
    assert f">{word}</b>" in page
    assert page.count('<code class="box"') == written.html.count("<br/><code>") > 0
    assert "sudo certmedic show 3</code>" in page
    assert "prefers-color-scheme:dark" in page


def test_page_links_nowhere_and_loads_nothing():
    written = message.compose(MessageKind.OPENED, EXPIRED, incident=3, host="http://evil.example/", now=NOW)
    page = message.page(written)
    assert not any(mark in page for mark in ("<a", "href", "src=", "url(", "<script", "<img"))
