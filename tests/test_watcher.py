"""The line, from a line that came in to a message that went out, on a real store; only machine, hands and channels are played."""

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from certmedic import tally, watcher
from certmedic.config import Certificates, Config, Notify, RemedyPolicy
from certmedic.core import diagnose as doctor
from certmedic.core import window
from certmedic.core.means import Means
from certmedic.core.model import Lease, Member, Progress, Served, Severity, SourceDown, SourceUp
from certmedic.edge.notify import Channel, Delivered
from certmedic.edge.renew import Aside, Renewed, RenewError
from certmedic.edge.restart import RestartError
from certmedic.edge.store import Store
from certmedic.teller import World
from certmedic.watcher import Watcher
from labs import pki
from labs.values import DAY, NOW, OLD_IMAGE, PEERS_CA, VOLUME, container, entry, facts, k3s, member, stored, unit

REFUSED = (
    'embed: rejected connection from "10.0.0.2:{}" (error "remote error: tls: bad certificate", ServerName "etcd-a")'
)
REFUSING = (
    'embed: rejected connection from "10.0.0.2:{}" (error "tls: failed to verify client certificate: x509: certificate has expired'
    ' or is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-11-19T15:30:41Z", ServerName "etcd-a")'
)


@dataclass
class Played:
    """A machine, its hands and its channels: what they are told to be, and what was asked of them."""

    files: tuple = ()
    containers: tuple = (container(),)
    renews: bool = True
    lease: str = ""  # what etcd says of it; empty: nobody asks
    released: list = field(default_factory=list)
    keeps: bool = False  # what is there, as an old manager does
    fails: str = ""
    dead: set = field(default_factory=set)
    members: tuple = ()
    signable: frozenset = frozenset()
    renewed: list = field(default_factory=list)
    undone: list = field(default_factory=list)
    aside: dict = field(default_factory=dict)
    restarts: list = field(default_factory=list)
    sent: list = field(default_factory=list)
    journal: list = field(default_factory=list)

    def gather(self, *, now, with_members=False):
        leaves = [s for s in self.files if not s.certificate.is_ca]
        served = tuple(
            Served(address="127.0.0.1", port=p, certificate=s.certificate) for s in leaves for p in s.place.ports
        )
        members = self.members if with_members else ()
        return facts(
            self.files, at=now, containers=self.containers, served=served, members=members, signable=self.signable
        )

    def learn(self, origin):
        pass

    def meet(self):
        pass

    def take(self, group, access):
        return Lease(state=self.lease, why=f"the lease is {self.lease}")

    def release(self, group):
        self.released.append(group)

    def is_own_probe(self, address):
        return address == "127.0.0.1:9"

    def restart(self, target):
        self.restarts.append(target)
        if self.fails:
            raise RestartError(self.fails)
        if target.runtime == "docker":
            self.containers = (container(number="c2", image=target.image),)
        elif target.runtime == "systemd":
            self.containers = (replace(target, invocation=f"{target.invocation}+"),)
        if self.renews and self.keeps:
            there = {one.certificate.path for one in self.files}
            self.files += tuple(one for one in member() if one.certificate.path not in there)
        elif self.renews:
            self.files = k3s(NOW + 300 * DAY) if self.files[0].place.plane == "k3s" else member()
        return f"restarted {target.name}"

    def renew(self, one, *, now):
        """Renew a file; where nothing renews, it reads as before."""
        path = one.certificate.path
        self.renewed.append(path)
        if self.renews:
            both = zip(self.files, member(), strict=True)
            self.files = tuple(fresh if fresh.certificate.path == path else old for old, fresh in both)
        return Renewed(path=path, backup=f"{path}.old", not_after=now, ca_path="ca.crt", fingerprint="f")

    def undo(self, renewed):
        self.undone.append(renewed.path)

    def plan_aside(self, one):
        return Aside(path=one.certificate.path, backup=f"{one.certificate.path}.old", fingerprint="f")

    def move_aside(self, aside):
        gone = [one for one in self.files if one.certificate.path == aside.path]
        if gone:
            self.aside[aside.path] = gone[0]
            self.files = tuple(one for one in self.files if one not in gone)

    def put_back(self, aside):
        if any(one.certificate.path == aside.path for one in self.files):
            return False
        self.files = (self.aside.pop(aside.path), *self.files)
        self.undone.append(aside.path)
        return True

    def channels(self, severity, tag=""):
        return [Channel(id="good", label="json://good"), Channel(id="other", label="json://other")]

    def send_all(self, batch):
        for place, (channel, message) in enumerate(batch):
            if channel not in self.dead:
                self.sent.append((channel, message.kind))
            yield place, Delivered(ok=False, error="refused") if channel in self.dead else Delivered(ok=True)

    def emit(self, fields):
        self.journal.append(fields)

    def kinds(self, channel="good"):
        return [kind for to, kind in self.sent if to == channel]


