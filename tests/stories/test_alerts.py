"""Each alert fires when it should and only then, as promtool of the real Prometheus sees it."""

import json
import re
import shutil
import subprocess

import pytest

from labs import ROOT, monitoring
from labs.command import do

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs prometheus")

HERE = 'cluster="prod",job="node",instance="a:9100"'
FILE = f'{HERE},filepath="/etc/etcd/me.crt",serial_number="7"'
CERT = f'{FILE},filename="me.crt",subject_CN="etcd-a",issuer_CN="ca"'
BY_ITSELF, BY_NOBODY = (
    f'certmedic_certificate_info{{{FILE},plane="kops",by_itself="{word}"}}' for word in ("yes", "no")
)
USED = f"certmedic_certificate_in_use{{{FILE}}}"
AFTER = f"x509_cert_not_after{{{CERT}}}"
DAY = 86400
LONG = "{}x3000"  # a value for 50 hours, one sample a minute
SERVED, MEMORY = (
    f'certmedic_{what}_not_after{{{HERE},address="10.0.0.1",port="2380"}}' for what in ("served", "memory")
)
MASTER = 'kube_node_role{{cluster="{}",role="control-plane",node="{}"}}'
INFO = 'certmedic_info{{cluster="{}",job="node",instance="{}:9100",host="{}"}}'
MASTERS = {MASTER.format("prod", n): LONG.format(1) for n in "abc"}
SINGLE = {f'kube_node_role{{role="master",node="{n}"}}': LONG.format(1) for n in "abc"}


def expiring(days, *, info=BY_NOBODY, used=1, **more):
    return {AFTER: LONG.format(days * DAY), info: LONG.format(1), USED: LONG.format(used), **more}


def agents(*names, cluster="prod", value="1x3000"):
    return {INFO.format(cluster, name, name): value for name in names}


# alert, series, hour at which to look, labels with which it fires (None: it is silent)
CASES = [
    (
        "CertificateExpired",
        {f"x509_cert_expired{{{CERT}}}": "1x3000", USED: "1x3000"},
        1,
        {"filepath": "/etc/etcd/me.crt"},
    ),
    ("CertificateExpired", {f"x509_cert_expired{{{CERT}}}": "0x3000", USED: "1x3000"}, 1, None),
    ("CertificateExpired", {f"x509_cert_expired{{{CERT}}}": "1x3000", USED: "0x3000"}, 1, None),
    ("CertificateExpired", {f"x509_cert_expired{{{CERT}}}": "1x3000"}, 1, None),  # of another exporter
    ("CertificateNeedsRenewal", expiring(20), 1, {"filepath": "/etc/etcd/me.crt"}),
    ("CertificateNeedsRenewal", expiring(20, info=BY_ITSELF), 1, None),
    ("CertificateNeedsRenewal", expiring(20, used=0), 1, None),
    ("CertificateNeedsRenewal", expiring(30), 1, None),
    ("CertificateNeedsRenewal", expiring(6), 1, None),  # CertificateExpiresSoon fires
    ("CertificateNeedsRenewal", expiring(0), 1, None),
    ("CertificateExpiresSoon", expiring(6, info=BY_ITSELF), 1, {"filepath": "/etc/etcd/me.crt"}),
    ("CertificateExpiresSoon", expiring(6), 0.1, None),
    ("CertificateExpiresSoon", expiring(8), 1, None),
    ("CertificateExpiresSoon", expiring(6, used=0), 1, None),
    ("ServedCertificateExpiresSoon", {SERVED: LONG.format(6 * DAY)}, 1, {"port": "2380"}),
    ("ServedCertificateExpiresSoon", {SERVED: LONG.format(-DAY)}, 1, {"port": "2380"}),
    ("ServedCertificateExpiresSoon", {MEMORY: LONG.format(13 * DAY)}, 1, {"port": "2380"}),
    ("ServedCertificateExpiresSoon", {SERVED: LONG.format(8 * DAY), MEMORY: LONG.format(15 * DAY)}, 1, None),
    ("FileUnreadable", {f"x509_cert_error{{{CERT}}}": "1x3000", **agents("a")}, 1, {"filepath": "/etc/etcd/me.crt"}),
    ("FileUnreadable", {f"x509_cert_error{{{CERT}}}": "0x3000", **agents("a")}, 1, None),
    ("FileUnreadable", {f"x509_cert_error{{{CERT}}}": "1x3000"}, 1, None),
    (
        "IncidentOpen",
        {
            f'certmedic_incidents_open{{{HERE},severity="critical",cause="expired",plane="kops",group="main",suspect="own"}}': "2x3000"
        },
        1,
        {"severity": "critical", "cause": "expired", "plane": "kops", "group": "main"},
    ),
    (
        "IncidentOpen",  # CertificateExpired fires
        {
            f'certmedic_incidents_open{{{HERE},severity="critical",cause="expired",plane="kops",group="main"}}': "2x3000",
            f"x509_cert_expired{{{CERT}}}": "1x3000",
            USED: "1x3000",
        },
        1,
        None,
    ),
    ("IncidentOpen", {f'certmedic_incidents_open{{{HERE},severity="info",cause="distrusted"}}': "1x3000"}, 1, None),
    ("IncidentOpen", {f'certmedic_incidents_open{{{HERE},severity="warning",cause="blind"}}': "1x3000"}, 1, None),
    ("IncidentOpen", {f'certmedic_incidents_open{{{HERE},severity="critical",cause="expired"}}': "0x3000"}, 1, None),
    ("CureFailed", {f"certmedic_breaker_tripped{{{HERE}}}": "1x3000"}, 0, {}),
    ("CureFailed", {f"certmedic_breaker_tripped{{{HERE}}}": "0x3000"}, 1, None),
    ("SourceBlind", {f'certmedic_source_up{{{HERE},source="journal"}}': "0x3000"}, 1, {"source": "journal"}),
    ("SourceBlind", {f'certmedic_source_up{{{HERE},source="journal"}}': "0x8 1x3000"}, 1, None),
    ("MessagesWait", {f"certmedic_outbox_oldest_seconds{{{HERE}}}": "1801x3000"}, 1, {}),
    ("MessagesWait", {f"certmedic_outbox_oldest_seconds{{{HERE}}}": "0x3000"}, 1, None),
    ("Silent", {f"certmedic_updated_timestamp_seconds{{{HERE}}}": "0+60x100 6000x3000"}, 3, {}),
    ("Silent", {f"certmedic_updated_timestamp_seconds{{{HERE}}}": "0+60x3000"}, 3, None),
    ("Silent", {f"certmedic_inventory_timestamp_seconds{{{HERE}}}": "0x3000"}, 3, {}),
    ("Gone", agents("a", value="1x100 stale"), 3, {}),
    ("Gone", agents("a", value="1x100 stale _x60 1x3000"), 4, None),
    ("Gone", agents("a", value="1x100 stale"), 30, None),
    ("Gone", agents("a"), 3, None),
    ("Missing", {**MASTERS, **agents("a", "b")}, 1, {"cluster": "prod"}),
    ("Missing", {**MASTERS, **agents("a", "b", "c")}, 1, None),
    (
        "Missing",
        {**MASTERS, **agents("a", "b", "c"), INFO.format("prod", "a", "a").replace("9100", "9793"): "1x3000"},
        1,
        None,
    ),
    ("Missing", {**MASTERS, **agents("x", cluster="other")}, 1, {"cluster": "prod"}),
    ("Missing", MASTERS, 1, {"cluster": "prod"}),
    ("Missing", {**SINGLE, **agents("a", "b")}, 1, {"cluster": None}),
    ("Missing", {**SINGLE, **agents("a", "b", "c")}, 1, None),
    ("Missing", {MASTER.format("prod", "w").replace("control-plane", "worker"): "1x3000", **agents("a")}, 1, None),
]
WITHOUT_INSTANCE = {"CertmedicMissing"}


