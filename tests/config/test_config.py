"""The configuration is checked as a whole, and its secrets are never printed."""

import re
from datetime import timedelta

import pytest

from certmedic.config import KEYS, PLANES, Config, ConfigError, Secret, load, units_of
from certmedic.config.values import RESTARTABLE
from certmedic.core.means import Means
from certmedic.core.model import Pager
from labs import documents


@pytest.fixture
def write(tmp_path):
    def _write(text, name="certmedic.toml", mode=0o640):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    return _write


def test_empty_file_gives_the_defaults(write):
    assert load(write("")) == Config()


def test_missing_default_file_gives_the_defaults(monkeypatch, tmp_path):
    monkeypatch.setattr("certmedic.config.loader.DEFAULT_PATH", tmp_path / "none.toml")

    assert load() == Config()


def test_named_file_must_exist(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "none.toml")


def test_every_key_is_read(write):
    path = write("""
mode = "remedy"
[watch]
docker = false
files = ["/var/log/x.log"]
[watch.journal]
units = ["kubelet.service"]
[certificates]
planes = ["kops"]
paths = ["/etc/ssl/etcd/*.pem"]
warn_days = [1, 30]
[notify]
apprise = ["/etc/certmedic/apprise.yml", "json://hook.example/token"]
tags = {critical = "night"}
remind_every = "2h"
[remedy]
cooldown = "10m"
per_day = 1
renew = false
plan_ahead_days = 14
window = "Sun 02:00-04:00 UTC"
""")

    config = load(path)

    assert config.mode == "remedy"
    assert config.watch.docker is False
    assert config.watch.journal is True
    assert config.watch.units == ("kubelet.service",)
    assert config.certificates.warn_days == (30, 1)
    assert config.notify.apprise == ("/etc/certmedic/apprise.yml", Secret("json://hook.example/token"))
    assert config.notify.tags == {"critical": "night", "warning": "team", "info": "team"}
    assert config.notify.remind_every == timedelta(hours=2)
    assert config.remedy.cooldown == timedelta(minutes=10)
    assert config.remedy.per_day == 1
    assert config.remedy.plan_ahead == timedelta(days=14)
    assert config.remedy.window.text == "Sun 02:00-04:00 UTC"


def test_warning_days_can_differ_by_plane(write):
    config = load(write("[certificates.plane.k3s]\nwarn_days = [14, 100]"))

    assert (config.certificates.plane, config.certificates.warn_days) == ({"k3s": (100, 14)}, (30, 14, 7, 3, 1))
    with pytest.raises(ConfigError, match=r"certificates\.plane\.k4s\.warn_days: no such key; did you mean"):
        load(write("[certificates.plane.k4s]\nwarn_days = [14]"))


def test_means_are_read_and_their_units_are_observed(write):
    config = load(
        write("""
[remedy]
restart = ["k3s", "etcd-manager", "kubeadm"]
[[remedy.means]]
for = "etcd-manager"
group = "events"
unit = "etcd-manager@events.service"
renews = true
[[remedy.means]]
for = "kubeadm"
command = ["/usr/local/sbin/renew", "all of it"]
renews = true
""")
    )

    assert config.remedy.means == (
        Means(renewer="etcd-manager", group="events", unit="etcd-manager@events.service", renews=True),
        Means(renewer="kubeadm", command=("/usr/local/sbin/renew", "all of it"), renews=True),
    )
    assert units_of(config) == ("k3s.service", "etcd-manager@events.service")
    assert units_of(Config()) == ()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('restart = ["sshd"]', 'restart: found .*allowed: "etcd-manager"'),
        ('restart = ["kubeadm"]', "how kubeadm is restarted is not known"),
        ('means = [{for = "k3s", unit = "k3s.service"}]', "k3s is not in remedy.restart"),
        ('means = [{for = "sshd", unit = "a.service"}]', "means 1: for: found 'sshd'"),
        ('means = [{for = "k3s", unit = "--now.service"}]', "whole name"),
        ('means = [{for = "k3s", unit = "k3s"}]', "whole name"),
        ('means = [{for = "k3s", unit = 5}]', "whole name"),
        ('means = [{for = "k3s", command = "reboot"}]', "there is no shell"),
        ('means = [{for = "k3s", command = ["reboot"]}]', "absolute path"),
        ('means = [{for = "k3s"}]', "either a unit or a command"),
        ('means = [{for = "k3s", unit = "a.service", command = ["/b"]}]', "either a unit or a command"),
        ('means = [{for = "k3s", unit = "a.service", renew = true}]', "did you mean renews"),
        ('means = [{for = "k3s", unit = "a.service", renews = "yes"}]', "renews as true or false"),
        ("means = 5", "tables, each begun by"),
    ],
)
def test_invalid_means_is_refused_with_the_allowed_values(write, text, error):
    with pytest.raises(ConfigError, match=error):
        load(write("[remedy]\n" + text))


def test_drop_ins_override_the_file_in_order_of_their_names(write):
    path = write('mode = "observe"')
    write('mode = "remedy"', "conf.d/20-later.toml")
    write('mode = "notify"\n[remedy]\nper_day = 5', "conf.d/10-first.toml")

    config = load(path)

    assert (config.mode, config.remedy.per_day) == ("remedy", 5)