@dataclass
class Lab:
    """An agent on a played machine, and its time."""

    world: Played
    path: object
    config: Config
    now: object = NOW
    position: int = 0
    sources: dict = field(default_factory=lambda: {"journal": True, "docker": False, "certificates": False})

    def __post_init__(self):
        self.begin()

    def begin(self):
        """Start the agent, or start it anew after a kill."""
        self.store = Store(self.path)
        world = World(
            senses=self.world,
            hands=self.world,
            pen=self.world,
            notifier=self.world,
            journal=self.world,
            host="master-a",
            boot_id="b",
            lock=self.world if self.world.lease else None,
        )
        self.watcher = Watcher(
            config=self.config,
            store=self.store,
            world=world,
            started_at=self.now,
            sources=self.sources,
        )

    def kill(self):
        """What `kill -9` leaves: the file."""
        self.store.close()
        self.begin()

    def step(self, *texts, seconds=1.0, at=None, stream="journal"):
        self.now += timedelta(seconds=seconds)
        items = []
        for text in texts:
            self.position += 1
            items.append(
                replace(
                    entry(text.format(40000 + self.position), at=at or self.now, stream=stream),
                    position=str(self.position),
                )
            )
        self.watcher.step(items, self.now)

    def go(self, seconds):
        for _ in range(int(seconds)):
            self.step()

    def incidents(self):
        return self.store.incidents()


@pytest.fixture
def lab(tmp_path):
    def _lab(files=None, *, mode="remedy", remedy=None, of_plane=None, **played):
        config = Config(
            mode=mode,
            certificates=Certificates(plane=of_plane or {}),
            notify=Notify(group_for=timedelta(seconds=2), remind_every=timedelta(hours=6)),
            remedy=RemedyPolicy(verify_for=timedelta(seconds=30), **(remedy or {})),
        )
        return Lab(
            Played(files=member(peer_ends=NOW - DAY) if files is None else files, **played), tmp_path / "state", config
        )

    return _lab


def test_the_whole_story_from_a_line_to_resolved_with_one_act_and_one_message_of_each_kind(lab):
    lab = lab()

    for _ in range(10):
        lab.step(REFUSED)
    lab.go(30)

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == lab.world.kinds("other") == ["opened", "acted", "resolved"]
    assert [(i.state, i.count) for i in lab.incidents() if i.severity == "critical"] == [
        ("resolved", lab.incidents()[-1].count)
    ]
    assert [a.state for a in lab.store.acts()] == ["verified"]


def test_a_storm_of_equal_lines_is_one_incident_with_a_counter(lab):
    lab = lab(mode="notify")

    for _ in range(20):
        lab.step(*[REFUSED] * 100)

    assert [(i.diagnosis.cause, i.count) for i in lab.incidents()] == [("expired", 2000)]
    assert lab.world.kinds() == ["opened"]


OWN_TIME = '2026-11-24 15:32:44.{:06} W | embed: rejected connection from "10.0.0.2:41001" (error "remote error: tls: bad certificate", ServerName "etcd-a")'


def test_a_line_that_comes_again_by_another_source_is_counted_once_after_hours_storms_and_kills(lab, monkeypatch):
    monkeypatch.setattr(watcher, "JUDGED_AT_ONCE", tally.REMEMBERED_LINES + 1)
    lab = lab(mode="notify")

    lab.step(OWN_TIME, stream="journal")
    lab.kill()
    lab.step(OWN_TIME, stream="docker:c1")
    lab.step(  # more kinds of lines than are kept in memory
        *[OWN_TIME.replace("etcd-a", f"etcd-{number}") for number in range(tally.REMEMBERED_LINES + 1)],
        stream="docker:c1",
    )
    lab.kill()
    lab.step(OWN_TIME, seconds=7200, stream="file:/var/log/etcd.log")

    assert sum(i.count for i in lab.incidents()) == 1 + tally.REMEMBERED_LINES + 1


