"""The masters of a cluster through a real Alertmanager: one notification for a trouble, and one when it is over."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import ANY

import pytest

from certmedic import alerts
from certmedic.alerts import Alerts
from certmedic.core import verdict
from certmedic.core.model import Action, Decision, RemedyKind, Suspect
from certmedic.edge.alertmanager import Access, Alertmanager
from certmedic.edge.store import Store
from labs import receivers
from labs.alertmanager import EXAMPLE, alertmanager, guarded, notifications
from labs.pki import authority
from labs.values import DAY, NOW, facts, member
from labs.waiting import until

needs_it = pytest.mark.skipif(not shutil.which("prometheus-alertmanager"), reason="needs prometheus-alertmanager")
pytestmark = [pytest.mark.slow, needs_it]

MINUTE = timedelta(minutes=1)
ACTS = Decision(reason="r", action=Action(kind=RemedyKind.RESTART, container=None, watched=()))
NONE = Decision(reason="r")
ADDRESSES = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}


class Master:
    """The alerts of one master, whose incidents the test opens and resolves in a real store."""

    def __init__(self, name, folder, urls):
        self.name, self.urls = name, urls
        self.store = Store(folder / f"{name}.sqlite3")
        self.facts = facts(member(), peers=frozenset(ADDRESSES.values()) - {ADDRESSES[name]})
        self.begin()

    def begin(self, access=None):
        """Start the agent, with nothing but its store."""
        self.alerts = Alerts(Alertmanager(self.urls, access), self.store, f"master-{self.name}", 60 * MINUTE)

    def open(self, *, accused="", since=20 * MINUTE, reports=True, decision=NONE):
        since = datetime.now(UTC) - since
        (diagnosis,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
        if accused:
            whom = (ADDRESSES[accused],)
            diagnosis = replace(diagnosis, key="peer", suspect=Suspect.PEER, neighbours=whom, certificates=())
        with self.store.transaction():
            incident, _ = self.store.open_incident(replace(diagnosis, last_seen=datetime.now(UTC)), now=since)
            self.store.decide(incident.id, decision)
            if reports:
                self.store.announce(incident.id, now=datetime.now(UTC))

    def resolve(self):
        with self.store.transaction():
            self.store.resolve(1, now=datetime.now(UTC))

    def post(self, monkeypatch, now=None):
        monkeypatch.setattr(alerts, "address_towards", lambda _: ADDRESSES[self.name])
        self.alerts.turn("prod", self.facts, (), now or datetime.now(UTC))
        until(lambda: not any(thread.is_alive() for thread in self.alerts._receiver._threads.values()))
        self.alerts.results(datetime.now(UTC))


@pytest.fixture
def masters(tmp_path):
    made = []

    def make(*urls):
        made.extend(Master(name, tmp_path, urls) for name in "abc")
        return made

    yield make
    for master in made:
        master.store.close()


def settles(hook, expected):
    """Wait for the notifications, and for two more rounds of the group in which nothing follows."""
    until(lambda: len(notifications(hook)) >= len(expected))
    end = datetime.now(UTC) + timedelta(seconds=2.5)
    until(lambda: datetime.now(UTC) > end)
    assert notifications(hook) == expected


def test_three_masters_and_one_sick_give_one_notification_and_one_resolved(masters, hook, tmp_path, monkeypatch):
    dead = f"http://127.0.0.1:{receivers.free_port()}"
    with alertmanager(tmp_path, hook) as running:
        a, b, c = masters(dead, running.url)
        a.open()
        b.open(accused="a")
        c.open(accused="a")
        for master in (a, b, c):
            master.post(monkeypatch)
        until(lambda: running.states() == {"master-a": "active", "master-b": "suppressed", "master-c": "suppressed"})
        settles(hook, [("firing", ["master-a"])])
        assert a.alerts.errors[dead.removeprefix("http://")] == "Connection refused"
        assert a.alerts.failures == {dead.removeprefix("http://"): 1, running.url.removeprefix("http://"): 0}

        for master in (a, b, c):  # killed, and back
            master.begin()
            master.post(monkeypatch)
        settles(hook, [("firing", ["master-a"])])

        b.resolve()
        c.resolve()
        a.resolve()
        for master in (b, c, a):
            master.begin()
            master.post(monkeypatch)
        # The other two are listed in it unless they ended a round before.
        settles(hook, [("firing", ["master-a"]), ("resolved", ANY)])
        assert "master-a" in notifications(hook)[1][1]


def test_accuser_that_leaves_it_to_the_accused_posts_nothing(masters, hook, tmp_path, monkeypatch):
    with alertmanager(tmp_path, hook) as running:
        a, b, _ = masters(running.url)
        a.open(since=0 * MINUTE)
        b.open(accused="a", since=0 * MINUTE, reports=False)
        for master in (a, b):
            master.post(monkeypatch)
        until(lambda: running.states() == {"master-a": "active"})
        settles(hook, [("firing", ["master-a"])])
        assert b.alerts._posted == {}


def test_labels_are_those_of_the_first_look_also_while_no_peer_is_known(masters, hook, monkeypatch):
    _, b, _ = masters(f"http://127.0.0.1:{hook.port}")
    b.open(accused="a")
    known, b.facts = b.facts, None
    b.post(monkeypatch)
    assert hook.requests == []
    for looked in (known, replace(known, peers=frozenset())):
        b.facts = looked
        b.post(monkeypatch, now=datetime.now(UTC) + len(hook.requests) * MINUTE)
    assert [[alert["labels"]["culprit"] for alert in body] for body in hook.messages] == [[ADDRESSES["a"]]] * 2


def test_agent_that_is_killed_resolves_nothing_before_the_end_of_its_alert(masters, hook, tmp_path, monkeypatch):
    lasts = timedelta(seconds=6)
    monkeypatch.setattr(sys.modules["certmedic.core.message.alert"], "LASTS", lasts)  # five minutes, shortened
    with alertmanager(tmp_path, hook) as running:
        a, *_ = masters(running.url)
        a.open()
        a.post(monkeypatch)
        until(lambda: notifications(hook) == [("firing", ["master-a"])])
        a.begin()  # killed and back within that time
        again = datetime.now(UTC)
        a.post(monkeypatch)
        until(lambda: len(notifications(hook)) > 1)  # killed for good
        assert datetime.now(UTC) >= again + lasts
        settles(hook, [("firing", ["master-a"]), ("resolved", ["master-a"])])


def test_client_certificate_opens_a_real_alertmanager_and_its_lack_is_recorded(masters, hook, tmp_path, monkeypatch):
    ca = authority("alertmanager-ca")
    for name, leaf in (("server", ca.leaf("am", ips=("127.0.0.1",))), ("client", ca.leaf("master-a"))):
        (tmp_path / f"{name}.pem").write_bytes(leaf.cert_pem + leaf.key_pem)
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    web, pem = tmp_path / "web.yml", "server.pem"
    web.write_text(
        f"tls_server_config: {{cert_file: {pem}, key_file: {pem}, client_ca_file: ca.pem,"
        " client_auth_type: RequireAndVerifyClientCert}\n"
    )
    good = Access(certificate=tmp_path / "client.pem", authority=tmp_path / "ca.pem")
    with alertmanager(tmp_path, hook, web=web, context=good.context()) as running:
        a, *_ = masters(running.url)
        a.open()
        name = running.url.removeprefix("https://")
        for access, error in (
            (Access(authority=tmp_path / "ca.pem"), "it refuses the client certificate, or needs one: "),
            (None, "its certificate is not trusted"),
            (good, ""),
        ):
            a.begin(access)
            a.post(monkeypatch)
            (row,) = a.store.receivers()
            assert row["instance"] == name
            assert (error in row["error"]) if error else (row["error"] == ""), row["error"]
        until(lambda: running.states() == {"master-a": "active"})


def test_token_passes_a_proxy_to_a_real_alertmanager(masters, hook, tmp_path, monkeypatch):
    token = tmp_path / "token"
    with alertmanager(tmp_path, hook) as running, guarded(running.url, "s3cret") as url:
        a, *_ = masters(url)
        a.open()
        for word, error in (("other", "HTTP 401"), ("s3cret", "")):
            token.write_text(f"{word}\n")
            a.begin(Access(token=token))
            a.post(monkeypatch)
            assert [row["error"] for row in a.store.receivers()] == [error]
        until(lambda: running.states() == {"master-a": "active"})


def test_agent_that_is_dead_resolves_nothing_for_five_minutes(masters, hook, tmp_path, monkeypatch):
    with alertmanager(tmp_path, hook) as running:
        a, *_ = masters(running.url)
        a.open()
        a.post(monkeypatch)
        until(running.alerts)  # no post follows
        (held,) = running.alerts()
        left = datetime.fromisoformat(held["endsAt"]) - datetime.now(UTC)
        assert 4 * MINUTE < left <= 5 * MINUTE


def test_fix_that_fails_is_told_once_and_its_end_is_told_to_all_who_heard(masters, hook, tmp_path, monkeypatch):
    """One of three that expired together: its alert becomes critical, which is no end for those who heard of the warning."""

    def told():
        return [(path, json.loads(body)["status"]) for path, _, body in hook.requests]

    with alertmanager(tmp_path, hook) as running:
        a, *_ = masters(running.url)
        a.open(decision=ACTS)
        a.post(monkeypatch)
        until(lambda: told() == [("/team", "firing")])
        with a.store.transaction():
            a.store.escalate(1)
        a.post(monkeypatch)
        settles(hook, [("firing", ["master-a"])] * 2)
        assert told() == [("/team", "firing"), ("/oncall", "firing")]
        a.resolve()
        a.post(monkeypatch)
        settles(hook, [("firing", ["master-a"])] * 2 + [("resolved", ["master-a"])] * 2)
        assert sorted(told()[2:]) == [("/oncall", "resolved"), ("/team", "resolved")]


def test_accuser_of_a_master_that_was_fixed_is_not_heard(masters, hook, tmp_path, monkeypatch):
    """After a while it accuses too; it does not know yet that the fault is over."""
    with alertmanager(tmp_path, hook) as running:
        a, b, _ = masters(running.url)
        a.open(since=70 * MINUTE)
        b.open(accused="a", since=70 * MINUTE)
        for master in (a, b):
            master.post(monkeypatch)
        until(lambda: running.states() == {"master-a": "active", "master-b": "suppressed"})
        until(lambda: notifications(hook) == [("firing", ["master-a"])])
        a.resolve()
        for master in (a, b):
            master.post(monkeypatch, now=datetime.now(UTC) + MINUTE)
        until(lambda: len(notifications(hook)) > 1)
        settles(hook, [("firing", ["master-a"]), ("resolved", ["master-a"])])
        # The accuser's own alert, which nobody hears of, and the one that hides it.
        assert {alert["labels"]["alertname"] for alert in running.alerts()} == {"CertmedicExpired", "CertmedicFixed"}


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=CertmedicExpired severity=critical", "oncall"),
        ("alertname=CertmedicExpiresSoon severity=warning", "team"),
        ("alertname=CertmedicFixed severity=none", "nobody"),
        ("alertname=Other severity=critical", "team"),
    ],
)
def test_shipped_example_routes_by_severity(labels, receiver):
    command = ["amtool", "config", "routes", "test", f"--config.file={EXAMPLE}", "cluster=prod", *labels.split()]
    subprocess.run(["amtool", "check-config", EXAMPLE], check=True, capture_output=True)
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == receiver
