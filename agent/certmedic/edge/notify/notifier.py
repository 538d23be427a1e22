"""Which channels get a message, and when a channel is given up.

Each address in apprise's files is a separate channel, so that a dead one delays no other. An attempt runs on a thread and is
given up at a deadline: apprise limits the silence of a socket, but neither the look-up of a name, which hangs on a master
without network, nor a receiver that answers byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from certmedic.core.model import Message, Severity
from certmedic.edge.notify.addresses import Check, label_of, load
from certmedic.edge.notify.attempt import Attempt, Results
from certmedic.edge.notify.pager import PagerService
from certmedic.edge.notify.threads import Threads
from certmedic.ports import Channel, Delivered

READ_AGAIN = 1.0  # seconds between two readings of files with a fault


class AppriseNotifier:
    """Apprise, loaded on first use.

    `configs` are apprise's own files (text or YAML), or "credential:NAME" for a file that systemd provides in
    $CREDENTIALS_DIRECTORY; `tags` maps severities to apprise tags; `urls` are further addresses, without a tag. `check` returns
    why a file is not believed. `pagers` are channels beside those of apprise. One thread asks for channels, and one sends.
    """

    def __init__(
        self,
        configs: Sequence[str],
        tags: Mapping[str, str],
        urls: Sequence[str] = (),
        check: Check = lambda _: None,
        pagers: Sequence[PagerService] = (),
    ) -> None:
        self._check = check
        self._configs = tuple(configs)
        self._tags = dict(tags)
        self._urls = tuple(urls)
        self._pagers = {pager.id: pager for pager in pagers}
        self._servers: Mapping[str, Any] | None = None
        self._faults: tuple[str, ...] = ()
        self._read_at = 0.0
        self._attempts: dict[str, Attempt] = {}
        self._threads: dict[str, Threads] = {}  # by channel

    def __repr__(self) -> str:
        return f"AppriseNotifier({len(self._configs)} files, {len(self._urls)} addresses)"

    def channels(self, severity: Severity, tag: str = "") -> Sequence[Channel]:
        """Return the channels with `tag`, or if that is "" with the severity's tag, and those for everything.

        A channel is for everything if it has no tag, or "all" or "always". If none is left, return the channels with the
        severity's tag, else those with another severity's: better the wrong people than nobody.
        """
        own = self._tags.get(severity, "")
        return self.tagged(tag or own) or self.tagged(own) or self.tagged(*self._tags.values())

    def tagged(self, *tags: str) -> Sequence[Channel]:
        """Return the channels with one of these tags, and those for everything; the tag "" means every channel."""
        wanted = {*tags, "all", "always"}
        return [
            _channel(key, server)
            for key, server in self._loaded().items()
            if "" in wanted or not server.tags or wanted & {str(tag) for tag in server.tags}
        ]

    def faults(self) -> Sequence[str]:
        """Return what is wrong with the files, in sentences: a file that cannot be read, a line that apprise cannot use."""
        self._loaded()
        return self._faults

    def send(self, channel: str, message: Message) -> Delivered:
        """Send a message to one channel within the channel's deadline. Never raises."""
        return next(result for _, result in self.send_all([(channel, message)]))

    def send_all(self, batch: Sequence[tuple[str, Message]]) -> Iterator[tuple[int, Delivered]]:
        """Send each message to its channel, all channels at once; yield its place in `batch` and the result, as results come.

        Messages for one channel go one after another, up to the first that fails. A dead channel does not delay the others, and
        delays the end by its deadline.
        """
        places: dict[str, list[int]] = {}
        for place, (channel, _) in enumerate(batch):
            places.setdefault(channel, []).append(place)
        results: Results = SimpleQueue()
        until: dict[str, float] = {}  # channel -> when its current message is given up
        for channel, mine in places.items():
            refusal = self._begin(channel, [batch[place][1] for place in mine], results)
            if refusal is None:
                until[channel] = monotonic() + self._attempts[channel].patience
            else:
                yield from ((place, refusal) for place in mine)
        while until:
            channel, result = _next(results, until)
            attempt, mine = self._attempts[channel], places[channel]
            if result is None:
                attempt.given_up = True
                result = Delivered(ok=False, error="no answer in time")
            yield mine.pop(0), result
            if not result.ok:
                yield from ((place, Delivered(ok=False, error="the message before it failed")) for place in mine)
            if result.ok and mine:
                until[channel] = monotonic() + attempt.patience
            else:
                del until[channel]

    def _begin(self, channel: str, messages: Sequence[Message], results: Results) -> Delivered | None:
        """Start an attempt at a channel; return why not if the last one still hangs after it was given up."""
        server = self._loaded().get(channel)
        if server is None:
            return Delivered(ok=False, error="this channel is no longer configured")
        last = self._attempts.get(channel)
        if last is not None and last.given_up and last.is_alive():
            return Delivered(ok=False, error="the attempt before this one still waits for an answer")
        # Send no message again that arrived after its attempt was given up.
        taken = last.taken if last is not None and last.given_up else []
        threads = self._threads.setdefault(channel, Threads())
        attempt = self._attempts[channel] = Attempt(channel, server, threads, messages, taken, results)
        attempt.start()
        return None

    def refresh(self) -> None:
        """Read the files on first use, and again after a while as long as one has a fault."""
        if self._servers is None or (self._faults and monotonic() - self._read_at > READ_AGAIN):
            self._read_at = monotonic()
            loaded: tuple[dict[str, Any], tuple[str, ...]] = ({}, ())
            if self._configs or self._urls:
                loaded = load(self._configs, self._urls, self._check)
            faults = [fault for pager in self._pagers.values() if (fault := pager.fault())]
            self._servers, self._faults = {**loaded[0], **self._pagers}, (*loaded[1], *faults)

    def _loaded(self) -> Mapping[str, Any]:
        """Return channel id -> apprise's server."""
        if self._servers is None:
            self.refresh()
        return self._servers or {}


def _channel(key: str, server: Any) -> Channel:
    if isinstance(server, PagerService):
        return Channel(id=key, label=server.label, keeps_incidents=True)
    return Channel(id=key, label=label_of(server, key))


def _next(results: Results, until: Mapping[str, float]) -> tuple[str, Delivered | None]:
    """Return the next result, or the first channel at its deadline and None."""
    first = min(until, key=lambda channel: until[channel])
    while True:
        try:
            channel, result = results.get(timeout=max(until[first] - monotonic(), 0))
        except Empty:
            return first, None
        if channel in until:  # otherwise it comes too late
            return channel, result