def test_of_a_flood_of_kinds_some_are_judged_in_a_turn_and_a_kill_loses_none(lab):
    lab = lab(mode="notify")
    kinds = [OWN_TIME.replace("etcd-a", f"etcd-{number}") for number in range(5 * watcher.JUDGED_AT_ONCE // 2)]

    lab.step(*kinds)
    assert sum(i.count for i in lab.incidents()) == watcher.JUDGED_AT_ONCE
    settled = lab.store.positions()["journal"]
    lab.kill()
    lab.position = int(settled)
    lab.step(*kinds[lab.position :])
    lab.go(3)

    assert sum(i.count for i in lab.incidents()) == len(kinds)


def test_what_was_not_settled_is_not_remembered_either(lab):
    lab = lab(mode="notify")
    lab.step()

    with pytest.raises(OSError, match="killed"):
        _killed_before_settling(lab)
    lab.kill()
    lab.step(OWN_TIME, stream="docker:c1")

    assert sum(i.count for i in lab.incidents()) == 1


def _killed_before_settling(lab):
    def settle(_):
        raise OSError("killed")

    lab.store.settle = settle
    lab.step(OWN_TIME, stream="journal")


def test_what_two_containers_say_alike_in_the_same_second_is_two_lines(lab):
    lab = lab(mode="notify")

    for stream in ("docker:main", "docker:events", "journal", "journal", "file:/var/log/etcd.log"):
        lab.step(OWN_TIME, stream=stream)

    assert sum(i.count for i in lab.incidents()) == 2


@pytest.mark.parametrize(("mode", "kinds"), [("observe", []), ("notify", ["opened"])])
def test_without_leave_to_act_nothing_is_touched(lab, mode, kinds):
    lab = lab(mode=mode)

    for _ in range(60):
        lab.step(REFUSED)

    assert lab.world.restarts == []
    assert lab.world.kinds() == kinds
    assert len(lab.incidents()) == 1


def test_a_sick_neighbour_is_named_and_nothing_here_is_touched(lab):
    lab = lab(member())

    for _ in range(60):
        lab.step(REFUSING)

    assert lab.world.restarts == []
    assert [(i.diagnosis.suspect, i.diagnosis.neighbours) for i in lab.incidents()] == [("peer", ("10.0.0.2",))]
    assert lab.world.kinds() == ["opened"]


def test_forged_lines_on_a_healthy_master_cause_no_act_and_no_message(lab):
    lab = lab(member())

    for _ in range(100):
        lab.step(*[REFUSED] * 100)

    assert lab.world.restarts == []
    assert lab.world.sent == []


def test_an_old_manager_is_left_alone_and_the_message_says_why(lab):
    lab = lab(containers=(container(image=OLD_IMAGE),))

    for _ in range(30):
        lab.step(REFUSED)

    assert lab.world.restarts == []
    assert "keeps an expired certificate" in lab.incidents()[0].decision.reason


def test_with_a_second_member_in_trouble_nobody_is_restarted(lab):
    lab = lab()

    for _ in range(30):
        lab.step(REFUSED, REFUSING)

    assert lab.world.restarts == []


def test_a_restart_that_renews_nothing_is_escalated_once_and_never_tried_again(lab):
    lab = lab(renews=False)

    for _ in range(200):
        lab.step(REFUSED)

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == ["opened", "acted", "escalated"]
    assert [i.state for i in lab.incidents()] == ["escalated"]


def test_a_runtime_that_refuses_is_escalated_with_its_words(lab):
    lab = lab(fails="docker is not reachable")

    for _ in range(30):
        lab.step(REFUSED)

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == ["opened", "escalated"]
    assert "docker is not reachable" in [e["said"] for e in lab.store.events(1)][-1]


def test_when_a_person_cures_it_that_is_verified_and_said(lab):
    lab = lab(mode="notify")
    for _ in range(10):
        lab.step(REFUSED)

    lab.world.files = member()
    lab.go(30)

    assert lab.world.kinds() == ["opened", "resolved"]


def test_what_is_over_before_it_was_told_is_not_told(lab):
    lab = lab(mode="notify")
    lab.step(REFUSED)
    lab.world.files = member()
    lab.go(30)

    assert lab.world.sent == []
    assert [i.state for i in lab.incidents()] == ["resolved"]


def test_a_line_is_judged_by_files_that_came_a_moment_before_it(lab):
    there = member(peer_ends=NOW - DAY)
    lab = lab(())
    lab.step()
    lab.world.files = there
    lab.step(REFUSED)
    assert [incident.diagnosis.cause for incident in lab.incidents()] == ["expired"]


def test_lines_from_before_the_start_may_notify_and_never_act(lab):
    lab = lab()
    old = NOW - timedelta(minutes=5)

    lab.step(REFUSED, at=old)
    lab.go(60)

    assert lab.world.restarts == []
    assert lab.world.kinds() == ["opened"]

    lab.step(REFUSED)
    lab.go(60)

    assert len(lab.world.restarts) == 1


def test_the_same_entries_read_again_and_again_are_one_act(lab):
    lab = lab()
    entries = [
        replace(entry(REFUSED.format(40000 + n), at=NOW + timedelta(seconds=n)), position=str(n)) for n in range(1, 9)
    ]
    for turn in range(90):
        lab.now += timedelta(seconds=1)
        lab.watcher.step(entries, lab.now)  # as where a position was lost
        if turn % 20 == 0:
            lab.kill()

    assert len(lab.world.restarts) == 1


@pytest.mark.parametrize("after", range(1, 14))
def test_a_kill_after_any_turn_changes_nothing_of_the_end(lab, after):
    lab = lab()
    for turn in range(1, 60):
        lab.step(REFUSED) if lab.world.files[0].certificate.not_after < NOW else lab.step()
        if turn == after:
            lab.kill()

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == ["opened", "acted", "resolved"]


@pytest.mark.parametrize("every", [None, 5])
@pytest.mark.parametrize("before_the_act", [True, False])
def test_a_kill_between_intent_and_record_ends_the_same_way(lab, before_the_act, every):
    lab = lab()
    done = lab.world.restart

    def killed(target):
        lab.world.restart = done
        if not before_the_act:
            done(target)
        raise KeyboardInterrupt

    def until_killed():
        while True:
            lab.step(REFUSED)

    lab.world.restart = killed
    with pytest.raises(KeyboardInterrupt):
        until_killed()
    lab.kill()
    for turn in range(60):
        lab.step(*([REFUSED] if lab.world.files[0].certificate.not_after < NOW else []))
        if (
            every and turn % every == 0
        ):  # an agent that is killed sooner than it takes up an act comes to it all the same
            lab.kill()

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == ["opened", "acted", "resolved"]


def test_a_kill_between_the_stop_and_the_start_of_a_container_leaves_nothing_down(lab):
    # Where the hand stops and starts by itself, as with containerd's ctr, nobody else starts what it had stopped.
    lab = lab()

    def killed(target):
        lab.world.containers = (container(state="exited", started_at=None),)
        raise KeyboardInterrupt

    done, lab.world.restart = lab.world.restart, killed
    with pytest.raises(KeyboardInterrupt):
        [lab.step(REFUSED) for _ in range(30)]
    lab.world.restart = done
    lab.kill()
    lab.go(60)

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == ["opened", "acted", "resolved"]


def test_a_container_that_was_stopped_long_ago_is_left_to_people(lab):
    lab = lab()

    def killed(target):
        lab.world.containers = (container(state="exited", started_at=None),)
        raise KeyboardInterrupt

    done, lab.world.restart = lab.world.restart, killed
    with pytest.raises(KeyboardInterrupt):
        [lab.step(REFUSED) for _ in range(30)]
    lab.world.restart = done
    lab.now += timedelta(hours=1)
    lab.kill()
    lab.go(60)

    assert lab.world.restarts == []
    assert lab.world.kinds() == ["opened", "escalated"]


def test_a_flood_of_forged_lines_holds_up_no_cure_and_is_judged_in_measure(lab, monkeypatch):
    judged = []
    diagnose = doctor.diagnose
    monkeypatch.setattr(doctor, "diagnose", lambda fold, facts: judged.append(fold) or diagnose(fold, facts))
    lab = lab()
    for turn in range(30):
        forged = [REFUSED.replace("etcd-a", f"x{turn}-{number}") for number in range(300)]
        before = len(judged)
        lab.step(*forged, *([REFUSED] if lab.world.files[0].certificate.not_after < NOW else []))
        assert len(judged) - before <= 2 * watcher.JUDGED_AT_ONCE
        if lab.world.restarts:
            break

    assert len(lab.world.restarts) == 1
    assert turn < 10


def test_a_dead_channel_delays_no_other_and_gets_everything_later(lab):
    lab = lab(dead={"other"})
    for _ in range(10):
        lab.step(REFUSED)
    lab.go(30)
    assert lab.world.kinds() == ["opened", "acted", "resolved"]
    assert lab.world.kinds("other") == []

    lab.world.dead.clear()
    lab.go(400)

    assert lab.world.kinds("other") == ["opened", "acted", "resolved"]


def test_reminders_come_at_their_interval_until_it_is_over(lab):
    lab = lab(mode="notify")
    lab.step(REFUSED)
    for _ in range(3):
        lab.step(seconds=5)
    for _ in range(13):
        lab.step(seconds=3600)

    assert lab.world.kinds() == ["opened", "reminder", "reminder"]


def test_a_line_that_comes_in_by_two_sources_is_counted_once(lab):
    lab = lab(mode="notify")
    moment = NOW + timedelta(seconds=1)

    lab.step(REFUSED.format(1), at=moment)
    lab.step(REFUSED.format(1), at=moment, stream="docker:c1")
    lab.step(REFUSED.format(1), at=moment + timedelta(seconds=1), stream="docker:c1")

    assert [i.count for i in lab.incidents()] == [2]


def test_our_own_probe_is_no_sighting(lab):
    lab = lab(member())

    lab.step(
        'rejected connection from "127.0.0.1:9" (error "tls: client didn\'t provide a certificate", ServerName "")'
    )

    assert lab.incidents() == []


def test_the_silent_case_is_told_without_a_line(lab):
    lab = lab(mode="notify")
    lab.go(5)

    assert [(i.diagnosis.cause, i.count) for i in lab.incidents()] == [("expired", 0)]
    assert lab.world.kinds() == ["opened"]


def test_forecasts_are_told_once_for_each_threshold_and_end_when_renewed(lab):
    lab = lab(member(peer_ends=NOW + 10 * DAY), mode="notify")
    lab.go(5)
    for _ in range(24 * 4):
        lab.step(seconds=3600)
    told = [i.key.rpartition("|")[2] for i in reversed(lab.incidents())]

    lab.world.files = member()
    for _ in range(3):
        lab.step(seconds=700)

    assert told == ["14", "7"]
    assert {i.state for i in lab.incidents()} == {"resolved"}


@pytest.mark.parametrize(("of_plane", "told"), [({"kops": (5, 2)}, []), ({"kops": (12,), "k3s": (5,)}, ["12"])])
def test_a_plane_of_its_own_thresholds_is_told_of_at_those(lab, of_plane, told):
    lab = lab(member(peer_ends=NOW + 10 * DAY), mode="notify", of_plane=of_plane)
    lab.go(5)
    for _ in range(24 * 4):
        lab.step(seconds=3600)

    assert [i.key.rpartition("|")[2] for i in lab.incidents()] == told


def test_a_blind_source_is_told_to_the_journal_once_and_its_return_too(lab):
    lab = lab(member())

    lab.watcher.step([SourceDown(source="docker", reason="no socket"), SourceUp(source="docker")], NOW)

    assert [f["CERTMEDIC_EVENT"] for f in lab.world.journal] == ["source-blind", "source-back"]
    assert lab.store.sources()[0]["down"] == ""


def test_positions_move_with_lines_and_without(lab):
    lab = lab(member())

    lab.watcher.step([Progress(stream="file:/x", position="7")], NOW)
    lab.step("nothing of interest")

    assert lab.store.positions() == {"file:/x": "7", "journal": "1"}


def test_an_expired_ca_is_never_answered_with_a_restart(lab):
    ca = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, not_after=NOW - DAY)
    me, _, *rest = member(peer=ca.leaf("etcd-a", not_after=NOW - 2 * DAY))
    lab = lab((me, stored(ca, f"{VOLUME}/peers/ca.crt", "ca"), *rest))
    for _ in range(30):
        lab.step(REFUSED)

    assert lab.world.restarts == []
    assert lab.incidents()[-1].diagnosis.cause == "ca_expired"
    assert Severity.CRITICAL in {i.severity for i in lab.incidents()}
    assert PEERS_CA is not ca


def test_in_approve_mode_it_waits_for_a_person_and_then_acts_once(lab):
    lab = lab(mode="approve")
    for _ in range(60):
        lab.step(REFUSED)
    assert lab.world.restarts == []
    assert "certmedic approve 1" in lab.incidents()[0].decision.reason

    lab.store.approve(1, "jane", until=lab.now + timedelta(hours=4))
    for _ in range(60):
        lab.step(*([REFUSED] if lab.world.files[0].certificate.not_after < NOW else []))

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == ["opened", "acted", "resolved"]


def test_an_approval_that_has_run_out_counts_no_more(lab):
    lab = lab(mode="approve")
    lab.step(REFUSED)
    lab.store.approve(1, "jane", until=lab.now)
    for _ in range(60):
        lab.step(REFUSED)

    assert lab.world.restarts == []


def test_after_an_act_that_failed_nothing_is_done_until_a_person_resets(lab):
    lab = lab(renews=False)
    for _ in range(60):
        lab.step(REFUSED)
    lab.world.files = member()
    lab.go(40)
    lab.world.files, lab.world.renews = member(server_ends=NOW - DAY), True
    lab.now += timedelta(hours=1)

    for _ in range(60):
        lab.step(REFUSED)
    assert len(lab.world.restarts) == 1
    assert "certmedic reset" in lab.incidents()[0].decision.reason

    lab.store.reset("jane", now=lab.now)
    for _ in range(60):
        lab.step(*([REFUSED] if lab.world.files[2].certificate.not_after < NOW else []))
    assert len(lab.world.restarts) == 2


@pytest.mark.parametrize(("hours", "acts"), [("Tue 15:00-17:00", 1), ("Sun 02:00-04:00", 0)])
def test_a_planned_cure_comes_before_expiry_and_only_in_its_window(lab, hours, acts):
    plan = {"plan_ahead": 14 * DAY, "window": window.parse(hours)}
    lab = lab(member(peer_ends=NOW + 10 * DAY), remedy=plan)

    for _ in range(200):
        lab.step()

    assert len(lab.world.restarts) == acts
    assert [i.state for i in lab.incidents()] == (["resolved"] if acts else ["open"])
    assert [a.state for a in lab.store.acts()] == ["verified"] * acts


def test_nothing_is_planned_unless_it_was_asked_for(lab):
    lab = lab(member(peer_ends=NOW + 10 * DAY))
    for _ in range(200):
        lab.step()

    assert lab.world.restarts == []


ME, SERVER = f"{VOLUME}/peers/me.crt", f"{VOLUME}/clients/server.crt"
BOTH = frozenset({ME, SERVER})


def test_where_renewing_is_allowed_and_the_key_is_here_no_member_is_taken_down(lab):
    lab = lab(member(peer_ends=NOW - DAY, server_ends=NOW - DAY), remedy={"renew": True}, signable=BOTH)
    for _ in range(30):
        lab.step(*([REFUSED] if lab.world.files[0].certificate.not_after < NOW else []))

    assert lab.world.restarts == []
    assert sorted(lab.world.renewed) == sorted(BOTH)
    assert lab.world.kinds() == ["opened", "acted", "resolved"]
    assert [a.state for a in lab.store.acts()] == ["verified"]


def test_renewing_cures_under_an_old_manager_too(lab):
    old = (container(image=OLD_IMAGE),)
    lab = lab(remedy={"renew": True}, signable=BOTH, containers=old)
    for _ in range(30):
        lab.step(*([REFUSED] if lab.world.files[0].certificate.not_after < NOW else []))

    assert lab.world.renewed == [ME]
    assert lab.world.kinds() == ["opened", "acted", "resolved"]


def test_without_the_key_or_without_leave_nothing_is_renewed(lab):
    for remedy, signable in (({"renew": False}, BOTH), ({"renew": True}, frozenset())):
        one = lab(remedy=remedy, signable=signable, containers=(container(image=OLD_IMAGE),))
        for _ in range(20):
            one.step(REFUSED)
        assert one.world.renewed == []
        one.store.close()
        one.path.unlink()


def test_a_renewal_that_cannot_be_verified_is_undone_and_escalated(lab):
    lab = lab(remedy={"renew": True}, signable=BOTH, renews=False)
    for _ in range(100):
        lab.step(REFUSED)

    assert lab.world.renewed == [ME]
    assert lab.world.undone == [ME]
    assert lab.world.kinds() == ["opened", "acted", "escalated"]


def test_a_kill_between_two_files_goes_on_with_the_second(lab):
    lab = lab(member(peer_ends=NOW - DAY, server_ends=NOW - DAY), remedy={"renew": True}, signable=BOTH)
    whole = lab.world.renew

    def killed(one, *, now):
        whole(one, now=now)
        lab.world.renew = whole
        raise KeyboardInterrupt

    def until_killed():
        while True:
            lab.step(REFUSED)

    lab.world.renew = killed
    with pytest.raises(KeyboardInterrupt):
        until_killed()
    lab.kill()
    lab.go(60)

    assert sorted(lab.world.renewed) == sorted(BOTH)
    assert lab.world.kinds() == ["opened", "acted", "resolved"]


def group(*, a, b, c):
    """The three members as their handshakes show them: "good", "expired", or nothing."""
    good, bad = (member(peer_ends=ends)[0].certificate for ends in (NOW + 300 * DAY, NOW - DAY))
    shown = {"good": good, "expired": bad, "gone": None}
    return tuple(
        Member(
            name=f"etcd-{n}",
            group="main",
            address=n,
            port=2380,
            serves=shown[how],
            refused=how == "gone",
            is_self=n == "a",
        )
        for n, how in (("a", a), ("b", b), ("c", c))
    )


@pytest.mark.parametrize(
    ("others", "acts"),
    [({"b": "good", "c": "good"}, 1), ({"b": "gone", "c": "good"}, 0)],
)
def test_a_member_is_restarted_only_where_the_group_keeps_its_quorum(lab, others, acts):
    lab = lab(members=group(a="expired", **others))
    for _ in range(60):
        lab.step(*([REFUSED] if lab.world.files[0].certificate.not_after < NOW else []))

    assert len(lab.world.restarts) == acts


def test_where_all_have_expired_the_first_by_name_goes_first(lab):
    lab = lab(members=group(a="expired", b="expired", c="expired"))
    for _ in range(60):
        lab.step(*([REFUSED, REFUSING] if lab.world.files[0].certificate.not_after < NOW else []))

    assert len(lab.world.restarts) == 1
    assert {"member safe", "turn"} <= {g.name for g in lab.store.incident(1).decision.gates}


# ---------------------------------------------------------------- units and commands

K3S_REFUSED = (
    "http: TLS handshake error from 127.0.0.1:{}: tls: failed to verify certificate: x509: certificate has expired or is not yet"
    " valid: current time 2026-11-24T15:40:00Z is after 2026-11-23T15:40:00Z"
)
COMMAND = Means(renewer="kubeadm", command=("/usr/local/sbin/renew", "all etcd"), renews=True)


def kubeadm(ends=NOW - DAY):
    names = {"plane": "kubeadm", "group": "", "renewer": "kubeadm"}
    me, ca, server, clients = member(peer_ends=ends)
    return tuple(replace(one, place=replace(one.place, **names)) for one in (me, ca, server, clients))


def story_of(lab, kind):
    """A lab whose one expired certificate is renewed by a unit, or by a command."""
    if kind == "unit":
        return lab(k3s(), containers=(unit(),), remedy={"restart": ("k3s",)})
    return lab(kubeadm(), containers=(), remedy={"restart": ("kubeadm",), "means": (COMMAND,)})


def failing(one):
    """The line of a failure that happens as long as the certificate has expired."""
    bad = one.world.files[0].certificate.not_after < NOW
    return [K3S_REFUSED if one.world.files[0].place.plane == "k3s" else REFUSED] if bad else []


@pytest.mark.parametrize("kind", ["unit", "command"])
def test_what_runs_in_no_container_is_restarted_by_its_means(lab, kind):
    lab = story_of(lab, kind)
    for _ in range(60):
        lab.step(*failing(lab))

    assert [t.id for t in lab.world.restarts] == [
        "k3s.service" if kind == "unit" else "/usr/local/sbin/renew 'all etcd'"
    ]
    assert lab.world.kinds() == ["opened", "acted", "resolved"]
    assert [a.state for a in lab.store.acts()] == ["verified"]


@pytest.mark.parametrize(
    ("kind", "before_the_act", "acts", "kinds"),
    [
        ("unit", True, 1, ["opened", "acted", "resolved"]),
        ("unit", False, 1, ["opened", "acted", "resolved"]),
        ("command", True, 0, ["opened", "escalated"]),
        ("command", False, 1, ["opened", "acted", "resolved"]),
    ],
)
def test_a_kill_around_a_unit_or_a_command_never_does_it_twice(lab, kind, before_the_act, acts, kinds):
    lab = story_of(lab, kind)
    done = lab.world.restart

    def killed(target):
        lab.world.restart = done
        if not before_the_act:
            done(target)
        raise KeyboardInterrupt

    def until_killed():
        while True:
            lab.step(*failing(lab))

    lab.world.restart = killed
    with pytest.raises(KeyboardInterrupt):
        until_killed()
    lab.kill()
    for _ in range(90):
        lab.step(*failing(lab))

    assert len(lab.world.restarts) == acts
    assert lab.world.kinds() == kinds


def test_a_unit_that_a_person_stopped_stays_stopped(lab):
    lab = lab(k3s(), containers=(unit(state="inactive"),), remedy={"restart": ("k3s",)})
    for _ in range(60):
        lab.step(*failing(lab))

    assert lab.world.restarts == []
    gates = {gate.name: gate for gate in lab.incidents()[0].decision.gates}
    assert not gates["target"].passed


# ---------------------------------------------------------------- what a cure has to show

FROM_MEMORY = REFUSING.replace("10.0.0.2", "127.0.0.1").replace("etcd-a", "")


def say(lab, text):
    """A line of the member that etcd-manager runs."""
    lab.position += 1
    one = entry(text.format(40000 + lab.position), at=lab.now, pod="etcd-manager-main-ip-10-0-0-1")
    lab.watcher.step([replace(one, position=str(lab.position))], lab.now)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (
            FROM_MEMORY,
            ["opened", "acted", "opened", "escalated", "resolved"],
        ),  # the files are good, and the breaker is not
        (REFUSING, ["opened", "acted", "opened", "resolved"]),  # about another one, which is no reason here
        (REFUSED, ["opened", "acted", "resolved"]),  # and what the files give no reason for is hearsay
    ],
)
def test_who_still_accuses_this_machine_after_a_cure_keeps_it_from_being_verified(lab, text, kinds):
    lab = lab()
    for _ in range(80):
        lab.step(*([REFUSED] if lab.world.files[0].certificate.not_after < NOW else []))
        if lab.world.restarts:
            say(lab, text)

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == kinds
    assert lab.world.undone == []
    assert [a.state for a in lab.store.acts()] == ["failed" if "escalated" in kinds else "verified"]


