"""Three masters, one agent each, a client that writes all the time: the order of the cures, and what it costs the group.

CERTMEDIC_SEEDS sets with how many random seeds each story is told: agents that start in another order, another sick master, and with
every odd seed one agent killed at a random moment. The ordinary run tells each once.
"""

import itertools
import json
import os

import pytest

from labs.clock import keep_right
from labs.masters import NEW, OLD, masters, until
from labs.namespaces import STORY
from labs.receivers import Hook
from labs.story import LIFE, Story, incidents, kinds, own

pytestmark = [*STORY, pytest.mark.timeout(600)]
every_seed = pytest.mark.parametrize("seed", range(int(os.environ.get("CERTMEDIC_SEEDS", "1"))))
# Seconds that a leader election may cost on a busy machine: etcd waits a second before one, and the writer has to notice.
ELECTION = 8.0


@every_seed
def test_the_sick_one_is_cured_and_its_neighbours_keep_their_hands_off(seed):
    sick = "abc"[seed % 3]
    with masters() as lab, Hook(lab.listener()) as received:
        # The sick one waits so long that its neighbours, whose probers call every four seconds, see it too.
        story = Story(lab, received, seed=seed, sick=sick, waits={sick: "8s"}, kill_within=(LIFE - 5, LIFE + 25))
        try:
            assert until(lambda: story.resolved(sick), seconds=120, every=1), story.said()
            # The neighbours see its errors, and have all the time to do the wrong thing.
            assert not until(lambda: story.restarted() != {sick}, seconds=5, every=1), story.said()
            story.tell("one expired")
            assert len(story.starts()[sick]) == 2, story.said()
            assert story.pauses(longer_than=ELECTION) == [], story.said()
            (found,) = own(lab.members[sick])
            assert found["diagnosis"]["cause"] == "expired"
            files = {c["path"].rsplit("/", 1)[1] for c in found["diagnosis"]["certificates"]}
            assert files == {"me.crt", "server.crt"}
            assert until(lambda: kinds(lab.members[sick]) == ["opened", "acted", "resolved"], seconds=20), story.said()
            about = [i for name in {*"abc"} - {sick} for i in incidents(lab.members[name])]
            assert about, story.said()
            for one in about:
                assert (one["diagnosis"]["cause"], one["diagnosis"]["suspect"]) == ("expired", "peer"), story.said()
                assert lab.members[sick].address in one["diagnosis"]["neighbours"], story.said()
                assert one["decision"] is None or not one["decision"]["acts"], story.said()
            if not story.killed:  # a message whose sending was cut off is sent again
                assert len(received.messages) == 3 + len(about), received.titles
            assert "SECRET" not in story.logs() + json.dumps(received.messages)
        finally:
            story.end()


@every_seed
def test_all_expired_and_only_restarts_allowed_goes_one_by_one_with_one_gap(seed):
    with masters() as lab, Hook(lab.listener()) as received:
        story = Story(lab, received, seed=seed, kill_within=(LIFE - 5, LIFE + 35))
        try:
            assert until(story.resolved, seconds=240, every=2), story.said()
            assert story.writable(), story.said()
            story.tell("all expired, restarts", since=story.expires)
            assert {len(moments) for moments in story.starts().values()} == {2}, story.said()
            _, second, third = sorted(moments[1] for moments in story.starts().values())
            for begins, ends in story.pauses(since=story.expires, longer_than=ELECTION):
                # The one that cannot be avoided: those that are cured become the quorum.
                assert begins < second < ends < third, story.said()
        finally:
            story.end()


@every_seed
def test_all_expired_and_renewing_allowed_costs_no_quorum_and_no_restart(seed):
    old = seed % 4 < 2  # of the manager's versions the one that a restart would not cure, with and without a kill
    with masters(image=OLD if old else NEW) as lab, Hook(lab.listener()) as received:
        remedy = "" if old else "renew = true\n"
        story = Story(lab, received, seed=seed, remedy=remedy, keep_expired=old, kill_within=(LIFE - 5, LIFE + 15))
        try:
            if old:
                # Not allowed to, the agents keep their hands off and say why.
                why = "keeps an expired certificate"
                assert until(lambda: sum(why in m["message"] for m in received.messages) >= 3, seconds=90), story.said()
                assert not until(story.restarted, seconds=5, every=1), story.said()
                story.reload("renew = true\n")
            assert until(story.resolved, seconds=120, every=2), story.said()
            assert story.writable(), story.said()
            story.tell("all expired, renewed", since=story.expires)
            assert story.restarted() == set(), story.said()
            assert story.pauses(since=story.expires, longer_than=ELECTION) == [], story.said()
        finally:
            story.end()


@every_seed
@pytest.mark.skipif(not keep_right(), reason="the kernel does not let this process say that its clock is kept right")
def test_planned_cures_come_before_expiry_one_by_one_and_cost_no_quorum(seed):
    with masters() as lab, Hook(lab.listener()) as received:
        remedy = "plan_ahead_days = 1\n"
        story = Story(lab, received, seed=seed, life=6 * 3600, remedy=remedy, kill_within=(0, 45))
        try:
            assert until(story.resolved, seconds=240, every=2), story.said()
            assert story.writable(), story.said()
            story.tell("planned")
            cures = [moments[1:] for moments in story.starts().values()]
            assert [len(moments) for moments in cures] == [1, 1, 1], story.said()
            assert all(b - a > 2 for a, b in itertools.pairwise(sorted(itertools.chain(*cures)))), story.said()
            assert story.pauses(longer_than=ELECTION) == [], story.said()  # a leader that goes down is elected anew
        finally:
            story.end()
