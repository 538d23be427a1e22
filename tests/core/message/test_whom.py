"""Who gets a message: the first matching route, and nobody during a silence or a maintenance window."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import window
from certmedic.core.message.whom import silence_of, tag_of, windows
from certmedic.core.model import MessageKind, Route, Severity, Silence
from certmedic.core.verdict import survey
from labs.values import DAY, NOW, VOLUME, facts, member

SECOND = timedelta(seconds=1)
ME = f"{VOLUME}/peers/me.crt"
ALL = Silence(id=1, cause="", file="", plane="", author="ann", comment="work", starts_at=NOW - DAY, ends_at=NOW + DAY)


def diagnosis(**changes):
    (expired,) = survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
    return replace(expired, **changes)


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ({}, True),
        ({"severity": "critical"}, True),
        ({"severity": "warning"}, False),
        ({"cause": "expired"}, True),
        ({"cause": "ca_expired"}, False),
        ({"plane": "kops"}, True),
        ({"plane": "kubeadm"}, False),
        ({"event": "opened"}, True),
        ({"event": "resolved"}, False),
        ({"severity": "critical", "cause": "expired", "plane": "kops", "event": "opened"}, True),
        ({"severity": "critical", "cause": "expired", "plane": "kubeadm", "event": "opened"}, False),
    ],
)
def test_route_fits_if_all_its_conditions_are_met(conditions, fits):
    assert tag_of(MessageKind.OPENED, diagnosis(), [Route(tag="team", **conditions)], Severity.CRITICAL) == (
        "team" if fits else ""
    )


def test_first_matching_route_gets_the_message():
    routes = [Route(tag="a", plane="kubeadm"), Route(tag="b"), Route(tag="c")]
    assert tag_of(MessageKind.OPENED, diagnosis(), routes, Severity.WARNING) == "b"
    assert tag_of(MessageKind.OPENED, diagnosis(), [], Severity.WARNING) == ""


def test_open_maintenance_window_is_a_silence_until_it_closes():
    open_now, closed_now = window.parse("15:00-16:00"), window.parse("16:00-17:00")
    (silence,) = windows([closed_now, open_now], NOW)
    assert (silence.id, silence.author, silence.comment) == (0, "notify.maintenance", "15:00-16:00")
    assert (silence.starts_at, silence.ends_at) == (NOW, NOW + timedelta(minutes=20))
    assert silence_of(diagnosis(), [silence], NOW) == silence


@pytest.mark.parametrize(
    ("change", "covers"),
    [
        ({}, True),
        ({"starts_at": NOW}, True),
        ({"starts_at": NOW + SECOND}, False),
        ({"ends_at": NOW + SECOND}, True),
        ({"ends_at": NOW}, False),
        ({"cause": "expired"}, True),
        ({"cause": "ca_expired"}, False),
        ({"plane": "kops"}, True),
        ({"plane": "kubeadm"}, False),
        ({"file": ME}, True),
        ({"file": f"{VOLUME}/*"}, True),
        ({"file": "*/server.crt"}, False),
    ],
)
def test_silence_covers_an_incident_that_meets_all_its_conditions(change, covers):
    silence = replace(ALL, **change)
    assert silence_of(diagnosis(), [silence], NOW) == (silence if covers else None)


def test_silence_of_a_file_covers_no_incident_with_other_files_or_without_files():
    silence = replace(ALL, file=ME)
    both = tuple(stored.certificate for stored in member())[:2]
    assert silence_of(diagnosis(certificates=both), [silence], NOW) is None
    assert silence_of(diagnosis(certificates=()), [silence], NOW) is None
    assert silence_of(diagnosis(certificates=()), [ALL], NOW) == ALL


def test_silence_that_ends_last_is_reported():
    longer = replace(ALL, id=2, ends_at=NOW + 2 * DAY)
    assert silence_of(diagnosis(), [ALL, longer, replace(ALL, id=3)], NOW) == longer
    assert silence_of(diagnosis(), [], NOW) is None
