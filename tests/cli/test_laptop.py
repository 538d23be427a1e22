"""The offline commands run on a laptop: without systemd and docker, and without what Linux alone has; the others say what they need."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from certmedic.edge.store import Store
from labs import AGENT, pki

REFUSED = 'rejected connection from "10.0.0.2:41000" (error "remote error: tls: bad certificate", ServerName "etcd-a")'
# Runs commands in one process that cannot import some modules, and prints exit code and output of each. With "mac" the process
# also calls itself one of macOS and lacks names that Python has on Linux only. That is no Mac: only imports and calls are tested.
CHILD = """
import json, os, select, signal, socket, sys, time, urllib.request
commands, mac = json.loads(sys.argv[1]), sys.argv[2] == "mac"

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"systemd", "docker"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
if mac:
    linux = {os: "O_PATH O_TMPFILE eventfd memfd_create pidfd_open posix_fadvise getrandom listxattr sched_getaffinity setresuid",
             socket: "SO_PEERCRED AF_NETLINK AF_VSOCK MSG_CMSG_CLOEXEC SOCK_CLOEXEC SOCK_NONBLOCK SCM_CREDENTIALS",
             select: "epoll EPOLLIN", time: "CLOCK_BOOTTIME", signal: "pidfd_send_signal SIGPWR SIGSTKFLT"}
    for module, names in linux.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    sys.platform = "darwin"
from click.testing import CliRunner
from certmedic.cli import main
answers = []
for words in commands:
    done = CliRunner().invoke(main, words)
    error = done.exception if done.exception and not isinstance(done.exception, SystemExit) else None
    answers.append([done.exit_code, done.output + (repr(error) if error else "")])
print(json.dumps(answers))
"""
OFFLINE = {  # command -> exit code and a part of its output
    "explain": (0, "The other side refused"),
    "certs": (0, "me.crt"),
    "simulate": (0, "expires in"),
    "diagnose": (2, "expired"),
    "show": (1, "there is no incident 1"),
    "incidents": (0, "No incident."),
    "fleet": (1, "cannot be reached"),
}
ONLINE = {
    "fleet --journal": "--journal needs python-systemd",
    "run": "run reads this machine, which must run Linux: run it on the master",
    "status": "status reads this machine, which must run Linux",
    "backfill": "backfill reads this machine, which must run Linux",
    "certs": "certs reads this machine, which must run Linux: name a copy of a master's files with --root DIR",
    "simulate": "simulate reads this machine, which must run Linux",
}


@pytest.fixture(scope="module", params=["linux", "mac"])
def answers(request, tmp_path_factory):
    """Run all commands on a copied master whose peer certificate has expired; return their answers by command."""
    home = tmp_path_factory.mktemp("laptop")
    now = datetime.now(UTC)
    peers, clients = pki.authority("etcd-peers-ca-main"), pki.authority("etcd-clients-ca")
    expired = peers.leaf("etcd-a", dns=("etcd-a",), not_after=now - timedelta(hours=1))
    pki.kops_volume(home / "master/mnt/master-vol-1", peers_ca=peers, clients_ca=clients, peer=expired)
    (home / "etcd.log").write_text(f"{REFUSED}\n" * 3)
    Store(home / "state.sqlite3").close()
    config = home / "certmedic.toml"
    config.write_text(f'state = "{home}"\n')
    config.chmod(0o640)
    root, file = str(home / "master"), str(config)
    words = {
        "explain": ["explain", "remote error: tls: bad certificate"],
        "certs": ["certs", "--root", root, "--config", file],
        "simulate": ["simulate", "--at", "4000d", "--root", root, "--config", file],
        "diagnose": ["diagnose", "--root", root, str(home / "etcd.log")],
        "show": ["show", "1", "--config", file],
        "incidents": ["incidents", "--config", file],
        "fleet": ["fleet", "--prometheus", "http://127.0.0.1:9"],
        "fleet --journal": ["fleet", "--journal", str(home)],
    }
    if request.param == "mac":
        words |= {
            "run": ["run", "--config", file],
            "status": ["status", "--config", file],
            "backfill": ["backfill", "--since", "1d", "--config", file],
            "certs ": ["certs", "--config", file],
            "simulate ": ["simulate", "--at", "90d", "--config", file],
        }
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(list(words.values())), request.param],
        env={"PYTHONPATH": str(AGENT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(words, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("command", OFFLINE)
def test_offline_command_works_without_systemd(answers, command):
    code, text = OFFLINE[command]
    assert answers[command][0] == code, answers[command]
    assert text in answers[command][1]


@pytest.mark.parametrize("answers", ["mac"], indirect=True)
@pytest.mark.parametrize("command", ONLINE)
def test_other_commands_say_in_one_sentence_what_they_need(answers, command):
    code, text = answers.get(f"{command} ", answers.get(command))
    assert code == 1
    assert ONLINE[command] in text
    assert len(text.strip().splitlines()) == 1
