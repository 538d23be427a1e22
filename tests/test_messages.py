"""Every message of the stories of one master, compared with its text in `tests/data/messages.txt` (`./dev generate` rewrites it)."""

import re
from collections import Counter

import pytest

from labs import letters

MOST = 3  # messages of one trouble on one channel, without reminders
LONGEST = 1200  # characters of title and text


def test_messages_are_those_of_the_data_file():
    assert letters.text() == letters.DATA.read_text()


@pytest.mark.parametrize("name", [*letters.STORIES, *letters.OF_THREE])
def test_one_trouble_sends_at_most_three_messages_beside_reminders(name):
    kinds = [letter.kind for letter in letters.told(name)]
    assert len([kind for kind in kinds if kind != "reminder"]) <= MOST
    assert kinds.count("resolved") <= 1


@pytest.mark.parametrize("name", [*letters.STORIES, *letters.OF_THREE])
def test_message_is_short_and_names_host_and_severity(name):
    for letter in letters.told(name):
        assert len(letter.title) + 1 + len(letter.plain) <= LONGEST
        assert len(letter.title) + 1 + len(letter.markdown) <= LONGEST
        assert re.match(r"\[(CRITICAL|WARNING|RESOLVED)\] master-[abc]: ", letter.title)
        assert len(letter.plain.splitlines()) <= 14


@pytest.mark.parametrize(
    ("name", "hosts"),
    [
        ("three masters: the certificates of one have expired", {"master-b": 2}),
        ("three masters: the certificates of all have expired", {"master-a": 2}),
        ("three masters: the certificates of all have expired, certmedic restarts etcd-manager", {"master-a": 2}),
        ("three masters: the certificates of all have expired, a person comes late", {"master-a": 2}),
        ("three masters: the certificates of all have expired, their etcds start again and again", {"master-a": 2}),
        ("three masters: the certificates of one have expired, its etcd starts again and again", {"master-b": 2}),
        ("three masters: the certificates of all have expired, the first master dies", {"master-a": 1, "master-b": 2}),
        ("three masters: the certificates of all expire in a month", {"master-a": 2}),
        ("three masters: the certificates of all expire in three minutes", {"master-a": 3}),
        ("three masters: the CA has expired", {"master-a": 2}),
        ("three masters: kubeadm after a year", {"master-a": 2}),
        ("three masters: six etcds on each at once", {"master-a": 3}),
        ("three masters: a member without an agent", {"master-a": 2}),
        ("three masters: a user's old kubeconfig", {}),
    ],
)
def test_trouble_of_a_member_or_a_group_is_reported_by_one_master(name, hosts):
    assert Counter(re.search(r"master-[abc]", letter.title)[0] for letter in letters.told(name)) == hosts


@pytest.mark.parametrize("name", [name for name in letters.OF_THREE if re.search("of all|the CA|kubeadm", name)])
def test_first_message_about_a_group_names_the_other_members(name):
    first = letters.told(name)[0]
    for text in (first.plain, first.markdown, first.html):
        assert "etcd-b, etcd-c" in text
        assert "for all of them" in text
