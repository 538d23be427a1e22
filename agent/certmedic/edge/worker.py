"""Slow work away from the thread that owns the state: probes, deliveries and actions each have a worker.

The owner begins a job and takes its results whenever they come, so that it feeds the watchdog meanwhile. What a job needs
written down before it goes on, it asks the owner to do.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

ANSWER = 60.0  # seconds in which the owner must have done what a job asks of it


class WorkerError(Exception):
    """The owner did not do what a job asked of it."""


class Worker(Protocol):
    """Does one job after another; a job yields its results."""

    @property
    def busy(self) -> bool:
        """Whether a job runs, or results of one were not taken yet."""

    def begin(self, job: Callable[[], Iterable[object]]) -> None:
        """Start a job. Only if not `busy`."""

    def result(self, timeout: float) -> object | None:
        """Return the next result of the job, waiting `timeout` seconds at most; None if there is none yet, or none any more."""

    def on_owner(self, ask: Callable[[], None]) -> None:
        """Of a job: have the owner do something, and wait until it is done. Raises WorkerError."""


class Inline:
    """A worker without a thread: a job is done when it begins. For commands and tests, which have nothing else to do."""

    def __init__(self) -> None:
        self._results: list[object] = []

    @property
    def busy(self) -> bool:
        """Whether results were not taken yet."""
        return bool(self._results)

    def begin(self, job: Callable[[], Iterable[object]]) -> None:
        """Do the job."""
        self._results.extend(job())

    def result(self, timeout: float) -> object | None:  # noqa: ARG002 - the Protocol's
        """Return the next result."""
        return self._results.pop(0) if self._results else None

    def on_owner(self, ask: Callable[[], None]) -> None:
        """Do it at once: there is one thread."""
        ask()


@dataclass(frozen=True, slots=True)
class _Ask:
    do: Callable[[], None]
    done: threading.Event


class _Over:
    """The job has ended."""


class Thread:
    """A worker with a thread. A daemon: a job that hangs must not keep the agent from stopping."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], Iterable[object]]] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._running = False
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether a job runs, or results of one were not taken yet."""
        return self._running

    def begin(self, job: Callable[[], Iterable[object]]) -> None:
        """Start a job on the thread."""
        self._running = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def result(self, timeout: float) -> object | None:
        """Return the next result; meanwhile do what the job asks of the owner."""
        while self._running:
            try:
                result = self._results.get(timeout=timeout) if timeout > 0 else self._results.get_nowait()
            except queue.Empty:
                return None
            if isinstance(result, _Ask):
                result.do()
                result.done.set()
            elif isinstance(result, _Over):
                self._running = False
            else:
                return result
        return None

    def on_owner(self, ask: Callable[[], None]) -> None:
        """Have the owner's thread do something, and wait until it is done."""
        request = _Ask(ask, threading.Event())
        self._results.put(request)
        if not request.done.wait(ANSWER):
            raise WorkerError(f"the state was not written within {ANSWER:g} s")

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                for result in job():
                    self._results.put(result)
            except Exception as error:  # noqa: BLE001 - the owner hears of it; nobody else would
                self._results.put(error)
            self._results.put(_Over())


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """One for each kind of slow work, so that none waits for another."""

    probe: Worker
    courier: Worker
    hands: Worker


def inline() -> Workers:
    """Return workers without threads."""
    return Workers(probe=Inline(), courier=Inline(), hands=Inline())


def threads() -> Workers:
    """Return workers with a thread each."""
    return Workers(probe=Thread("probe"), courier=Thread("courier"), hands=Thread("hands"))
