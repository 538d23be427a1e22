"""`packaging/rollout`, carried out: on booted Debians 11, as kops' images before Kubernetes 1.32 have it, with the self-contained deb.

`./dev full` runs these after the tests of the package itself. Ansible reaches the machines over nsenter in the place of ssh.
"""

import hashlib
import json
import os
import re
import subprocess
from contextlib import ExitStack

import pytest
import yaml

from certmedic import __version__
from labs import ROOT, pki
from labs import machine as machines
from labs.packages import OLD_MASTER, all_packages

pytestmark = [
    pytest.mark.real,
    pytest.mark.long,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, namespaces and whole machines"),
]
ROLLOUT = ROOT / "packaging" / "rollout"
URL = "https://localhost:8443/certmedic.deb"
HOOK = "certmedic-install.service"
# Serves /srv/deb over TLS: at once, or a kilobyte a second.
SHOP = """
import http.server, os, ssl, time
class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open("/srv/deb", "rb") as file:
            data = file.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if os.path.exists("/srv/slow"):
            for start in range(0, len(data), 1024):
                self.wfile.write(data[start : start + 1024])
                time.sleep(1)
        self.wfile.write(data)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8443), Shop)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/shop.crt", "/srv/shop.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
QUIET = ("docker.socket", "docker.service", "containerd.service", "etcd.service")  # these tests need none of them
SHOP_UNIT = "[Service]\nExecStart=/usr/bin/python3 /srv/shop.py\n[Install]\nWantedBy=multi-user.target\n"


@pytest.fixture(scope="module")
def deb(tmp_path_factory):
    return all_packages(tmp_path_factory) / f"certmedic-full_{__version__}_amd64.deb"


def snippet(name, deb):
    """Fill in the three values; wait for seconds where masters wait for minutes."""
    text = (ROLLOUT / f"{name}.yaml").read_text()
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    values = {"REPLACE_VERSION": __version__, "REPLACE_SHA256": digest, "REPLACE_URL": URL}
    for word, value in values.items():
        text = text.replace(word, value)
    text = text.replace("seconds=300", "seconds=20").replace("RestartSec=60", "RestartSec=2")
    return list(yaml.safe_load_all(text))


def put_shop(machine, deb, tmp_path):
    machine("systemctl", "mask", "--now", *QUIET)
    ca = pki.authority("shop-ca")
    ca.leaf("localhost", dns=("localhost",)).write(tmp_path / "shop.crt")
    machine.put(tmp_path / "shop.crt", "/srv/shop.crt")
    machine.put(tmp_path / "shop.key", "/srv/shop.key")
    machine.write("/usr/local/share/ca-certificates/shop.crt", ca.pem)
    machine("update-ca-certificates")
    machine.write("/srv/shop.py", SHOP)
    machine.write("/etc/systemd/system/shop.service", SHOP_UNIT)
    machine.put(deb, "/srv/good")
    machine("cp", "/srv/good", "/srv/deb")
    machine("systemctl", "daemon-reload")


def put_files(machine, files):
    for file in files:
        machine.write(file["path"], file["content"])
        machine("chmod", file["permissions"], file["path"])


def as_kops(machine, deb):
    """As nodeup does: the file, then the unit, which is enabled and started."""
    (spec,) = snippet("kops", deb)
    put_files(machine, [{**asset, "permissions": asset["mode"]} for asset in spec["fileAssets"]])
    for hook in spec["hooks"]:
        machine.write(f"/lib/systemd/system/{hook['name']}", hook["manifest"])
        machine("systemctl", "daemon-reload")
        machine("systemctl", "enable", "--no-block", hook["name"])


def state(machine, unit):
    return machine.run("systemctl", "is-active", unit).out.strip()


def nothing_is_there(machine):
    assert machine.run("dpkg-query", "-W", "certmedic-full").code != 0
    assert machine("sh", "-c", "ls -A /usr/lib/certmedic /etc/certmedic /var/lib/certmedic 2>/dev/null || true") == ""
    assert "certmedic" not in machine("dpkg", "--audit")


def test_hook_of_kops_never_holds_up_a_boot_and_leaves_nothing_half_done(deb, tmp_path):
    with machines.boot("bullseye-master", OLD_MASTER) as machine:
        put_shop(machine, deb, tmp_path)
        sources = machine("sh", "-c", "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true")
        as_kops(machine, deb)
        # The server is down. machine.reboot() waits until systemd says that the boot has ended.
        machine.reboot()
        assert state(machine, "multi-user.target") == "active"
        machine.until("Connection refused", "journalctl", "-b", "-u", HOOK, "--no-pager")
        nothing_is_there(machine)
        # It is slow: the boot ends while the download goes on, which ends in time.
        machine("systemctl", "enable", "shop.service")
        machine("touch", "/srv/slow")
        machine.reboot()
        assert state(machine, "multi-user.target") == "active"
        assert state(machine, HOOK) in ("active", "activating")
        machine.until("timed out", "journalctl", "-b", "-u", HOOK, "--no-pager")
        nothing_is_there(machine)
        # It serves other bytes.
        machine("rm", "/srv/slow")
        machine("sh", "-c", "echo more >>/srv/deb")
        machine.until("did NOT match", "journalctl", "-b", "-u", HOOK, "--no-pager")
        nothing_is_there(machine)
        # It serves the pinned ones: the next try installs them.
        machine("cp", "/srv/good", "/srv/deb")
        machine.until("reads journal", "systemctl", "show", "--property=StatusText", "certmedic", seconds=240)
        machine.until("inactive", "systemctl", "is-active", HOOK)
        assert machine("systemctl", "show", "-P", "Result", HOOK).strip() == "success"
        # Nothing is left of the tries, and apt knows no other source. The next boot downloads nothing.
        assert machine("sh", "-c", "ls -d /tmp/tmp.* 2>/dev/null || true") == ""
        assert sources == machine("sh", "-c", "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true")
        machine.reboot()
        machine.until("reads journal", "systemctl", "show", "--property=StatusText", "certmedic")
        machine.until("inactive", "systemctl", "is-active", HOOK)
        assert machine("systemctl", "show", "-P", "Result", HOOK).strip() == "success"


def test_snippets_of_the_other_ways_install_it(deb, tmp_path):
    """Write the files and run the commands of each snippet, as its tool does."""
    with machines.boot("bullseye-master", OLD_MASTER) as machine:
        put_shop(machine, deb, tmp_path)
        machine("systemctl", "start", "shop")

        def installed_then_purged():
            machine.until("reads journal", "systemctl", "show", "--property=StatusText", "certmedic", seconds=240)
            machine.until("inactive", "systemctl", "is-active", HOOK)
            machine("apt-get", "purge", "-y", "certmedic-full")
            nothing_is_there(machine)

        (capi,) = snippet("cluster-api", deb)
        put_files(machine, capi["files"])
        for command in capi["postKubeadmCommands"]:
            machine("sh", "-c", command)
        installed_then_purged()

        (cloud,) = snippet("cloud-init", deb)
        put_files(machine, cloud["write_files"])
        for command in cloud["runcmd"]:
            machine(*command)
        installed_then_purged()

        # The pod of a plan: the machine's root at /host, and the secret mounted into it.
        secret, plan = snippet("system-upgrade-controller", deb)
        place = plan["spec"]["secrets"][0]["path"]
        for name, text in secret["stringData"].items():
            machine.write(f"/root/secret/{name}", text)
        pod = [*plan["spec"]["upgrade"]["command"], *plan["spec"]["upgrade"]["args"]]
        mounts = f"mkdir -p /host {place.removeprefix('/host')} && mount --rbind / /host && mount --bind /root/secret {place}"
        machine("unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh", *pod, timeout=240)
        installed_then_purged()


# Ansible gives the host and the command last.
SSH = """#!/bin/bash
exec nsenter --target="${@: -2:1}" -m -u -i -n -p -C -- env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 sh -c "${@: -1}"
"""


def test_role_of_ansible_on_three_masters(deb, tmp_path):
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    with ExitStack() as stack:
        masters = [stack.enter_context(machines.boot("bullseye-master", OLD_MASTER)) for _ in range(3)]
        lines = [f"m{number} ansible_host={each.leader}" for number, each in enumerate(masters, start=1)]
        (tmp_path / "masters").write_text("\n".join(["[masters]", *lines, ""]))
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()

        def play(*words, sha256=digest, **values):
            given = {"certmedic_deb": str(deb), "certmedic_sha256": sha256, "certmedic_healthy_retries": 40, **values}
            done = subprocess.run(
                ["ansible-playbook", "-i", tmp_path / "masters", "site.yml", "-e", json.dumps(given), *words],
                cwd=ROLLOUT / "ansible",
                env={
                    **os.environ,
                    "ANSIBLE_SSH_EXECUTABLE": str(ssh),
                    "ANSIBLE_SSH_TRANSFER_METHOD": "piped",
                    "ANSIBLE_REMOTE_USER": "root",
                    "ANSIBLE_NOCOLOR": "1",
                    "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=1500,
                check=False,
            )
            recap = {
                name: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", rest)}
                for name, rest in re.findall(r"^(m\d) +: (.*)$", done.stdout, re.MULTILINE)
            }
            return done, recap

        def versions():
            return [each.run("dpkg-query", "-W", "-f", "${Version}", "certmedic-full").out for each in masters]

        absent = versions()
        done, recap = play("--check")
        assert (done.returncode, len(recap)) == (0, 3), done.stdout
        assert versions() == absent
        done, recap = play(sha256="0" * 64)
        assert done.returncode != 0
        assert recap.keys() == {"m1"}, done.stdout  # it stops at the first
        assert versions() == absent
        done, recap = play()
        assert done.returncode == 0, done.stdout
        assert versions() == [__version__] * 3
        plays = re.findall(r"^ok: \[(m\d)\]$", done.stdout.replace(" => ", "\n"), re.MULTILINE)
        assert plays == sorted(plays), "not one master after the other"
        for more in ((), ("--check",)):
            done, recap = play(*more)
            assert done.returncode == 0, done.stdout
            assert [each["changed"] for each in recap.values()] == [0, 0, 0], done.stdout
        # A master that is not healthy stops it: the next one stays as it was.
        masters[1].write("/etc/certmedic/conf.d/broken.toml", "mode = \n")
        done, recap = play(certmedic_config='mode = "observe"\n')
        assert done.returncode != 0
        assert recap["m1"]["failed"] == 0
        assert recap["m2"]["failed"] == 1, done.stdout
        there = [each.run("ls", "/etc/certmedic/conf.d/50-fleet.toml").code == 0 for each in masters]
        assert there[0]
        assert not there[2]


def test_linter_of_ansible_finds_nothing():
    done = subprocess.run(
        ["ansible-lint", "--offline", "--profile", "production"],
        cwd=ROLLOUT / "ansible",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
