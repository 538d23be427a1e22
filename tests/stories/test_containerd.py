"""The whole agent on a master with containerd: real containerd and etcd, pod logs as files, the agent as a user starts it.

Seed 0 kills no agent. Seed 1 kills it between the stop and the start of the container, further seeds (CERTMEDIC_SEEDS) at a
random moment.

There is no kubelet, so the agent itself must start the stopped container, by containerd's ctr.
"""

import json
import os
import random
import shutil
import sys
import time
from pathlib import Path

import pytest

from labs import LABS, crilog, pki
from labs.containerd import start_containerd
from labs.masters import kill, manager_layer, until
from labs.namespaces import STORY, Machine, listener, network
from labs.receivers import Hook
from labs.static_pod import LOGS, StaticPod

pytestmark = STORY
LIFE = 8.0
CONFIG = """
state = "{home}/state-{seed}"
mode = "remedy"
[watch]
journal = false
files = []
[certificates]
warn_days = []
[notify]
apprise = ["{url}"]
group_for = "2s"
wall = false
[remedy]
verify_for = "60s"
"""
POD = StaticPod(name="etcd-manager-main", node="a", container="etcd-manager", file="etcd-main")
LABELS = POD.labels
# A client that checks the certificate like a peer and rejects it once it has expired. TLS 1.2, since under 1.3 Go takes the
# alert of OpenSSL for a broken record.
NEIGHBOUR = "while sleep 0.5; do openssl s_client -tls1_2 -connect 127.0.0.1:4001 -CAfile {ca} -verify_return_error </dev/null; done"


class Lab(Machine):
    """A master without a kubelet."""

    def __init__(self, containerd, namespace):
        self.containerd = containerd
        self.home = containerd.home
        shutil.copytree("/etc", self.home / "etc", symlinks=True, ignore_dangling_symlinks=True)
        POD.lay(self.home)
        places = {"mnt": "/mnt", "var/log": "/var/log", "run": "/run", "etc": "/etc"}
        super().__init__(namespace, {self.home / folder: place for folder, place in places.items()})
        self.authorities = self.home / "authorities"
        for ca, cn in (("etcd-peers-ca", "etcd-peers-ca-main"), ("etcd-clients-ca", "etcd-clients-ca")):
            pki.authority(cn).write(self.authorities / f"{ca}.crt")
        for folder in ("mnt/master-vol-a", "run"):
            (self.home / folder).mkdir(parents=True)
        (self.home / "run/containerd").symlink_to(self.home / "state")
        containerd.import_image(manager_layer())

    def start(self, number, *, life):
        """Run a pod with etcd under its manager; the first certificates expire after `life` seconds."""
        folder = self.home / LOGS / POD.log_folder / POD.container
        logger = self.home / f"log-{number}"
        logger.write_text(f'#!/bin/sh\nexec {sys.executable} {crilog.__file__} "{folder}"\n')
        logger.chmod(0o755)
        volume = self.home / "mnt/master-vol-a"
        shutil.rmtree(volume)
        volume.mkdir()
        (self.home / "mnt/etcd.log").unlink(missing_ok=True)
        mounts = {"/usr": "/usr", LABS: "/labs", self.home / "mnt": "/mnt", self.authorities: "/authorities"}
        self.containerd.run(
            number,
            *["/usr/bin/python3", "-m", "labs.drill.standin", "--member=etcd-a", f"--volume=/mnt/{volume.name}"],
            *["--authorities=/authorities", f"--first-life={life}", "--log=/mnt/etcd.log", "--"],
            *["/usr/bin/etcd", "--name=etcd-a", f"--data-dir=/mnt/{volume.name}/data", "--logger=zap"],
            *["--listen-peer-urls=https://127.0.0.1:2380", "--initial-advertise-peer-urls=https://127.0.0.1:2380"],
            *["--listen-client-urls=https://127.0.0.1:4001", "--advertise-client-urls=https://127.0.0.1:4001"],
            "--initial-cluster=etcd-a=https://127.0.0.1:2380",
            labels=LABELS,
            options=[
                *[
                    f"--cgroup={POD.cgroup()}/{number}",
                    "--net-host",
                    "--env=PYTHONPATH=/",
                    "--env=PYTHONDONTWRITEBYTECODE=1",
                ],
                *[f"--mount=type=bind,src={here},dst={there},options=rbind:rw" for here, there in mounts.items()],
                f"--log-uri=binary://{logger}",
            ],
        )

    def remove(self, number):
        self.containerd("tasks", "delete", "--force", number)
        self.containerd("containers", "delete", number)

    def starts(self):
        """Return how often etcd was started, from its log file: ctr keeps no output of a container that it starts again."""
        return (self.home / "mnt/etcd.log").read_text().count("executing command")


