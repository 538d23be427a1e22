"""Actions of the real agent: strangers cannot be their target, fail their verification or block them.

The action is a command of the operator (`remedy.means`) that puts renewed certificates in place, or that fails.
"""

import time
from datetime import UTC, datetime, timedelta

from certmedic.edge.store import STATE, Store
from labs import pki
from labs.docker import BUSYBOX, start_dockerd
from labs.house import ORDINARY, expired_line, refused_line
from labs.namespaces import STORY

pytestmark = STORY
IMAGE = "kopeio/etcd-manager:3.0.20210228"  # a version that renews at its start
REMEDY = """
[remedy]
restart = ["etcd-manager"]
verify_for = "{verify_for}"
per_day = 5
"""
MEANS = """
[[remedy.means]]
for = "etcd-manager"
group = "main"
command = ["{command}"]
renews = true
"""


def sick(home):
    """Let the certificates of the group main expire, and the unit complain of it; return their folder."""
    folder = home.volume(ends=timedelta(seconds=-5))
    home.member()
    return folder


def command(home, *lines):
    """Write the operator's command; it notes each run in the file `runs`. Return its path."""
    script = home.home / "renew"
    script.write_text("\n".join(("#!/bin/sh", f"echo run >> {home.home}/runs", *lines)) + "\n")
    script.chmod(0o755)
    return script


def renewing(home, folder):
    """Return a command that puts renewed certificates in the place of those in `folder`."""
    renewed = pki.kops_volume(
        home.home / "renewed",
        not_after=datetime.now(UTC).replace(microsecond=0) + timedelta(days=300),
        peers_ca=home.peers_ca,
        clients_ca=home.clients_ca,
    )
    return command(home, f"cp -a {renewed}/. /{folder.relative_to(home.home)}/")


def runs(home):
    """Return how often the command ran."""
    noted = home.home / "runs"
    return len(noted.read_text().splitlines()) if noted.exists() else 0


def states(home):
    """Return the states of all actions."""
    with Store(home.home / "state" / STATE, readonly=True) as store:
        return [action.state for action in store.acts()]


def failure(home):
    """Return the failed action that blocks further actions; "" if there is none."""
    with Store(home.home / "state" / STATE, readonly=True) as store:
        return store.tripped()


def start(home, means="", verify_for="8s", **environ):
    home.start('mode = "remedy"', REMEDY.format(verify_for=verify_for) + means, **environ)


def test_stranger_cannot_veto_a_verification(home):  # M2
    folder = sick(home)
    start(home, MEANS.format(command=renewing(home, folder)))
    home.unit_logs(refused_line())
    home.wait_for(lambda: runs(home) == 1, seconds=60)
    home.serve(folder / "peers/me.crt", 2380)
    home.serve(folder / "clients/server.crt", 4001)
    accusing = refused_line(server_name="evil")  # a name that none of the good certificates holds
    deadline = time.monotonic() + 60
    while not {"verified", "failed"} & set(states(home)):
        assert time.monotonic() < deadline, home.log[-6000:]
        home.stranger_logs(("etcd", accusing), ("etcd", expired_line(home.ends, remote="10.0.0.7:40000")))
        home.pod("tenant", "etcd-manager-main-x", ORDINARY, accusing, expired_line(home.ends))
    assert states(home) == ["verified"], home.log[-3000:]
    assert runs(home) == 1
    assert failure(home) == ""


def test_tenants_container_is_never_restarted(home):  # M3
    sick(home)
    labels = {
        "io.kubernetes.pod.namespace": "tenant",
        "io.kubernetes.pod.name": "etcd-manager-main-x",
        "io.kubernetes.container.name": "etcd-manager",
    }
    options = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
    with start_dockerd() as docker:
        docker.busybox()
        docker("tag", BUSYBOX, IMAGE)
        name = "k8s_etcd-manager_etcd-manager-main-x_tenant_0123_0"
        docker("run", "-d", "--network=none", f"--name={name}", *options, IMAGE, "sleep", "600")
        started = docker("inspect", "--format={{.State.StartedAt}}", name)
        start(home, DOCKER_HOST=docker.url)
        for number in range(20):
            home.unit_logs(refused_line(f"10.0.0.2:{40000 + number}"))
        home.wait_for(lambda: "no action" in home.log)
        home.settle(20, seconds=5)
        assert docker("inspect", "--format={{.State.StartedAt}}", name) == started
        assert states(home) == []


def test_reset_while_the_clock_was_ahead_does_not_disable_the_breaker(home):  # M6
    sick(home)
    start(home, MEANS.format(command=command(home, "exit 1")))
    with Store(home.home / "state" / STATE) as store:
        store.reset("jane", now=datetime.now(UTC) + timedelta(days=400))  # as `certmedic reset` on that clock
    home.unit_logs(refused_line())
    home.wait_for(lambda: runs(home) == 1, seconds=60)
    home.wait_for(lambda: failure(home), seconds=60)
