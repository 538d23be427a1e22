"""A real Prometheus scrapes our metrics, from a node exporter and from our listener, and every expression that people use returns data."""

import contextlib
import re
import shutil
import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from certmedic.edge.metrics import Exposition, Listener
from labs import monitoring
from labs.exposed import Troubled
from labs.prometheus import node_exporter, prometheus
from labs.receivers import free_port
from labs.service import Service
from labs.trusted import trusted_folder
from labs.values import DAY
from labs.waiting import until

pytestmark = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("prometheus-node-exporter")),
    reason="needs prometheus and prometheus-node-exporter",
)

# A stand-in for kube-state-metrics, which Debian does not have: two masters more than there are agents.
KUBE = "".join(f'kube_node_role{{node="n{n}",role="control-plane",cluster="prod"}} 1\n' for n in range(5))


class Shown:
    """The metrics of a made master behind our own listener."""

    def __init__(self, master, *, hangs=False):
        self.master, self.hangs = master, hangs
        self.stop, self.exposition = threading.Event(), Exposition()
        self.listener = Listener("127.0.0.1", free_port())
        self.address = f"127.0.0.1:{self.listener.port}"
        self.thread = self.listener.start(self.stop)

    def update(self):
        self.listener.publish(self.exposition.render(self.master.numbers(datetime.now(UTC), hangs=self.hangs)))

    def end(self):
        self.stop.set()
        self.thread.join(30)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Return a Prometheus with four masters: a real agent, a troubled one, one that hangs, and one that has gone."""
    home, now = tmp_path_factory.mktemp("fleet"), datetime.now(UTC)
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(trusted_folder()) / "run"
        run.mkdir(mode=0o755)
        agent = Service(run.parent / "service", notify="wall = false", environ={"RUNTIME_DIRECTORY": str(run)})
        agent.configure().certificate(DAY * 100)
        stack.callback(agent.kill)
        agent.start()
        (run / "kube.prom").write_text(KUBE)
        troubled, hanging, gone = (
            Shown(Troubled(now, cluster="prod", host=host), hangs=host == "hangs") for host in ("bad", "hangs", "gone")
        )
        for shown in (troubled, hanging, gone):
            stack.callback(shown.end)
            shown.update()
        exporter = stack.enter_context(node_exporter(run, home / "exporter.log"))
        jobs = {"node": [exporter], "certmedic": [troubled.address, hanging.address, gone.address]}
        server = stack.enter_context(prometheus(home / "prometheus", jobs, [monitoring.RULES]))
        until(lambda: len(server.now("certmedic_info")) == 4)
        until(lambda: troubled.update() or server.now("increase(x509_source_errors_total[15m]) > 50"))
        gone.end()
        until(lambda: len(server.now("certmedic_info")) == 3)
        yield SimpleNamespace(server=server, exporter=exporter, agent=agent)


def test_node_exporter_reads_what_a_real_agent_writes(fleet):
    server = fleet.server
    (row,) = server.now(f'x509_cert_not_after{{instance="{fleet.exporter}"}}')
    assert row["metric"]["filepath"] == f"{fleet.agent.home}/pki/server.crt"
    assert (row["metric"]["subject_CN"], row["metric"]["issuer_CN"]) == ("etcd-a", "test-ca")
    assert float(row["value"][1]) > 0
    (error,) = server.now("node_textfile_scrape_error")
    assert error["value"][1] == "0"
    assert [file["metric"]["file"].rpartition("/")[2] for file in server.now("node_textfile_mtime_seconds")] == [
        "kube.prom",
        "metrics.prom",
    ]


def test_series_of_the_listener_are_those_of_the_text(fleet):
    assert {row["metric"]["cluster"] for row in fleet.server.now('certmedic_info{job="certmedic"}')} == {"prod"}
    assert all(row["value"][1] == "1" for row in fleet.server.now('up{job!="certmedic"}'))


@pytest.mark.parametrize(("title", "kind", "expression"), list(monitoring.panels()))
def test_every_panel_of_our_dashboard_returns_data(fleet, title, kind, expression):
    rows = fleet.server.lately(expression) if kind == "timeseries" else fleet.server.now(expression)
    assert rows, title
    if kind in ("stat", "barchart"):  # `or vector(0)` always returns data
        assert float(rows[0]["value"][1]) > 0


# The expressions of dashboard 13922, version 84, that are not about Secrets, with its thresholds at their defaults. Source:
# enix/x509-certificate-exporter@5381261, chart/grafana-dashboards/x509-certificate-exporter.json.
PANELS_OF_THE_EXPORTER = (
    "count(x509_cert_not_after)",
    "sum(((x509_cert_not_after - time()) / 86400) < bool 0)",
    "sum(0 < ((x509_cert_not_after - time()) / 86400) < bool 7)",
    "sum(0 < ((x509_cert_not_after - time()) / 86400) < bool 28)",
    'count(x509_cert_not_after{filepath!="",embedded_key!=""})',
    'count(x509_cert_not_after{filepath!="",embedded_key=""})',
    "count(x509_source_errors_total)",
    "sum(x509_source_errors_total)",
    'sort(((x509_cert_not_after{filepath!=""} - time()) / 86400) < 180)',
    "topk(10, sort_desc(count by (issuer_CN) (x509_cert_not_after)))",
    'topk(10, sort_desc(count by (instance) (x509_cert_not_after{filepath!=""})))',
    'bottomk(10, (x509_cert_not_after{filepath!=""} - x509_cert_not_before) / 86400)',
    'topk(10, (x509_cert_not_after{filepath!=""} - x509_cert_not_before) / 86400)',
    "sum (x509_source_errors_total > bool 0)",
    "sum(rate(x509_source_errors_total[15m]))",
    "topk(10, rate(x509_source_errors_total[6h]))",
    "topk(10, x509_source_errors_total)",
)


@pytest.mark.parametrize("expression", PANELS_OF_THE_EXPORTER)
def test_every_panel_of_the_exporters_dashboard_returns_data(fleet, expression):
    assert fleet.server.now(expression)
    assert fleet.server.lately(expression)


# The alerts of the same source, chart/templates/prometheusrule.yaml, at their defaults, but for those on the API of Kubernetes.
ALERTS_OF_THE_EXPORTER = {
    "SourceErrors": "sum without (reason) (increase(x509_source_errors_total[15m])) > 5",
    "SourceDown": "x509_source_up == 0",
    "KeystorePassphraseFailures": "(increase(x509_pkcs12_passphrase_failures_total[15m]) > 0)"
    " or (increase(x509_jks_passphrase_failures_total[15m]) > 0)",
    "CertificateError": "x509_cert_error > 0",
    "CertificateRenewal": "(x509_cert_not_after - time()) < (28 * 86400) and (x509_cert_not_after - time()) > 0",
    "CertificateExpiration": "(x509_cert_not_after - time()) < (14 * 86400)",
    "CertificateNotYetValid": "(x509_cert_not_before - time()) > 0",
    "CRLNeedsRefresh": "(x509_crl_next_update - time()) < (7 * 86400) and x509_crl_stale == 0",
    "CRLStale": "x509_crl_stale > 0",
}


@pytest.mark.parametrize("name", ALERTS_OF_THE_EXPORTER)
def test_every_alert_of_the_exporter_finds_its_fault(fleet, name):
    rows = fleet.server.now(ALERTS_OF_THE_EXPORTER[name])
    assert rows
    assert all("source_name" in row["metric"] or row["metric"].get("filepath") for row in rows)


def test_alert_of_the_exporter_on_dropped_certificates_sees_that_none_is(fleet):
    """The exporter drops none either unless it is configured to (Collision=Never); CertificateCollision is about that alone."""
    rows = fleet.server.now("increase(x509_cert_collision_dropped_total[1h])")
    assert {row["value"][1] for row in rows} == {"0"}


def test_our_alerts_are_evaluated_by_a_real_prometheus(fleet):
    def rules():
        return [rule for group in fleet.server.ask("rules")["groups"] for rule in group["rules"]]

    until(lambda: all(rule["health"] != "unknown" for rule in rules()))
    assert [(rule["name"], rule["lastError"]) for rule in rules() if rule["health"] != "ok"] == []
    until(lambda: {rule["name"] for rule in rules() if rule["state"] == "inactive"} == set())


def test_dashboard_and_rules_use_metrics_that_exist():
    text = Exposition().render(Troubled(datetime.now(UTC), cluster="c", host="h").numbers(datetime.now(UTC))).decode()
    exposed = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)) | {"kube_node_role"}
    used = " ".join([*(rule["expr"] for rule in monitoring.alerts()), *(expr for *_, expr in monitoring.panels())])
    assert set(re.findall(r"\b(?:x509|certmedic|kube|node)_\w+", used)) <= exposed


def test_panels_of_the_dashboard_have_titles_and_do_not_overlap():
    taken, numbers = {}, []
    for panel in monitoring.dashboard()["panels"]:
        numbers.append(panel["id"])
        assert panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert len(numbers) == len(set(numbers))
