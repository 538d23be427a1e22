"""The actor decides by itself: at worst, a taken-over agent has one correct cure done, of a certificate that has expired."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from certmedic.actor.record import Record
from certmedic.core.model import RemedyKind, Trust
from certmedic.core.request import Reissue, Release, Renew, Restart, Take, Undo
from certmedic.core.vocabulary import GateName
from labs.played import BOTH, COMMAND, ME, SERVER, group, old_manager, renewed_by
from labs.values import DAY, NOW, OLD_IMAGE, container, member, unit

ASKED = Restart(ref=1, runtime="docker", target="c1")
EXPIRED = member(peer_ends=NOW - DAY)


def cure(made, request=ASKED):
    return made.hands.ask(request)


def entries(made):
    return [entry for entry in made.world.journal if entry["CERTMEDIC_EVENT"].startswith("actor-")]


def kinds(made):
    return [entry["CERTMEDIC_EVENT"].removeprefix("actor-") for entry in entries(made)]


def test_restart_of_an_expired_member_is_done_once_and_recorded(lab):
    made = lab()

    reply = cure(made)

    assert reply.result == "done"
    assert [target.id for target in made.world.restarts] == ["c1"]
    assert kinds(made) == ["began", "performed"]
    assert entries(made)[0]["CERTMEDIC_CERTS"] == ME
    assert entries(made)[0]["CERTMEDIC_NOT_AFTER"] == (NOW - DAY).isoformat()
    assert cure(made) == reply  # asked again, after a lost reply
    assert len(made.world.restarts) == 1


@pytest.mark.parametrize(
    ("files", "changes", "why"),
    [
        (member(), {}, "no certificate at its place"),
        (tuple(replace(f, trust=Trust.STRANGER) for f in EXPIRED), {}, "no certificate at its place"),
        (member(peer_ends=NOW + DAY), {}, "no certificate at its place"),
        (EXPIRED, {"containers": ()}, "no etcd-manager container was found"),
        (EXPIRED, {"containers": (container(trust=Trust.STRANGER),)}, "no etcd-manager container was found"),
        (EXPIRED, {"containers": (container(image=OLD_IMAGE),)}, "A restart does not fix it"),
        (EXPIRED, {"containers": (container("events"),)}, "no etcd-manager container was found"),
        (EXPIRED, {"members": group(a="expired", b="good", c="gone")}, "the state of etcd-c is unknown"),
        (EXPIRED, {"lease": "theirs"}, "the lease is theirs"),
        (EXPIRED, {"mode": "notify"}, 'mode is "notify"'),
        (EXPIRED, {"mode": "observe"}, 'mode is "observe"'),
        (EXPIRED, {"remedy": {"restart": ()}}, "remedy.restart does not list etcd-manager"),
        (EXPIRED, {"remedy": {"per_day": 0}}, "0 of 0 actions"),
    ],
)
def test_restart_that_the_actors_own_facts_do_not_call_for_is_refused(lab, files, changes, why):
    made = lab(files, **changes)

    reply = cure(made)

    assert reply.result == "refused"
    assert why in reply.why
    assert made.world.restarts == []
    assert kinds(made) == ["refused"]


@pytest.mark.parametrize(
    "request_",
    [
        Restart(ref=1, runtime="docker", target="c2"),
        Restart(ref=1, runtime="containerd", target="c1"),
        Restart(ref=1, runtime="systemd", target="sshd.service"),
        Restart(ref=1, runtime="command", target="etcd-manager"),
        Renew(ref=1, paths=(ME,)),
        Reissue(ref=1, runtime="docker", target="c1", paths=(ME,)),
    ],
)
def test_other_action_than_the_due_one_is_refused(lab, request_):
    made = lab()

    assert "the actor would do something else" in cure(made, request_).why
    assert (made.world.restarts, made.world.renewed, made.world.aside) == ([], [], {})


def test_only_the_files_that_have_expired_are_renewed(lab):
    made = lab(remedy={"renew": True}, signable=BOTH)

    assert cure(made, Renew(ref=1, paths=(SERVER,))).result == "refused"
    assert cure(made, Renew(ref=2, paths=(ME, SERVER))).result == "refused"
    assert cure(made, Renew(ref=3, paths=("/etc/shadow",))).result == "refused"
    assert made.world.renewed == []
    assert cure(made, Renew(ref=4, paths=(ME,))).result == "done"
    assert made.world.renewed == [ME]


def test_file_that_root_does_not_own_alone_is_not_renewed(lab):
    doubtful = tuple(replace(file, authorised=False, doubt="/mnt/x is a symbolic link") for file in EXPIRED)
    made = lab(doubtful, remedy={"renew": True}, signable=BOTH)

    assert "/mnt/x is a symbolic link" in cure(made, Renew(ref=1, paths=(ME,))).why
    assert made.world.renewed == []


def test_budget_and_cooldown_are_the_actors_own(lab):
    made = lab(renews=False, remedy={"per_day": 2, "cooldown": timedelta(minutes=15)})

    assert cure(made).result == "done"
    made.now += timedelta(seconds=30)
    again = cure(made, replace(ASKED, ref=2, target="c2"))

    assert again.result == "refused"
    assert "certmedic acted on kops/main" in again.why


def test_action_without_success_trips_the_breaker_until_root_resets_it(lab):
    made = lab(renews=False, remedy={"cooldown": timedelta(seconds=1)})
    assert cure(made).result == "done"
    made.now += timedelta(minutes=2)
    later = replace(ASKED, ref=2, target="c2")

    assert "an action failed" in cure(made, later).why
    assert kinds(made) == ["began", "performed", "failed", "refused"]
    record = Record(made.path.with_suffix(".actor"))
    record.reset("root", made.now)
    assert cure(made, later).result == "done"


def test_clock_that_went_back_gives_no_budget_back(lab):
    made = lab(renews=False, remedy={"per_day": 1, "cooldown": timedelta(seconds=1)})
    assert cure(made).result == "done"
    made.now -= timedelta(hours=3)

    assert cure(made, replace(ASKED, ref=2, target="c2")).result == "refused"
    assert len(made.world.restarts) == 1


def test_good_cure_cannot_be_undone(lab):
    made = lab(remedy={"renew": True}, signable=BOTH)
    assert cure(made, Renew(ref=1, paths=(ME,))).result == "done"
    made.now += timedelta(hours=1)

    reply = cure(made, Undo(ref=1))

    assert reply.result == "refused"
    assert "it took" in reply.why
    assert made.world.undone == []


def test_undo_too_early_or_of_an_unknown_action_is_refused(lab):
    made = old_manager(lab, renews=False)
    assert cure(made, Undo(ref=1)).result == "refused"
    assert cure(made, Reissue(ref=1, runtime="docker", target="c1", paths=(ME, SERVER))).result == "done"

    assert "ask again after that" in cure(made, Undo(ref=1)).why
    made.now += timedelta(minutes=4)
    reply = cure(made, Undo(ref=1))

    assert reply.result == "done"
    assert sorted(made.world.undone) == sorted(BOTH)
    assert cure(made, Undo(ref=1)) == reply


@pytest.mark.parametrize("kind", ["unit", "command"])
def test_unit_and_command_are_those_of_roots_file(lab, kind):
    made = renewed_by(lab, kind)
    name, runtime = (unit().id, "systemd") if kind == "unit" else (COMMAND.renewer, "command")

    assert cure(made, Restart(ref=1, runtime=runtime, target="sshd.service")).result == "refused"
    assert cure(made, Restart(ref=2, runtime=runtime, target=name)).result == "done"
    assert len(made.world.restarts) == 1


def test_lease_is_only_taken_for_a_group_that_is_to_be_cured(lab):
    healthy, sick = lab(member(), lease="ours"), lab(lease="ours")

    assert healthy.hands.ask(Take(group="main")).lease.state == "none"
    assert sick.hands.ask(Take(group="events")).lease.state == "none"
    assert sick.hands.ask(Take(group="main")).lease.state == "ours"
    assert sick.hands.ask(Release(group="main")).result == "answered"
    assert sick.world.released == ["main"]


@pytest.mark.parametrize("seed", range(5))
def test_taken_over_agent_achieves_one_correct_cure_at_most(lab, seed):
    """It has the socket and the agent's uid, knows every name, asks for whatever it likes, and turns the clock on by days."""
    chance = random.Random(seed)  # noqa: S311 - no secret hangs on it
    made = lab(remedy={"renew": seed % 2 == 0, "reissue": True, "per_day": 100}, signable=BOTH)
    for number in range(1, 300):
        target = chance.choice([*(box.id for box in made.world.containers), "c1", "c2", "sshd.service", "k3s.service"])
        runtime = chance.choice(["docker", "containerd", "systemd", "command"])
        paths = tuple(chance.sample([ME, SERVER, "/etc/shadow"], chance.randrange(1, 4)))
        ref = chance.randrange(1, number + 1)
        request = chance.choice(
            [
                Restart(ref=ref, runtime=runtime, target=target),
                Renew(ref=ref, paths=paths),
                Reissue(ref=ref, runtime=runtime, target=target, paths=paths),
                Undo(ref=ref),
                Take(group="main"),
                Release(group="main"),
            ]
        )
        made.hands.ask(request)
        made.now += timedelta(minutes=chance.choice([0, 1, 30, 60 * 24]))

    assert len(made.world.restarts) + len(made.world.renewed) == 1
    assert made.world.undone == []
    assert made.world.aside == {}
    assert not made.ails
    assert len(entries(made)) >= 299


