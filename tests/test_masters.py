"""The whole thing on real programs: three masters with dockerd and etcd, a certificate that runs out, agents as a user starts them.

Every message goes through apprise to a real web hook. What an agent did is read from docker, from the certificate and from its own
commands, not from its insides.
"""

import json
import os
import random
import subprocess
import sys
import time

import pytest

from labs.hook import hook
from labs.masters import AGENT, OLD, kill, masters, until

pytestmark = [
    pytest.mark.real,
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces and dockerd"),
    pytest.mark.timeout(300),
]
LIFE = 12.0
KINDS = ("OPENED", "ACTED", "RESOLVED", "ESCALATED")
CONFIG = """
mode = "{mode}"
[watch]
journal = false
docker = true
files = []
[certificates]
warn_days = []
[notify]
apprise = ["{url}"]
group_for = "{group_for}"
wall = false
[remedy]
verify_for = "60s"
"""


def certmedic(master, *words):
    """Run one of the agent's commands on a master's state and return its JSON."""
    command = [sys.executable, "-m", "certmedic", *words, "--json", "--config", str(master.home / "certmedic.toml")]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(AGENT)}, capture_output=True, check=False, timeout=60
    )
    return json.loads(done.stdout or b"{}")


def incidents(master):
    return certmedic(master, "incidents").get("incidents", [])


def own(master):
    return [i for i in incidents(master) if i["diagnosis"]["suspect"] == "own"]


def kinds(master):
    """Return the kinds of messages that were sent, from the agent's own record."""
    number = own(master)[0]["id"]
    return [m["kind"] for m in certmedic(master, "show", str(number))["messages"] if m["state"] == "sent"]


def test_the_sick_one_is_cured_and_its_neighbour_keeps_its_hands_off():
    with masters() as lab, hook(lab.listener()) as received:
        # The sick one waits so long that its neighbours, whose probers call every four seconds, see it too.
        waits = {"a": "8s", "b": "2s"}
        agents = {
            name: lab.members[name].agent(
                CONFIG.format(mode="remedy", url=received.url, group_for=waits[name]), log=lab.home / f"{name}.log"
            )
            for name in waits
        }
        lab.start_etcd(life=LIFE)
        sick, neighbour = lab.members["a"], lab.members["b"]
        before = {name: master.restarts() for name, master in lab.members.items()}
        try:
            resolved = until(lambda: any(i["state"] == "resolved" for i in own(sick)), seconds=90, every=1)
            # The neighbour sees the errors of the sick one, and has all the time to do the wrong thing.
            time.sleep(5)
            said = [f"{name}:\n{(lab.home / f'{name}.log').read_text()}" for name in agents]
            assert resolved, "\n".join(said)
            after = {name: master.restarts() for name, master in lab.members.items()}
            assert {name for name in before if before[name] != after[name]} == {"a"}
            assert kinds(sick) == ["opened", "acted", "resolved"]
            assert len(own(sick)) == 1
            (found,) = own(sick)
            assert found["diagnosis"]["cause"] == "expired"
            files = {c["path"].rsplit("/", 1)[1] for c in found["diagnosis"]["certificates"]}
            assert files == {"me.crt", "server.crt"}
            assert [i["diagnosis"]["cause"] for i in incidents(neighbour)] == ["expired"], said
            (about,) = [i for i in incidents(neighbour) if i["diagnosis"]["cause"] == "expired"]
            assert about["diagnosis"]["suspect"] == "peer"
            assert sick.address in about["diagnosis"]["neighbours"]
            assert about["decision"] is None or not about["decision"]["acts"]
            # Three of the sick one, one of the neighbour, and nothing else.
            assert len(received.received) == 4
            everything = "".join(said) + json.dumps(received.received)
            assert "SECRET" not in everything
        finally:
            for agent in agents.values():
                kill(agent)


@pytest.mark.parametrize("seed", range(2))
def test_killed_again_and_again_it_ends_the_same_way(seed):
    chance = random.Random(seed)  # noqa: S311 - no secret hangs on it
    with masters() as lab, hook(lab.listener()) as received:
        config = CONFIG.format(mode="remedy", url=received.url, group_for="2s")
        sick = lab.members["a"]
        log = lab.home / "a.log"
        lab.start_etcd(life=LIFE)
        before = sick.restarts()
        deadline = time.monotonic() + 150
        agent = sick.agent(config, log=log)
        try:
            while time.monotonic() < deadline and not any(i["state"] == "resolved" for i in own(sick)):
                time.sleep(chance.uniform(1.5, 7.0))
                kill(agent)
                agent = sick.agent(config, log=log)
            assert [i["state"] for i in own(sick)] == ["resolved"], log.read_text()
            assert sick.restarts() != before
            acts = certmedic(sick, "show", str(own(sick)[0]["id"]))["acts"]
            assert [act["state"] for act in acts] == ["verified"]
            assert until(lambda: kinds(sick) == ["opened", "acted", "resolved"], seconds=20)
            assert sick.docker("inspect", "-f", "{{.RestartCount}}", sick.container) == "0"
            starts = sick.docker("logs", sick.container).count("executing command")
            assert starts == 2  # the first start, and the one cure
        finally:
            kill(agent)


def test_an_old_manager_is_not_restarted_and_people_are_told_why():
    with masters(image=OLD) as lab, hook(lab.listener()) as received:
        sick = lab.members["a"]
        lab.start_etcd(life=LIFE, keep_expired=True)
        before = sick.restarts()
        agent = sick.agent(CONFIG.format(mode="remedy", url=received.url, group_for="2s"), log=lab.home / "a.log")
        try:
            assert until(lambda: received.received, seconds=60), (lab.home / "a.log").read_text()
            time.sleep(5)
            assert sick.restarts() == before
            assert len(received.received) == 1
            assert "keeps an expired certificate" in received.received[0]["message"]
        finally:
            kill(agent)
