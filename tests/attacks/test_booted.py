"""Attacks on the packaged unit on a booted Debian: its sandbox, its watchdog, and folders shared with other programs."""

import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from certmedic import __version__
from labs import machine as machines
from labs import pki
from labs.command import do
from labs.hostile import DRIPPING
from labs.house import expired_line, refused_line
from labs.packages import PACKAGING, actor_of, build, install, once, property_of, tree, wanted

pytestmark = [
    pytest.mark.real,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: whole machines"),
]
NOW = datetime.now(UTC).replace(microsecond=0)
SHARED = "/var/lib/prometheus/node-exporter"
CONFIG = f"""
mode = "remedy"
[certificates]
warn_days = []
[notify]
group_for = "1s"
[metrics]
textfile = "{SHARED}/certmedic.prom"
[remedy]
renew = true
"""
SAYING = "echo '{}'; sleep 3; "
IMPATIENT = "[Service]\nWatchdogSec=10s\nTimeoutAbortSec=1s\nRestartSec=1s\n"


@pytest.fixture(scope="module")
def deb(tmp_path_factory):
    """Return the package of this tree."""
    source = tree(tmp_path_factory.mktemp("source"))
    return once(tmp_path_factory, "dist", lambda out: build(source, out)) / f"certmedic_{__version__}_all.deb"


def put_tree(machine, folder):
    machine("tar", "-C", "/", "-x", "--no-same-owner", stdin=subprocess_tar(folder))


def subprocess_tar(folder):
    archive = folder.parent / f"{folder.name}.tar"
    do("tar", "-C", folder, "-cf", archive, ".")
    return archive.read_bytes()


def as_user(machine, user, *command):
    return machine("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command)


def root_logs(machine, text, number):
    """Let a unit of root write a line."""
    machine("systemd-run", "--quiet", "--wait", f"--unit=etcd@{number}", "sh", "-c", 'echo "$0"; sleep 1', text)


def lay_out(tmp_path):
    """Write a master's disk, a volume that never expires, and the files of the exporter; return these and the planted certificate."""
    disk, endless, cas = tmp_path / "disk", tmp_path / "endless", {}
    for ca in ("peers_ca", "clients_ca"):
        cas[ca] = pki.authority(f"etcd-{ca[:-3]}-ca", not_before=NOW - timedelta(days=30))
    pki.kops_volume(disk / "mnt/master-vol-a", **cas)
    pki.kops_volume(
        endless / "mnt/master-vol-b", group="events", not_after=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), **cas
    )
    pki.kops_pki(disk / "etc/kubernetes/pki/etcd-manager-main", manager_ca=pki.authority("etcd-manager-ca-main"), **cas)
    planted = tmp_path / "planted"
    client = planted / f"{SHARED[1:]}/kube-apiserver/etcd-client.crt"
    leaf = cas["clients_ca"].leaf(
        "old", server=False, not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(hours=2)
    )
    leaf.write(client)
    (client.parent / "etcd-ca.crt").write_bytes(cas["clients_ca"].pem)
    return disk, endless, planted, leaf.cert_pem


def test_packaged_unit_withstands_attacks_of_other_users(deb, tmp_path):
    disk, endless, planted, certificate = lay_out(tmp_path)
    path = f"{SHARED}/kube-apiserver/etcd-client.crt"
    broken = []
    with machines.boot("bookworm", wanted("bookworm")) as machine:
        machine("systemctl", "mask", "--now", "docker.socket", "docker.service", "containerd.service", "etcd.service")
        machine("useradd", "--system", "prometheus")
        put_tree(machine, disk)
        put_tree(machine, planted)
        machine("chown", "-R", "prometheus:prometheus", SHARED)
        machine("ln", "-s", "/var/lib/certmedic/victim", f"{SHARED}/.certmedic.prom.new")  # M5
        machine("chown", "-h", "prometheus:prometheus", f"{SHARED}/.certmedic.prom.new")
        machine.write("/var/lib/certmedic/victim", "mine\n")
        machine.write("/etc/certmedic/conf.d/attacked.toml", CONFIG)
        machine.write("/etc/systemd/system/certmedic.service.d/impatient.conf", IMPATIENT)
        # As the documentation of remedy.renew asks for.
        machine.put(PACKAGING / "examples/renew.conf", "/etc/systemd/system/certmedic-actor.service.d/renew.conf")
        machine.write("/srv/drip.py", DRIPPING)
        pki.authority("x").leaf("x").write(tmp_path / "own.crt")
        for end in ("crt", "key"):
            machine.put(tmp_path / f"own.{end}", f"/srv/own.{end}")
        machine("chmod", "-R", "a+rX", "/srv")
        install(machine, deb, actor_of(deb))
        time.sleep(5)
        # C1: a process of the user prometheus names the file and logs failures. The agent judges each address by itself.
        flags = [f"--etcd-certfile={path}", f"--etcd-cafile={path.rpartition('/')[0]}/etcd-ca.crt"]
        lines = [expired_line(NOW - timedelta(hours=2), remote=f"127.0.0.{n}:40001") for n in range(1, 9)]
        chat = f"while true; do {''.join(map(SAYING.format, lines))} done"
        machine(
            "systemd-run",
            "--quiet",
            "--uid=prometheus",
            "--unit=prom",
            "--property=SyslogIdentifier=etcd",
            "sh",
            "-c",
            chat,
            "sh",
            *flags,
        )
        root_logs(machine, refused_line(), 1)
        time.sleep(20)
        if machine.run("cat", "/var/lib/certmedic/victim").out != "mine\n":
            broken.append("M5: the metrics were written through a planted link")
        if machine("cat", path).encode() != certificate:
            broken.append("C1: the cluster's CA signed a stranger's key")
        # H3, H4: a certificate that never expires, and a dripping listener of a stranger on the port of etcd.
        put_tree(machine, endless)
        machine(
            "systemd-run",
            "--quiet",
            "--uid=nobody",
            "--unit=drip",
            "python3",
            "/srv/drip.py",
            "127.0.0.1",
            "4001",
            "/srv/own.crt",
            "/srv/own.key",
        )
        machine("systemctl", "restart", "certmedic")
        time.sleep(25)
        if property_of(machine, "NRestarts") != "0":
            broken.append(f"H3, H4: restarted {property_of(machine, 'NRestarts')} times")
        machine("systemctl", "stop", "drip")
        if property_of(machine, "ActiveState") != "active":
            broken.append("H3: it does not run")
        log = machine("journalctl", "--unit=certmedic", "--no-pager", "--output=cat")
        if path in log:
            broken.append("C1: a file that a stranger named became an incident")
    assert not broken, "\n".join([*broken, log[-12000:]])
