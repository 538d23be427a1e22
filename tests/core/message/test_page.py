"""A message as a page for mail programs."""

import re
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from certmedic.core import message, verdict
from certmedic.core.decision import History, Policy, decide
from certmedic.core.message.badge import BADGES, RESOLVED
from certmedic.core.model import MessageKind, Severity
from labs.html import Tags
from labs.values import DAY, NOW, facts, member

FACTS = facts(member(peer_ends=NOW - DAY))
(EXPIRED,) = verdict.survey(FACTS, warn_within=timedelta())


@pytest.mark.parametrize(
    ("kind", "badge"), [(MessageKind.OPENED, BADGES[Severity.CRITICAL]), (MessageKind.RESOLVED, RESOLVED)]
)
def test_page_shows_the_severity_by_word_and_colour_and_commands_in_boxes(kind, badge):
    written = message.compose(kind, EXPIRED, incident=3, host="master-a", now=NOW, outcome="It is good.")
    page = message.page(written)
    assert f"background:{badge.colour}" in page
    assert f">{badge.word}</b>" in page
    assert page.count('<pre class="box"') == written.html.count("<br/><code>") > 0
    assert "sudo certmedic show 3</pre>" in page
    assert "prefers-color-scheme:dark" in page


def test_every_element_of_a_page_is_closed_and_its_text_is_that_of_the_message():
    for mode in ("approve", "notify"):
        decision = decide(
            EXPIRED,
            FACTS,
            History(started_at=NOW - DAY),
            Policy(mode=mode, restart=("etcd-manager",), cooldown=DAY, per_day=2),
        )
        written = message.compose(MessageKind.OPENED, EXPIRED, incident=3, host="a", now=NOW, decision=decision)
        page = Tags(message.page(written))
        assert page.open == []
        assert re.sub(r"^.*?CRITICAL|\s|^- |(?<=:)- ", "", page.text, flags=re.DOTALL) == re.sub(
            r"\s", "", written.plain
        )


def test_date_of_a_page_is_not_broken_at_a_hyphen_and_a_path_is_unchanged():
    path = "/mnt/2026-01-02 03:04/me.crt"
    leaf = replace(EXPIRED.certificates[0], path=path)
    written = message.compose(
        MessageKind.OPENED,
        replace(EXPIRED, certificates=(leaf,)),
        incident=3,
        host="a",
        now=NOW,
        zone=ZoneInfo("Asia/Kolkata"),
    )
    page = message.page(written)
    assert '<span style="white-space:nowrap">2026-11-23 15:40 UTC</span> / 21:10 IST' in page
    assert ">/mnt/2026-01-02</span> " in page


def test_page_links_nowhere_and_loads_nothing():
    written = message.compose(MessageKind.OPENED, EXPIRED, incident=3, host="http://evil.example/", now=NOW)
    page = message.page(written)
    assert not any(mark in page for mark in ("<a", "href", "src=", "url(", "<script", "<img"))