def rule_of(alert):
    return next(rule for rule in monitoring.alerts() if rule["alert"] == alert)


def has_fired(folder, alert, series, hour):
    """Return the labels of the alerts that fire, by promtool: with the wrong expectation it prints those that it saw."""
    minutes = round(hour * 60)
    test = {
        "rule_files": [str(monitoring.RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [
                    {"eval_time": f"{minutes}m", "alertname": alert, "exp_alerts": [{"exp_labels": {"no": "such"}}]}
                ],
            }
        ],
    }
    path = folder / "test.yml"
    path.write_text(json.dumps(test))
    run = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False, timeout=60)
    got = re.search(r"got:\[(.*)", run.stdout + run.stderr, re.DOTALL)
    assert run.returncode == 1, run.stdout + run.stderr
    assert got, run.stdout + run.stderr
    return [
        (dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)), dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', notes)))
        for labels, notes in re.findall(r"Labels:\{(.*?)\}\s*Annotations:\{(.*?)\}(?=\n|\])", got[1], re.DOTALL)
    ]


@pytest.mark.parametrize(("name", "series", "hour", "labels"), CASES)
def test_alert_fires_when_it_should_and_only_then(tmp_path, name, series, hour, labels):
    alert = f"Certmedic{name}"
    fired = has_fired(tmp_path, alert, series, hour)
    if labels is None:
        assert fired == []
        return
    ((seen, notes),) = fired
    expected = {"cluster": "prod", **({} if alert in WITHOUT_INSTANCE else {"instance": "a:9100"}), **labels}
    assert {key: seen.get(key) for key in expected} == expected
    assert seen["severity"] in ("critical", "warning")
    assert re.match(r"prod\b" if expected["cluster"] else r"\d", notes["summary"])
    assert "<no value>" not in str(notes)
    assert "{{" not in str(notes)


def test_every_alert_has_a_firing_and_a_silent_case():
    names = {alert["alert"].removeprefix("Certmedic") for alert in monitoring.alerts()}
    assert {name for name, *_, labels in CASES if labels is not None} == names
    assert {name for name, *_, labels in CASES if labels is None} == names


def test_rules_are_good_and_every_alert_says_what_people_need():
    do("promtool", "check", "rules", "--lint-fatal", monitoring.RULES)
    table = (ROOT / "README.md").read_text()
    for alert in monitoring.alerts():
        name, notes = alert["alert"], alert["annotations"]
        assert name.startswith("Certmedic")
        assert set(notes) == {"summary", "description", "runbook_url"}
        assert notes["runbook_url"].endswith("/certmedic/#metrics-alerts-and-a-dashboard")
        assert f"`{name}`" in table
        assert "cluster" in alert["expr"] or " by " not in alert["expr"]
        assert alert["labels"].keys() == {"severity"}
