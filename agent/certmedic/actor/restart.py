"""Restart one container, unit or program, and nothing else.

With a kubelet, a pod's container is only stopped and the kubelet creates the next one: `docker restart` can leave two copies
there (kubernetes#31092, #66186; FIELD 6). Without a kubelet, a container is restarted, or started if it was stopped.

`Container.runtime` selects the means: docker, containerd, systemd (the id is the unit) or command. Every call has a deadline,
since a daemon may be dead or hang. All failures are a RestartError.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from certmedic.actor.ports import Restarts
from certmedic.core.model import Container
from certmedic.edge.os import docker, run

STOP_SECONDS = 10  # etcd-manager has no SIGTERM handler (FIELD 1.2): a longer grace period only prolongs the outage
KILL_SECONDS = 20  # crictl's own time-out, beyond the grace period: its default of 2 s is too short for a SIGKILL
DEADLINE = 60  # seconds for one restart
MOST_TOLD = 500  # characters of a failed program's output in the error


class RestartError(Exception):
    """A target was not restarted; the text says why and what a person can do."""


class OutOfTimeError(RestartError):
    """A program was killed at its deadline."""


class AnyHands:
    """Selects the means by the runtime of the container."""

    def __init__(self, by_runtime: Mapping[str, Restarts]) -> None:
        self.by_runtime = by_runtime

    def restart(self, container: Container) -> str:
        """Restart with the means for the container's runtime."""
        hands = self.by_runtime.get(container.runtime)
        if hands is None:
            known = ", ".join(sorted(self.by_runtime)) or "none"
            raise RestartError(
                f"{container.name}: there is no means to restart what {container.runtime!r} runs; there is: {known}"
            )
        return hands.restart(container)


def kubelet_is_active() -> bool:
    """Whether systemd runs a kubelet here, which recreates stopped containers."""
    try:
        return run.run(["systemctl", "is-active", "kubelet.service"], deadline=time.monotonic() + 5).code == 0
    except run.RunError:
        return False


class DockerHands:
    """Docker, over the socket at `url`, e.g. unix:///run/docker.sock; `deadline` in seconds."""

    def __init__(self, url: str, *, deadline: float = DEADLINE) -> None:
        self.url = url
        self.deadline = deadline

    def restart(self, container: Container) -> str:
        """Restart by id: another container may have taken the name since the decision."""
        until = time.monotonic() + self.deadline
        stop_only = bool(container.pod) and kubelet_is_active()
        verb = "stop" if stop_only else "restart"
        try:
            # A daemon that hangs would carry out later what it was sent now: send the order only to one that answers.
            docker.ask(self.url, "/version", deadline=until)
        except (OSError, ValueError) as error:
            raise RestartError(f"docker is not reachable at {self.url}: {_reason(error)}") from error
        try:
            number = quote(container.id, safe="")
            docker.order(self.url, f"/containers/{number}/{verb}?t={STOP_SECONDS}", deadline=until)
        except OSError as error:
            raise RestartError(f"docker did not restart {container.name}: {_reason(error)}") from error
        return (
            f"stopped {container.name}; the kubelet starts the next one" if stop_only else f"restarted {container.name}"
        )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


