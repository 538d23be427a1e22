"""A real kubelet 1.20 with Docker (its dockershim) on a booted Debian 12, which runs a static pod of a stand-in etcd-manager with a real etcd.

    with start_master(debs) as master:
        ends = master.start_pod(life=60)
        master.wait_for("CRITICAL")

The kubelet runs without an API server, as it does while that is down: it starts static pods and restarts what ends. Docker writes the
json-file logs that certmedic reads.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from labs import LABS, kubernetes, packages, pki
from labs.kubeadm import AGENT, HOOK_LOG, HOOK_TIMES, KERNEL, PAUSE, STUBS, Master
from labs.machine import Machine, boot
from labs.sickroom import CODE, HOOK, STANDIN

IMAGE = "kopeio/etcd-manager:3.0.20210228"
VOLUME = "/mnt/master-vol-0abc"
KEYS = "/etc/kubernetes/pki/etcd-manager-main"
MANIFEST = "/etc/kubernetes/manifests/etcd-main.manifest"
KUBELET = """
[Unit]
After=docker.service
[Service]
ExecStart=/usr/local/bin/kubelet --config=/var/lib/kubelet/config.yaml --container-runtime=docker --pod-infra-container-image={pause} \\
  --hostname-override=a --runtime-cgroups=/ --v=2
Restart=always
RestartSec=2
StartLimitIntervalSec=0
"""
CONFIG = """
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: /etc/kubernetes/manifests
cgroupDriver: cgroupfs
failSwapOn: false
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
"""
# The kubelet gives static pods a lower score for the case that memory runs out, and a machine in a container may not lower scores.
RUNC = """#!/bin/sh
previous=
for word; do
    [ "$previous" = --bundle ] && [ -w "$word/config.json" ] && sed -i 's/"oomScoreAdj":-[0-9]*/"oomScoreAdj":0/' "$word/config.json"
    previous=$word
done
exec /usr/sbin/runc "$@"
"""
DAEMON = {"runtimes": {"lab": {"path": "/usr/local/bin/lab-runc"}}, "default-runtime": "lab"}
# kops keeps the CAs of a name in a keyset, from which nodeup writes all certificates and the key of the primary one when it makes an
# instance (upup/pkg/fi/ca.go); etcd-manager starts after that, on the old volume.
KOPS = """#!/bin/sh
set -e
case "$1 $2" in
"create keypair")
    [ "$4 $6 $8" = "--cert --key --primary" ]
    mkdir -p /root/state/$3
    cp "$5" "/root/state/$3/$(date +%s%N).crt"
    cp "$7" "/root/state/$3/primary.key" ;;
