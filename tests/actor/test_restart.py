"""Restart by every means, on real programs that work, are dead or hang."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import socket
import tarfile
import time
from pathlib import Path

import pytest

from certmedic.actor import restart
from certmedic.actor.restart import AnyHands, CommandHands, ContainerdHands, DockerHands, RestartError, SystemdHands
from certmedic.core.model import Container
from certmedic.core.planes import restart_command
from certmedic.core.verify import is_another
from certmedic.edge.facts.containerd import containerd_containers, containerd_files
from certmedic.edge.facts.containers import containers
from labs import hostile
from labs import machine as machines
from labs.containerd import IMAGE, start_containerd
from labs.docker import BUSYBOX, start_dockerd
from labs.masters import AGENT
from labs.packages import LAB, depends
from labs.waiting import until

pytestmark = pytest.mark.long
real = pytest.mark.real
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: dockerd and containerd")
SLACK = 15  # seconds by which a busy machine may exceed a deadline
LABELS = {
    "io.kubernetes.container.name": "etcd-manager",
    "io.kubernetes.pod.name": "etcd-manager-main-a",
    "io.kubernetes.pod.namespace": "kube-system",
}
FOREVER = ("sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done")
STUBBORN = ("sh", "-c", "trap '' TERM; while true; do sleep 0.1; done")


def target(number="x", runtime="docker", **more):
    return Container(id=number, name=f"name-of-{number}", image="", runtime=runtime, **more)


@contextlib.contextmanager
def within(seconds):
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + SLACK


@contextlib.contextmanager
def hanging(pid):
    """Suspend a daemon: its socket accepts connections, and no process answers."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


# ---------------------------------------------------------------- docker


@pytest.fixture(scope="module")
def docker():
    with start_dockerd() as running:
        running.busybox()
        yield running


def started(docker, number):
    return docker("inspect", "-f", "{{.State.Running}} {{.State.StartedAt}}", number)


@real
@needs_root
def test_docker_restarts_the_target_only(docker):
    number, other = (docker("run", "-d", "--network=none", BUSYBOX, *FOREVER) for _ in range(2))
    before = started(docker, number), started(docker, other)
    (was,) = (c for c in containers(docker.url)[0] if c.id == number)
    assert DockerHands(docker.url).restart(was) == f"restarted {was.name}"
    after = started(docker, number), started(docker, other)
    assert after[0] != before[0]
    assert after[0].startswith("true")
    assert after[1] == before[1]


@real
@needs_root
def test_docker_starts_a_stopped_container(docker):
    number = docker("run", "-d", "--network=none", BUSYBOX, *FOREVER)
    docker("stop", number)
    DockerHands(docker.url).restart(target(number))
    assert started(docker, number).startswith("true")


@real
@needs_root
def test_docker_only_stops_beside_a_kubelet(docker, monkeypatch):
    # The kubelet would start the container again. The test only pretends that a kubelet is active.
    monkeypatch.setattr(restart, "kubelet_is_active", lambda: True)
    number = docker("run", "-d", "--network=none", BUSYBOX, *FOREVER)
    assert "the kubelet starts the next one" in DockerHands(docker.url).restart(
        target(number, pod="etcd-manager-main-a")
    )
    assert started(docker, number).startswith("false")
    # The kubelet does not start a container that belongs to no pod.
    DockerHands(docker.url).restart(target(number))
    assert started(docker, number).startswith("true")


@real
@needs_root
def test_docker_without_the_container_is_an_error(docker):
    with pytest.raises(RestartError, match=r"docker did not restart name-of-0123abcd: .*No such container"):
        DockerHands(docker.url).restart(target("0123abcd"))


def test_missing_docker_is_an_error(tmp_path):
    with pytest.raises(RestartError, match="docker is not reachable at unix://"):
        DockerHands(f"unix://{tmp_path}/none.sock").restart(target())


