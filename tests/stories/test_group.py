"""Three masters with one agent each, and a client that writes all the time: the order of the cures and the loss of quorum.

CERTMEDIC_SEEDS sets how many seeds each story runs with (default 1). A seed chooses the start order of the agents and the sick
master; an odd seed also kills one agent and one reader at a random moment, and one actor as soon as it acts.
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
# Seconds that a leader election may take on a busy machine: etcd waits one second before it, and the writer notices later.
ELECTION = 8.0


@every_seed
def test_sick_member_is_cured_and_its_peers_do_not_act(seed):
    sick = "abc"[seed % 3]
    with masters() as lab, Hook(lab.listener()) as received:
        # The sick master waits so long that its peers log the failure too: their probers connect every four seconds.
        story = Story(lab, received, seed=seed, sick=sick, waits={sick: "8s"}, kill_within=(LIFE - 5, LIFE + 25))
        try:
            assert until(lambda: story.resolved(sick), seconds=120, every=1), story.context()
            # The peers log its errors, and have time to act wrongly.
            assert not until(lambda: story.restarted() != {sick}, seconds=5, every=1), story.context()
            story.print_pauses("one expired")
            assert len(story.starts()[sick]) == 2, story.context()
            assert story.pauses(longer_than=ELECTION) == [], story.context()
            (incident,) = own(lab.members[sick])
            assert incident["diagnosis"]["cause"] == "expired"
            files = {c["path"].rsplit("/", 1)[1] for c in incident["diagnosis"]["certificates"]}
            assert files == {"me.crt", "server.crt"}
            assert until(lambda: kinds(lab.members[sick]) == ["opened", "resolved"], seconds=20), story.context()
            about = [i for name in {*"abc"} - {sick} for i in incidents(lab.members[name])]
            assert about, story.context()
            for incident in about:
                assert (incident["diagnosis"]["cause"], incident["diagnosis"]["suspect"]) == ("expired", "peer"), (
                    story.context()
                )
                assert lab.members[sick].address in incident["diagnosis"]["neighbours"], story.context()
                assert incident["decision"] is None or not incident["decision"]["acts"], story.context()
            if not story.killed:  # a message whose delivery was interrupted is sent again
                assert len(received.messages) == 2, received.titles  # the peers leave it to the sick member to report
            assert "SECRET" not in story.logs() + json.dumps(received.messages)
        finally:
            story.end()


@every_seed
def test_three_expired_members_restart_one_by_one_with_at_most_one_quorum_loss(seed):
    with masters() as lab, Hook(lab.listener()) as received:
        story = Story(lab, received, seed=seed, kill_within=(LIFE - 5, LIFE + 35))
        try:
            assert until(story.resolved, seconds=240, every=2), story.context()
            assert story.writable(), story.context()
            story.print_pauses("all expired, restarts", since=story.expires)
            assert {len(moments) for moments in story.starts().values()} == {2}, story.context()
            _, second, third = sorted(moments[1] for moments in story.starts().values())
            for begins, ends in story.pauses(since=story.expires, longer_than=ELECTION):
                # This loss cannot be avoided: the restarted members become the quorum.
                assert begins < second < ends < third, story.context()
        finally:
            story.end()


@every_seed
def test_renewal_of_three_expired_members_needs_no_restart_and_keeps_quorum(seed):
    old = seed % 4 < 2  # a restart does not cure with the old manager; seeds cover it with and without a kill
    with masters(image=OLD if old else NEW) as lab, Hook(lab.listener()) as received:
        remedy = "" if old else "renew = true\n"
        story = Story(lab, received, seed=seed, remedy=remedy, keep_expired=old, kill_within=(LIFE - 5, LIFE + 15))
        try:
            if old:
                # Without permission the agents do not act, and call a person: one of them does for all.
                what = "2 certificates expired"
                assert until(lambda: any(what in m["title"] for m in received.messages), seconds=90), story.context()
                assert not until(story.restarted, seconds=5, every=1), story.context()
                story.reload("renew = true\n")
            assert until(story.resolved, seconds=120, every=2), story.context()
            assert story.writable(), story.context()
            story.print_pauses("all expired, renewed", since=story.expires)
            assert story.restarted() == set(), story.context()
            assert story.pauses(since=story.expires, longer_than=ELECTION) == [], story.context()
        finally:
            story.end()


@every_seed
@pytest.mark.skipif(not keep_right(), reason="the kernel does not let this process say that its clock is kept right")
def test_planned_restarts_run_one_by_one_before_expiry_and_keep_quorum(seed):
    with masters() as lab, Hook(lab.listener()) as received:
        remedy = "plan_ahead_days = 1\n"
        story = Story(lab, received, seed=seed, life=6 * 3600, remedy=remedy, kill_within=(0, 45))
        try:
            assert until(story.resolved, seconds=240, every=2), story.context()
            assert story.writable(), story.context()
            story.print_pauses("planned")
            cures = [moments[1:] for moments in story.starts().values()]
            assert [len(moments) for moments in cures] == [1, 1, 1], story.context()
            assert all(b - a > 2 for a, b in itertools.pairwise(sorted(itertools.chain(*cures)))), story.context()
            assert story.pauses(longer_than=ELECTION) == [], story.context()  # a restarted leader costs one election
        finally:
            story.end()
