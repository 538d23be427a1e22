"""Record the story that the drill plays on a machine without etcd; as root: `PYTHONPATH=agent:tests python3 -m labs.record`.

Three masters in network namespaces, with the names, ports and paths of kops, run an etcd under the stand-in manager. Member a is
cured only after the probers have logged their failures. Writes tests/labs/drill/recorded/: logs of the sick member and of a peer,
and the certificates before and after, without keys and with paths as if the root of each master were "/".
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from labs import TESTS, pki
from labs.drill import etcd, recorded
from labs.drill.master import NEW_IMAGE
from labs.namespaces import ip

ADDRESSES = {"a": "10.77.0.11", "b": "10.77.0.12", "c": "10.77.0.13"}
DOMAIN = "internal.drill.example"
LIFE = 20
SICK_FOR = 25  # seconds: the probers log nothing in their first 30 s (FIELD 3.2)


@contextlib.contextmanager
def network() -> Iterator[None]:
    """Make a namespace named after each master, all on one bridge, with the names of the cluster in its hosts file."""
    hosts = "".join(f"{address} etcd-{key}.{DOMAIN}\n" for key, address in ADDRESSES.items())
    try:
        ip("netns", "add", "drill-hub")
        ip("-n", "drill-hub", "link", "add", "br0", "type", "bridge")
        ip("-n", "drill-hub", "link", "set", "br0", "up")
        for key, address in ADDRESSES.items():
            space = f"drill-{key}"
            ip("netns", "add", space)
            ip("link", "add", "eth0", "netns", space, "type", "veth", "peer", "name", f"v{key}", "netns", "drill-hub")
            ip("-n", "drill-hub", "link", "set", f"v{key}", "master", "br0", "up")
            ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", space, "link", "set", device, "up")
            # `ip netns exec` shows this file as /etc/hosts.
            Path("/etc/netns", space).mkdir(parents=True)
            Path("/etc/netns", space, "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
        yield
    finally:
        for space in ("drill-hub", *(f"drill-{key}" for key in ADDRESSES)):
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)
            shutil.rmtree(Path("/etc/netns", space), ignore_errors=True)


def start(key: str, home: Path) -> subprocess.Popen[bytes]:
    """Start the stand-in of a member in its namespace."""
    name, root, address = f"etcd-{key}", home / key, ADDRESSES[key]
    cluster = ",".join(f"etcd-{other}=https://etcd-{other}.{DOMAIN}:2380" for other in ADDRESSES)
    volume = root / f"mnt/master-vol-0{ord(key):x}drill"
    command = [
        *("ip", "netns", "exec", f"drill-{key}", sys.executable, "-m", "labs.drill.standin"),
        *(f"--member={name}", f"--dns={name}.{DOMAIN}", f"--ip={address}", f"--volume={volume}", "--until-eof"),
        *(f"--authorities={root}/etc/kubernetes/pki/etcd-manager-main", f"--log={root}/var/log/etcd.log"),
        *([f"--first-life={LIFE}"] if key == "a" else []),
        *("--", str(etcd.find()), f"--name={name}", f"--data-dir={volume}/data", "--logger=capnslog"),
        *("--listen-peer-urls=https://0.0.0.0:2380", f"--initial-advertise-peer-urls=https://{name}.{DOMAIN}:2380"),
        *("--listen-client-urls=https://0.0.0.0:4001", f"--advertise-client-urls=https://{name}.{DOMAIN}:4001"),
        *(f"--initial-cluster={cluster}", "--initial-cluster-token=drill"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "TZ": "UTC"}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)


def wait_for(root: Path, text: str, times: int = 1) -> datetime:
    """Wait until a member has logged `text` `times` times."""
    deadline = time.monotonic() + 60
    while (root / "var/log/etcd.log").read_text().count(text) < times:
        assert time.monotonic() < deadline, f"{root.name} did not log {text!r}"
        time.sleep(0.1)
    return datetime.now(UTC)


def keep(root: Path, folder: Path) -> None:
    """Copy the certificates of a master's volume without keys."""
    for path in sorted(root.glob("mnt/*/pki/**/*.crt")):
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def record(folder: Path) -> None:
    """Run one drill without an agent and keep its output."""
    for name in ("before", "after"):
        shutil.rmtree(folder / name, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch, network(), contextlib.ExitStack() as running:
        home = Path(scratch)
        for name, cn in (("etcd-peers-ca", "etcd-peers-ca-main"), ("etcd-clients-ca", "etcd-clients-ca")):
            authority = pki.authority(cn)
            for key in ADDRESSES:
                authority.write(home / key / f"etc/kubernetes/pki/etcd-manager-main/{name}.crt")
        times = {"started": datetime.now(UTC)}
        members = {}
        for key in ADDRESSES:
            (home / key / "var/log").mkdir(parents=True)
            (home / key / "var/log/etcd.log").touch()
            members[key] = running.enter_context(start(key, home))
            running.callback(members[key].terminate)
        times["healthy"] = max(wait_for(home / key, "serving client requests on") for key in ADDRESSES)
        for key in ("a", "b"):
            keep(home / key, folder / "before" / key)
        wait_for(home / "a", "remote error: tls: bad certificate")
        time.sleep(SICK_FOR)
        times["restarted"] = datetime.now(UTC)
        members["a"].terminate()
        members["a"].wait(20)
        members["a"] = running.enter_context(start("a", home))
        running.callback(members["a"].terminate)
        times["cured"] = wait_for(home / "a", "serving client requests on", 2)
        keep(home / "a", folder / "after" / "a")
        for key in ("a", "b"):
            log = (home / key / "var/log/etcd.log").read_text()
            (folder / f"{key}.log").write_text(log.replace(str(home / key), ""))
    about = {
        "etcd": etcd.version(etcd.find()),
        "image": NEW_IMAGE,
        "addresses": {key: ADDRESSES[key] for key in ("a", "b")},
        "times": {name: f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}" for name, moment in times.items()},
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    record(recorded.FOLDER)
