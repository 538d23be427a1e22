"""Ten thousand forged failures in all watched sources of a healthy master."""

import contextlib
import json
import random
import sqlite3
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from labs import pki
from labs.journal import start_journald
from labs.masters import kill, until
from labs.namespaces import STORY, Machine, inside, listener, network
from labs.receivers import Hook
from labs.units import control_groups, within

pytestmark = STORY
LINES = 10_000
MOST_MESSAGES = 8  # one for each incident; later findings come with its reminder
MOST_MEMORY = 160  # MB
CONFIG = """
state = "{home}/state"
mode = "remedy"
[watch]
docker = false
pods = true
files = ["/var/log/etcd*.log"]
[certificates]
warn_days = []
[notify]
apprise = ["{url}"]
group_for = "2s"
wall = false
[remedy]
restart = ["etcd-manager", "k3s"]
"""


def forged(chance, ends):
    """Return a line that anyone who reaches a port or writes to a log can cause, with names and dates of this master."""
    who = f"{chance.choice(['10.0.0', '203.0.113'])}.{chance.randrange(255)}:{chance.randrange(1024, 65535)}"
    name = chance.choice(["etcd-a", "etcd-b", f"x{chance.randrange(10**6)}", ""])
    when = ends if chance.random() < 0.5 else datetime.now(UTC) - timedelta(seconds=chance.randrange(10**7))
    late = f"current time {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} is after {when:%Y-%m-%dT%H:%M:%SZ}"
    expired = f"x509: certificate has expired or is not yet valid: {late}"
    return chance.choice(
        [
            f'rejected connection from "{who}" (error "remote error: tls: bad certificate", ServerName "{name}")',
            f'rejected connection from "{who}" (error "tls: failed to verify client certificate: {expired}", ServerName "{name}")',
            f'{{"level":"warn","msg":"rejected connection","remote-addr":"{who}","server-name":"{name}","error":"remote error: tls: bad certificate"}}',
            f"http: TLS handshake error from {who}: remote error: tls: expired certificate",
            f'health check for peer {chance.randrange(16**16):x} could not connect: {expired} (prober "ROUND_TRIPPER_RAFT_MESSAGE")',
            f"transport: authentication handshake failed: {expired}",
            f"existing certificate not valid after {when:%Y-%m-%dT%H:%M:%SZ}; will regenerate",
        ]
    )


class Lab(Machine):
    """A master in namespaces: good certificates that are served, a journald, and folders for logs."""

    def __init__(self, journald, namespace):
        self.home = journald.home
        super().__init__(
            namespace, {self.home / "mnt": "/mnt", self.home / "log": "/var/log", self.home / "run": "/run"}
        )
        self.ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=300)
        peers, clients = pki.authority("etcd-peers-ca-main"), pki.authority("etcd-clients-ca")
        volume = self.home / "mnt/master-vol-a"
        pki.kops_volume(volume, peers_ca=peers, clients_ca=clients, not_after=self.ends)
        self.logs = [
            self.home / "log/etcd.log",
            self.home / "log/pods/kube-system_etcd-manager-main-a_0123/etcd-manager/0.log",
        ]
        for log in self.logs:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.touch()
        # A volume that is still mounted but unused: its expired certificates explain any line, but no process uses them.
        pki.kops_volume(
            self.home / "mnt/master-vol-old",
            peers_ca=peers,
            clients_ca=clients,
            not_before=self.ends - timedelta(days=700),
            not_after=self.ends - timedelta(days=330),
        )
        files = {2380: next(volume.rglob("me.crt")), 4001: next(volume.rglob("server.crt"))}
        groups = control_groups(f"etcd@{namespace}.service")  # the agent trusts listeners of this unit
        self.servers = [
            subprocess.Popen(
                within(
                    groups,
                    *inside(namespace, self.places, "openssl", "s_server", "-quiet", "-accept", f"{port}"),
                    *["-cert", f"{file}", "-key", f"{file.with_suffix('.key')}"],
                ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for port, file in files.items()
        ]

    def write(self, lines):
        """Write a third of the lines to each of the journal, a file and a container log."""
        cat = self.run("systemd-cat", "--identifier=etcd", "--stderr-priority=4", "cat", stdin=subprocess.PIPE)
        for number, line in enumerate(lines):
            if number % 3 == 0:
                cat.stdin.write(f"{line}\n".encode())
                continue
            now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"
            with self.logs[number % 3 - 1].open("a") as log:
                log.write(f"{line}\n" if number % 3 == 1 else f"{now} stderr F {line}\n")
        cat.stdin.close()
        assert cat.wait(30) == 0


@pytest.fixture
def lab():
    with network("hostile") as namespace, start_journald() as journald:
        made = Lab(journald, namespace)
        yield made
        for server in made.servers:
            kill(server)


def test_ten_thousand_forged_failures_cause_no_action_and_few_messages(lab, tmp_path):
    chance = random.Random(7)  # noqa: S311 - no secret hangs on it
    config, output = tmp_path / "certmedic.toml", tmp_path / "agent.log"
    with Hook(listener(lab.namespace)) as received:
        config.write_text(CONFIG.format(home=tmp_path, url=received.url))
        config.chmod(0o640)
        agent = lab.agent(config, log=output)
        try:
            assert until(lambda: "watching journal, pods, files" in output.read_text(), seconds=30), output.read_text()

            def matched():
                return sum(source["matched"] for source in lab.certmedic("status", config=config)["sources"])

            lab.write(forged(chance, lab.ends) for _ in range(LINES))
            began = time.monotonic()
            assert until(lambda: matched() >= LINES * 0.8, seconds=150, every=0.5), json.dumps(
                lab.certmedic("status", config=config)
            )
            time.sleep(4)  # time to deliver messages
            took = time.monotonic() - began
            incidents = lab.certmedic("incidents", config=config)["incidents"]
            memory = int(Path(f"/proc/{agent.pid}/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024
            print(f"{took:.0f} s, {memory} MB, {len(incidents)} incidents:", *received.titles, sep="\n  ")  # noqa: T201 - worth seeing
            with contextlib.closing(sqlite3.connect(tmp_path / "state/state.sqlite3")) as state:
                assert state.execute("SELECT count(*) FROM actions").fetchone() == (0,)
            for incident in incidents:
                assert incident["decision"] is None or "evidence" in [
                    g["name"] for g in incident["decision"]["gates"] if not g["passed"]
                ], incident
            assert any("is not in use" in " ".join(incident["diagnosis"]["evidence"]) for incident in incidents)
            assert len(received.messages) <= MOST_MESSAGES, received.titles
            assert memory < MOST_MEMORY
        finally:
            kill(agent)
