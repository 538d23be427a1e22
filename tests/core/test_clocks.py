"""Which clock is wrong, how far, and when the fault ends by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certmedic.core import certificates, clocks
from certmedic.core.model import Member
from labs import pki
from labs.values import DAY, NOW, facts

HOUR = timedelta(hours=1)


def leaf(starts):
    ca = pki.authority("etcd-ca", not_before=NOW - 400 * DAY)
    return certificates.parse(ca.leaf("x", not_before=starts, not_after=NOW + 30 * DAY).cert_pem, "")[0]


def member(starts, *, verified=True, is_self=False):
    shown = leaf(starts) if starts is not None else None
    return Member(name="b", group="", address="b", port=1, serves=shown, verified=verified, is_self=is_self)


@pytest.mark.parametrize(
    ("member", "doubts"),
    [
        (member(NOW + HOUR), True),
        (member(NOW - HOUR), False),
        (member(None), False),
        (member(NOW + HOUR, verified=False), False),
        (member(NOW + HOUR, is_self=True), False),
    ],
)
def test_new_certificate_of_a_member_witnesses_that_this_clock_is_behind(member, doubts):
    sentences = list(clocks.witnesses(facts((), members=(member,))))
    assert bool(sentences) is doubts
    assert all("this machine's clock is behind by at least 1 hour" in sentence for sentence in sentences)


@pytest.mark.parametrize(
    ("synchronised", "sentence"), [(True, "the other clock is wrong"), (False, "look at it first"), (None, "")]
)
def test_ntp_witnesses_whose_clock_is_wrong(synchronised, sentence):
    sentences = " ".join(clocks.witnesses(facts((), clock_synchronised=synchronised)))
    assert sentence in sentences
    assert bool(sentences) is bool(sentence)


def test_both_ways_in_which_the_other_clock_may_be_wrong_have_a_bound():
    sentences = clocks.of_other([leaf(NOW - HOUR)], "b", NOW)
    assert "behind by more than 1 hour" in sentences
    assert "or ahead by more than 30 days" in sentences


@pytest.mark.parametrize(("starts", "sentence"), [(NOW + HOUR, "at least 1 hour"), (NOW, "the fault is over")])
def test_certificate_of_the_future_bounds_how_far_a_clock_is_behind(starts, sentence):
    assert sentence in clocks.behind(starts, NOW)


@pytest.mark.parametrize(
    ("ahead", "sentence"),
    [
        (HOUR, "the clock of etcd-b is 1 hour ahead of this one"),
        (-HOUR, "the clock of etcd-b is 1 hour behind this one"),
        (timedelta(seconds=-2), "the clock of etcd-b is equal to this one"),
    ],
)
def test_date_of_another_master_shows_how_far_its_clock_is_off(ahead, sentence):
    (sentences,) = clocks.witnesses(facts((), clocks={"etcd-b": ahead}))
    assert sentences.endswith(sentence)


@pytest.mark.parametrize(
    ("seen", "doubts"),
    [
        ({}, False),
        ({"clock_synchronised": False}, True),
        ({"clock_synchronised": True}, False),
        ({"members": (member(NOW - HOUR),)}, True),
        ({"members": (member(NOW - 3 * DAY), member(None))}, False),
    ],
)
def test_clock_is_in_doubt_while_a_certificate_is_young(seen, doubts):
    assert clocks.in_doubt(facts((), **seen)) is doubts