"update cluster") [ "$3" = --yes ] ;;
"rolling-update cluster")
    [ "$3 $4" = "--cloudonly --yes" ]
    cd /root/state
    for keyset in *; do
        file={keys}/${{keyset%-main}}
        cat $keyset/*.crt >>$file.crt
        cp $keyset/primary.key $file.key
    done
    docker stop $(docker ps -q --filter label=io.kubernetes.container.name=etcd-manager) ;;
*) exit 2 ;;
esac
"""
# A client that checks the certificate like a peer. TLS 1.2, since under 1.3 Go takes OpenSSL's alert for a broken record.
CLIENT = "while sleep 1; do timeout 3 openssl s_client -tls1_2 -connect 127.0.0.1:4001 -CAfile {ca} -verify_return_error </dev/null; done"


def manifest(life: float) -> str:
    """Return the manifest of the pod; its first certificates live `life` seconds."""
    etcd = [
        *["/usr/bin/etcd", "--name=etcd-a", f"--data-dir={VOLUME}/data", "--logger=zap"],
        *["--listen-peer-urls=https://127.0.0.1:2380", "--initial-advertise-peer-urls=https://127.0.0.1:2380"],
        *["--listen-client-urls=https://127.0.0.1:4001", "--advertise-client-urls=https://127.0.0.1:4001"],
        "--initial-cluster=etcd-a=https://127.0.0.1:2380",
    ]
    places = {"usr": "/usr", "mnt": "/mnt", "keys": KEYS}
    container = {
        "name": "etcd-manager",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": [
            *["/usr/bin/python3", "-m", "labs.drill.standin", "--member=etcd-a", f"--volume={VOLUME}"],
            *[f"--authorities={KEYS}", f"--first-life={life}", "--", *etcd],
        ],
        "env": [{"name": "PYTHONPATH", "value": CODE}, {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in places.items()],
    }
    volumes = [{"name": name, "hostPath": {"path": path}} for name, path in places.items()]
    spec = {"hostNetwork": True, "containers": [container], "volumes": volumes}
    metadata = {"name": "etcd-manager-main", "namespace": "kube-system", "labels": {"k8s-app": "etcd-manager-main"}}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


class DockerMaster(Master):
    """A master whose kubelet uses Docker."""

    def containers(self, name: str = "etcd-manager") -> list[str]:
        """Return the ids of running containers that the kubelet started under a name."""
        return self.machine("docker", "ps", "-q", "--filter", f"label=io.kubernetes.container.name={name}").split()

    def start_pod(self, life: float) -> datetime:
        """Let the kubelet start the pod with new certificates; return when these expire."""
        self.machine.write(MANIFEST, manifest(life))
        return self.expires()

    def expires(self) -> datetime:
        """Return when the certificate in the file of the pod expires, once there is one."""
        path = f"{VOLUME}/pki/etcd-cluster-token-etcd/peers/me.crt"
        self.machine.until("BEGIN", "cat", path, seconds=120)
        self.expired_at = pki.ends(pki.read(self.root / path[1:]))
        return self.expired_at

    def make_authorities(self, life: timedelta = timedelta(days=3650)) -> datetime:
        """Write new CAs that expire after `life`, and return when."""
        ends = datetime.now(UTC).replace(microsecond=0) + life
        with tempfile.TemporaryDirectory() as made:
            for name, cn in (("etcd-peers-ca", "etcd-peers-ca-main"), ("etcd-clients-ca", "etcd-clients-ca")):
                pki.authority(cn, not_before=ends - timedelta(days=3650), not_after=ends).write(
                    Path(made, f"{name}.crt")
                )
                for end in ("crt", "key"):
                    self.machine.put(Path(made, f"{name}.{end}"), f"{KEYS}/{name}.{end}")
        return ends

    def serves_until(self) -> datetime | None:
        """Return NotAfter of the certificate that etcd serves; None while it serves none."""
        shown = self.machine.run(
            "sh",
            "-c",
            "timeout 3 openssl s_client -connect 127.0.0.1:4001 </dev/null 2>/dev/null | openssl x509 -noout -enddate",
        )
        text = shown.out.partition("=")[2].strip()
        return datetime.strptime(text, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC) if text and not shown.code else None

    def accepts(self) -> bool:
        """Whether a client that knows the CA file of nodeup accepts what etcd serves."""
        ask = f"timeout 5 openssl s_client -connect 127.0.0.1:4001 -CAfile {KEYS}/etcd-clients-ca.crt -verify_return_error </dev/null"
        return "Verify return code: 0" in self.machine.run("sh", "-c", ask).out

    def works_until_late(self) -> bool:
        """Whether etcd serves a certificate that lives for long."""
        ends = self.serves_until()
        return ends is not None and ends > datetime.now(UTC) + timedelta(days=30)

    def configure(self, name: str, text: str) -> None:
        """Give the agent and its actor a further file of configuration; "" removes it."""
        file = f"/etc/certmedic/conf.d/{name}.toml"
        if text:
            self.machine.write(file, text)
            self.machine("chmod", "640", file)
            self.machine("chgrp", "certmedic", file)
        else:
            self.machine("rm", "-f", file)
        self.machine("sh", "-c", "systemctl stop certmedic-actor.service; systemctl restart certmedic")

    def end_pod(self) -> None:
        """Remove the pod, its volume and what the agent knows of it."""
        self.machine("systemctl", "stop", "certmedic")
        self.machine("rm", "-f", MANIFEST)
        self.machine.until(
            "none",
            "sh",
            "-c",
            "docker ps -q --filter label=io.kubernetes.pod.namespace=kube-system | grep . || echo none",
        )
        self.machine(
            "sh",
            "-c",
            f"rm -rf {VOLUME}/* /var/lib/certmedic/* /var/lib/certmedic-actor/*; : >{HOOK_LOG}; : >{HOOK_TIMES}",
        )
        self.machine("sh", "-c", "docker ps -aq | xargs -r docker rm -f")
        self.expired_at = None
        self.machine("systemctl", "start", "certmedic")


@contextlib.contextmanager
def start_master(debs: Sequence[Path]) -> Iterator[DockerMaster]:
    """Boot a master with Docker and a kubelet, and install these packages of certmedic on it; afterwards nothing of it is left."""
    with boot("bookworm", packages.wanted("bookworm"), "--bind-ro=/dev/kmsg") as machine:
        _prepare(machine)
        packages.install(machine, *debs)
        machine.write("/etc/certmedic/conf.d/lab.toml", AGENT)
        machine("chmod", "640", "/etc/certmedic/conf.d/lab.toml")
        machine("systemctl", "restart", "certmedic")
        yield DockerMaster(machine)


def _prepare(machine: Machine) -> None:
    machine("systemctl", "mask", "--now", "etcd.service")
    machine(
        "sh", "-c", "hostname a; echo a >/etc/hostname; echo 127.0.0.1 localhost a >/etc/hosts; mount --make-rshared /"
    )
    for setting, value in KERNEL.items():
        shown = f"/run/sysctl/{setting.replace('/', '-')}"
        machine.write(shown, f"{value}\n")
        machine("mount", "--bind", shown, f"/proc/sys/{setting}")
    shutil.copy(kubernetes.programs() / "kubelet", machine.root / "usr/local/bin")
    machine.write("/usr/local/bin/sudo", f"#!/bin/sh\n{STUBS['sudo']}\n")
    machine("chmod", "755", "/usr/local/bin/sudo")
    for name in STANDIN:
        machine.put(LABS / name, f"{CODE}/labs/{name}")
    DockerMaster(machine).make_authorities()
    machine.write("/usr/local/bin/kops", KOPS.format(keys=KEYS))
    machine("chmod", "755", "/usr/local/bin/kops")
    machine("mkdir", "-p", VOLUME)
    machine.write("/etc/systemd/system/kubelet.service", KUBELET.format(pause=PAUSE))
    machine.write("/var/lib/kubelet/config.yaml", CONFIG)
    machine.write("/root/hook.py", HOOK)
    machine.write(HOOK_LOG, "")
    machine.write(HOOK_TIMES, "")
    machine("mkdir", "-p", "/etc/kubernetes/manifests")
    machine.write("/usr/local/bin/lab-runc", RUNC)
    machine("chmod", "755", "/usr/local/bin/lab-runc")
    machine.write("/etc/docker/daemon.json", json.dumps(DAEMON))
    machine("systemctl", "restart", "docker")
    machine.until("Server Version", "docker", "info")
    # Empty images: programs come from the machine's /usr; the one of the sandbox holds busybox alone.
    folders = "mkdir -p usr tmp etc mnt proc sys dev etc/kubernetes && ln -sf usr/bin bin && ln -sf usr/lib lib && ln -sf usr/lib64 lib64 && ln -sf usr/sbin sbin"
    machine("sh", "-c", f"mkdir -p /root/image && cd /root/image && {folders} && tar -c . | docker import - {IMAGE}")
    machine.write("/root/pause/bin/busybox", Path(str(shutil.which("busybox"))).read_bytes())
    machine("sh", "-c", "cd /root/pause && chmod 755 bin/busybox && ln -sf busybox bin/sleep && tar -c . | docker import"
            f" -c 'ENTRYPOINT [\"/bin/sleep\",\"1000000000\"]' - {PAUSE}")  # fmt: skip
    machine("systemctl", "daemon-reload")
    machine("systemd-run", "--quiet", "--unit=hook", "python3", "/root/hook.py")
    machine("systemd-run", "--quiet", "--unit=neighbour", "sh", "-c", CLIENT.format(ca=f"{KEYS}/etcd-clients-ca.crt"))
    machine("systemctl", "restart", "kubelet")
