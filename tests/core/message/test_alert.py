"""An incident as an alert: labels of few values, and annotations for people."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import verdict
from certmedic.core.incident import Incident, IncidentState
from certmedic.core.message import alert, annotations_of, answered, ended, fixed, is_posted, labels_of
from certmedic.core.model import Cause, Decision, Silence, Suspect
from labs.values import DAY, NOW, facts, member

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
SILENCE = Silence(id=1, cause="", file="", plane="", author="a", comment="c", starts_at=NOW - DAY, ends_at=NOW + DAY)


def incident(about=None, **changes):
    (diagnosis,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
    usual = {
        "id": 7,
        "key": diagnosis.key,
        "state": IncidentState.OPEN,
        "diagnosis": replace(diagnosis, **(about or {})),
        "decision": Decision(reason="r"),
        "opened_at": NOW - 20 * MINUTE,
        "announced_at": NOW - 19 * MINUTE,
        "last_seen": NOW,
        "resolved_at": None,
        "count": 1,
    }
    return Incident(**(usual | changes))


def accusing(*whom, **changes):
    return incident({"suspect": Suspect.PEER, "neighbours": whom, "certificates": ()}, **changes)


def labels(of, *members):
    return labels_of(of, cluster="prod", host="master-a", address="10.0.0.1", members=members)


def posted(of, silence=None, *, members=(), is_left=False):
    answering = members if answered(of, 60 * MINUTE) else ()
    return is_posted(of, silence, answering=answering, is_left=is_left, now=NOW)


@pytest.mark.parametrize(
    ("changes", "silence", "is_alert"),
    [
        ({}, None, True),
        ({}, SILENCE, True),  # it was reported before, so that its end is reported too
        ({"announced_at": None}, None, True),
        ({"announced_at": None}, SILENCE, False),
        ({"announced_at": None, "decision": None}, None, False),
    ],
)
def test_incident_that_was_judged_and_is_not_silenced_is_posted(changes, silence, is_alert):
    assert posted(incident(**changes), silence) is is_alert


def test_incident_that_another_master_reports_is_posted_once_it_is_reported_here():
    assert not posted(incident(announced_at=None), is_left=True)
    assert posted(incident(), is_left=True)


def test_information_is_never_posted():
    of = incident({"cause": Cause.DISTRUSTED, "suspect": Suspect.UNKNOWN})
    assert not posted(of)


@pytest.mark.parametrize(
    ("changes", "is_alert"),
    [
        ({}, True),
        ({"announced_at": None}, False),
        ({"opened_at": NOW - 79 * MINUTE, "last_seen": NOW - 2 * MINUTE}, True),
        ({"opened_at": NOW - 79 * MINUTE, "last_seen": NOW - 2 * MINUTE - SECOND}, False),
        ({"opened_at": NOW - 29 * MINUTE, "last_seen": NOW - 9 * MINUTE}, True),  # it did not answer
    ],
)
def test_member_is_accused_by_the_master_that_reports_it_as_long_as_it_is_logged(changes, is_alert):
    assert posted(accusing("10.0.0.2", **changes), members=["10.0.0.2"]) is is_alert


def test_whoever_is_no_member_is_reported_at_once():
    assert posted(accusing("192.0.2.1", opened_at=NOW, last_seen=NOW - DAY))


def test_labels_of_the_accused_and_its_accuser_name_one_culprit():
    assert labels(incident()) == {
        "alertname": "CertmedicExpired",
        "cluster": "prod",
        "instance": "master-a",
        "plane": "kops",
        "group": "main",
        "culprit": "10.0.0.1",
        "cause": "expired",
        "suspect": "own",
        "severity": "critical",
    }
    accuser = labels_of(
        accusing("10.0.0.1:2380"), cluster="", host="b", address="10.0.0.2", members=["10.0.0.1", "10.0.0.3"]
    )
    assert (accuser["culprit"], accuser["suspect"]) == ("10.0.0.1", "peer")
    assert "cluster" not in accuser


def test_stranger_makes_no_label():
    assert labels(accusing("<evil>", "192.0.2.1"))["culprit"] == "outside"
    assert labels_of(incident(), cluster="", host="a", address="", members=[])["culprit"] == "a"


def test_open_alert_lasts_five_minutes_and_a_resolved_one_ends_when_it_was_resolved():
    texts = annotations_of(incident(), cluster="prod", host="master-a", now=NOW)
    lasting = alert(incident(), labels(incident()), texts, now=NOW)
    assert (lasting["startsAt"], lasting["endsAt"]) == (
        (NOW - 19 * MINUTE).isoformat(),
        (NOW + 5 * MINUTE).isoformat(),
    )
    assert lasting["annotations"]["incident"] == "7"
    assert "prod master-a: etcd main" in lasting["annotations"]["summary"]
    assert "me.crt" in lasting["annotations"]["description"]
    assert "Also" not in texts["description"]
    texts = annotations_of(incident(), cluster="prod", host="master-a", now=NOW, others="etcd-b, etcd-c")
    assert "the same fault on etcd-b, etcd-c" in texts["description"].replace("\n", " ")
    over = incident(state=IncidentState.RESOLVED, resolved_at=NOW - MINUTE, announced_at=None)
    assert alert(over, {}, {}, now=NOW)["endsAt"] == (NOW - MINUTE).isoformat()
    assert alert(over, {}, {}, now=NOW)["startsAt"] == (NOW - 20 * MINUTE).isoformat()


def test_alert_with_former_labels_ends():
    assert ended({"a": "b"}, opened_at=NOW, at=NOW - MINUTE) == {
        "labels": {"a": "b"},
        "startsAt": (NOW - MINUTE).isoformat(),
        "endsAt": (NOW - MINUTE).isoformat(),
    }


@pytest.mark.parametrize(
    ("about", "lasted", "hides"),
    [
        ({}, 10 * MINUTE, True),
        ({}, 10 * MINUTE - SECOND, False),
        ({"suspect": Suspect.PEER}, 70 * MINUTE, False),
        ({}, None, False),
    ],
)
def test_fixed_master_hides_accusers_that_may_have_reported_it(about, lasted, hides):
    over = None if lasted is None else NOW - 20 * MINUTE + lasted
    shown = fixed(
        incident(about, resolved_at=over), {"alertname": "CertmedicExpired", "severity": "critical", "culprit": "x"}
    )
    if hides:
        assert shown == {
            "labels": {"alertname": "CertmedicFixed", "severity": "none", "culprit": "x"},
            "startsAt": over.isoformat(),
            "endsAt": (over + 17 * MINUTE).isoformat(),
        }
    else:
        assert shown is None
