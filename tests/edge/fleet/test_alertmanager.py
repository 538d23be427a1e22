"""A fleet in Alertmanager: the alerts of three masters in a real one, and answers that nobody should send."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from urllib.request import Request, urlopen

import pytest

from certmedic.core.fleet import view
from certmedic.edge.fleet import FleetError, from_alertmanager
from certmedic.edge.fleet.alertmanager import report_of
from labs.answers import answering, reply
from labs.prometheus import running
from labs.receivers import free_port

NOW = datetime.now(UTC).replace(microsecond=0)
CONFIG = """
route: {receiver: nobody}
receivers: [{name: nobody}]
inhibit_rules:
  - source_matchers: ['suspect="own"']
    target_matchers: ['suspect="peer"']
    equal: [cluster, culprit]
"""


def alert(master, suspect, **more):
    labels = {
        "alertname": "CertmedicExpired",
        "cluster": "eu-1",
        "instance": master,
        "plane": "kops",
        "group": "main",
        "culprit": "master-b",
        "cause": "expired",
        "suspect": suspect,
        "severity": "critical" if suspect == "own" else "warning",
    }
    notes = {"summary": f"{master} says so", "command": "sudo true"}
    return {"labels": labels | more, "annotations": notes, "startsAt": (NOW - timedelta(hours=1)).isoformat()}


def send(url, data=None):
    """Send a request to a program on loopback and return the status of its answer."""
    request = Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - http on loopback
    with urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        return answer.status


@pytest.fixture
def real(tmp_path):
    """Run a real Alertmanager with alerts of three masters, and one of another program."""
    if shutil.which("prometheus-alertmanager") is None:
        pytest.skip("needs prometheus-alertmanager")
    (tmp_path / "alertmanager.yml").write_text(CONFIG)
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        "prometheus-alertmanager",
        f"--config.file={tmp_path}/alertmanager.yml",
        f"--storage.path={tmp_path}/data",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
    ]
    alerts = [
        alert("master-a", "peer"),
        alert("master-b", "own"),
        alert("master-c", "peer"),
        alert("x", "own", alertname="Watchdog"),
    ]
    with running(command, tmp_path / "log", lambda: send(f"{url}/-/ready") == 200):
        data = json.dumps(alerts).encode()
        assert send(f"{url}/api/v2/alerts", data) == 200
        yield url


@pytest.mark.slow
def test_three_alerts_on_one_master_are_one_incident(real):
    seen = view(from_alertmanager(real), NOW)

    (incident,) = seen.incidents
    assert (incident.cluster, incident.culprit, incident.severity) == ("eu-1", "master-b", "critical")
    assert incident.reporters == ("master-b", "master-a", "master-c")
    assert (incident.text, incident.command) == ("master-b says so", "sudo true")
    assert incident.since == NOW - timedelta(hours=1)
    assert seen.masters == 3


@pytest.mark.parametrize(("body", "text"), [({}, "no list of alerts"), ("x", "not JSON"), (7, "no list of alerts")])
def test_answer_that_is_no_list_says_what_to_do(body, text):
    with answering(reply(body)) as there, pytest.raises(FleetError, match=text):
        from_alertmanager(there.url)


def test_alertmanager_without_alerts_is_a_healthy_fleet():
    with answering(reply([])) as there:
        assert from_alertmanager(there.url).reports == ()


@pytest.mark.parametrize(
    "odd",
    [1, None, {}, {"labels": []}, *({"labels": {"alertname": name}} for name in (7, "X", "CertmedicFixed"))],
)
def test_alert_of_no_form_or_of_another_program_is_left_out(odd):
    assert report_of(odd) is None


@pytest.mark.parametrize("moment", [None, 7, "", "yesterday", "2026-13-01T00:00:00Z"])
def test_alert_without_a_time_has_none(moment):
    assert report_of(alert("a", "own") | {"startsAt": moment}).since is None


def test_time_without_a_zone_is_utc():
    assert report_of(alert("a", "own") | {"startsAt": "2026-01-01T00:00:00"}).since.tzinfo is UTC


@pytest.mark.parametrize(
    ("labels", "master", "cause"),
    [
        ({"host": "master-a"}, "master-a", "expired"),
        ({"instance": "10.0.0.1:9100"}, "10.0.0.1", "expired"),
        ({"cause": "", "alertname": "CertmedicGone"}, "m", "CertmedicGone"),
    ],
)
def test_names_of_an_alert(labels, master, cause):
    report = report_of(alert("m", "own", **labels))
    assert (report.master, report.cause) == (master, cause)
