"""Starts the actor as systemd does: at a connection to its socket, which this process keeps while the actor comes and goes."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labs import AGENT

ACTOR = (sys.executable, "-P", "-m", "certmedic.actor")
_LISTEN = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass
class Activated:
    """A socket, and the program that is started for it."""

    path: Path
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    wrap: Callable[[Sequence[str]], Sequence[str]] = (
        list  # the command line that runs another on the machine of the lab
    )
    output: int = subprocess.DEVNULL  # without a log
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._listener.bind(str(self.path))
        self.path.chmod(0o666)  # the uid that the kernel tells decides, not the mode
        self._listener.listen(128)
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def kill(self) -> bool:
        """Kill the program with SIGKILL; return whether it ran."""
        process = self.process
        if process is None or process.poll() is not None:
            return False
        process.kill()
        process.wait()
        return True

    def close(self) -> None:
        """End the program and remove the socket."""
        os.close(self._stopped)
        self._thread.join()
        os.close(self._stop)
        self._listener.close()
        self.path.unlink(missing_ok=True)
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def _watch(self) -> None:
        """Start the program whenever a connection waits and it does not run; and again at once after a crash, as the unit has it."""
        while True:
            failed = self.process is not None and self.process.poll() not in (None, 0)
            if not failed and self._waits([self._stop, self._listener], 0.05) is None:
                continue
            if self._waits([self._stop], 0) is not None:
                return
            if self.process is None or self.process.poll() is not None:
                self._start()
            elif self._waits([self._stop], 0.05) is not None:
                return

    @staticmethod
    def _waits(what: Sequence[int | socket.socket], seconds: float) -> int | socket.socket | None:
        ready, _, _ = select.select(what, [], [], seconds)
        return ready[0] if ready else None

    def _start(self) -> None:
        """Start the program with the socket as descriptor 3; the pid must be that of the program itself."""
        self.starts += 1
        with contextlib.ExitStack() as stack:
            output = self.output if self.log is None else stack.enter_context(self.log.open("ab"))
            number = self._listener.fileno()
            shell = f'exec 3<&{number}; exec "$0" "$@"'
            self.process = subprocess.Popen(
                ["/bin/bash", "-c", shell, *self.wrap([sys.executable, "-c", _LISTEN, *self.command])],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[number],
                env={**os.environ, "PYTHONPATH": str(AGENT), "LISTEN_FDS": "1", **self.environment},
                start_new_session=True,
            )


def actor_beside(
    config: Path,
    *,
    wrap: Callable[[Sequence[str]], Sequence[str]] = list,
    environment: Mapping[str, str] | None = None,
) -> Activated:
    """Return the actor for a configuration, with its socket `actor.sock`, its record and its log in the same folder."""
    folder = config.parent
    command = [*ACTOR, f"--config={config}", f"--state={folder / 'actor'}", "serve"]
    return Activated(folder / "actor.sock", command, environment or {}, folder / "actor.log", wrap)


@contextlib.contextmanager
def activated(
    path: Path,
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
    output: int = subprocess.DEVNULL,
) -> Iterator[Activated]:
    """Listen at `path` and start `command` at each connection while it does not run."""
    lab = Activated(path, command, environment or {}, log, output=output)
    try:
        yield lab
    finally:
        lab.close()
