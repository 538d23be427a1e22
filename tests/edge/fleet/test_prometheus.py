"""A fleet in Prometheus: three agents as a real Prometheus sees them, and answers that nobody should send."""

import shutil
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from certmedic.core.fleet import view
from certmedic.edge.fleet import FleetError, from_prometheus, prometheus
from certmedic.edge.metrics import Exposition
from labs import prometheus as lab
from labs.answers import answering, reply
from labs.exposed import Troubled
from labs.fleets import made, write_data
from labs.waiting import until

real = pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus")


@real
@pytest.mark.slow
def test_agents_in_a_real_prometheus_are_masters_with_incidents_expiries_and_cures(tmp_path):
    now = datetime.now(UTC).replace(microsecond=0)
    with ExitStack() as stack:
        addresses = []
        for name in ("a", "b"):
            folder = tmp_path / name
            folder.mkdir()
            numbers = Troubled(now, cluster="eu-1", host=f"master-{name}").numbers(now)
            (folder / "metrics.prom").write_bytes(Exposition().render(numbers))
            addresses.append(stack.enter_context(lab.node_exporter(folder, tmp_path / "log")))
        server = stack.enter_context(lab.prometheus(tmp_path / "prometheus", {"node": addresses}))
        until(lambda: len(server.now("certmedic_info")) == 2)
        records = from_prometheus(server.url)
    seen = view(records, now)

    assert [(m.cluster, m.name, m.version, m.mode, m.heard) for m in records.masters] == [
        ("eu-1", f"master-{name}", "1.0", "remedy", now) for name in "ab"
    ]
    assert {(r.master, r.suspect, r.since) for r in records.reports} == {
        (f"master-{name}", suspect, now - timedelta(days=1)) for name in "ab" for suspect in ("own", "peer")
    }
    assert [i.culprit for i in seen.incidents if i.cause == "expired"] == ["master-a", "master-b"]
    assert {(cure.what, cure.verified) for cure in records.cures} == {("restart", True), ("renew", False)}
    assert seen.expiries[0].path == "/etc/etcd/-1.crt"
    assert seen.expiries[0].not_after == now - timedelta(days=1)
    assert seen.weeks[0].count == 2


@real
@pytest.mark.slow
def test_master_that_has_gone_is_still_listed_and_silent(tmp_path):
    now = datetime.now(UTC).replace(microsecond=0)
    fleet = made(8, now)  # the third master of the eighth cluster fell silent thirty hours ago
    write_data(tmp_path / "old", fleet, now - timedelta(hours=3))
    with lab.prometheus(tmp_path / "old", {}) as server:
        seen = view(from_prometheus(server.url), now)

    assert seen.masters == 24
    assert {master.name for master in seen.silent if "007" in master.cluster} == {"master-c"}
    assert len(seen.expiries) == 0  # nobody knows them any more


@real
@pytest.mark.slow
def test_master_that_has_just_gone_keeps_its_incidents_and_certificates(tmp_path):
    now = datetime.now(UTC).replace(microsecond=0)
    fleet = made(4, now)
    write_data(tmp_path / "gone", fleet, now - timedelta(minutes=50))  # for twenty minutes
    with lab.prometheus(tmp_path / "gone", {}) as server:
        seen = view(from_prometheus(server.url), now)

    assert [incident.culprit for incident in seen.incidents] == ["master-b"]
    assert len(seen.expiries) == len(fleet.expiries)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            {"status": "success", "data": {"resultType": "vector", "result": []}},
            "it has no series certmedic_info: have",
        ),
        ({"status": "error", "error": "query \u202etoo\n long"}, "Prometheus refuses a query: query too long"),
        ({"status": "ok"}, "not that of Prometheus"),
        ([], "not that of Prometheus"),
        ({"status": "success"}, "it has no series certmedic_info"),
        ({"status": "success", "data": {"result": [1, {}, {"metric": 1}, {"metric": {}, "value": [0]}]}}, "no series"),
    ],
)
def test_answer_without_agents_says_what_to_do(body, text):
    with answering(reply(body)) as there, pytest.raises(FleetError, match=text):
        from_prometheus(there.url)


def test_hostile_series_give_records_and_no_error():
    """Each query gets the same answer: labels of any text, and values that are no times."""
    label = "\x00\u202e<script>" * 100
    names = ("cluster", "host", "instance", "filepath", "cause", "severity", "suspect", "remedy", "state", "cure")
    values = ("NaN", "+Inf", "-Inf", "1e308", "-1e308", "0")
    result = [{"metric": dict.fromkeys(names, label + value), "value": [0, value]} for value in values]
    with answering(reply({"status": "success", "data": {"result": result}})) as there:
        records = from_prometheus(there.url)

    assert len(records.masters) == len(values)
    assert view(records, datetime.now(UTC)).masters == len(values)


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({"host": "master-a", "instance": "10.0.0.1:9100"}, "master-a"),
        ({"instance": "10.0.0.1:9100"}, "10.0.0.1"),
        ({"instance": "master-a"}, "master-a"),
        ({}, ""),
    ],
)
def test_master_has_the_name_of_its_machine_or_else_of_its_instance(labels, name):
    with answering(reply({"status": "success", "data": {"result": [{"metric": labels, "value": [0, "1"]}]}})) as there:
        assert from_prometheus(there.url).masters[0].name == name


@pytest.mark.parametrize(("seconds", "text"), [(0, "1970-01-01"), (1e12, "9999-12-31"), (float("inf"), "9999-12-31")])
def test_time_too_late_is_the_last_one(seconds, text):
    assert f"{prometheus.moment(seconds):%Y-%m-%d}" == text


@pytest.mark.parametrize("seconds", [float("nan"), float("-inf"), -1e300])
def test_what_is_no_time_is_none(seconds):
    assert prometheus.moment(seconds) is None
