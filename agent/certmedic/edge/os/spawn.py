"""Starts a reader process and connects to it. Imports little: `certmedic run` starts the reader before it loads the agent."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import NamedTuple

from certmedic.edge.os.run import ENVIRONMENT

# glibc chooses its strstr() when a process starts: the fast one for processors of Intel, else one that takes four times as long for our needles
# unless this is set. The reader's unit has it too. Other C libraries and processors ignore it.
GLIBC_TUNABLES = "glibc.cpu.hwcaps=Fast_Unaligned_Load"
VARIABLE = "CERTMEDIC_READER"  # names the socket of a reader with its own unit
PATIENCE = 20.0  # seconds for systemd to take the connections


class Begun(NamedTuple):
    """The agent's ends of the connections to a reader that was started."""

    entries: socket.socket
    questions: socket.socket
    process: subprocess.Popen[bytes] | None = None  # None: systemd started it


def child() -> Begun:
    """Start a reader as a child with the agent's own powers. Raises OSError."""
    entries, its_entries = socket.socketpair()
    questions, its_questions = socket.socketpair()
    with its_entries, its_questions:
        numbers = its_entries.fileno(), its_questions.fileno()
        process = subprocess.Popen(
            [sys.executable, "-P", "-s", "-m", "certmedic.reader", *map(str, numbers)],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            pass_fds=numbers,
            cwd="/",
            # Its modules are those of this process; nothing else of the environment is its concern.
            env={
                **ENVIRONMENT,
                "GLIBC_TUNABLES": GLIBC_TUNABLES,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            start_new_session=True,
        )
    return Begun(entries, questions, process)


def unit(path: str) -> Begun:
    """Have systemd start a reader by its socket, and pass it two connections. Raises OSError."""
    entries, its_entries = socket.socketpair()
    questions, its_questions = socket.socketpair()
    try:
        with its_entries, its_questions, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
            door.settimeout(PATIENCE)
            door.connect(path)
            socket.send_fds(door, [b"agent"], [its_entries.fileno(), its_questions.fileno()])
    except OSError as error:
        entries.close()
        questions.close()
        reason = f"{error.strerror or error}; start its socket: sudo systemctl start certmedic-reader.socket"
        raise OSError(error.errno, reason, path) from error
    return Begun(entries, questions)


def reader() -> Begun:
    """Start a reader: systemd's, if the unit names its socket, else a child. Raises OSError."""
    path = os.environ.get(VARIABLE)
    return unit(path) if path else child()
