"""One incident of a pager for one of the agent, over reminders, refusals and kills; the services are fakes on loopback."""

from dataclasses import replace
from datetime import timedelta

import pytest
from click.testing import CliRunner

from certmedic.cli import main
from certmedic.core import message, verdict
from certmedic.core.model import MessageKind, Pager
from certmedic.edge.identity import Identity
from certmedic.edge.notify import AppriseNotifier, pager
from certmedic.edge.notify.pager import PagerService
from labs.pagers import KEY, ROUTING, Pagers
from labs.played import REFUSED, Reached, sick
from labs.values import DAY, NOW, facts, member

KINDS = (MessageKind.OPENED, MessageKind.ACTED, MessageKind.ESCALATED, MessageKind.REMINDER, MessageKind.RESOLVED)
PLACES = [("pagerduty", "us"), ("pagerduty", "eu"), ("opsgenie", "us"), ("opsgenie", "eu"), ("splunk", "us")]


@pytest.fixture
def pagers(monkeypatch):
    with Pagers() as running:
        monkeypatch.setattr(pager, "BASES", running.bases())
        yield running


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o640)
    return path


def channel(key, service="pagerduty", region="us", check=lambda _: None, tag=""):
    routing = ROUTING if service == "splunk" else ""
    what = Pager(service=service, region=region, key=str(key), routing=routing, tag=tag)
    return PagerService(pager=what, host="master-a", check=check, clock=lambda: NOW)


