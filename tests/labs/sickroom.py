"""Programs that fail on a booted machine: an etcd-manager under docker, one under containerd, and a unit that simulates k3s.

Each runs Debian's etcd with certificates that live for LIFE seconds at first and for two years after a restart. The files of the
programs are under /root. The package of certmedic is installed; the stand-in manager runs in the containers, from /usr/local/lib, with
the distribution's Python, or where that is too old with the one of certmedic-full.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from labs import LABS, crilog, pki
from labs.machine import Machine
from labs.static_pod import LOGS, StaticPod

LIFE = 15
IMAGE = "kopeio/etcd-manager:3.0.20210228"
MAIN, EVENTS = "/mnt/master-vol-0abc", "/mnt/master-vol-0def"
PODS = {
    group: StaticPod(
        name=f"etcd-manager-{group}", node="a", container="etcd-manager", file=f"etcd-{group}", image=IMAGE
    )
    for group in ("main", "events")
}
PYTHON = "/usr/bin/python3"  # 3.11 or later, with cryptography
CODE = "/usr/local/lib"  # code of the stand-in, within /usr, which the containers share
STANDIN = ("__init__.py", "pki.py", "drill/__init__.py", "drill/standin.py")
K3S = "/var/lib/rancher/k3s/server/tls/etcd"
# Folder of the manager -> file name -> CN of the CA.
AUTHORITIES = {
    "/root/main": {"etcd-peers-ca": "etcd-peers-ca-main"},
    "/root/events": {"etcd-peers-ca": "etcd-peers-ca-events"},
    "/root/k3s": {"server-ca": "etcd-server-ca", "peer-ca": "etcd-peer-ca"},
}
HOOK = """
import http.server, time
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        with open("/root/hook.log", "ab") as log:
            log.write(self.rfile.read(int(self.headers["Content-Length"])) + b"\\n")
        with open("/root/hook.times", "a") as times:
            print(time.time(), file=times)
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 8099), Hook).serve_forever()
"""
# A client that checks the certificates like a peer and rejects expired ones. TLS 1.2, since under 1.3 Go takes the alert of
# OpenSSL for a broken record.
NEIGHBOUR = """
while sleep 1; do
    for port in 4001 4002 2379; do
        timeout 3 openssl s_client -tls1_2 -connect 127.0.0.1:$port -CAfile /root/every-ca.crt -verify_return_error </dev/null >/dev/null 2>&1
    done
done
"""
ISSUE = f"""
from datetime import UTC, datetime, timedelta
from pathlib import Path
from labs import pki
folder = Path("{K3S}")
life = timedelta(days=730) if folder.exists() else timedelta(seconds={LIFE})
folder.mkdir(parents=True, exist_ok=True)
for name, authority in (("server-client", "server-ca"), ("peer-server-client", "peer-ca")):
    ca = pki.read_authority(Path("/root/k3s", authority + ".crt"))
    leaf = ca.leaf("etcd-server", dns=("localhost",), ips=("127.0.0.1",), not_after=datetime.now(UTC) + life)
    leaf.write(folder / f"{{name}}.crt").write_bytes(leaf.cert_pem + ca.pem)
    (folder / f"{{authority}}.crt").write_bytes(ca.pem)
"""
UNIT = f"""
[Service]
Type=notify
SyslogIdentifier=k3s
Environment=PYTHONPATH={CODE} PYTHONDONTWRITEBYTECODE=1
ExecStartPre=/usr/bin/python3 /root/issue.py
ExecStart=/usr/bin/etcd --name=a --data-dir=/var/lib/rancher/k3s/server/db/etcd --logger=zap --client-cert-auth --peer-client-cert-auth \\
  --cert-file={K3S}/server-client.crt --key-file={K3S}/server-client.key --trusted-ca-file={K3S}/server-ca.crt \\
  --peer-cert-file={K3S}/peer-server-client.crt --peer-key-file={K3S}/peer-server-client.key --peer-trusted-ca-file={K3S}/peer-ca.crt \\
  --listen-client-urls=https://127.0.0.1:2379 --advertise-client-urls=https://127.0.0.1:2379 \\
  --listen-peer-urls=https://127.0.0.1:2380 --initial-advertise-peer-urls=https://127.0.0.1:2380 \\
  --initial-cluster=a=https://127.0.0.1:2380