def test_gates_name_the_actor_that_is_missing_or_has_refused(lab):
    made = lab(unable="the actor is not installed, so certmedic cannot act here")
    made.suffer(10)
    (incident,) = made.incidents()

    (gate,) = [gate for gate in incident.decision.gates if gate.name == GateName.ACTOR]
    assert (gate.passed, gate.opens) == (False, "install the package certmedic-actor")
    assert "cannot act here" in incident.decision.reason


@pytest.mark.slow
def test_refusals_are_repeated_ever_more_rarely_and_then_call_a_person(lab):
    made = lab()
    refuse = made.hands.cure
    asked = []

    def refusing(ref, action):
        asked.append(made.now)
        assert action.kind is RemedyKind.RESTART
        return replace(refuse(ref, action), result="refused", why="the members do not answer")

    made.world.fails = "nothing is restarted here"
    made.hands.cure = refusing
    made.suffer(600)

    pauses = [(b - a).total_seconds() for a, b in pairwise(asked)]
    assert len(asked) == 5
    assert pauses == sorted(pauses)
    assert made.world.kinds()[-1] == "escalated"


def test_certificate_that_expires_again_after_a_cure_trips_no_breaker(lab):
    made = lab(remedy={"cooldown": timedelta(seconds=1)})
    assert cure(made).result == "done"
    made.world.files = member(peer_ends=NOW + timedelta(minutes=1))
    made.now += timedelta(minutes=2)

    assert cure(made, replace(ASKED, ref=2, target="c2")).result == "done"


