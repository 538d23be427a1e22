"""An agent that is killed again and again, on a real master with dockerd and etcd: it comes to its end all the same, once."""

import os
import random
import time

import pytest

from labs.hook import hook
from labs.masters import kill, masters, until
from labs.story import CONFIG, LIFE, certmedic, kinds, own

pytestmark = [
    pytest.mark.real,
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces and dockerd"),
    pytest.mark.timeout(300),
]


@pytest.mark.parametrize("seed", range(int(os.environ.get("CERTMEDIC_SEEDS", "1"))))
def test_killed_again_and_again_it_ends_the_same_way(seed):
    chance = random.Random(seed)  # noqa: S311 - no secret hangs on it
    between = (1.5, 7.0) if seed % 2 else (1.5, 3.0)  # seconds; a start takes about one
    with masters() as lab, hook(lab.listener()) as received:
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
            assert until(lambda: {*kinds(sick)} == {"opened", "acted", "resolved"}, seconds=20)
            assert sick.docker("inspect", "-f", "{{.RestartCount}}", sick.container) == "0"
            assert len(sick.starts()) == 2  # the first start, and the one cure
        finally:
            kill(agent)


def test_an_old_manager_is_cured_where_the_expired_files_may_be_moved_aside():
    with masters(image=OLD) as lab, hook(lab.listener()) as received:
        sick = lab.members["a"]
        lab.start_etcd(life=LIFE, keep_expired=True)
        before = sick.restarts()
        config = CONFIG.format(mode="remedy", url=received.url, group_for="2s") + "reissue = true\n"
        agent = sick.agent(config, log=lab.home / "a.log")
        try:
            resolved = until(lambda: any(i["state"] == "resolved" for i in own(sick)), seconds=120, every=1)
            assert resolved, (lab.home / "a.log").read_text()
            assert sick.restarts() != before
            assert until(lambda: kinds(sick) == ["opened", "acted", "resolved"], seconds=20)
            kept = sorted(
                path.name.rsplit("_", 1)[1].rsplit(".", 1)[0] for path in (sick.home / "state/backups").iterdir()
            )
            assert kept == ["me.crt", "server.crt"]
        finally:
            kill(agent)


def test_what_was_moved_aside_in_vain_is_put_back_where_it_was():
    with masters(image=OLD) as lab, hook(lab.listener()) as received:
        sick = lab.members["a"]
        lab.start_etcd(life=LIFE, keep_expired=True)
        config = (
            CONFIG.format(mode="remedy", url=received.url, group_for="2s").replace('"60s"', '"20s"')
            + "reissue = true\n"
        )
        agent = sick.agent(config, log=lab.home / "a.log")
        try:
            assert until(lambda: own(sick), seconds=60)
            before, mode = sick.me.read_bytes(), sick.me.stat().st_mode
            # The manager does not come back: its authority's key is gone before it starts.
            (lab.home / "authorities/etcd-peers-ca.key").unlink()
            ended = until(lambda: any(i["state"] == "escalated" for i in own(sick)), seconds=120, every=1)
            assert ended, (lab.home / "a.log").read_text()
            assert sick.me.read_bytes() == before
            assert sick.me.stat().st_mode == mode
            assert until(lambda: kinds(sick)[-1:] == ["escalated"], seconds=20)
            acts = certmedic(sick, "show", str(own(sick)[0]["id"]))["acts"]
            assert [act["state"] for act in acts] == ["failed"]
            assert "put back" in acts[0]["detail"]
        finally:
            kill(agent)