class ContainerdHands:
    """containerd, through crictl if a kubelet runs and crictl is installed, otherwise through containerd's own ctr.

    `address` is containerd's socket; `deadline` in seconds. Kubernetes keeps its containers in the namespace k8s.io.
    """

    def __init__(
        self, address: str = "/run/containerd/containerd.sock", *, namespace: str = "k8s.io", deadline: float = DEADLINE
    ) -> None:
        self.address = address
        self.namespace = namespace
        self.deadline = deadline

    def restart(self, container: Container) -> str:
        """Stop by id; start the container again unless the kubelet does."""
        until = time.monotonic() + self.deadline
        by_kubelet = bool(container.pod) and kubelet_is_active()
        if by_kubelet and run.find("crictl"):
            way = [f"--runtime-endpoint=unix://{self.address}", f"--timeout={KILL_SECONDS}s"]
            _run(["crictl", *way, "stop", f"--timeout={STOP_SECONDS}", container.id], until)
            return f"stopped {container.name}; the kubelet starts the next one"
        self._ctr(until, "containers", "info", container.id)  # fails if there is no such container
        self._stop(container.id, until)
        if by_kubelet:
            return f"stopped {container.name}; the kubelet starts the next one"
        try:
            if self._status(container.id, until):
                self._ctr(until, "tasks", "delete", container.id)
            # Nobody would drain the pipes of its output, and a full pipe blocks the program.
            self._ctr(until, "tasks", "start", "--detach", "--null-io", container.id)
        except RestartError as error:
            start = f"ctr -n {self.namespace} tasks start --detach --null-io {container.id}"
            raise RestartError(f"{container.name} was stopped and does not run: {error}. Start it: {start}") from error
        return f"restarted {container.name}; what it prints is no longer kept"

    def _stop(self, number: str, until: float) -> None:
        """Stop a container's task, if it runs: with SIGTERM, then with SIGKILL."""
        for name, seconds in (("SIGTERM", STOP_SECONDS), ("SIGKILL", self.deadline)):
            if self._status(number, until) in ("", "STOPPED"):
                return
            try:
                self._ctr(until, "tasks", "kill", f"--signal={name}", number)
            except RestartError:
                # The task may have ended by itself meanwhile.
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
        """Return RUNNING, STOPPED, ...; "" if the container has no task."""
        lines = (line.split() for line in self._ctr(until, "tasks", "list").splitlines()[1:])
        return next((words[2] for words in lines if len(words) == 3 and words[0] == number), "")

    def _ctr(self, until: float, *words: str) -> str:
        return _run(
            ["ctr", f"--address={self.address}", "--connect-timeout=5s", f"--namespace={self.namespace}", *words], until
        )


class SystemdHands:
    """systemd. The container's id is the unit; `deadline` in seconds."""

    def __init__(self, *, deadline: float = DEADLINE) -> None:
        self.deadline = deadline

    def restart(self, container: Container) -> str:
        """Restart a unit and wait until it is up. At the deadline the wait ends; the restart goes on."""
        try:
            _run(["systemctl", "restart", "--", container.id], time.monotonic() + self.deadline)
        except OutOfTimeError:
            return f"told systemd to restart the unit {container.id}, which takes longer than {self.deadline:.0f} s"
        return f"restarted the unit {container.id}"


class CommandHands:
    """The operator's programs, each an argv that runs without a shell; `deadline` in seconds.

    The container's id is the argv, quoted for a shell. Only a configured argv runs. CERTMEDIC_FOR in its environment holds the
    container's name, e.g. "kubeadm".
    """

    def __init__(self, commands: Iterable[Sequence[str]], *, deadline: float = DEADLINE) -> None:
        self.commands = {shlex.join(argv): tuple(argv) for argv in commands}
        self.deadline = deadline

    def restart(self, container: Container) -> str:
        """Run the program; exit status 0 counts as done."""
        argv = self.commands.get(container.id)
        if argv is None:
            raise RestartError(f"`{container.id}` is no longer in the configuration (remedy.means), so it was not run")
        _run(argv, time.monotonic() + self.deadline, {"CERTMEDIC_FOR": container.name})
        return f"ran {container.id}"


def _run(argv: Sequence[str], until: float, extra: Mapping[str, str] | None = None) -> str:
    """Run a program and return its standard output. Raises RestartError if it cannot be run or fails."""
    try:
        done = run.run(argv, deadline=until, extra=extra)
    except run.OutOfTimeError as error:
        raise OutOfTimeError(str(error)) from error
    except run.RunError as error:
        raise RestartError(str(error)) from error
    if done.code:
        output = (done.out + done.err).strip()[-MOST_TOLD:]
        raise RestartError(f"`{' '.join(argv)}` failed with {done.code}: {output or 'it said nothing'}")
    return done.out