"""


def prepare(machine: Machine) -> None:
    """Write the files, start a receiver of messages and a client that rejects expired certificates."""
    machine("systemctl", "mask", "--now", "etcd.service")
    clients = pki.authority("etcd-clients-ca")
    every = b""
    with tempfile.TemporaryDirectory() as made:
        for folder, names in AUTHORITIES.items():
            cas = {name: pki.authority(cn) for name, cn in names.items()}
            if "k3s" not in folder:
                cas["etcd-clients-ca"] = clients
            for name, ca in cas.items():
                ca.write(Path(made, f"{name}.crt"))
                every += ca.pem
                for end in ("crt", "key"):
                    machine.put(Path(made) / f"{name}.{end}", f"{folder}/{name}.{end}")
    machine.write("/root/every-ca.crt", every)
    machine.write("/root/issue.py", ISSUE)
    machine.write("/etc/systemd/system/k3s.service", UNIT)
    machine.put(Path(crilog.__file__), "/root/crilog.py")
    for name in STANDIN:
        machine.put(LABS / name, f"{CODE}/labs/{name}")
    machine.write("/root/hook.py", HOOK)
    machine.write("/root/neighbour.sh", NEIGHBOUR)
    for pod in PODS.values():
        machine.write(f"/{pod.manifest_path}", pod.manifest)
        machine("mkdir", "-p", f"/{LOGS}/{pod.log_folder}/{pod.container}")
    machine("systemctl", "daemon-reload")
    machine("systemd-run", "--quiet", "--unit=hook", "python3", "/root/hook.py")
    machine("systemd-run", "--quiet", "--unit=neighbour", "sh", "/root/neighbour.sh")
    machine.until("Server Version", "docker", "info")
    # An empty image: the programs come from the machine's /usr.
    machine("sh", "-c", "mkdir -p /root/image && cd /root/image && mkdir -p usr tmp etc mnt proc sys dev authorities"
            " && ln -sf usr/bin bin && ln -sf usr/lib lib && ln -sf usr/lib64 lib64 && ln -sf usr/sbin sbin"
            f" && tar -c . | docker import - {IMAGE} && docker save {IMAGE} -o /root/image.tar")  # fmt: skip


def volume(machine: Machine, path: str) -> None:
    """Mount an empty volume."""
    machine("mkdir", "-p", path)
    machine.run("umount", path)  # an earlier volume
    machine("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", path)


def manager(member: str, volume: str, *more: str, python: str = PYTHON) -> list[str]:
    """Return the command of a manager's container, up to the arguments of etcd."""
    return [
        *[python, "-m", "labs.drill.standin", f"--member={member}", f"--volume={volume}", *more],
        *["--authorities=/authorities", "--ip=127.0.0.1", f"--first-life={LIFE}", "--", "/usr/bin/etcd"],
    ]


