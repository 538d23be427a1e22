"""Slow work apart from the thread that owns the state: probes, deliveries and actions each have a worker.

The owner begins a job, goes on feeding the watchdog, and takes the results as they come. A job that must store something before
it goes on asks the owner to do that.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

ANSWER = 60.0  # seconds for the owner to do what a job asks


class WorkerError(Exception):
    """The owner did not do what a job asked."""


class Worker(Protocol):
    """Runs one job after another; a job yields its results."""

    @property
    def busy(self) -> bool:
        """Whether a job runs, or results wait to be taken."""

    def begin(self, job: Callable[[], Iterable[object]]) -> None:
        """Start a job; the worker must not be `busy`."""

    def result(self, timeout: float) -> object | None:
        """Wait at most `timeout` seconds for the next result of the job; None if there is none, or if the job has ended."""

    def on_owner(self, ask: Callable[[], None]) -> None:
        """Called by a job: have the owner do something, and wait until it is done. Raises WorkerError."""


class Inline:
    """A worker without a thread, which runs a job when it begins. For commands and tests."""

    def __init__(self) -> None:
        self._results: list[object] = []

    @property
    def busy(self) -> bool:
        """Whether results wait to be taken."""
        return bool(self._results)

    def begin(self, job: Callable[[], Iterable[object]]) -> None:
        """Run the job."""
        self._results.extend(job())

    def result(self, timeout: float) -> object | None:  # noqa: ARG002 - the Protocol's
        """Return the next result."""
        return self._results.pop(0) if self._results else None

    def on_owner(self, ask: Callable[[], None]) -> None:
        """Do it at once: there is only one thread."""
        ask()


@dataclass(frozen=True, slots=True)
class _Ask:
    do: Callable[[], None]
    done: threading.Event


class _Over:
    """The job has ended."""


class Thread:
    """A worker with a daemon thread, so that the agent can stop while a job hangs."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], Iterable[object]]] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._running = False
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether a job runs, or results wait to be taken."""
        return self._running

    def begin(self, job: Callable[[], Iterable[object]]) -> None:
        """Start a job on the thread."""
        self._running = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def result(self, timeout: float) -> object | None:
        """Return the next result; meanwhile do what the job asks."""
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
        """Have the owner do something, and wait until it is done. Raises WorkerError."""
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
            except Exception as error:  # noqa: BLE001 - passed to the owner; otherwise it would be lost
                self._results.put(error)
            self._results.put(_Over())


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """A worker for each kind of slow work, so that no kind waits for another."""

    probe: Worker
    courier: Worker
    hands: Worker


def inline() -> Workers:
    """Return workers without threads."""
    return Workers(probe=Inline(), courier=Inline(), hands=Inline())


def threads() -> Workers:
    """Return workers with a thread each."""
    return Workers(probe=Thread("probe"), courier=Thread("courier"), hands=Thread("hands"))
