"""The reader's end of its connections to the agent.

There are two processes: one answers questions about files and processes, and its child follows the sources, and so reads what
strangers write. Neither can do what the other can. They serve one agent and end with its connections: whatever starts them again begins at the positions that the agent has.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
import time
from typing import NoReturn

from certmedic.core.model import Item, LogEntry, Progress, SourceStatus
from certmedic.edge.os.memory import Collector, freeze, share_one_arena
from certmedic.edge.wire import BEAT, Connection, Hello, Welcome, WireError, dump, hello_of, items_to
from certmedic.reader.sandbox import confine, keep_sight

ACTIVATED = 3  # the descriptor of the socket, sd_listen_fds(3)
PATIENCE = 10.0  # seconds for the agent's connections
GREETING = 60.0  # seconds for its greeting: it loads its modules meanwhile
A_WHILE = 3600.0  # seconds
FRAME = 256 * 1024  # characters after which a frame is sent
ITEM = 200  # characters of an item besides its text, roughly
FIRST = 10.0  # seconds after the start in which no report is kept
_PR_SET_PDEATHSIG = 1

log = logging.getLogger(__name__)


def main() -> None:
    """Serve the agent: on the descriptors that are the arguments, else on those that it passes over systemd's socket."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if len(sys.argv) > 1:
        die_with_parent()
        serve(*(socket.socket(fileno=int(number)) for number in sys.argv[1:3]))
    serve(*passed(socket.socket(fileno=ACTIVATED)))


def passed(door: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Return the two connections that the agent passes over a listening socket of systemd's. Ends the process without them."""
    with door:
        caller, _ = door.accept()
    with caller, contextlib.suppress(OSError, ValueError):
        caller.settimeout(PATIENCE)
        _, descriptors, _, _ = socket.recv_fds(caller, 64, 2)
        entries, questions = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        return entries, questions
    sys.exit(0)


def die_with_parent() -> None:
    """Have the kernel end this process with the one that started it, even while it is stopped."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def serve(entries: socket.socket, questions: socket.socket) -> NoReturn:
    """Serve the agent on two connections, in two processes, until it is gone."""
    this = os.getpid()
    share_one_arena()
    import certmedic.edge.static_pods  # noqa: F401, PLC0415 - with all that both processes need

    freeze()
    if (follower := os.fork()) == 0:
        questions.close()
        # Landlock keeps a confined process from signalling its child, so that the confined one is the child.
        die_with_parent()
        if os.getppid() == this:
            follow(entries)
        os._exit(0)
    entries.close()
    keep_sight()
    serve_questions(Connection(questions))
    with contextlib.suppress(ChildProcessError):
        _, status = os.waitpid(follower, os.WNOHANG)
        if status and os.WIFSIGNALED(status):
            os.kill(this, os.WTERMSIG(status))  # so that the agent, which closed the connections, learns why
    os._exit(0)


def follow(entries: socket.socket) -> NoReturn:
    """Confine this process, and send what the sources say until the agent is gone."""
    if not confine():
        log.info("the reader could write files and use the network: this kernel has no Landlock that would refuse that")
    try:
        serve_entries(Connection(entries))
    except WireError as error:
        log.debug("the agent %s", error)
    # Without waiting for a thread of Docker's: nothing is written, and the agent has the positions.
    sys.stderr.flush()
    os._exit(0)


class Outgoing:
    """The items that are to be sent. Each frame wakes two threads of the agent: reports can wait for each other, lines cannot."""

    def __init__(self, connection: Connection) -> None:
        self.due = 0.0  # when a frame is to be sent, on the monotonic clock
        self._connection = connection
        self._items: list[Item] = []
        self._size = 0  # characters of them
        self._first_until = time.monotonic() + FIRST
        self._gone: WireError | None = None

    def put(self, item: Item) -> None:
        """Add an item; send a full frame, which waits for the agent."""
        self._items.append(item)
        self._size += ITEM + (len(item.text) if isinstance(item, LogEntry) else 0)
        if not isinstance(item, Progress | SourceStatus) or time.monotonic() < self._first_until:
            self.due = 0.0
        if self._size > FRAME:
            # Not raised into a source, where it would count as the source's failure.
            try:
                self._send()
            except WireError as error:
                self._gone, self.due = error, 0.0

    def send(self, now: float) -> None:
        """Send what there is, or a sign of life, at `now` (monotonic). Raises WireError if the agent is gone."""
        if self._gone:
            raise self._gone
        self._send()
        self.due = now + BEAT

    def _send(self) -> None:
        items, self._items, self._size = self._items, [], 0
        self._connection.send(items_to(items))


def serve_entries(connection: Connection) -> None:
    """Read what the agent asks for, until it is gone. Raises WireError then."""
    from certmedic.edge.roundrobin import RoundRobin  # noqa: PLC0415 - the agent begins meanwhile
    from certmedic.reader.sources import sources, there  # noqa: PLC0415 - as above

    hello = greeted(connection)
    connection.send(dump(Welcome(pid=os.getpid(), there=there(hello.watching))))
    own = frozenset({os.getpid(), hello.pid} - {0})
    outgoing, collector = Outgoing(connection), Collector()
    with contextlib.closing(RoundRobin(sources(hello.watching, own), hello.positions, outgoing.put)) as rounds:
        while True:
            wait = rounds.go_round()
            if (now := time.monotonic()) >= outgoing.due:
                outgoing.send(now)
                collector.turn(now)
            if wait:  # even a sleep of no time at all gives up the processor, at a block of a backlog each
                time.sleep(wait)


def serve_questions(connection: Connection) -> None:
    """Answer the agent's questions, until it is gone."""
    try:
        from certmedic.edge.facts.sight import Direct, answer  # noqa: PLC0415 - as above

        watching = greeted(connection).watching
        sight = Direct(docker_url=watching.docker_url or None, containerd=watching.containerd or None)
        collector = Collector()
        while True:
            collector.turn(time.monotonic())
            question = connection.receive(A_WHILE)
            if question is None:
                continue
            try:
                method, *arguments = question
                reply = ["answer", answer(sight, method, arguments)]
            except Exception as error:  # noqa: BLE001 - the agent reports it, and the next question is answered
                reply = ["fault", f"{type(error).__name__}: {error}"]
            connection.send(reply)
    except WireError as error:
        log.debug("the agent %s", error)


def greeted(connection: Connection) -> Hello:
    """Return the agent's greeting. Raises WireError."""
    frame = connection.receive(GREETING)
    if frame is None:
        raise WireError("sent no greeting")
    return hello_of(frame)