@real
@needs_root
def test_hanging_docker_is_given_up_and_changes_nothing(docker):
    number = docker("run", "-d", "--network=none", BUSYBOX, *FOREVER)
    before = started(docker, number)
    with hanging(docker.process.pid), within(2), pytest.raises(RestartError, match="not reachable"):
        DockerHands(docker.url, deadline=2).restart(target(number))
    assert started(docker, number) == before


@pytest.mark.parametrize("drips", [True, False], ids=["dripping", "mute"])
def test_docker_reply_without_end_is_given_up_at_the_deadline(tmp_path, drips):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "docker.sock"))
        reachable = pytest.raises(RestartError, match="docker is not reachable")
        with hostile.slow(server, b"HTTP/1.0 200 OK\r\n", drips=drips), within(1), reachable:
            DockerHands(f"unix://{tmp_path}/docker.sock", deadline=1).restart(target())


@real
@needs_root
def test_dead_docker_is_an_error():
    with start_dockerd() as gone:
        gone.busybox()
        number = gone("run", "-d", "--network=none", BUSYBOX, *FOREVER)
        gone.stop(kill=True)
        with within(5), pytest.raises(RestartError, match="docker is not reachable"):
            DockerHands(gone.url, deadline=5).restart(target(number))


# ---------------------------------------------------------------- containerd


@pytest.fixture(scope="module")
def containerd():
    with start_containerd() as running:
        running.busybox()
        yield running


def listed(containerd, number):
    listing, unseen = containerd_containers(containerd.address)
    assert unseen == ""
    (chosen,) = (container for container in listing if container.id == number)
    return chosen


@real
@needs_root
def test_containerd_lists_etcd_managers_only(containerd):
    containerd.run("listed", *FOREVER, labels=LABELS)
    containerd.run("other", *FOREVER, labels={**LABELS, "io.kubernetes.container.name": "kube-apiserver"})
    containerd.run("sandbox", *FOREVER, labels={"io.kubernetes.pod.name": "etcd-manager-main-a"})
    container = listed(containerd, "listed")
    assert (container.container_name, container.pod, container.namespace) == (
        "etcd-manager",
        "etcd-manager-main-a",
        "kube-system",
    )
    assert (container.image, container.state, container.runtime) == (IMAGE, "running", "containerd")
    assert abs(time.time() - container.started_at.timestamp()) < 60
    assert {c.id for c in containerd_containers(containerd.address)[0]}.isdisjoint({"other", "sandbox"})
    assert not is_another(container, listed(containerd, "listed"))  # a second look shows the same container


@real
@needs_root
def test_containerd_maps_certificates_of_a_container_to_host_files(containerd, tmp_path):
    labels = {**LABELS, "io.kubernetes.container.name": "etcd", "io.kubernetes.pod.name": "etcd-a"}
    mount = f"--mount=type=bind,src={tmp_path},dst=/tls,options=rbind:ro"
    containerd.run(
        "told",
        *("sh", "-c", "sleep 600", "etcd", "--peer-cert-file=/tls/me.crt"),
        labels=labels,
        options=("--null-io", mount, "--env=ETCD_CERT_FILE=/tls/server.crt", "--env=ETCD_TRUSTED_CA_FILE=/etc/ca.crt"),
    )

    files = containerd_files("etcd-a", "etcd", containerd.address)

    assert dict(files) == {"peer": f"{tmp_path}/me.crt", "server": f"{tmp_path}/server.crt"}
    assert containerd_files("etcd-b", "etcd", containerd.address) == ()
    assert containerd_files('etcd-a" or ""="', "etcd", containerd.address) == ()
    assert containerd_files("etcd-a", "etcd", f"{tmp_path}/none.sock") == ()


@real
@needs_root
@pytest.mark.parametrize("command", [FOREVER, STUBBORN], ids=["obedient", "stubborn"])
def test_containerd_restarts_the_target_only(containerd, monkeypatch, command):
    monkeypatch.setattr(restart, "STOP_SECONDS", 1)
    number = f"restarted-{command is STUBBORN}"
    containerd.run(number, *command, labels=LABELS)
    containerd.run(f"{number}-not", *FOREVER, labels=LABELS)
    before, was, neighbour = containerd.pid(number), listed(containerd, number), containerd.pid(f"{number}-not")
    assert ContainerdHands(containerd.address).restart(was).startswith("restarted ")
    assert containerd.pid(number) not in (None, before)
    assert is_another(was, listed(containerd, number))
    assert listed(containerd, number).state == "running"
    assert containerd.pid(f"{number}-not") == neighbour
    assert not Path(f"/proc/{before}").exists()


