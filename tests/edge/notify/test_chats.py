"""Chats get whole messages through apprise's own plug-ins: the severity, the first line, and commands that can be copied."""

import re

import pytest

from certmedic.core.message.badge import badge_of
from certmedic.core.model import MessageKind
from certmedic.edge.notify.attempt import _shortened
from labs import letters
from labs.chats import CHATS, CODE, posted

pytestmark = pytest.mark.slow
STORIES = (
    "kubeadm after a year",
    "all certificates expired, certmedic waits for an approval",
    "all certificates expired, the restart renews nothing",
)


@pytest.fixture(scope="module")
def messages():
    return [each for story in STORIES for each in letters.told(story)]


@pytest.mark.parametrize("name", CHATS)
def test_chat_shows_severity_first_line_and_whole_commands(name, messages, monkeypatch):
    chat = CHATS[name]
    for message in messages:
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