def test_renewing_in_place_is_verified_though_a_process_holds_an_old_one_in_memory(lab):
    lab = lab(remedy={"renew": True}, signable=BOTH)
    for _ in range(60):
        lab.step(*([REFUSED] if lab.world.files[0].certificate.not_after < NOW else []))
        if lab.world.renewed:
            say(lab, FROM_MEMORY)

    assert [a.state for a in lab.store.acts()] == ["verified"]
    assert "stale_in_memory" in {i.diagnosis.cause for i in lab.incidents() if i.state == "open"}
    assert lab.world.restarts == []  # what no file proves is a person's to restart; the message says how


GRPC_REFUSED = (
    'W1124 15:40:00.000000    2613 server.go:888] grpc: Server.Serve failed to complete security handshake from "10.0.0.2:{}":'
    " remote error: tls: bad certificate"
)
MANAGER = "/etc/kubernetes/pki/etcd-manager-main/etcd-manager-server-etcd-a.crt"


def grpc(ends):
    """What etcd-manager shows to the others, and its CA."""
    folder = MANAGER.rpartition("/")[0]
    leaf = MANAGERS_CA.leaf("etcd-manager-server-etcd-a", not_before=NOW - 400 * DAY, not_after=ends, client=False)
    return (
        stored(leaf, MANAGER, "manager-server", ca_path=f"{folder}/etcd-manager-ca.crt"),
        stored(MANAGERS_CA, f"{folder}/etcd-manager-ca.crt", "ca", renewer="nodeup"),
    )


