"""Docker's own files: which containers there are, and where each keeps its log, without the power of Docker's socket.

Docker writes `config.v2.json` and `hostconfig.json` in the folder of each container again at each change of its state.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from certmedic.edge.os.readfile import may_access, read_bytes

ROOT: Final = "/var/lib/docker"
SETTINGS: Final = "/etc/docker/daemon.json"
DEADLINE: Final = 2.0  # seconds for the daemon
MOST_CONTAINERS: Final = 2000
_MOST_TAGS: Final = 4 * 1024 * 1024  # bytes


def data_root(url: str, *, earlier: str = "") -> str:
    """Return the folder of Docker's data, from the daemon if its socket may be used, else from its settings, else `earlier`. Never raises."""
    path = url.removeprefix("unix://")
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if path.startswith("/") and may_access(path, os.W_OK):
            from certmedic.edge.os import docker  # noqa: PLC0415 - the reader has no socket, and does not load it

            return str(docker.ask(url, "/info", deadline=time.monotonic() + DEADLINE)["DockerRootDir"])
    with contextlib.suppress(OSError, ValueError, AttributeError):
        settings = json.loads(read_bytes(SETTINGS))
        if isinstance(root := settings.get("data-root") or settings.get("graph"), str) and root.startswith("/"):
            return root
    return earlier or ROOT


def is_closed(url: str) -> bool:
    """Whether Docker's socket exists and this process may not use it."""
    path = url.removeprefix("unix://")
    return path.startswith("/") and os.path.lexists(path) and not may_access(path, os.W_OK)


def ids(root: str) -> list[str]:
    """Return the ids of the containers; empty if the folder cannot be read."""
    with contextlib.suppress(OSError):
        names = sorted(os.listdir(f"{root}/containers"))[:MOST_CONTAINERS]  # noqa: PTH208 - names are all that is needed
        return [name for name in names if _is_id(name)]
    return []


def config(root: str, number: str) -> Mapping[str, Any]:
    """Return what Docker wrote of a container. Raises OSError or ValueError."""
    if not _is_id(number):
        raise ValueError("no id of a container")
    return _object(f"{root}/containers/{number}/config.v2.json")


def driver(root: str, number: str) -> str:
    """Return the log driver of a container; "" if it cannot be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return str(_object(f"{root}/containers/{number}/hostconfig.json")["LogConfig"]["Type"])
    return ""


def tags(root: str, image: str) -> Iterator[str]:
    """Yield the tags of an image by its id. Never raises."""
    with contextlib.suppress(OSError):
        for storage in sorted(os.listdir(f"{root}/image")):  # noqa: PTH208 - as above
            with contextlib.suppress(OSError, ValueError, AttributeError):
                known = json.loads(read_bytes(f"{root}/image/{storage}/repositories.json", _MOST_TAGS))
                for named in known["Repositories"].values():
                    yield from (tag for tag, id_ in named.items() if id_ == image and "@" not in tag)


def _is_id(name: str) -> bool:
    return len(name) == 64 and name.isalnum()


def _object(path: str) -> Mapping[str, Any]:
    made = json.loads(read_bytes(path))
    if not isinstance(made, dict):
        raise ValueError(f"{path} holds no object")  # noqa: TRY004 - for the caller it is a wrong value
    return made