@pytest.fixture(scope="module")
def lab():
    with network("pods") as namespace, start_containerd("nsenter", f"--net=/run/netns/{namespace}") as containerd:
        yield Lab(containerd, namespace)


def moment(seed, expires, pid):
    """Wait for the moment of the kill: between the stop and the start of the container, or at random."""
    if seed == 1:
        until(lambda: not Path(f"/proc/{pid}").exists(), seconds=60, every=0.01)
    else:
        chance = random.Random(seed)  # noqa: S311 - no secret hangs on it
        time.sleep(max(0.0, expires + chance.uniform(-2, 15) - time.monotonic()))


@pytest.mark.parametrize("seed", range(int(os.environ.get("CERTMEDIC_SEEDS", "2"))))
def test_containerd_pod_is_restarted_once_and_cured(lab, seed, tmp_path):
    config, log, pod = tmp_path / "certmedic.toml", tmp_path / "agent.log", f"pod-{seed}"
    with Hook(listener(lab.namespace)) as received:
        config.write_text(CONFIG.format(home=tmp_path, seed=seed, url=received.url))
        config.chmod(0o640)

        def incidents():
            return lab.certmedic("incidents", config=config).get("incidents", [])

        lab.start(pod, life=LIFE)
        expires = time.monotonic() + LIFE
        before, agent = lab.containerd.pid(pod), lab.agent(config, log=log)
        ca = lab.authorities / "etcd-clients-ca.crt"
        neighbour = lab.run("sh", "-c", NEIGHBOUR.format(ca=ca), start_new_session=True)
        try:
            if seed:
                moment(seed, expires, before)
                kill(agent)
                agent = lab.agent(config, log=log)
            resolved = until(lambda: any(i["state"] == "resolved" for i in incidents()), seconds=120, every=1)
            assert resolved, f"{log.read_text()}\n{json.dumps(incidents(), indent=1)}"
            context = f"{log.read_text()}\n{json.dumps(incidents(), indent=1)}"
            own = [i for i in incidents() if (i["diagnosis"]["cause"], i["diagnosis"]["suspect"]) == ("expired", "own")]
            assert len(own) == 1, context
            (incident,) = own
            # On a busy machine a line may be judged while the pod is stopped: the agent records it and does not act.
            others = [i for i in incidents() if i["id"] != incident["id"]]
            assert not any(i["decision"] and i["decision"]["acts"] for i in others), context
            shown = lab.certmedic("show", str(incident["id"]), config=config)
            (act,) = shown["acts"]
            assert act["state"] == "verified", shown
            assert lab.containerd.pid(pod) not in (None, before)
            assert lab.starts() == 2
            assert until(lambda: len(received.messages) >= 2, seconds=30), received.titles
            # A message whose delivery was interrupted may arrive twice; none is lost.
            assert len(received.messages) == 2 or (seed and len(received.messages) == 3), received.titles
        finally:
            kill(agent)
            os.killpg(neighbour.pid, 9)
            neighbour.wait()
            lab.remove(pod)