MANAGERS_CA = pki.authority("etcd-manager-ca-main", not_before=NOW - 400 * DAY)


def test_what_is_held_in_memory_gets_its_restart_after_the_files_were_renewed(lab):
    lab = lab(
        (*member(peer_ends=NOW - DAY), *grpc(NOW - DAY)),
        remedy={"renew": True, "cooldown": timedelta(seconds=60)},
        signable=BOTH | {MANAGER},
    )
    lab.world.renew = lambda one, *, now: renewed_only(lab.world, one, now)
    whole = lab.world.restart

    def restart(target):
        said = whole(target)
        lab.world.files = (*member(), *grpc(NOW + 300 * DAY))
        return said

    lab.world.restart = restart
    for _ in range(200):
        bad = any(s.certificate.not_after < NOW for s in lab.world.files)
        lab.step(*([REFUSED] if bad and not lab.world.renewed else []))
        if bad and lab.world.renewed:
            say(lab, GRPC_REFUSED)

    assert lab.world.renewed == [ME]
    assert len(lab.world.restarts) == 1
    assert [(a.action.kind, a.state) for a in lab.store.acts()] == [("renew", "verified"), ("restart", "verified")]
    assert lab.world.kinds() == ["opened", "acted", "resolved"] * 2


def renewed_only(world, one, now):
    """Renew one file among others that stay."""
    world.renewed.append(one.certificate.path)
    fresh = {s.certificate.path: s for s in member()}
    world.files = tuple(fresh.get(s.certificate.path, s) for s in world.files)
    return Renewed(path=one.certificate.path, backup="old", not_after=now, ca_path="ca.crt", fingerprint="f")


