"""Containers of a Docker daemon: every one's log, from where it was left, for as long as it lives.

source.py  the source: the daemon's events, and one stream for each container
stream.py  the lines of one stream
daemon.py  requests to the daemon
own.py     which container this process runs in
"""

from certmedic.edge.containers.daemon import DockerError
from certmedic.edge.containers.own import own_ids
from certmedic.edge.containers.source import DockerSource

__all__ = ["DockerError", "DockerSource", "own_ids"]
