"""An agent that is killed repeatedly on a real master with dockerd and etcd still cures exactly once."""

import os
import random
import time

import pytest

from labs.masters import kill, masters, until
from labs.namespaces import STORY
from labs.receivers import Hook
from labs.story import CONFIG, LIFE, certmedic, kinds, own

pytestmark = STORY


@pytest.mark.parametrize("seed", range(int(os.environ.get("CERTMEDIC_SEEDS", "1"))))
def test_agent_killed_repeatedly_still_cures_once(seed):
    chance = random.Random(seed)  # noqa: S311 - no secret hangs on it
    between = (2.0, 7.0) if seed % 2 else (2.0, 4.0)  # seconds between kills; a busy machine needs two for a start
    with masters() as lab, Hook(lab.listener()) as received:
        config = CONFIG.format(mode="remedy", url=received.url, group_for="2s")
        sick = lab.members["a"]
        log = lab.home / "a.log"
        lab.start_etcd(life=LIFE)
        before = sick.restarts()
        deadline = time.monotonic() + 150
        agent = sick.agent(config, log=log)
        kills = 0
        try:
            while time.monotonic() < deadline and not any(i["state"] == "resolved" for i in own(sick)):
                time.sleep(chance.uniform(*between))
                kill(agent)
                kills += 1
                agent = sick.agent(config, log=log)
            print(f"killed {kills} times, for {150 - (deadline - time.monotonic()):.0f} s")  # noqa: T201 - worth seeing
            assert [i["state"] for i in own(sick)] == ["resolved"], log.read_text()
            assert sick.restarts() != before
            acts = certmedic(sick, "show", str(own(sick)[0]["id"]))["acts"]
            assert [act["state"] for act in acts] == ["verified"]
            # An attempt in which the agent was killed counts as failed: each doubles the pause before the next.
            assert until(lambda: {*kinds(sick)} == {"opened", "resolved"}, seconds=120)
            assert sick.docker("inspect", "-f", "{{.RestartCount}}", sick.container) == "0"
            assert len(sick.starts()) == 2  # the first start and one cure
        finally:
            kill(agent)