# ---------------------------------------------------------------- moved aside


def old_manager(lab, **changed):
    """A lab with an old manager, which may be helped by moving the expired file aside."""
    usual = {"containers": (container(image=OLD_IMAGE),), "signable": BOTH, "keeps": True, "remedy": {"reissue": True}}
    return lab(member(peer_ends=NOW - DAY, server_ends=NOW - DAY), **{**usual, **changed})


def sick(one):
    paths = {s.certificate.path: s.certificate.not_after for s in one.world.files}
    return [REFUSED] if any(paths.get(path, NOW) < NOW for path in BOTH) else []


def test_an_old_manager_is_cured_by_moving_the_expired_files_aside_where_that_is_allowed(lab):
    lab = old_manager(lab)
    for _ in range(60):
        lab.step(*sick(lab))

    assert len(lab.world.restarts) == 1
    assert sorted(lab.world.aside) == sorted(BOTH)
    assert lab.world.undone == []
    assert lab.world.kinds() == ["opened", "acted", "resolved"]


@pytest.mark.parametrize(
    ("changed", "gate"),
    [
        ({"remedy": {}}, "cure known"),
        ({"signable": frozenset({ME})}, "CA valid"),
        ({"containers": (container(image="kopeio/etcd-manager@sha256:12"),)}, "version"),
    ],
)
def test_nothing_is_moved_aside_where_one_gate_is_closed(lab, changed, gate):
    lab = old_manager(lab, **changed)
    for _ in range(40):
        lab.step(*sick(lab))

    assert (lab.world.restarts, lab.world.aside) == ([], {})
    assert gate in [g.name for g in lab.incidents()[0].decision.gates if not g.passed]