def start_main(machine: Machine, python: str = PYTHON) -> None:
    """Let docker run the manager of the group main. As with etcd-manager, only the environment names the members for etcd."""
    settings = {
        "NAME": "etcd-a",
        "DATA_DIR": f"{MAIN}/data",
        "LOGGER": "zap",
        "LISTEN_PEER_URLS": "https://127.0.0.1:2380",
        "INITIAL_ADVERTISE_PEER_URLS": "https://127.0.0.1:2380",
        "LISTEN_CLIENT_URLS": "https://127.0.0.1:4001",
        "ADVERTISE_CLIENT_URLS": "https://127.0.0.1:4001",
        "INITIAL_CLUSTER": "etcd-a=https://127.0.0.1:2380",
    }
    driver = machine("docker", "info", "--format={{.CgroupDriver}}").strip()
    machine(
        *["docker", "run", "-d", "--network=host", f"--name={PODS['main'].container_name}"],
        *[f"--cgroup-parent={PODS['main'].cgroup(driver)}", *PODS["main"].label_options],
        *["-v", "/usr:/usr:ro", "-v", "/mnt:/mnt", "-v", "/root/main:/authorities:ro"],
        *["-e", f"PYTHONPATH={CODE}", "-e", "PYTHONDONTWRITEBYTECODE=1"],
        *[f"--env=ETCD_{key}={value}" for key, value in settings.items()],
        *[IMAGE, *manager("etcd-a", MAIN, python=python)],
    )


def start_events(machine: Machine) -> None:
    """Let containerd run the manager of the group events, with its log at the kubelet's path."""
    ctr = ("ctr", "--namespace=k8s.io")
    machine(*ctr, "images", "import", "--snapshotter=native", "/root/image.tar")
    name = next(image for image in machine(*ctr, "images", "list", "--quiet").split() if "etcd-manager" in image)
    pod = PODS["events"]
    log = f"/{LOGS}/{pod.log_folder}/{pod.container}"
    machine.write("/root/log-events", f'#!/bin/sh\nexec /usr/bin/python3 /root/crilog.py "{log}"\n')
    machine("chmod", "0755", "/root/log-events")
    mounts = {"/usr": "/usr", "/mnt": "/mnt", "/root/events": "/authorities"}
    machine(
        *[*ctr, "run", "--detach", "--net-host", "--snapshotter=native", "--log-uri=binary:///root/log-events"],
        *[f"--cgroup={pod.cgroup()}/events", *pod.label_options, *cri_annotations(pod)],
        *[f"--mount=type=bind,src={here},dst={there},options=rbind:rw" for here, there in mounts.items()],
        *[f"--env=PYTHONPATH={CODE}", "--env=PYTHONDONTWRITEBYTECODE=1", name, "events"],
        *manager("etcd-events-a", EVENTS, "--token=etcd-cluster-token-etcd-events"),
        *["--name=etcd-events-a", f"--data-dir={EVENTS}/data", "--logger=zap"],
        *["--listen-peer-urls=https://127.0.0.1:2381", "--initial-advertise-peer-urls=https://127.0.0.1:2381"],
        *["--listen-client-urls=https://127.0.0.1:4002", "--advertise-client-urls=https://127.0.0.1:4002"],
        "--initial-cluster=etcd-events-a=https://127.0.0.1:2381",
    )


def cri_annotations(pod: StaticPod) -> list[str]:
    """Return the options that give a container the annotations of containerd's CRI, which runs no container here."""
    values = {
        "container-name": pod.container,
        "sandbox-name": pod.labels["io.kubernetes.pod.name"],
        "sandbox-namespace": pod.labels["io.kubernetes.pod.namespace"],
        "sandbox-uid": pod.labels["io.kubernetes.pod.uid"],
        "image-name": IMAGE,
    }
    return [f"--annotation=io.kubernetes.cri.{key}={value}" for key, value in values.items()]


def task(machine: Machine) -> str:
    """Return the line of containerd's task of the group events: its name, process and state."""
    lines = machine("ctr", "--namespace=k8s.io", "tasks", "list").splitlines()
    return next((line for line in lines if line.startswith("events ")), "")


def end(machine: Machine) -> None:
    """Remove both containers and the volume of the group main."""
    machine("docker", "rm", "--force", PODS["main"].container_name)
    machine("umount", MAIN)
    machine("ctr", "--namespace=k8s.io", "tasks", "delete", "--force", "events")
    machine("ctr", "--namespace=k8s.io", "containers", "delete", "events")