def test_volume_that_went_away_after_a_cure_trips_no_breaker(lab):
    made = lab(remedy={"cooldown": timedelta(seconds=1)})
    assert cure(made).result == "done"
    made.world.files = ()
    made.now += timedelta(hours=1)

    assert "no certificate at its place" in cure(made, replace(ASKED, ref=2, target="c2")).why
    assert kinds(made) == ["began", "performed", "refused"]


def test_restart_is_refused_while_a_member_or_this_machine_goes_down(lab):
    others = [replace(peer, name=f"etcd-{peer.name[-1]}2") for peer in group(a="good", b="good", c="gone")[1:]]
    made = lab(EXPIRED, members=(*group(a="expired", b="good", c="good"), *others))
    made.now += timedelta(minutes=1)

    assert "etcd-c2 (c:2380) does not answer since" in cure(made).why
    assert made.world.restarts == []
    made.now += timedelta(minutes=3)  # the actor remembers in its record since when the member is away
    made.world.shutdown_at = made.now + timedelta(minutes=5)
    assert "this machine goes down" in cure(made).why
    made.world.shutdown_at = None
    assert cure(made).result == "done"


@pytest.mark.parametrize("first", [member(), ()], ids=["cured", "its volume is gone"])
def test_second_group_is_restarted_only_after_the_files_of_the_first_were_replaced(lab, first):
    """The agent keeps to that too; an agent that is taken over would not."""
    moved = {"plane": "kops", "group": "events"}
    events = tuple(
        replace(
            file,
            certificate=replace(file.certificate, path=file.certificate.path.replace("vol-01", "vol-02")),
            place=replace(file.place, **moved, ca_path=file.place.ca_path.replace("vol-01", "vol-02"), ports=()),
        )
        for file in EXPIRED[:2]
    )
    second = replace(container("events"), id="e1")
    made = lab((*EXPIRED, *events), renews=False, containers=(container(), second))
    assert cure(made).result == "done"
    made.now += timedelta(seconds=1)
    made.world.containers = (*made.world.containers, second)
    other = Restart(ref=2, runtime="docker", target="e1")

    assert cure(made, other).result == "refused"
    made.world.files = (*first, *events)
    assert cure(made, other).result == "done"