def test_what_has_not_expired_is_never_moved_aside(lab):
    lab = old_manager(lab, remedy={"reissue": True, "plan_ahead": 30 * DAY})
    lab.world.files = member(peer_ends=NOW + 10 * DAY)
    lab.go(200)

    assert (lab.world.restarts, lab.world.aside) == ([], {})


def test_what_was_moved_in_vain_is_put_back_and_a_person_called(lab):
    lab = old_manager(lab, renews=False)
    for _ in range(100):
        lab.step(*sick(lab))

    assert len(lab.world.restarts) == 1
    assert sorted(lab.world.undone) == sorted(BOTH)
    assert lab.world.kinds() == ["opened", "acted", "escalated"]
    assert "put back" in lab.store.acts()[0].detail


def test_a_restart_that_fails_after_the_files_were_moved_may_still_come_and_then_counts(lab):
    lab = old_manager(lab, fails="docker did not answer in time")
    while not lab.world.restarts:
        lab.step(*sick(lab))
    lab.go(5)
    assert lab.world.undone == []
    lab.world.files += tuple(one for one in member() if one.certificate.path in BOTH)
    lab.go(30)

    assert lab.world.undone == []
    assert [a.state for a in lab.store.acts()] == ["verified"]


def test_a_file_that_cannot_be_moved_is_put_back_at_once_and_nothing_is_restarted(lab):
    lab = old_manager(lab)
    whole = lab.world.move_aside

    def move_aside(aside):
        if lab.world.aside:
            raise RenewError("read-only file system")
        whole(aside)

    lab.world.move_aside = move_aside
    for _ in range(40):
        lab.step(*sick(lab))

    assert lab.world.restarts == []
    assert len(lab.world.undone) == 1
    assert lab.world.kinds() == ["opened", "escalated"]


