"""The agent's end of the actor's socket: it asks, and the actor decides. Nothing here raises."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from certmedic.core import codec
from certmedic.core.model import Action, Lease, VoterList
from certmedic.core.request import Members, Release, Reply, Request, Take, Undo, cure_of, pack

SOCKET = "/run/certmedic-actor/socket"
VARIABLE = "CERTMEDIC_ACTOR"  # names another socket, as DOCKER_HOST does for Docker
ABSENT = "the actor is not installed, so certmedic cannot act here"
CURE = 150.0  # seconds for one action with its checks, which a runtime may hold up for a minute
QUESTION = 25.0  # seconds for a lease or the members
AGAIN = 1.0  # seconds between two attempts to reach an actor that was killed
MOST_BYTES = 256 * 1024  # of a reply


def address() -> str:
    """Return the path of the actor's socket."""
    return os.environ.get(VARIABLE) or SOCKET


def is_installed() -> bool:
    """Whether the actor can be asked at all."""
    return Path(address()).is_socket()


class ActorClient:
    """Asks the actor at a socket."""

    def __init__(self, path: str, *, cure: float = CURE, question: float = QUESTION) -> None:
        self.path = path
        self._cure = cure
        self._question = question

    def cure(self, ref: int, action: Action) -> Reply:
        """Have an action performed. If the actor is killed meanwhile, ask again: it knows `ref` and acts once."""
        return self._ask(cure_of(ref, action), self._cure)

    def undo(self, ref: int) -> Reply:
        """Have put back what an action replaced."""
        return self._ask(Undo(ref=ref), self._cure)

    def members(self) -> Mapping[str, VoterList]:
        """Return the members of this machine's etcd groups; empty if the actor does not answer."""
        return self._ask(Members(), self._question).members if Path(self.path).is_socket() else {}

    def take(self, group: str) -> Lease:
        """Try to get the lease of a group's etcd."""
        reply = self._ask(Take(group=group), self._question)
        return reply.lease or Lease(state="none", why=f"the actor took no lease: {reply.why}")

    def release(self, group: str) -> None:
        """Have the lease released; otherwise it expires."""
        self._ask(Release(group=group), self._question)

    def _ask(self, request: Request, patience: float) -> Reply:
        """Return the reply. `result` is `refused` if the actor was never reached, `late` if its reply never came."""
        until = time.monotonic() + patience
        sent, why = False, "no time was left"
        while (left := until - time.monotonic()) > 0:
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
                    connection.settimeout(left)
                    connection.connect(self.path)
                    connection.sendall(pack(request))
                    sent = True
                    if data := connection.recv(MOST_BYTES):
                        return codec.load(Reply, data.decode())
                    why = "the actor ended before it replied"
            except FileNotFoundError:
                why = ABSENT
                break
            except OSError as error:
                why = f"the actor at {self.path} does not answer: {error.strerror or error}"
            except (ValueError, KeyError, TypeError):
                why = "the actor's reply is not understood"
                break
            time.sleep(min(AGAIN, max(until - time.monotonic(), 0)))
        return Reply(result="late" if sent else "refused", why=why)
