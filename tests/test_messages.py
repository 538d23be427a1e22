"""Every message of the stories of one master, compared with its text in `tests/data/messages.txt` (`./dev generate` rewrites it)."""

import re

import pytest

from labs import letters

MOST = 3  # messages of one trouble on one channel, without reminders
LONGEST = 1200  # characters of title and text


def test_messages_are_those_of_the_data_file():
    assert letters.text() == letters.DATA.read_text()


@pytest.mark.parametrize("name", letters.STORIES)
def test_one_trouble_sends_at_most_three_messages_beside_reminders(name):
    kinds = [letter.kind for letter in letters.told(name)]
    assert len([kind for kind in kinds if kind != "reminder"]) <= MOST
    assert kinds.count("resolved") <= 1


@pytest.mark.parametrize("name", letters.STORIES)
def test_message_is_short_and_names_host_and_severity(name):
    for letter in letters.told(name):
        assert len(letter.title) + 1 + len(letter.plain) <= LONGEST
        assert len(letter.title) + 1 + len(letter.markdown) <= LONGEST
        assert re.match(r"\[(CRITICAL|WARNING|RESOLVED)\] master-a: ", letter.title)
        assert len(letter.plain.splitlines()) <= 14