def written(kind=MessageKind.OPENED):
    (diagnosis,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
    made = message.compose(kind, diagnosis, incident=12, host="master-a", now=NOW, opened_at=NOW, outcome="o")
    return replace(made, key="certmedic-master-a-12-0123456789ab")


@pytest.mark.parametrize(("service", "region"), PLACES)
def test_trigger_updates_and_resolve_are_one_incident_of_the_region(service, region, pagers, key):
    there = channel(key, service, region)
    for kind in KINDS:
        assert there.deliver(written(kind)).ok, pagers.refused
    assert pagers.incidents == {
        (f"{service}-{region}", written().key): ["open", "update", "update", "update", "close"],
    }


@pytest.mark.parametrize(
    ("answer", "final", "wait"),
    [
        ((400, ""), True, 0),
        ((413, ""), True, 0),
        ((422, ""), True, 0),
        ((401, ""), False, 0),  # a wrong key can be mended
        ((429, ""), False, 0),
        ((429, "90"), False, 90),
        ((429, "999999"), False, 3600),
        ((503, "Wed, 01 Jan 2025 00:00:00 GMT"), False, 0),
        ((503, format(NOW + timedelta(seconds=30), "%a, %d %b %Y %H:%M:%S GMT")), False, 30),
        ((503, "soon"), False, 0),
    ],
)
def test_refusal_says_whether_and_when_to_try_again(answer, final, wait, pagers, key):
    pagers.answers = [answer]
    result = channel(key).deliver(written())
    assert not result.ok
    assert (result.error, result.final, result.wait) == (f"the service answered HTTP {answer[0]}", final, wait)


def test_reply_of_splunk_without_success_is_a_failure(pagers, key):
    pagers.answers = [(200, "")]
    assert channel(key, "splunk").deliver(written()).error == "the service answered and did not take it"


def test_key_is_believed_read_anew_and_in_no_text(pagers, key):
    there = channel(key, "opsgenie")
    assert there.deliver(written()).ok
    key.write_text("another")
    assert there.deliver(written()).error == "the service answered HTTP 401"
    assert KEY not in repr(there) + there.label + there.id
    assert channel(key, check=lambda path: f"{path}: is anybody's").deliver(written()).error == f"{key}: is anybody's"


@pytest.mark.parametrize("text", ["", "two words", "k\nl", "kü"])
def test_file_that_holds_no_key_is_a_fault_of_the_channels(text, key):
    key.write_text(text)
    assert AppriseNotifier([], {}, pagers=[channel(key)]).faults() == (
        f"{key}: holds no key of pagerduty: one word on one line",
    )
    key.unlink()
    (fault,) = AppriseNotifier([], {}, pagers=[channel(key)]).faults()
    assert fault == f"{key}: cannot be read: No such file or directory"


def test_service_that_cannot_be_reached_is_an_error_without_the_key(monkeypatch, key):
    monkeypatch.setattr(pager, "BASES", {("splunk", "us"): "http://127.0.0.1:1"})
    assert channel(key, "splunk").deliver(written()).error == "Connection refused"


# ---------------------------------------------------------------- with the loop


class Paged(Reached):
    """A machine whose agent reports to pagers alone."""

    def __init__(self, *services, **changes):
        super().__init__(**changes)
        self.way = AppriseNotifier([], {}, pagers=services)


@pytest.fixture
def paged(lab, key):
    def make(*services, **changes):
        made = lab(world=Paged(*(services or [channel(key)]), files=sick()), mode="notify", **changes)
        made.step(REFUSED)
        return made

    return make


def ends(lab):
    lab.world.files = member()
    for _ in range(20):
        lab.step(seconds=60)


def test_incident_with_reminders_is_one_incident_of_each_pager(paged, pagers, key):
    services = [channel(key, *place) for place in PLACES]
    lab = paged(*services)
    for _ in range(20 * 6):
        lab.step(seconds=600)
    ends(lab)
    histories = pagers.histories()
    assert not pagers.refused
    assert {place for place, _ in pagers.incidents} == {"-".join(place) for place in PLACES}
    for history in histories:
        assert (history[0], history[-1]) == ("open", "close")
        assert set(history[1:-1]) <= {"update"}
    assert any("update" in history for history in histories)


def test_outage_is_waited_out_for_as_long_as_the_service_asks(paged, pagers):
    pagers.answers = [(429, "1800")] + [(500, "")] * 3
    lab = paged()
    lab.go(60)
    before = len(pagers.events)
    for _ in range(25):
        lab.step(seconds=60)
    assert len(pagers.events) == before  # half an hour has not passed
    for _ in range(10):
        lab.step(seconds=60)
    assert ["open"] in pagers.histories()


def test_refused_trigger_is_sent_once_and_never_resolved(paged, pagers, key):
    key.write_text("too-short")  # PagerDuty refuses that with 400
    lab = paged()
    lab.go(120)
    key.write_text(KEY)
    ends(lab)
    opened = [m for m in lab.store.messages() if m["kind"] == "opened"]
    assert {(m["state"], m["attempts"]) for m in opened} == {("expired", 1)}
    assert not pagers.incidents
    assert {body["event_action"] for _, body in pagers.events} == {"trigger"}
    assert any(event["what"] == "given up" for event in lab.store.events(1))


def test_trigger_that_was_accepted_before_a_kill_opens_nothing_anew(paged, pagers, key, monkeypatch):
    monkeypatch.setattr("certmedic.edge.store.Store.delivered", lambda *_, **__: None)  # killed before it was recorded
    lab = paged()
    lab.go(60)
    monkeypatch.undo()
    monkeypatch.setattr(pager, "BASES", pagers.bases())
    lab.identity = Identity("prod", lambda: "")  # the name of the cluster became known
    lab.kill()
    lab.go(60)
    ends(lab)
    for history in pagers.histories():
        assert (history.count("open"), history[-1]) == (1, "close")
        assert "update" in history


# ---------------------------------------------------------------- the command


def test_test_message_and_sample_leave_no_incident_open(pagers, key, tmp_path):
    config = tmp_path / "certmedic.toml"
    tables = [f'[[notify.pager]]\nservice = "{s}"\nregion = "{r}"\nkey = "{key}"\n' for s, r in PLACES]
    config.write_text("".join(tables) + f'routing = "{ROUTING}"\n')
    config.chmod(0o640)
    for words in ([], ["--sample", "expired"], ["--severity", "warning"]):
        pagers.incidents.clear()
        done = CliRunner().invoke(main, ["test-notify", "--config", str(config), *words])
        assert done.exit_code == 0, done.output
        assert pagers.histories() == [["open", "close"]] * 5
        assert KEY not in done.output
    assert "pagerduty eu" in done.output