@real
@needs_root
def test_containerd_starts_a_stopped_container(containerd):
    containerd.run("stopped", *FOREVER, labels=LABELS)
    containerd("tasks", "kill", "--signal=SIGKILL", "stopped")
    until(lambda: containerd.pid("stopped") is None)
    assert listed(containerd, "stopped").state == "exited"
    assert listed(containerd, "stopped").started_at is None
    ContainerdHands(containerd.address).restart(target("stopped", "containerd"))
    assert containerd.pid("stopped")
    containerd("tasks", "delete", "--force", "stopped")  # and once more without a task
    ContainerdHands(containerd.address).restart(target("stopped", "containerd"))
    assert containerd.pid("stopped")


@real
@needs_root
def test_containerd_only_stops_beside_a_kubelet(containerd, monkeypatch):
    # Without crictl, as on Debian. The test only pretends that a kubelet is active.
    monkeypatch.setattr(restart, "kubelet_is_active", lambda: True)
    containerd.run("kept", *FOREVER, labels=LABELS)
    if shutil.which("crictl"):
        pytest.skip("crictl is here")
    assert "the kubelet starts the next one" in ContainerdHands(containerd.address).restart(listed(containerd, "kept"))
    assert containerd.pid("kept") is None


def test_containerd_is_stopped_by_crictl_beside_a_kubelet(tmp_path, monkeypatch):
    # Debian has no crictl: a script records its arguments instead. The next test runs a real crictl if one is given.
    recorder = tmp_path / "crictl"
    recorder.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/called\n[ ! -e {tmp_path}/fails ] || {{ echo "no such container"; exit 1; }}\n'
    )
    recorder.chmod(0o755)
    monkeypatch.setattr(restart, "kubelet_is_active", lambda: True)
    monkeypatch.setattr("certmedic.edge.os.run.PATH", f"{tmp_path}:/usr/bin:/bin")
    hands = ContainerdHands(f"{tmp_path}/none.sock")

    assert "the kubelet starts the next one" in hands.restart(target("0123", "containerd", pod="etcd-manager-main-a"))
    assert (tmp_path / "called").read_text().split() == [
        *[f"--runtime-endpoint=unix://{tmp_path}/none.sock", "--timeout=20s"],
        *["stop", "--timeout=10", "0123"],
    ]
    (tmp_path / "fails").touch()
    with pytest.raises(RestartError, match="failed with 1: no such container"):
        hands.restart(target("0123", "containerd", pod="etcd-manager-main-a"))
    # A container without a pod is restarted by ctr.
    with pytest.raises(RestartError, match="`ctr "):
        hands.restart(target("0123", "containerd"))


# Passed with crictl 1.26.1, 1.33.0 and 1.36.0, built from source with Debian's Go, against containerd 1.6.
CRICTL = os.environ.get("CERTMEDIC_CRICTL", "")


