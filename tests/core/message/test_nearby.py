"""The short texts: on terminals, at login, in the heartbeat, and about a silence."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import message
from certmedic.core.message import nearby
from certmedic.core.model import MessageKind, Silence, Trust
from certmedic.core.verdict import survey
from labs.values import DAY, NOW, VOLUME, facts, member

SILENCE = Silence(id=4, cause="", file="", plane="", author="ann", comment="moving", starts_at=NOW, ends_at=NOW + DAY)
WINDOW = replace(SILENCE, id=0, comment="Sun 02:00-04:00")


def diagnosis(**changes):
    (expired,) = survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
    return replace(expired, **changes)


def line(subject=None, *, escalated=False, silence=None):
    return nearby.login_line(7, subject or diagnosis(), None, now=NOW, escalated=escalated, silence=silence)


def test_wall_text_has_the_first_line_of_the_message_and_a_command_for_details():
    sent = message.compose(MessageKind.OPENED, diagnosis(), incident=7, host="master-a", now=NOW)
    first, more, end = nearby.wall_text(sent, 7).split("\n")
    assert (first, more, end) == (sent.plain.split("\n")[0], "More: sudo certmedic show 7", "")


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({}, "restart etcd-manager"),
        ({"escalated": True}, "NOT FIXED, a person is needed"),
        ({"silence": SILENCE}, "silenced by ann until 2026-11-25 15:40:00 UTC"),
        ({"silence": WINDOW}, "silenced, maintenance window, until 2026-11-25 15:40:00 UTC"),
        ({"silence": SILENCE, "escalated": True}, "silenced by ann until 2026-11-25 15:40:00 UTC"),
    ],
)
def test_login_line_has_the_state_of_an_incident(more, state):
    shown = line(**more)
    assert shown.startswith("certmedic: etcd main: certificate expired: ")
    assert f": {state} (" in shown
    assert shown.endswith(" (sudo certmedic show 7)")


def test_login_line_is_short_and_harmless_for_any_certificate_name():
    leaf = replace(diagnosis().certificates[0], subject_cn="<b>" + "n" * 300)
    shown = line(diagnosis(plane="", group="", certificates=(leaf,)))
    assert "<" not in shown
    assert len(shown) <= len("certmedic: ") + 140 + len(" (sudo certmedic show 7)")


def test_short_description_names_the_owner_and_the_fault():
    assert nearby.in_few_words(diagnosis(), NOW) == "etcd main: certificate expired"


@pytest.mark.parametrize(("count", "shown", "rest"), [(0, 0, ""), (5, 5, ""), (6, 5, "1 more"), (9, 5, "4 more")])
def test_login_has_at_most_five_lines_and_a_count_of_the_rest(count, shown, rest):
    lines = [str(number) for number in range(count)]
    few = nearby.few_lines(lines)
    assert few[:shown] == tuple(lines[:shown])
    assert few[shown:] == ((f"certmedic: and {rest} (sudo certmedic incidents --open)",) if rest else ())


@pytest.mark.parametrize(
    ("peer_ends", "server_ends", "text"),
    [
        (
            NOW + DAY,
            NOW + 2 * DAY,
            f"h: 4 certificates; next expiry 2026-11-25 15:40:00 UTC: {VOLUME}/peers/me.crt",
        ),
        (
            NOW,  # the second of NotAfter counts as expired
            NOW + 2 * DAY,
            f"h: 4 certificates, 1 expired; next expiry 2026-11-26 15:40:00 UTC: {VOLUME}/clients/server.crt",
        ),
    ],
)
def test_heartbeat_names_the_next_expiry(peer_ends, server_ends, text):
    assert nearby.pulse("h", facts(member(peer_ends=peer_ends, server_ends=server_ends)), NOW) == text


def test_heartbeat_counts_only_trusted_certificates():
    leaf = member(peer_ends=NOW - DAY)[0]
    assert nearby.pulse("h", facts((leaf,)), NOW) == "h: 1 certificate, 1 expired"
    assert nearby.pulse("h", facts((replace(leaf, trust=Trust.CLUSTER),)), NOW) == "h: 0 certificates"


def test_silence_is_described_by_author_end_and_reason():
    assert nearby.silence_text(SILENCE) == "by ann until 2026-11-25 15:40:00 UTC: moving (silence 4)"
    assert nearby.silence_text(WINDOW) == "maintenance window Sun 02:00-04:00, until 2026-11-25 15:40:00 UTC"
