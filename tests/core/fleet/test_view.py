"""A fleet at a glance: each incident once, each cluster with its state, silent masters, and expiries by week."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certmedic.core.fleet import Cure, Expiry, Master, Records, Report, joined, renewed, view, whose, wrong

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)  # a Wednesday
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def report(master="master-a", suspect="own", **more):
    usual = {"cluster": "eu-1", "cause": "expired", "severity": "critical", "plane": "kops", "group": "main"}
    return Report(master=master, suspect=suspect, **(usual | more))


def expiry(days, master="master-a", cluster="eu-1", **more):
    return Expiry(cluster=cluster, master=master, path=f"/{days}.crt", not_after=NOW + days * DAY, **more)


def incidents(*reports):
    return view(Records(reports=reports), NOW).incidents


def cluster(**records):
    (seen,) = view(Records(**records), NOW).clusters
    return seen


# ---------------------------------------------------------------- incidents


@pytest.mark.parametrize("accused", ["", "10.0.0.2", "master-b"])
def test_incident_that_three_masters_report_is_listed_once(accused):
    others = [report(name, "peer", severity="warning", culprit=accused) for name in ("master-a", "master-c")]
    (incident,) = incidents(*others, report("master-b", text="own words", since=NOW))

    assert (incident.culprit, incident.severity, incident.text) == ("master-b", "critical", "own words")
    assert incident.reporters == ("master-b", "master-a", "master-c")


def test_accuser_counts_for_the_sick_master_that_it_names():
    sick = [report("master-a"), report("master-b")]
    first, second = incidents(*sick, report("master-c", "peer", culprit="master-b"))

    assert (first.culprit, first.reporters) == ("master-a", ("master-a",))
    assert (second.culprit, second.reporters) == ("master-b", ("master-b", "master-c"))


@pytest.mark.parametrize("other", [{"cluster": "us-1"}, {"cause": "revoked"}, {"group": "events"}, {"plane": "etcd"}])
def test_accusation_of_another_kind_stays_an_incident(other):
    assert len(incidents(report("master-a"), report("master-b", "peer", **other))) == 2


def test_accusers_of_a_silent_master_make_one_incident_without_its_own_report():
    accusers = [report(name, "peer", severity="warning") for name in ("master-a", "master-c")]
    (incident,) = incidents(*accusers)

    assert (incident.culprit, incident.reporters) == ("", ("master-a", "master-c"))
    assert whose(incident) == "a machine that nobody names: etcd main"


def test_most_urgent_and_oldest_incident_comes_first():
    rows = incidents(
        report("master-d", severity="odd"),
        report("master-a", severity="info"),
        report("master-b", since=NOW),
        report("master-c", since=NOW - DAY),
    )
    assert [row.culprit for row in rows] == ["master-c", "master-b", "master-a", "master-d"]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, "master-a: etcd main"),
        ({"group": ""}, "master-a: kops"),
        ({"group": "", "plane": ""}, "master-a"),
        ({"culprit": "/etc/a.crt"}, "/etc/a.crt: etcd main"),
    ],
)
def test_incident_names_whose_certificate_it_is(changed, text):
    (incident,) = incidents(report(**changed))
    assert whose(incident) == text


@pytest.mark.parametrize(("cause", "text"), [("expired", "certificate expired"), ("of_2030", "of_2030")])
def test_cause_is_named_in_words(cause, text):
    (incident,) = incidents(report(cause=cause))
    assert wrong(incident) == text


# ---------------------------------------------------------------- clusters


@pytest.mark.parametrize(
    ("records", "state"),
    [
        ({"reports": (report(),)}, "critical"),
        ({"reports": (report(severity="warning"),)}, "warning"),
        ({"reports": (report(severity="info"),)}, "good"),
        ({"expiries": (expiry(0),)}, "critical"),
        ({"expiries": (expiry(-1, by_itself=True),)}, "critical"),
        ({"expiries": (expiry(14),)}, "warning"),
        ({"expiries": (expiry(14, by_itself=True),)}, "good"),
        ({"expiries": (expiry(15),)}, "good"),
        ({"expiries": (expiry(5, by_itself=True), expiry(9))}, "warning"),
    ],
)
def test_state_of_a_cluster(records, state):
    assert cluster(masters=(Master(cluster="eu-1", name="master-a", heard=NOW),), **records).state == state


@pytest.mark.parametrize(
    ("heard", "state"), [(NOW - HOUR, "good"), (NOW - HOUR - timedelta(seconds=1), "silent"), (None, "good")]
)
def test_master_is_silent_after_an_hour(heard, state):
    seen = cluster(masters=(Master(cluster="eu-1", name="master-a", heard=heard),))
    assert (seen.state, seen.silent) == (state, ("master-a",) if state == "silent" else ())


def test_reporter_that_no_source_lists_is_a_master():
    assert [master.name for master in cluster(reports=(report("master-b"),)).masters] == ["master-b"]


@pytest.mark.parametrize("turned", [False, True])
def test_master_of_two_sources_is_listed_once_with_its_latest_sign_of_life(turned):
    old = Master(cluster="eu-1", name="master-a", heard=NOW - DAY, version="1", mode="notify")
    new = Master(cluster="eu-1", name="master-a", heard=NOW)
    seen = cluster(masters=(new, old) if turned else (old, new))
    assert seen.masters == (replace(old, heard=NOW),)


def test_master_without_a_time_keeps_what_is_known():
    bare = Master(cluster="eu-1", name="master-a")
    assert cluster(masters=(bare, replace(bare, version="2"))).masters[0].version == "2"


def test_clusters_are_sorted_by_state_then_by_next_expiry():
    masters = tuple(Master(cluster=name, name="m", heard=NOW) for name in ("a", "b", "c", "d"))
    expiries = (expiry(90, cluster="b"), expiry(30, cluster="c"), expiry(-2, cluster="d"))
    seen = view(Records(masters=masters, expiries=expiries), NOW)

    assert [each.name for each in seen.clusters] == ["d", "c", "b", "a"]
    assert seen.clusters[1].next == expiries[1]
    assert seen.masters == 4


def test_longest_silence_comes_first():
    hours = {"a": 2, "b": 9, "c": 0}
    masters = tuple(Master(cluster="eu-1", name=name, heard=NOW - ago * HOUR) for name, ago in hours.items())
    assert [master.name for master in view(Records(masters=masters), NOW).silent] == ["b", "a"]


# ---------------------------------------------------------------- expiries, cures


def test_weeks_count_expiries_and_those_that_nothing_renews():
    seen = view(Records(expiries=(expiry(-3), expiry(1), expiry(1.5, by_itself=True), expiry(12), expiry(300))), NOW)

    assert [(week.start and f"{week.start:%m-%d}", week.count, week.alone) for week in seen.weeks[:4]] == [
        (None, 1, 1),
        ("11-23", 2, 1),
        ("11-30", 0, 0),
        ("12-07", 1, 1),
    ]
    assert len(seen.weeks) == 14


def test_fleet_without_certificates_has_no_weeks():
    assert view(Records(), NOW).weeks == ()


def test_week_of_expired_certificates_is_left_out_if_there_is_none():
    assert view(Records(expiries=(expiry(1),)), NOW).weeks[0].start is not None


@pytest.mark.parametrize(
    ("days", "more", "text"),
    [
        (5, {"by_itself": True, "cure": "renew"}, "itself, in time"),
        (-5, {"by_itself": True, "cure": "renew"}, "a command"),
        (5, {"cure": "restart"}, "a restart"),
        (5, {"cure": "of a later version"}, "of a later version"),
        (5, {}, ""),
    ],
)
def test_what_renews_a_certificate(days, more, text):
    assert renewed(expiry(days, **more), NOW) == text


def test_records_of_two_sources_add_up_and_equal_ones_count_once():
    cure = Cure(cluster="eu-1", master="master-a", at=NOW, what="restart", verified=True)
    later = replace(cure, at=NOW + HOUR)
    source = Records(expiries=(expiry(3),), cures=(cure, later), masters=(), reports=(report(),))
    seen = view(joined([source, source]), NOW)

    assert (len(seen.expiries), len(seen.incidents)) == (1, 1)
    assert seen.incidents[0].reporters == ("master-a",)
    assert seen.cures == (later, cure)