@real
@needs_root
@pytest.mark.skipif(not CRICTL, reason="set CERTMEDIC_CRICTL to a crictl; Debian has none")
def test_real_crictl_stops_the_target_only(tmp_path, monkeypatch):
    (tmp_path / "crictl").symlink_to(CRICTL)
    monkeypatch.setattr(restart, "kubelet_is_active", lambda: True)
    path = f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"
    monkeypatch.setattr("certmedic.edge.os.run.PATH", path)
    with start_containerd(cri=True) as containerd:
        containerd.busybox()
        hands, endpoint = ContainerdHands(containerd.address), f"unix://{containerd.address}"
        environment = {
            "PATH": path,
            "CONTAINER_RUNTIME_ENDPOINT": endpoint,
            "IMAGE_SERVICE_ENDPOINT": endpoint,
        }

        def crictl(*words):
            return restart._run([CRICTL, *words], time.monotonic() + 60, environment).strip().splitlines()[-1]

        pods = {}

        def run(group, command, attempt):
            """Do as a kubelet does: create the pod on the host network once, and a new container for each attempt."""
            about = {**LABELS, "io.kubernetes.pod.name": f"etcd-manager-{group}-m1", "io.kubernetes.pod.uid": group}
            name = {"name": about["io.kubernetes.pod.name"], "namespace": "kube-system", "uid": group}
            network = {"security_context": {"namespace_options": {"network": 2}}}
            pod, container = tmp_path / f"{group}.pod", tmp_path / f"{group}.container"
            pod.write_text(json.dumps({"metadata": name, "labels": about, "linux": network}))
            what = {"metadata": {"name": "etcd-manager", "attempt": attempt}, "image": {"image": IMAGE}, "linux": {}}
            container.write_text(json.dumps({**what, "command": command, "labels": about}))
            if group not in pods:
                pods[group] = crictl("runp", str(pod))
            number = crictl("create", pods[group], str(container), str(pod))
            crictl("start", number)
            return number

        main, events = run("main", FOREVER, 0), run("events", STUBBORN, 0)
        assert "the kubelet starts the next one" in hands.restart(listed(containerd, main))
        assert [listed(containerd, number).state for number in (main, events)] == ["exited", "running"]
        with within(restart.STOP_SECONDS):
            hands.restart(listed(containerd, events))  # which ignores SIGTERM
        assert listed(containerd, events).state == "exited"
        with pytest.raises(RestartError, match=r"(?s)crictl .* failed with 1: .*not found"):
            hands.restart(target("0123456789abcdef", "containerd", pod="etcd-manager-main-a"))
        again, other = run("main", FOREVER, 1), run("events", FOREVER, 1)
        assert is_another(listed(containerd, main), listed(containerd, again))
        with (
            hanging(containerd.process.pid),
            within(restart.KILL_SECONDS),
            pytest.raises(RestartError, match="failed with 1"),
        ):
            hands.restart(target(other, "containerd", pod="etcd-manager-events-m1"))


@real
@needs_root
def test_command_of_the_message_stops_the_etcd_manager_of_one_group(containerd):
    for group in ("calico", "cilium"):  # no other test here runs these
        pod = {"io.kubernetes.pod.name": f"etcd-manager-{group}-m1", "io.kubernetes.pod.namespace": "kube-system"}
        containerd.run(group, *FOREVER, labels={**LABELS, **pod})
    typed = ["sh", "-c", restart_command("calico", "containerd").replace("sudo ", "")]
    environment = {"PATH": os.environ["PATH"], "CONTAINERD_ADDRESS": containerd.address}
    restart._run(typed, time.monotonic() + 60, environment)
    until(lambda: containerd.pid("calico") is None)
    containerd("tasks", "delete", "calico")
    restart._run(typed, time.monotonic() + 60, environment)  # now that none runs, it stops no other container
    assert containerd.pid("cilium") is not None


@real
@needs_root
def test_containerd_without_the_container_is_an_error(containerd):
    with pytest.raises(RestartError, match=r"`ctr .* info none` failed with 1: .*not found"):
        ContainerdHands(containerd.address).restart(target("none", "containerd"))


@real
@needs_root
def test_failed_start_by_containerd_says_that_the_container_is_down(containerd):
    containerd.run("broken", *FOREVER, labels=LABELS)
    # Remove the program from the running container.
    root = Path(f"/proc/{containerd.pid('broken')}/root/bin")
    (root / "busybox").rename(root / "moved")
    with pytest.raises(RestartError, match=r"was stopped and does not run: .* Start it: ctr -n k8s\.io tasks start"):
        ContainerdHands(containerd.address).restart(target("broken", "containerd"))


