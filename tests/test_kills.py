"""After a kill (-9) between any two steps nothing is lost, nothing is done twice, and each action comes to its end."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core.model import VoterList
from labs.played import BOTH, ME, OWN_TIME, REFUSED, group, old_manager, renewed_by
from labs.values import DAY, NOW, container, entry, member


def test_line_counts_again_if_a_kill_prevented_its_commit(lab):
    lab = lab(mode="notify")
    lab.step()

    def settle(_):
        raise KeyboardInterrupt

    lab.store.settle = settle
    with pytest.raises(KeyboardInterrupt):
        lab.step(OWN_TIME, stream="journal")
    lab.kill()
    lab.step(OWN_TIME, stream="docker:c1")

    assert sum(i.count for i in lab.incidents()) == 1


def test_entries_that_are_read_repeatedly_cause_one_action(lab):
    lab = lab()
    entries = [
        replace(entry(REFUSED.format(40000 + n), at=NOW + timedelta(seconds=n)), position=str(n)) for n in range(1, 9)
    ]
    for turn in range(90):
        lab.now += timedelta(seconds=1)
        lab.loop.step(entries, lab.now)  # as after a lost position
        if turn % 20 == 0:
            lab.kill()

    assert len(lab.world.restarts) == 1


@pytest.mark.parametrize("after", range(1, 14))
def test_kill_after_any_turn_does_not_change_the_result(lab, after):
    lab = lab()
    for turn in range(1, 60):
        lab.suffer(1)
        if turn == after:
            lab.kill()

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == ["opened", "resolved"]


def kill_in(lab, act, done=lambda *_, **__: None):
    """Take turns until the agent is killed within the action `act`, after only `done` ran."""
    whole = getattr(lab.world, act)

    def killed(*arguments, **named):
        setattr(lab.world, act, whole)
        done(*arguments, **named)
        raise KeyboardInterrupt

    setattr(lab.world, act, killed)
    with pytest.raises(KeyboardInterrupt):
        lab.suffer(60)


def kill_around_restart(lab, *, before_the_act):
    """Kill the agent when the intent of a restart is stored, before the restart or before its record."""
    kill_in(lab, "restart", *([] if before_the_act else [lab.world.restart]))
    lab.kill()


@pytest.mark.parametrize("every", [None, 5])
@pytest.mark.parametrize("before_the_act", [True, False])
def test_kill_between_intent_and_record_does_not_change_the_result(lab, before_the_act, every):
    lab = lab()
    kill_around_restart(lab, before_the_act=before_the_act)
    for turn in range(60):
        lab.suffer(1)
        if every and turn % every == 0:  # repeated kills before the action resumes do not prevent it
            lab.kill()

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == ["opened", "resolved"]


@pytest.mark.parametrize(
    ("later", "acts", "kinds"),
    [
        # If the agent itself stops and starts (containerd's ctr), nobody else starts the stopped container.
        (timedelta(), 1, ["opened", "resolved"]),
        # The agent leaves a container that was stopped long ago to people.
        (timedelta(hours=1), 0, ["opened", "escalated"]),
    ],
)
def test_stopped_container_is_started_after_a_kill_but_not_if_it_is_late(lab, later, acts, kinds):
    lab = lab()

    def stop(_):
        lab.world.containers = (container(state="exited", started_at=None),)

    kill_in(lab, "restart", stop)
    lab.now += later
    lab.kill()
    lab.go(60)

    assert len(lab.world.restarts) == acts
    assert lab.world.kinds() == kinds


def test_renewal_continues_with_the_second_file_after_a_kill(lab):
    lab = lab(member(peer_ends=NOW - DAY, server_ends=NOW - DAY), remedy={"renew": True}, signable=BOTH)
    kill_in(lab, "renew", lab.world.renew)
    lab.kill()
    lab.go(60)

    assert sorted(lab.world.renewed) == sorted(BOTH)
    assert lab.world.kinds() == ["opened", "resolved"]


def test_renewal_before_a_kill_is_undone_if_it_cannot_be_verified(lab):
    lab = lab(remedy={"renew": True}, signable=BOTH, idle=(ME,))
    kill_in(lab, "renew", lab.world.renew)
    lab.kill()
    lab.go(90)

    assert (lab.world.renewed, lab.world.undone) == ([ME], [ME])
    assert [act.state for act in lab.store.acts()] == ["failed"]


@pytest.mark.parametrize(
    ("kind", "before_the_act", "acts", "kinds"),
    [
        ("unit", True, 1, ["opened", "resolved"]),
        ("unit", False, 1, ["opened", "resolved"]),
        ("command", True, 0, ["opened", "escalated"]),
        ("command", False, 1, ["opened", "resolved"]),
    ],
)
def test_unit_or_command_runs_at_most_once_around_a_kill(lab, kind, before_the_act, acts, kinds):
    lab = renewed_by(lab, kind)
    kill_around_restart(lab, before_the_act=before_the_act)
    lab.suffer(90)

    assert len(lab.world.restarts) == acts
    assert lab.world.kinds() == kinds


class Killer:
    """Ends the agent after the nth step of a cure; a step is a commit or an effect outside."""

    def __init__(self, lab, number):
        self.lab = lab
        self.left = number
        for name in ("move_aside", "put_back", "restart"):
            setattr(lab.world, name, self.counted(getattr(lab.world, name)))
        self.watch()

    def watch(self):
        """Count the commits of the store; each start opens a new store."""
        store, inner = self.lab.store, self.lab.store.transaction

        @contextmanager
        def transaction():
            with inner():
                yield
            if store.acts():  # other tests kill the agent before the action
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
def test_kill_after_any_step_of_moving_aside_does_not_change_the_result(lab, number, renews):
    lab = old_manager(lab, renews=renews)
    killer = Killer(lab, number)
    for _ in range(120):
        try:
            lab.suffer(1)
        except KeyboardInterrupt:
            lab.kill()
            killer.watch()

    assert killer.left <= 0  # the kill happened
    assert len(lab.world.restarts) == 1
    assert sorted(lab.world.undone) == ([] if renews else sorted(BOTH))
    assert [a.state for a in lab.store.acts()] == ["verified" if renews else "failed"]
    assert lab.world.kinds() == ["opened", "resolved" if renews else "escalated"]
    assert sorted(s.certificate.path for s in lab.world.files) == sorted(s.certificate.path for s in member())


def test_clock_that_is_set_back_during_a_stop_delays_no_verification(lab):
    lab = lab()
    lab.suffer(6)
    assert [act.state for act in lab.store.acts()] == ["done"]

    lab.now -= timedelta(hours=3)
    lab.kill()
    lab.go(660)

    assert [act.state for act in lab.store.acts()] == ["verified"]


@pytest.mark.parametrize("change", ["lease", "quorum", "late"])
def test_intent_is_withdrawn_after_a_kill_if_a_gate_has_closed(lab, change):
    lab = lab(lease="ours", members=group(a="expired", b="good", c="good"))
    kill_in(lab, "restart")
    if change == "lease":
        lab.world.lease = "theirs"
    elif change == "quorum":
        lab.world.members = group(a="expired", b="gone", c="good")
    else:
        lab.now += timedelta(hours=1)
    lab.kill()
    lab.go(60)
    assert lab.world.restarts == []
    assert [act.state for act in lab.store.acts()] == ["withdrawn"]
    assert "withdrawn" in [event["what"] for event in lab.store.events(1)]

    # No action began, so the agent acts once all is well again.
    lab.world.lease, lab.world.members = "ours", group(a="expired", b="good", c="good")
    lab.suffer(130)  # a member that answers again settles first
    assert len(lab.world.restarts) == 1
    assert [act.state for act in lab.store.acts()] == ["withdrawn", "verified"]
    needed = [] if change == "lease" else ["escalated"]  # nobody is needed while another member has the lease
    assert lab.world.kinds() == ["opened", *needed, "resolved"]


def test_known_members_survive_a_kill(lab):
    lab = lab()
    cluster = VoterList(by="boot/1/2", voters=(("etcd-a", "10.0.0.1", 2380), ("etcd-b", "10.0.0.2", 2380)))
    lab.world.rosters = {ME: cluster}
    lab.step()
    lab.world.rosters = {}
    lab.kill()
    lab.step()

    assert lab.world.met == [{}, {ME: cluster}]
