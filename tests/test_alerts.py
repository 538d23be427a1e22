"""The masters of a cluster through a real Alertmanager: one notification for a trouble, and one when it is over."""

import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certmedic import alerts
from certmedic.alerts import Alerts
from certmedic.core import verdict
from certmedic.core.model import Decision, Suspect
from certmedic.edge.alertmanager import Alertmanager
from certmedic.edge.store import Store
from labs import receivers
from labs.alertmanager import EXAMPLE, alertmanager, notifications
from labs.values import DAY, NOW, facts, member
from labs.waiting import until

needs_it = pytest.mark.skipif(not shutil.which("prometheus-alertmanager"), reason="needs prometheus-alertmanager")
pytestmark = [pytest.mark.slow, needs_it]

MINUTE = timedelta(minutes=1)
ADDRESSES = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}


class Master:
    """The alerts of one master, whose incidents the test opens and resolves in a real store."""

    def __init__(self, name, folder, urls):
        self.name, self.urls = name, urls
        self.store = Store(folder / f"{name}.sqlite3")
        self.facts = facts(member(), peers=frozenset(ADDRESSES.values()) - {ADDRESSES[name]})
        self.begin()

    def begin(self):
        """Start the agent, with nothing but its store."""
        self.alerts = Alerts(Alertmanager(self.urls), self.store, f"master-{self.name}")

    def open(self, *, accused="", since=20 * MINUTE):
        since = datetime.now(UTC) - since
        (diagnosis,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
        if accused:
            whom = (ADDRESSES[accused],)
            diagnosis = replace(diagnosis, key="peer", suspect=Suspect.PEER, neighbours=whom, certificates=())
        with self.store.transaction():
            incident, _ = self.store.open_incident(replace(diagnosis, last_seen=datetime.now(UTC)), now=since)
            self.store.decide(incident.id, Decision(reason="r"))
            self.store.announce(incident.id, now=datetime.now(UTC))

    def resolve(self):
        with self.store.transaction():
            self.store.resolve(1, now=datetime.now(UTC))

    def post(self, monkeypatch, now=None):
        monkeypatch.setattr(alerts, "address_towards", lambda _: ADDRESSES[self.name])
        self.alerts.turn("prod", self.facts, (), now or datetime.now(UTC))
        until(lambda: not any(thread.is_alive() for thread in self.alerts._receiver._threads.values()))
        self.alerts.results()


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
        settles(hook, [("firing", ["master-a"]), ("resolved", ["master-a", "master-b", "master-c"])])


def test_accusers_are_silent_until_the_accused_had_its_time(masters, hook, tmp_path, monkeypatch):
    with alertmanager(tmp_path, hook) as running:
        a, b, _ = masters(running.url)
        a.open(since=0 * MINUTE)
        b.open(accused="a", since=0 * MINUTE)
        for master in (a, b):
            master.post(monkeypatch)
        until(lambda: running.states() == {"master-a": "active"})
        settles(hook, [("firing", ["master-a"])])
        assert b.alerts._posted == {}


def test_agent_that_is_dead_resolves_nothing_for_five_minutes(masters, hook, tmp_path, monkeypatch):
    with alertmanager(tmp_path, hook) as running:
        a, *_ = masters(running.url)
        a.open()
        a.post(monkeypatch)
        settles(hook, [("firing", ["master-a"])])  # no post follows
        (held,) = running.alerts()
        left = datetime.fromisoformat(held["endsAt"]) - datetime.now(UTC)
        assert 4 * MINUTE < left <= 5 * MINUTE


def test_three_masters_expired_at_once_give_one_notification(masters, hook, tmp_path, monkeypatch):
    with alertmanager(tmp_path, hook) as running:
        for master in masters(running.url):
            master.open()
            master.post(monkeypatch)
        settles(hook, [("firing", ["master-a", "master-b", "master-c"])])


def test_changed_severity_ends_the_alert_before_it(masters, hook, tmp_path, monkeypatch):
    with alertmanager(tmp_path, hook) as running:
        a, *_ = masters(running.url)
        a.open()
        a.post(monkeypatch)
        before = running.alerts()[0]["labels"]["severity"]
        a.alerts._posted[1] = {**a.alerts._posted[1], "severity": "other"}
        with a.store.transaction():
            a.store.escalate(1)
        posted = a.alerts.alerts(a.store.incidents(), "prod", a.facts, datetime.now(UTC))
        assert [alert["labels"]["severity"] for alert in posted] == [before, "other"]
        assert posted[1]["endsAt"] <= datetime.now(UTC).isoformat()


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=CertmedicExpired severity=critical", "oncall"),
        ("alertname=CertmedicExpiresSoon severity=warning", "team"),
        ("alertname=Other severity=critical", "team"),
    ],
)
def test_shipped_example_routes_by_severity(labels, receiver):
    command = ["amtool", "config", "routes", "test", f"--config.file={EXAMPLE}", "cluster=prod", *labels.split()]
    subprocess.run(["amtool", "check-config", EXAMPLE], check=True, capture_output=True)
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == receiver