@real
@needs_root
def test_hanging_containerd_is_given_up_and_changes_nothing(containerd, monkeypatch):
    containerd.run("hung", *FOREVER, labels=LABELS)
    before = containerd.pid("hung")
    monkeypatch.setattr("certmedic.edge.facts.containerd.DEADLINE", 2.0)
    with hanging(containerd.process.pid):
        with within(2), pytest.raises(RestartError, match="did not end in time and was killed after 2 s"):
            ContainerdHands(containerd.address, deadline=2).restart(target("hung", "containerd"))
        with within(2):
            listing, unseen = containerd_containers(containerd.address)
        assert (listing, "does not tell its containers" in unseen) == ((), True)
    assert containerd.pid("hung") == before


def test_missing_containerd_is_an_error(tmp_path):
    address = str(tmp_path / "none.sock")
    assert containerd_containers(address) == (
        (),
        f"there is no containerd socket at {address}, so no container was looked at",
    )
    with within(5), pytest.raises(RestartError, match=r"failed with 1: .*failed to dial"):
        ContainerdHands(address).restart(target("x", "containerd"))


# ---------------------------------------------------------------- commands, units, and the choice of means


def script(tmp_path, text):
    path = tmp_path / "cure"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_command_gets_its_target_in_a_clean_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_ADDRESS", "mailto://SECRET")
    monkeypatch.setenv("LD_PRELOAD", "")
    program = script(tmp_path, f'env > {tmp_path}/env; pwd > {tmp_path}/pwd; echo "$@" > {tmp_path}/argv; cat')
    argv = [program, "a b", "$(touch /never); *"]
    shown = shlex.join(argv)
    assert CommandHands([["/bin/true"], argv]).restart(target(shown, "command")) == f"ran {shown}"
    environment = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert environment.pop("PWD") == "/"
    environment.pop("_", None)
    environment.pop("SHLVL", None)
    assert environment == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "CERTMEDIC_FOR": f"name-of-{shown}",
    }
    assert (tmp_path / "argv").read_text() == "a b $(touch /never); *\n"
    assert (tmp_path / "pwd").read_text() == "/\n"


def run(program, **more):
    return CommandHands([[program]], **more).restart(target(program, "command"))


def test_removed_command_is_not_run(tmp_path):
    program = script(tmp_path, f"touch {tmp_path}/ran")
    with pytest.raises(RestartError, match="is no longer in the configuration"):
        CommandHands([["/bin/true"]]).restart(target(program, "command"))
    assert not (tmp_path / "ran").exists()


def test_failing_command_is_an_error_with_its_output(tmp_path):
    with pytest.raises(RestartError, match=r"cure` failed with 3: out\nerr$"):
        run(script(tmp_path, "echo out; echo err >&2; exit 3"))
    with pytest.raises(RestartError, match="failed with 1: it said nothing"):
        run(script(tmp_path, "exit 1"))
    with pytest.raises(RestartError, match="`/none/such` cannot be run: No such file"):
        run("/none/such")