def test_error_lists_each_fault_with_file_key_value_and_allowed_values(write):
    path = write('mode = "fix"\n[watch]\nfiles = ["log"]\n[remedy]\ncooldwn = "1m"\nreissue = "yes"')
    extra = write('[remedy]\nper_day = "two"', "conf.d/x.toml")

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert caught.value.faults == (
        f'{path}: mode: found \'fix\'; allowed: "observe", "notify", "approve", "remedy"',
        f"{path}: watch.files: found ['log']; allowed: absolute paths; 'log' does not start with /",
        f"{path}: remedy.cooldwn: no such key; did you mean remedy.cooldown?",
        f"{path}: remedy.reissue: found 'yes'; allowed: true or false",
        f"{extra}: remedy.per_day: found 'two'; allowed: a whole number from 0 to 100",
    )


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"mode = notify", "a text needs quotes, e.g. mode"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"mode = 'x'\nmode = 'x'", "a key stands there twice"),
        (b"mode = 'x", "is not TOML"),
    ],
)
def test_file_that_is_not_toml_is_refused_with_the_reason(tmp_path, raw, error):
    path = tmp_path / "certmedic.toml"
    path.write_bytes(raw)

    with pytest.raises(ConfigError, match=error):
        load(path)


@pytest.mark.parametrize(
    "text", ['apprise = ["tgram://SECRET", 5]', 'apprise = ["tgram:SECRET"]', 'apprise = "json://SECRET"']
)
def test_error_contains_no_secret(write, text):
    with pytest.raises(ConfigError) as caught:
        load(write("[notify]\n" + text))

    assert "SECRET" not in str(caught.value)


def test_repr_contains_no_secret(write):
    config = load(write('[notify]\napprise = ["json://user:SECRET@hook.example"]'))

    assert "SECRET" not in repr(config)
    assert "SECRET" not in f"{config.notify.apprise[0]}"


def test_url_in_a_world_readable_file_is_refused(write):
    with pytest.raises(ConfigError, match="chmod 0640"):
        load(write('[notify]\napprise = ["json://hook.example"]', mode=0o644))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("9793", "127.0.0.1", 9793),
        ('"0.0.0.0:9793"', "0.0.0.0", 9793),
        ('"[::1]:1"', "::1", 1),
        ('"10.0.0.1:65535"', "10.0.0.1", 65535),
    ],
)
def test_metrics_are_shown_on_loopback_unless_an_address_is_written(write, text, host, port):
    listen = load(write(f"[metrics]\nlisten = {text}")).metrics.listen
    assert (listen.host, listen.port) == (host, port)


def test_invalid_window_is_refused_with_the_allowed_values(write):
    with pytest.raises(ConfigError, match=r"remedy.window: found 'Sunday'; allowed: days, hours"):
        load(write('[remedy]\nwindow = "Sunday"'))


@pytest.mark.parametrize("path", documents.texts(), ids=lambda path: path.name)
def test_generated_documents_are_current(path):
    assert path.read_text() == documents.texts()[path], f"{path} is not current: run ./dev generate"


@pytest.mark.parametrize("mark", ["", "#"])
def test_documented_defaults_are_the_defaults(write, mark):
    shown = documents.block(mark)

    assert load(write(shown)) == Config()
    for key in KEYS:
        assert re.search(rf"\b{key.rpartition('.')[2]} = ", shown), key


def test_documents_name_every_plane_and_renewer():
    rows = {row.name: row for row in documents.rows()}

    assert ", ".join(PLANES) in rows["planes"].comment
    assert [name for name in RESTARTABLE if f"`{name}`" not in rows["restart"].more[0]] == []


@pytest.mark.parametrize("row", [row for row in documents.rows() if row.example], ids=lambda row: row.name)
def test_documented_examples_are_valid(write, row):
    example = row.example if row.default is None else f"{row.name} = {row.example}"

    head = f"[{row.section}]\n" if row.section else ""

    assert load(write(head + example)) != Config()


def test_key_of_the_top_level_below_a_section_is_told_its_place(tmp_path):
    file = tmp_path / "certmedic.toml"
    file.write_text('[remedy]\nper_day = 1\nmode = "remedy"\n')
    with pytest.raises(ConfigError, match=r"remedy\.mode: no such key; mode stands above the first \[section\]"):
        load(file)


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ('service = "other"\nkey = "/k"', "service: found 'other'; allowed: pagerduty, opsgenie, splunk"),
        ('service = "pagerduty"', 'key: allowed: an absolute path, or "credential:NAME"'),
        ('service = "pagerduty"\nkey = "S3cr3t"', 'key: allowed: an absolute path, or "credential:NAME"'),
        ('service = "splunk"\nkey = "/k"', "routing: is for splunk, which needs it"),
        ('service = "splunk"\nkey = "/k"\nrouting = "a/b"', "routing: allowed: a routing key"),
        ('service = "opsgenie"\nkey = "/k"\nrouting = "a"', "routing: is for splunk, which needs it"),
        ('service = "splunk"\nkey = "/k"\nrouting = "a"\nregion = "eu"', 'region: allowed: "us"'),
        ('service = "opsgenie"\nkey = "/k"\ntag = "a b"', "tag: allowed: one word"),
        ('service = "opsgenie"\nkey = "/k"\nurl = "x"', "url: no such key"),
    ],
)
def test_faulty_pager_is_refused_without_its_key(write, table, fault):
    with pytest.raises(ConfigError, match=re.escape(f"pager 1: {fault}")) as refused:
        load(write(f"[[notify.pager]]\n{table}\n"))
    assert "S3cr3t" not in str(refused.value)


def test_pagers_are_read(write):
    table = 'service = "pagerduty"\nregion = "eu"\nkey = "credential:pd"\ntag = "oncall"\n'
    (pager,) = load(write(f"[[notify.pager]]\n{table}")).notify.pager
    assert pager == Pager(service="pagerduty", region="eu", key="credential:pd", tag="oncall")
