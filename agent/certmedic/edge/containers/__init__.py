"""The logs of a Docker daemon's containers.

source.py  the source: the daemon's events, and one stream for each container
run.py     its state during one connection
stream.py  the lines of one stream
daemon.py  requests, and errors that say what to do
own.py     the container that this process runs in
"""

from certmedic.edge.containers.daemon import DockerError
from certmedic.edge.containers.own import own_ids
from certmedic.edge.containers.source import DockerSource

__all__ = ["DockerError", "DockerSource", "own_ids"]