def test_late_command_is_killed_with_its_children(tmp_path):
    program = script(tmp_path, f"sleep 1000 & echo $! > {tmp_path}/child; wait")
    with within(1), pytest.raises(RestartError, match="did not end in time and was killed after 1 s"):
        run(program, deadline=1)
    child = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/stat")
    until(lambda: not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z")


def test_surviving_child_of_a_command_is_not_awaited(tmp_path):
    program = script(tmp_path, f"sleep 30 & echo $! > {tmp_path}/child")
    with within(1):
        run(program)
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


def test_overlong_command_output_is_cut(tmp_path):
    with pytest.raises(RestartError) as raised:
        run(script(tmp_path, "head -c 5000000 /dev/zero | tr '\\0' x; exit 1"))
    assert len(str(raised.value)) < 1000


def test_unknown_unit_is_an_error():
    """The reply is that of systemd or, without systemd, of systemctl. A test below has a booted machine."""
    with pytest.raises(RestartError, match=r"`systemctl restart -- certmedic-none\.service` failed with [1-9]"):
        SystemdHands(deadline=10).restart(target("certmedic-none.service", "systemd"))


def test_means_of_restart_follows_the_runtime():
    class FakeHands:
        def __init__(self, word):
            self.word = word

        def restart(self, container):
            return f"{self.word} {container.id}"

    hands = AnyHands({"docker": FakeHands("d"), "systemd": FakeHands("s")})
    assert hands.restart(target("1", "docker")) == "d 1"
    assert hands.restart(target("2", "systemd")) == "s 2"
    with pytest.raises(
        RestartError, match=r"name-of-3: there is no means to restart what 'containerd' runs; .* docker, systemd"
    ):
        hands.restart(target("3", "containerd"))


# ---------------------------------------------------------------- systemd on a booted machine

UNITS = {
    "lab-good": "ExecStart=/usr/bin/sleep infinity",
    "lab-other": "ExecStart=/usr/bin/sleep infinity",
    "lab-broken": "Type=oneshot\nExecStart=/usr/bin/false",
    "lab-slow": "Type=oneshot\nExecStart=/usr/bin/sleep 1000",
}
RESTART = """
import sys
from certmedic.core.model import Container
from certmedic.core.planes import restart_command
from certmedic.actor.restart import RestartError, SystemdHands
unit, deadline = sys.argv[1:]
try:
    print(SystemdHands(deadline=float(deadline)).restart(Container(id=unit, name=unit, image="", runtime="systemd")))
except RestartError as error:
    print(f"RestartError: {error}")
"""

UNITS_SEEN = """
import dataclasses, json, sys
from certmedic.edge.facts.units import units
found, unseen = units(sys.argv[1:])
assert not unseen, unseen
print(json.dumps([dataclasses.asdict(one) for one in found]))
"""


@real
@needs_root
@pytest.mark.timeout(900)
def test_unit_restart_on_a_booted_machine_affects_its_target_only():
    with machines.boot("bookworm", (*depends(), *LAB)) as machine:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(str(AGENT), "agent", filter=lambda member: None if "__pycache__" in member.name else member)
        machine("tar", "-xf", "-", "-C", "/opt", stdin=packed.getvalue())
        for unit, text in UNITS.items():
            machine.write(f"/etc/systemd/system/{unit}.service", f"[Service]\n{text}\n")
        machine("systemctl", "daemon-reload")
        machine("systemctl", "start", "lab-good", "lab-other")

        def invocation(unit):
            return machine("systemctl", "show", "--property=InvocationID,ActiveState", unit)

        def restarted(unit, deadline=60.0):
            return machine("env", "PYTHONPATH=/opt/agent", "python3", "-c", RESTART, unit, str(deadline)).strip()

        before = invocation("lab-good"), invocation("lab-other")
        assert restarted("lab-good.service") == "restarted the unit lab-good.service"
        after = invocation("lab-good"), invocation("lab-other")
        assert after[0] != before[0]
        assert "ActiveState=active" in after[0]
        assert after[1] == before[1]
        assert "lab-broken.service failed because the control process exited" in restarted("lab-broken.service")
        assert "Unit lab-none.service not found" in restarted("lab-none.service")
        assert "RestartError" in restarted("--now")  # the argument is a unit name, never an option
        with within(2):
            assert "which takes longer than 2 s" in restarted("lab-slow.service", 2.0)
        assert "activating" in machine("systemctl", "show", "--property=ActiveState", "lab-slow")

        seen = json.loads(
            machine("env", "PYTHONPATH=/opt/agent", "python3", "-c", UNITS_SEEN, *[f"{unit}.service" for unit in UNITS])
        )
        assert {unit["id"]: unit["state"] for unit in seen} == {
            "lab-good.service": "active",
            "lab-other.service": "active",
            "lab-broken.service": "failed",
            "lab-slow.service": "activating",
        }
        invocations = {unit["id"]: unit["invocation"] for unit in seen}
        assert f"InvocationID={invocations['lab-good.service']}" in after[0]
        assert machine("env", "PYTHONPATH=/opt/agent", "python3", "-c", UNITS_SEEN, "certmedic-none.service") == "[]\n"
