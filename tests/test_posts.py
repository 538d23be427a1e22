"""The posts of a master to Alertmanager, from its store and its last look; without an Alertmanager."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic import alerts
from certmedic.alerts import Alerts
from certmedic.core import verdict
from certmedic.core.incident import HELD_BACK, LEADS, LEFT, SILENT, RecheckKind
from certmedic.core.model import Action, Decision, RemedyKind, Suspect
from certmedic.edge.store import Store
from labs.values import DAY, NOW, facts, member

ADDRESS, ANOTHER = "10.0.0.1", "10.0.0.2"
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
ACTS = Decision(reason="r", action=Action(kind=RemedyKind.RESTART, container=None, watched=()))
KNOWN = replace(facts(member()), peers=frozenset({ANOTHER}), names={ANOTHER: "etcd-b"})


class Receiver:
    """Keeps the last post."""

    def __init__(self):
        self.instances = []
        self.posted = None

    def post(self, body):
        self.posted = {alert["labels"]["severity"]: alert for alert in json.loads(body)}


class Master:
    """A store, and the agent's posts from it. The address is known as soon as a peer is."""

    def __init__(self, store):
        self.store = store
        self.begin()

    def begin(self):
        self.receiver = Receiver()
        self.alerts = Alerts(self.receiver, self.store, "master-a", 60 * MINUTE)

    def open(self, *, decision=ACTS, announced=True, events=(), **about):
        (diagnosis,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
        with self.store.transaction():
            self.store.open_incident(replace(diagnosis, last_seen=NOW, **about), now=NOW - 20 * SECOND)
            self.store.decide(1, decision)
            for event in events:
                self.store.event(1, event, "etcd-b, etcd-c", now=NOW)
            if announced:
                self.store.announce(1, now=NOW)

    def change(self, name, *arguments, **named):
        with self.store.transaction():
            getattr(self.store, name)(*arguments, **named)

    def post(self, after=0 * MINUTE, seen=KNOWN):
        """Return severity -> (culprit, whether it fires) of what is posted; None if nothing is."""
        self.receiver.posted = None
        self.alerts.turn("prod", seen, (), NOW + after)
        return self.receiver.posted and {
            severity: (alert["labels"]["culprit"], alert["endsAt"] > (NOW + after).isoformat())
            for severity, alert in self.receiver.posted.items()
        }


@pytest.fixture
def master(tmp_path, monkeypatch):
    monkeypatch.setattr(alerts, "address_towards", lambda peers: ADDRESS if peers else "")
    store = Store(tmp_path / "state.sqlite3")
    yield Master(store)
    store.close()


def test_master_that_leaves_the_report_to_another_posts_nothing_until_it_reports(master):
    master.open(announced=False, events=[LEFT])
    assert master.post() is None
    master.change("escalate", 1)
    assert master.post(MINUTE) is None
    master.change("announce", 1, now=NOW)
    assert master.post(2 * MINUTE) == {"critical": (ADDRESS, True)}
    master.change("resolve", 1, now=NOW + 3 * MINUTE)
    assert master.post(3 * MINUTE) == {"critical": (ADDRESS, False)}


def test_incident_that_the_limit_of_messages_holds_back_is_posted(master):
    master.open(announced=False, events=[LEFT, HELD_BACK])
    assert master.post() == {"warning": (ADDRESS, True)}


@pytest.mark.parametrize("killed", [False, True])
def test_alert_of_a_group_ends_once_the_group_is_no_longer_looked_at(master, killed):
    master.open(events=[LEADS])
    assert master.post() == {"warning": (ADDRESS, True)}
    assert "etcd-b, etcd-c" in master.receiver.posted["warning"]["annotations"]["description"].replace("\n", " ")
    master.change("resolve", 1, now=NOW + SECOND)
    master.change("recheck", RecheckKind.GROUP, 1, NOW + MINUTE)
    for minutes in (1, 2):
        if killed:
            master.begin()
        assert master.post(minutes * MINUTE) == {"warning": (ADDRESS, True)}
    (recheck,) = [due for due in master.store.due(now=NOW + 2 * MINUTE) if due.kind == RecheckKind.GROUP]
    master.change("answer", recheck, lambda: None)
    assert master.post(2 * MINUTE + SECOND)["warning"] == (ADDRESS, False)


@pytest.mark.parametrize("killed", [False, True])
def test_alert_keeps_its_culprit_when_the_address_becomes_known(master, killed):
    master.open()
    assert master.post(seen=None) is None  # the first look has not been made
    assert master.post(MINUTE, seen=replace(KNOWN, peers=frozenset())) == {"warning": ("master-a", True)}
    if killed:
        master.begin()
    assert master.post(2 * MINUTE) == {"warning": ("master-a", True)}
    master.change("resolve", 1, now=NOW + 3 * MINUTE)
    assert master.post(3 * MINUTE)["warning"] == ("master-a", False)


def test_end_of_the_warning_is_posted_as_long_as_the_critical_alert_lasts(master):
    """The shipped inhibit rule hides it until then. Otherwise the team would read that it is over as soon as it goes to those on call."""
    master.open()
    master.post()
    master.change("escalate", 1)
    for minutes in (1, 30):
        assert master.post(minutes * MINUTE) == {"critical": (ADDRESS, True), "warning": (ADDRESS, False)}
    master.change("resolve", 1, now=NOW + 31 * MINUTE)
    ends = master.post(31 * MINUTE)
    assert (ends["critical"], ends["warning"]) == ((ADDRESS, False), (ADDRESS, False))


def test_accuser_names_the_culprit_by_its_address_where_the_line_has_a_port(master):
    master.open(decision=Decision(reason="r"), suspect=Suspect.PEER, neighbours=(f"{ANOTHER}:2380",), certificates=())
    assert master.post() == {"warning": (ANOTHER, True)}


@pytest.mark.parametrize(("events", "is_posted"), [((), False), ((SILENT,), True)], ids=["answers", "did not answer"])
def test_member_that_did_not_answer_stays_accused_though_nothing_refuses_it_any_more(master, events, is_posted):
    about = {"suspect": Suspect.PEER, "neighbours": (f"{ANOTHER}:2380",), "certificates": ()}
    master.open(decision=Decision(reason="r"), events=events, announced=False, **about)
    master.change("announce", 1, now=NOW + 61 * MINUTE)
    assert (master.post(64 * MINUTE) is not None) is is_posted


def test_fixed_master_hides_those_that_still_accuse_it(master):
    """They may report it after ten minutes, and later find out that it is over."""
    master.open(decision=Decision(reason="r"))
    master.post()
    master.change("resolve", 1, now=NOW + 10 * MINUTE)
    for minutes in (10, 24):
        assert master.post(minutes * MINUTE) == {"critical": (ADDRESS, False), "none": (ADDRESS, True)}
    labels = master.receiver.posted["none"]["labels"]
    assert (labels["alertname"], labels["suspect"]) == ("CertmedicFixed", "own")
    assert "none" not in master.post(26 * MINUTE)