class Killer:
    """Ends the agent after its nth step on the way to a cure: each commit, and each thing that is done outside."""

    def __init__(self, lab, number):
        self.lab = lab
        self.left = number
        for name in ("move_aside", "put_back", "restart"):
            setattr(lab.world, name, self.counted(getattr(lab.world, name)))
        self.watch()

    def watch(self):
        """Count the commits of the store, which is another one after each start."""
        store, inner = self.lab.store, self.lab.store.transaction

        @contextmanager
        def transaction():
            with inner():
                yield
            if store.acts():  # what comes before the act is killed elsewhere
                self.step()

        store.transaction = transaction

    def counted(self, do):
        def done(*arguments):
            answer = do(*arguments)
            self.step()
            return answer

        return done

    def step(self):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("renews", [True, False])
@pytest.mark.parametrize("number", range(1, 15))
def test_a_kill_after_any_step_of_moving_aside_ends_the_same_way(lab, number, renews):
    lab = old_manager(lab, renews=renews)
    killer = Killer(lab, number)
    for _ in range(120):
        try:
            lab.step(*sick(lab))
        except KeyboardInterrupt:
            lab.kill()
            killer.watch()

    assert killer.left <= 0  # it was killed
    assert len(lab.world.restarts) == 1
    assert sorted(lab.world.undone) == ([] if renews else sorted(BOTH))
    assert [a.state for a in lab.store.acts()] == ["verified" if renews else "failed"]
    assert lab.world.kinds() == ["opened", "acted", "resolved" if renews else "escalated"]
    assert sorted(s.certificate.path for s in lab.world.files) == sorted(s.certificate.path for s in member())


# ---------------------------------------------------------------- the lease in etcd


@pytest.mark.parametrize("state", ["ours", "none"])
def test_with_the_lease_or_where_none_can_be_had_it_acts_and_the_decision_says_which(lab, state):
    lab = lab(lease=state)
    for _ in range(40):
        lab.step(*([REFUSED] if lab.world.files[0].certificate.not_after < NOW else []))

    assert len(lab.world.restarts) == 1
    assert f"the lease is {state}" in next(g.why for g in lab.incidents()[-1].decision.gates if g.name == "turn")
    assert lab.world.released == ["main"]
    intent = next(f for f in lab.world.journal if f["CERTMEDIC_EVENT"] == "intent")
    assert "turn: open" in intent["CERTMEDIC_GATES"]


def test_while_another_has_the_lease_it_waits_and_comes_to_its_turn(lab):
    lab = lab(lease="theirs")
    for _ in range(60):
        lab.step(REFUSED)
    assert lab.world.restarts == []
    assert lab.store.acts() == []  # nothing was begun, and nothing of the day's acts is used
    assert lab.incidents()[0].decision.reason == "no act: the lease is theirs"

    lab.world.lease = "ours"
    for _ in range(60):
        lab.step(*([REFUSED] if lab.world.files[0].certificate.not_after < NOW else []))
    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == ["opened", "acted", "resolved"]


def test_the_lease_is_given_back_after_an_act_that_failed_and_not_asked_for_to_renew_in_place(lab):
    failing = lab(lease="ours", fails="docker is not reachable")
    for _ in range(30):
        failing.step(REFUSED)
    assert failing.world.released == ["main"]
    failing.store.close()
    failing.path.unlink()

    renewing = lab(lease="theirs", remedy={"renew": True}, signable=BOTH)
    for _ in range(30):
        renewing.step(*([REFUSED] if renewing.world.files[0].certificate.not_after < NOW else []))
    assert renewing.world.renewed == [ME]
