"""Run a program by its absolute path, in a clean environment, with a deadline and a cap on its output."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Our own environment is not inherited: it may hold notification URLs and secrets.
ENVIRONMENT: Mapping[str, str] = {"PATH": PATH, "LC_ALL": "C.UTF-8"}
MOST_OUTPUT = 4 * 1024 * 1024  # bytes of each stream that are kept
_TICK = 0.05  # seconds between two looks whether the program has ended


class RunError(Exception):
    """A program could not be run; the text says why."""


class OutOfTimeError(RunError):
    """A program was killed at its deadline, with its children."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Exit status and output of a program."""

    code: int
    out: str
    err: str


def find(name: str) -> str:
    """Return the absolute path of a program in `PATH`; "" if there is none. An absolute path stays."""
    if name.startswith("/"):
        return name
    there = (f"{folder}/{name}" for folder in PATH.split(":"))
    return next((path for path in there if Path(path).is_file() and os.access(path, os.X_OK)), "")


def run(
    argv: Sequence[str], *, deadline: float, most: int = MOST_OUTPUT, extra: Mapping[str, str] | None = None
) -> Ran:
    """Run a program to its end. `deadline` is on the monotonic clock; `extra` joins the environment. Raises RunError.

    It returns when the program ends. A child that outlives the program loses its output then.
    """
    shown = " ".join(argv)
    if deadline <= time.monotonic():
        raise OutOfTimeError(f"no time was left for `{shown}`")
    program = find(argv[0])
    if not program:
        raise RunError(f"`{shown}` cannot be run: there is no {argv[0]} in {PATH}")
    try:
        process = subprocess.Popen(
            [program, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**ENVIRONMENT, **(extra or {})},
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise RunError(f"`{shown}` cannot be run: {getattr(error, 'strerror', None) or error}") from error
    began = time.monotonic()
    try:
        out, err = _collect(process, deadline, most)
    except TimeoutError:
        raise OutOfTimeError(
            f"`{shown}` did not end in time and was killed after {time.monotonic() - began:.0f} s"
        ) from None
    finally:
        _end(process)
    return Ran(code=process.returncode, out=out.decode(errors="replace"), err=err.decode(errors="replace"))


def _collect(process: subprocess.Popen[bytes], deadline: float, most: int) -> tuple[bytes, bytes]:
    """Return both outputs once the program has ended. Raises TimeoutError."""
    streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
    kept = [bytearray() for _ in streams]
    with selectors.DefaultSelector() as selector:
        for stream, data in zip(streams, kept, strict=True):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ, data)
        while process.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if not selector.get_map():
                time.sleep(min(left, _TICK))
            for key, _ in selector.select(min(left, _TICK)):
                if not _read(key.fd, key.data, most):
                    selector.unregister(key.fileobj)
    # Drain the pipes. A child that outlives the program may go on writing, so the size is capped.
    for stream, data in zip(streams, kept, strict=True):
        while len(data) < most and _read(stream.fileno(), data, most):
            pass
    return bytes(kept[0]), bytes(kept[1])


def _read(handle: int, into: bytearray, most: int) -> bool:
    """Read once; return whether more may come. Drop bytes beyond the cap, so that the program does not block."""
    try:
        data = os.read(handle, 65536)
    except BlockingIOError:
        return False
    into += data[: max(most - len(into), 0)]
    return bool(data)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
