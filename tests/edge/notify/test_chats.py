"""Chats get whole messages through apprise's own plug-ins: the severity, the first line, and commands that can be copied."""

import re

import pytest

from certmedic.core import verdict
from certmedic.core.message import compose
from certmedic.core.message.badge import BADGES, badge_of, badged
from certmedic.core.model import MessageKind
from certmedic.edge.notify.attempt import _shortened
from labs import letters
from labs.chats import CHATS, CODE, posted
from labs.values import DAY, NOW, facts, member

pytestmark = pytest.mark.slow
STORIES = (
    "kubeadm after a year",
    "all certificates expired, certmedic waits for an approval",
    "all certificates expired, the restart renews nothing",
)


@pytest.fixture(scope="module")
def told():
    return [each for story in STORIES for each in letters.told(story)]


@pytest.mark.parametrize("name", CHATS)
def test_chat_shows_severity_first_line_and_whole_commands(name, told, monkeypatch):
    chat = CHATS[name]
    for message in told:
        post = posted(monkeypatch, chat, message)
        if post is None:
            pytest.skip(f"this apprise does not know {name}")
        text, badge = post.text.replace("\r\n", "\n"), badge_of(message)
        assert len(post.title) + len(post.text) <= chat.limit
        assert f"[{badge.word}]" in (post.title or text.partition("\n")[0])
        assert post.colour or (post.title or text).startswith(badge.circle)
        assert bare(message.plain).partition("\n")[0] in bare(text).partition("\n")[0]
        assert len(commands(message)) == (
            1 if message.kind is MessageKind.RESOLVED else 3 if "approve" in message.plain else 2
        )
        for command in commands(message):
            assert (f"`{command}`" if chat.in_markdown else command) in text
        if chat.in_markdown:
            assert_whole_markdown(text)


def commands(message):
    """Return what a person is to type, without marks of any chat."""
    return re.findall(
        r"(?:^(?:Type[^:\n]*|More): |^Type one of:\n  |(?<=approve 1\n)  )(.+)", message.plain, re.MULTILINE
    )


def bare(text):
    return text.replace("`", "")


def assert_whole_markdown(text):
    """Fail on a mark that is open at the end of a line, and on one in prose, where it would turn words into something else."""
    for line in text.split("\n"):
        assert line.count("`") % 2 == 0, line
        prose = CODE.sub("", line)
        head = re.match(r" *- ?(?:[*_][^*_]+:[*_])?", prose)
        assert not re.search(r"[*_~<>|#]", prose[head.end() :] if head else prose), line


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        (70, "lead\n\nFiles:\n  /a\n  /b\nFix: f\nType one of:\n  approve\n  stop\nMore: show"),
        (69, "lead\n\nFiles:\n  /a\n  /b\nType one of:\n  approve\n  stop\nMore: show"),
        (62, "lead\n\nType one of:\n  approve\n  stop\nMore: show"),
        (45, "lead\n\nMore: show"),
        (15, "lead"),
        (2, "le"),
    ],
)
def test_short_message_loses_facts_first_then_long_commands(limit, left):
    text = "lead\n\nFiles:\n  /a\n  /b\nFix: f\nType one of:\n  approve\n  stop\nMore: show"
    assert _shortened(text, limit) == left


def test_short_markdown_keeps_its_commands():
    assert _shortened("lead\n\n- *Fix:* f\n- *Type:* `t`\n- *More:* `m`", 35) == "lead\n\n- *Type:* `t`\n- *More:* `m`"


def test_service_without_a_title_gets_the_word_and_a_test_keeps_its_mark():
    (diagnosis,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=0 * DAY)
    opened, test = (
        compose(MessageKind.OPENED, diagnosis, incident=1, host="master-a", now=NOW, mark=mark)
        for mark in ("", "[TEST] ")
    )
    circle = BADGES[opened.severity].circle
    shown = badged(opened, titled=False, circled=True)
    assert shown.plain == f"{circle} [CRITICAL] {opened.plain}"
    assert shown.markdown == f"{circle} [CRITICAL] {opened.markdown}"
    assert shown.html.startswith(f"<p><b>{circle} [CRITICAL] ")
    assert badged(opened, titled=False, circled=False).plain == f"[CRITICAL] {opened.plain}"
    assert badged(opened, titled=True, circled=True).title == f"{circle} {opened.title}"
    assert badged(opened, titled=True, circled=False) == opened
    assert badged(test, titled=False, circled=True) == test
