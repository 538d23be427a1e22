"""The story of an incident: moments on lanes, in order of time."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core.incident import IncidentState
from certmedic.core.model import Cause
from certmedic.core.postmortem import Lane, story
from labs.exposed import incident
from labs.values import NOW, member

MINUTE = timedelta(minutes=1)


def event(what, minutes=0, text="text"):
    return {"at": (NOW + minutes * MINUTE).isoformat(), "what": what, "said": text}


def fold(count=3, minutes=0, until=1):
    first, last = (NOW + m * MINUTE for m in (minutes, until))
    return {"count": count, "sample": "tls: bad", "first_seen": first.isoformat(), "last_seen": last.isoformat()}


def message(number=1, kind="opened", state="sent", **more):
    usual = {"created_at": NOW.isoformat(), "title": "t", "label": "json://a", "attempts": 1, "error": ""}
    return {"id": number, "kind": kind, "state": state, **usual, **more}


def told(*events, folds=(), messages=(), changed=None, **diagnosis):
    case = incident()
    case = replace(case, diagnosis=replace(case.diagnosis, **diagnosis), **(changed or {}))
    return story(case, host="master-a", events=events, folds=folds, messages=messages, now=NOW + 9 * MINUTE)


def test_moments_are_in_order_of_time_and_then_of_lanes():
    seen = told(event("resolved", 5), event("acted", 1), event("opened"), folds=[fold()], messages=[message()]).moments
    assert [moment.lane for moment in seen] == [Lane.LINES, Lane.DECISION, Lane.MESSAGE, Lane.ACTION, Lane.CHECK]


@pytest.mark.parametrize(
    ("what", "lane", "name", "is_bad"),
    [
        ("opened", Lane.DECISION, "incident opened", False),
        ("intent", Lane.ACTION, "action intended", False),
        ("failed", Lane.CHECK, "action failed", True),
        ("held-back", Lane.DECISION, "held back", False),
    ],
)
def test_event_has_a_lane_and_a_name(what, lane, name, is_bad):
    (moment,) = told(event(what)).moments
    assert (moment.lane, moment.what, moment.text, moment.is_bad) == (lane, name, "text", is_bad)


def test_equal_lines_are_one_moment_from_first_to_last():
    seen = told(folds=[fold()])
    (moment,) = seen.moments
    assert (moment.at, moment.until, moment.what, moment.text) == (NOW, NOW + MINUTE, "3 log lines", "tls: bad")
    assert (seen.lines[0].count, seen.lines[0].last) == (3, NOW + MINUTE)


def test_certificates_that_expired_together_are_one_moment():
    ended = NOW - 5 * MINUTE
    files = member(peer_ends=ended, server_ends=ended)
    certificates = tuple(each.certificate for each in files if each.certificate.not_after == ended)
    (moment,) = told(certificates=certificates, since=ended).moments

    assert (moment.at, moment.lane, moment.what) == (ended, Lane.CERTIFICATE, "certificate expired")
    assert len(certificates) == 2
    assert all(certificate.path in moment.text for certificate in certificates)


def test_certificate_in_memory_is_named_by_its_subject():
    (certificate, *_) = (replace(each.certificate, path="") for each in member(peer_ends=NOW))
    assert told(certificates=(certificate,)).moments[0].text == "etcd-a (in memory)"


def test_certificate_that_is_still_good_has_no_moment():
    certificates = (member(peer_ends=NOW + 90 * MINUTE)[0].certificate,)
    assert told(certificates=certificates, cause=Cause.EXPIRES_SOON, since=NOW + 90 * MINUTE).moments == ()
    assert told(certificates=certificates, cause=Cause.EXPIRES_SOON, since=NOW).moments == ()


def test_fault_of_another_kind_began_once():
    (moment,) = told(cause=Cause.CLOCK, since=NOW).moments
    assert (moment.what, moment.text) == ("fault began", "clock")


@pytest.mark.parametrize(
    ("states", "text", "is_bad"),
    [
        (["sent", "sent"], "reached 2 of 2 channels", False),
        (["sent", "pending"], "reached 1 of 2 channels", True),
        (["expired"], "reached 0 of 1 channel", True),
    ],
)
def test_message_is_one_moment_with_the_channels_that_it_reached(states, text, is_bad):
    (moment,) = told(messages=[message(state=state) for state in states]).moments
    assert (moment.what, moment.text, moment.is_bad) == ("message: opened", f"t: {text}", is_bad)


def test_message_without_a_channel_says_so():
    (moment,) = told(messages=[message(label="", state="expired")]).moments
    assert (moment.text, moment.is_bad) == ("t: no channel is configured for it", False)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            {"state": "expired", "attempts": 9, "error": "refused"},
            "opened: not delivered to json://a after 9 attempts: refused",
        ),
        ({"state": "pending", "attempts": 1}, "opened: not delivered to json://a after 1 attempt"),
        ({"state": "pending", "attempts": 0}, None),
        ({"state": "sent"}, None),
        ({"state": "expired", "label": ""}, None),
    ],
)
def test_undelivered_messages_are_listed(row, text):
    assert told(messages=[message(**row)]).undelivered == ((text,) if text else ())


def test_end_is_the_present_while_an_incident_lasts():
    resolved = {"state": IncidentState.RESOLVED, "resolved_at": NOW + MINUTE}
    assert told(changed=resolved).end == NOW + MINUTE
    assert told().end == NOW + 9 * MINUTE
