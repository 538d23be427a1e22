"""The short names of a diagnosis and its certificate."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core.message.words import brief, clause, soon, whose
from certmedic.core.model import Cause, Suspect
from certmedic.core.verdict import survey
from labs.values import DAY, NOW, facts, member

SECOND = timedelta(seconds=1)


def diagnosis(**changes):
    (expired,) = survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
    return replace(expired, **changes)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, "etcd main"),
        ({"source": "journal"}, "the journal"),
        ({"source": "docker"}, "docker"),
        ({"suspect": Suspect.PEER, "neighbours": ("10.0.0.2", "10.0.0.3")}, "10.0.0.2"),
        ({"suspect": Suspect.PEER}, "a neighbour"),
        ({"group": ""}, "etcd"),
        ({"group": "", "certificates": ()}, "kops"),
        ({"group": "", "plane": "", "certificates": ()}, "a program on this machine"),
    ],
)
def test_owner_of_a_diagnosis_has_a_name(change, name):
    assert whose(diagnosis(**change)) == name


@pytest.mark.parametrize(
    ("moment", "text"),
    [(NOW + SECOND, "expires in 1 second"), (NOW, "expires now"), (NOW - SECOND, "expires now")],
)
def test_expiry_warning_at_the_second_of_expiry(moment, text):
    forecast = diagnosis(cause=Cause.EXPIRES_SOON, since=moment)
    assert soon(moment, NOW) == text
    assert brief(forecast, NOW) == f"certificate {text}"
    assert clause(forecast, NOW) == f"the certificate of etcd main {text}, on 2026-11-24 15:{moment:%M} UTC"


def test_expiry_warning_without_a_date_says_soon():
    forecast = diagnosis(cause=Cause.EXPIRES_SOON, since=None)
    assert clause(forecast, NOW) == "the certificate of etcd main expires soon"
    assert brief(forecast, NOW) == "certificate expires soon"
