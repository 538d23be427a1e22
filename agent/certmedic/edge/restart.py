"""Restarting one container, unit or what a command stands for, and nothing else.

Where a kubelet runs, a pod's container is stopped and the kubelet makes the next one; `docker restart` there can leave two
copies (kubernetes#31092, #66186; FIELD 6). Without a kubelet it is restarted, or started if it was found stopped.

A target is a `Container`, and its `runtime` says by which means: docker, containerd, systemd (its id is the unit) or command.
Whatever a means talks to may be dead or hang: each call has a deadline, after which there is a RestartError.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from certmedic.core.model import Container
from certmedic.ports import Hands

STOP_SECONDS = 10  # etcd-manager has no SIGTERM handler (FIELD 1.2): a longer grace only prolongs the outage
KILL_SECONDS = 20  # that what ignores its SIGTERM may take to be killed
DEADLINE = 60  # of one restart; a call to docker may take it once more, for the stop itself
MOST_READ = 1024 * 1024  # bytes of what a program said
MOST_TOLD = 500  # characters of what a program said that failed

# What a program gets that is started here: nothing of ours, which holds the addresses of people.
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class RestartError(Exception):
    """A target could not be restarted; the text says why and what a person can do."""


class OutOfTimeError(RestartError):
    """A program was killed at the end of its time."""


class AnyHands:
    """The means by a target's runtime."""

    def __init__(self, by_runtime: Mapping[str, Hands]) -> None:
        self.by_runtime = by_runtime

    def restart(self, container: Container) -> str:
        """Restart by the means of the container's runtime."""
        hands = self.by_runtime.get(container.runtime)
        if hands is None:
            known = ", ".join(sorted(self.by_runtime)) or "none"
            raise RestartError(
                f"{container.name}: there is no means to restart what {container.runtime!r} runs; there is: {known}"
            )
        return hands.restart(container)


