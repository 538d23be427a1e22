"""The severity of a message at a glance: a word, and a circle where a chat has no colour."""

import pytest

from certmedic.core import verdict
from certmedic.core.message import compose
from certmedic.core.message.badge import BADGES, RESOLVED, badge_of, badged
from certmedic.core.model import MessageKind, Severity
from labs.values import DAY, NOW, facts, member

(EXPIRED,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=0 * DAY)


def written(kind=MessageKind.OPENED, mark=""):
    return compose(kind, EXPIRED, incident=1, host="master-a", now=NOW, mark=mark, outcome="It is good.")


@pytest.mark.parametrize(
    ("kind", "badge"), [(MessageKind.OPENED, BADGES[Severity.CRITICAL]), (MessageKind.RESOLVED, RESOLVED)]
)
def test_message_without_a_title_gets_the_word_in_every_form(kind, badge):
    message = written(kind)
    shown = badged(message, titled=False, circled=True)

    assert badge_of(message) == badge
    assert shown.plain == f"{badge.circle} [{badge.word}] {message.plain}"
    assert shown.markdown == f"{badge.circle} [{badge.word}] {message.markdown}"
    assert shown.html == message.html.replace("<p><b>", f"<p><b>{badge.circle} [{badge.word}] ", 1)
    assert badged(message, titled=False, circled=False).plain == f"[{badge.word}] {message.plain}"


def test_title_has_the_word_already():
    message = written()
    assert badged(message, titled=True, circled=True).title == f"{BADGES[Severity.CRITICAL].circle} {message.title}"
    assert badged(message, titled=True, circled=True).plain == message.plain
    assert badged(message, titled=True, circled=False) == message


def test_message_that_is_no_alarm_keeps_its_mark_alone():
    test = written(mark="[TEST] ")
    assert badged(test, titled=False, circled=True) == test


def test_badges_differ_in_word_colour_and_circle():
    for part in ("word", "colour", "circle"):
        assert len({getattr(badge, part) for badge in (*BADGES.values(), RESOLVED)}) == 4
