"""Restarting one container, and nothing else.

Where a kubelet runs, a pod's container is stopped and the kubelet makes the next one; `docker restart` there can leave two
copies (kubernetes#31092, #66186; FIELD 6). Without a kubelet it is restarted, or started if it was found stopped.
"""

from __future__ import annotations

import subprocess
from typing import Any, Protocol

from certmedic.core.model import Container

STOP_SECONDS = 10  # etcd-manager has no SIGTERM handler (FIELD 1.2): a longer grace only prolongs the outage
DEADLINE = 60  # of one call to the runtime


class RestartError(Exception):
    """A container could not be restarted; the text says why and what a person can do."""


class Hands(Protocol):
    """What can be done on this machine."""

    def restart(self, container: Container) -> str:
        """Restart a container and return what was done, in a sentence. Raises RestartError where it could not be."""


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
    """Docker, through its SDK. `base_url` as the SDK takes it; each call has a deadline."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def restart(self, container: Container) -> str:
        """Restart by id: the one that was decided on, even if another has its name by now."""
        import docker  # noqa: PLC0415 - heavy, and most agents never act

        try:
            client: Any = docker.APIClient(base_url=self.base_url, timeout=DEADLINE, version="auto")
        except docker.errors.DockerException as error:
            raise RestartError(f"docker is not reachable at {self.base_url}: {error}") from error
        try:
            if container.pod and kubelet_is_active():
                client.stop(container.id, timeout=STOP_SECONDS)
                return f"stopped {container.name}; the kubelet starts it anew"
            client.restart(container.id, timeout=STOP_SECONDS)
        except (docker.errors.DockerException, OSError) as error:
            raise RestartError(f"docker did not restart {container.name}: {error}") from error
        finally:
            client.close()
        return f"restarted {container.name}"