def kubelet_is_active() -> bool:
    """Whether systemd runs a kubelet here, which recreates what is stopped."""
    try:
        asked = subprocess.run(
            ["systemctl", "is-active", "--quiet", "kubelet.service"], capture_output=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


class DockerHands:
    """Docker, through its SDK. `base_url` as the SDK takes it."""

    def __init__(self, base_url: str, *, deadline: float = DEADLINE) -> None:
        self.base_url = base_url
        self.deadline = deadline

    def restart(self, container: Container) -> str:
        """Restart by id: the one that was decided on, even if another has its name by now."""
        try:
            import docker  # noqa: PLC0415 - heavy, and most agents never act
        except ImportError as error:
            raise RestartError(
                f"docker is restarted through its Python library, which is missing: install python3-docker ({error})"
            ) from error

        self._must_listen()
        try:
            client: Any = docker.APIClient(base_url=self.base_url, timeout=self.deadline, version="auto")
        except Exception as error:
            # The SDK lets errors of requests, urllib3 and http.client through as they are.
            raise RestartError(f"docker is not reachable at {self.base_url}: {error}") from error
        try:
            if container.pod and kubelet_is_active():
                client.stop(container.id, timeout=STOP_SECONDS)
                return f"stopped {container.name}; the kubelet starts it anew"
            client.restart(container.id, timeout=STOP_SECONDS)
        except Exception as error:
            # As above.
            raise RestartError(f"docker did not restart {container.name}: {error}") from error
        finally:
            client.close()
        return f"restarted {container.name}"

    def _must_listen(self) -> None:
        """The SDK leaves a socket open where nobody listens, so that is found out before it is asked."""
        if not self.base_url.startswith("unix://"):
            return
        path = self.base_url.removeprefix("unix://")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(self.deadline)
            try:
                sock.connect(path)
            except OSError as error:
                raise RestartError(f"docker is not reachable at {self.base_url}: {error.strerror or error}") from error


class ContainerdHands:
    """containerd: through crictl where a kubelet runs and crictl is there, else through containerd's own ctr.

    `address` is containerd's socket. Kubernetes' containers are in the namespace k8s.io.
    """

    def __init__(
        self, address: str = "/run/containerd/containerd.sock", *, namespace: str = "k8s.io", deadline: float = DEADLINE
    ) -> None:
        self.address = address
        self.namespace = namespace
        self.deadline = deadline

    def restart(self, container: Container) -> str:
        """Restart by id, and where nobody else would start it again, start it."""
        until = time.monotonic() + self.deadline
        by_kubelet = bool(container.pod) and kubelet_is_active()
        if by_kubelet and shutil.which("crictl", path=_ENVIRONMENT["PATH"]):
            # crictl gives up that long after the grace has ended, which is 2 s if it is not told: little for what has to be killed.
            way = [f"--runtime-endpoint=unix://{self.address}", f"--timeout={KILL_SECONDS}s"]
            _run(["crictl", *way, "stop", f"--timeout={STOP_SECONDS}", container.id], until)
            return f"stopped {container.name}; the kubelet starts it anew"
        self._ctr(until, "containers", "info", container.id)  # fails where there is no such container
        self._stop(container.id, until)
        if by_kubelet:
            return f"stopped {container.name}; the kubelet starts it anew"
        try:
            if self._status(container.id, until):
                self._ctr(until, "tasks", "delete", container.id)
            # Its output would go to pipes that nobody empties, and it would stop at the first that is full.
            self._ctr(until, "tasks", "start", "--detach", "--null-io", container.id)
        except RestartError as error:
            start = f"ctr -n {self.namespace} tasks start --detach --null-io {container.id}"
            raise RestartError(f"{container.name} was stopped and does not run: {error}. Start it: {start}") from error
        return f"restarted {container.name}; what it prints is no longer kept"

    def _stop(self, number: str, until: float) -> None:
        """Stop a container's task, if it runs: with SIGTERM, then without asking."""
        for name, seconds in (("SIGTERM", STOP_SECONDS), ("SIGKILL", self.deadline)):
            if self._status(number, until) in ("", "STOPPED"):
                return
            try:
                self._ctr(until, "tasks", "kill", f"--signal={name}", number)
            except RestartError:
                # It may have ended by itself in this very moment.
                if self._status(number, until) in ("", "STOPPED"):
                    return
                raise
            patience = min(time.monotonic() + seconds, until)
            while time.monotonic() < patience:
                if self._status(number, until) in ("", "STOPPED"):
                    return
                time.sleep(0.1)
        raise RestartError(f"container {number} still runs, though it was killed")

    def _status(self, number: str, until: float) -> str:
        """Return RUNNING, STOPPED, ...; empty where the container has no task."""
        lines = (line.split() for line in self._ctr(until, "tasks", "list").splitlines()[1:])
        return next((words[2] for words in lines if len(words) == 3 and words[0] == number), "")

    def _ctr(self, until: float, *words: str) -> str:
        return _run(
            ["ctr", f"--address={self.address}", "--connect-timeout=5s", f"--namespace={self.namespace}", *words], until
        )


class SystemdHands:
    """Units of systemd. The container's id is the unit's name."""

    def __init__(self, *, deadline: float = DEADLINE) -> None:
        self.deadline = deadline

    def restart(self, container: Container) -> str:
        """Restart a unit and wait until systemd says that it is up; one that takes longer goes on without us."""
        try:
            _run(["systemctl", "restart", "--", container.id], time.monotonic() + self.deadline)
        except OutOfTimeError:
            return f"told systemd to restart the unit {container.id}, which takes longer than {self.deadline:.0f} s"
        return f"restarted the unit {container.id}"


class CommandHands:
    """Programs of the operator's, each an argv: no shell, nothing of our environment, and an end to its time.

    The container's id is the argv as a shell would take it, and only one that is configured now is run. It learns what it is
    for from CERTMEDIC_FOR, e.g. "kubeadm".
    """

    def __init__(self, commands: Iterable[Sequence[str]], *, deadline: float = DEADLINE) -> None:
        self.commands = {shlex.join(argv): tuple(argv) for argv in commands}
        self.deadline = deadline

    def restart(self, container: Container) -> str:
        """Run it; an exit status of 0 counts as done."""
        argv = self.commands.get(container.id)
        if argv is None:
            raise RestartError(f"`{container.id}` is no longer in the configuration (remedy.means), so it was not run")
        _run(argv, time.monotonic() + self.deadline, {"CERTMEDIC_FOR": container.name})
        return f"ran {container.id}"


def _run(argv: Sequence[str], until: float, environment: Mapping[str, str] | None = None) -> str:
    """Run a program to its end and return what it printed. Raises RestartError; a program out of time is killed, with its children."""
    shown = " ".join(argv)
    left = until - time.monotonic()
    if left <= 0:
        raise RestartError(f"no time was left for `{shown}`")
    # Into a file and not a pipe, which a child that outlives the program would keep open.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**_ENVIRONMENT, **(environment or {})},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise RestartError(f"`{shown}` cannot be run: {error.strerror or error}") from error
        try:
            code = process.wait(left)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise OutOfTimeError(f"`{shown}` did not end in time and was killed after {left:.0f} s") from None
        output.seek(0)
        said = output.read(MOST_READ).decode(errors="replace").strip()
    if code:
        raise RestartError(f"`{shown}` failed with {code}: {said[-MOST_TOLD:] or 'it said nothing'}")
    return said
