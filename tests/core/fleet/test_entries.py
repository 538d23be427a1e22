"""Journal entries of many agents, brought to records. The entries are those that certmedic itself writes."""

from datetime import UTC, datetime, timedelta

import pytest

from certmedic.core.fleet.entries import FIELDS, Entry, Host, records_of
from certmedic.core.message import event_fields, started_fields
from certmedic.core.model import Cause, Suspect
from labs.exposed import incident

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
FILE = {"CERTMEDIC_CERT": "/etc/a.crt", "CERTMEDIC_NOT_AFTER": "2026-12-01T00:00:00+00:00"}


def entry(event, number=1, *, host="master-a", minutes=0, cause=Cause.EXPIRED, suspect=Suspect.OWN, **more):
    diagnosis = incident(number, cause=cause, suspect=suspect).diagnosis
    written = (
        started_fields(mode="notify", sources="journal")
        if event == "service-started"
        else event_fields(event, diagnosis, incident=number, decision=None, outcome=more.pop("outcome", ""))
    )
    fields = {**dict.fromkeys(FIELDS, ""), **written, "_HOSTNAME": host, **more}
    return Entry(at=NOW + timedelta(minutes=minutes), fields={name: fields[name] for name in FIELDS})


def records(*entries):
    return records_of([Host(name="master-a", heard=NOW)], entries)


def test_open_incident_is_a_report_since_its_first_entry():
    (report,) = records(entry("opened"), entry("reminder", minutes=90)).reports

    assert (report.master, report.cause, report.suspect, report.severity) == ("master-a", "expired", "own", "critical")
    assert (report.plane, report.group, report.since) == ("kops", "main", NOW)
    assert report.command == ""


@pytest.mark.parametrize("events", [["opened", "resolved"], ["resolved"], ["opened", "decided", "resolved"]])
def test_resolved_incident_is_no_report(events):
    assert records(*map(entry, events)).reports == ()


def test_severity_is_kept_where_an_event_has_another_priority():
    assert records(entry("opened"), entry("escalated", PRIORITY="5")).reports[0].severity == "critical"
    assert records(entry("reminder", PRIORITY="5")).reports[0].severity == "warning"


def test_command_is_kept_and_a_peer_is_the_culprit():
    (report,) = records(
        entry("opened", suspect=Suspect.PEER, CERTMEDIC_COMMAND="certmedic certs", CERTMEDIC_WHOSE="10.0.0.2")
    ).reports
    assert (report.culprit, report.command) == ("10.0.0.2", "certmedic certs")


@pytest.mark.parametrize(("end", "verified"), [("resolved", True), ("escalated", False)])
def test_action_that_ended_is_a_cure(end, verified):
    seen = records(entry("opened"), entry("acted"), entry(end, minutes=2, outcome="it serves a new one"))

    (cure,) = seen.cures
    assert (cure.at, cure.what, cure.verified) == (NOW + timedelta(minutes=2), "it serves a new one", verified)
    assert len(seen.reports) == (0 if verified else 1)


def test_incident_that_ends_without_an_action_is_no_cure():
    assert records(entry("opened"), entry("resolved")).cures == ()


def test_cure_without_an_outcome_names_the_cause():
    assert records(entry("acted"), entry("resolved")).cures[0].what == "expired"


def test_master_has_cluster_version_and_mode_of_its_latest_entries():
    (master, other) = records(
        entry("service-started", CERTMEDIC_CLUSTER="eu-1", CERTMEDIC_VERSION="1.0"),
        entry("opened"),
        entry("opened", host="master-b"),
    ).masters

    assert (master.cluster, master.version, master.mode, master.heard) == ("eu-1", "1.0", "notify", NOW)
    assert (other.name, other.heard) == ("master-b", None)


def test_records_have_the_cluster_that_a_later_entry_names():
    seen = records(
        entry("opened", **FILE),
        entry("acted"),
        entry("resolved"),
        entry("opened", 2, **FILE),
        entry("service-started", CERTMEDIC_CLUSTER="eu-1"),
    )
    assert {each.cluster for each in (*seen.reports, *seen.expiries, *seen.cures, *seen.masters)} == {"eu-1"}


def test_certificate_of_an_open_incident_is_an_expiry():
    (expiry,) = records(entry("opened", cause=Cause.EXPIRES_SOON, **FILE)).expiries
    assert (expiry.path, expiry.not_after) == ("/etc/a.crt", datetime(2026, 12, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "changed",
    [
        {"CERTMEDIC_NOT_AFTER": "not known"},
        {"CERTMEDIC_CERT": "no-file-on-this-machine"},
        {"CERTMEDIC_SUSPECT": "peer"},
    ],
)
def test_what_is_no_file_with_a_date_is_no_expiry(changed):
    assert records(entry("opened", **(FILE | changed))).expiries == ()


def test_time_without_a_zone_is_utc():
    assert (
        records(entry("opened", **(FILE | {"CERTMEDIC_NOT_AFTER": "2026-12-01T00:00:00"}))).expiries[0].not_after.tzinfo
    )


def test_certificate_of_a_resolved_incident_expires_no_more():
    assert records(entry("opened", **FILE), entry("resolved", **FILE)).expiries == ()
