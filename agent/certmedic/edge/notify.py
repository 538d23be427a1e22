"""Handing messages to people's channels, through apprise.

Each address in apprise's files is a channel of its own, so that a dead one delays no other. An attempt runs on a thread of
its own and is given up at a deadline: apprise bounds a socket's silence, but neither a name that is not resolved, which is
what a master without network meets first, nor a receiver that answers drop by drop.

Addresses are secrets. A channel is known by a hash and shown as scheme and host; of what apprise logs nothing is passed on
but numbers, for it quotes addresses.
"""

from __future__ import annotations

import hashlib
import html
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from certmedic.core.model import Message, MessageKind, Severity
from certmedic.ports import Channel, Delivered

SLACK = 1.0  # seconds over an address's own timeouts (cto, rto: 4 s each unless it says otherwise)
LONGEST = 20.0  # seconds for one attempt, whatever the address says
READ_AGAIN = 1.0  # seconds between two readings of files with a fault
HEAD = 4096  # bytes of a file of addresses by which its form is told
# Of an address, how something is sent and not to whom: without these, a newer apprise, which adds some, still knows a channel.
MANNERS = frozenset(
    {"cto", "rto", "verify", "format", "overflow", "emojis", "tz", "store", "retry", "wait", "optional", "image"}
)
# Beginnings of what apprise logs about a file. What follows them may hold an address.
REASONS = (
    "Could not load URL",
    "Invalid Apprise TEXT configuration format",
    "Invalid URL",
    "Unparseable URL",
    "Unparseable tag assignment",
    "Unsupported URL",
)
# Services that apprise hands plain text to, and that render it as Markdown.
TEXT_IS_MARKDOWN = frozenset({"discord", "mmost", "mmosts"})


Check = Callable[[Path], str | None]
Results = SimpleQueue[tuple[str, Delivered]]  # channel, and what became of its next message


class AppriseNotifier:
    """Apprise, loaded when it is first needed.

    `configs` are apprise's own files (text or YAML), or "credential:NAME" for a file that systemd hands over in
    $CREDENTIALS_DIRECTORY; `tags` maps severities to apprise tags; `urls` are further addresses, without a tag. `check` says
    why a file is not to be believed. One thread asks for channels, and one sends.
    """

    def __init__(
        self,
        configs: Sequence[str],
        tags: Mapping[str, str],
        urls: Sequence[str] = (),
        check: Check = lambda _: None,
    ) -> None:
        self._check = check
        self._configs = tuple(configs)
        self._tags = dict(tags)
        self._urls = tuple(urls)
        self._servers: Mapping[str, Any] | None = None
        self._faults: tuple[str, ...] = ()
        self._read_at = 0.0
        self._attempts: dict[str, Attempt] = {}

    def __repr__(self) -> str:
        return f"AppriseNotifier({len(self._configs)} files, {len(self._urls)} addresses)"

    def channels(self, severity: Severity, tag: str = "") -> Sequence[Channel]:
        """Return the channels with this tag, without one with this severity's, and those that are for everything: tagged "all", "always" or not at all.

        Where nothing carries the tag and nothing is for everything, those with the severity's get it, else those with another
        severity's: better the wrong people than nobody.
        """
        own = self._tags.get(severity, "")
        return self.tagged(tag or own) or self.tagged(own) or self.tagged(*self._tags.values())

    def tagged(self, *tags: str) -> Sequence[Channel]:
        """Return the channels with one of these tags, and those that are for everything; an empty tag means every channel."""
        wanted = {*tags, "all", "always"}
        return [
            Channel(id=key, label=_label(server, key))
            for key, server in self._loaded().items()
            if "" in wanted or not server.tags or wanted & {str(tag) for tag in server.tags}
        ]

    def faults(self) -> Sequence[str]:
        """Return what is wrong with the files, a sentence each: one that cannot be read, a line that apprise cannot use."""
        self._loaded()
        return self._faults

    def send(self, channel: str, message: Message) -> Delivered:
        """Hand a message to one channel, in the form that it takes, within its deadline. Never raises."""
        return next(result for _, result in self.send_all([(channel, message)]))

    def send_all(self, batch: Sequence[tuple[str, Message]]) -> Iterator[tuple[int, Delivered]]:
        """Hand each message to its channel, all channels at once; yield the results as they come.

        With each comes the place of its message in `batch`. Messages for one channel go one after another, and after one
        that failed the rest is not tried. So a dead channel delays the others by nothing, and all by its deadline.
        """
        places: dict[str, list[int]] = {}
        for place, (channel, _) in enumerate(batch):
            places.setdefault(channel, []).append(place)
        results: Results = SimpleQueue()
        until: dict[str, float] = {}  # channel -> when its present message is given up
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
        """Start an attempt at a channel, unless the last one, which was given up, still hangs."""
        server = self._loaded().get(channel)
        if server is None:
            return Delivered(ok=False, error="this channel is no longer configured")
        last = self._attempts.get(channel)
        if last is not None and last.given_up and last.is_alive():
            return Delivered(ok=False, error="the attempt before this one still waits for an answer")
        # What came through after it was given up is not sent again.
        taken = last.taken if last is not None and last.given_up else []
        attempt = self._attempts[channel] = Attempt(channel, server, messages, taken, results)
        attempt.start()
        return None

    def refresh(self) -> None:
        """Read the files, if they were not read yet; those with a fault again after a while, since it may have been mended."""
        if self._servers is None or (self._faults and monotonic() - self._read_at > READ_AGAIN):
            self._read_at = monotonic()
            loaded: tuple[dict[str, Any], tuple[str, ...]] = ({}, ())
            if self._configs or self._urls:
                loaded = _load(self._configs, self._urls, self._check)
            self._servers, self._faults = loaded

    def _loaded(self) -> Mapping[str, Any]:
        """Return channel id -> apprise's server."""
        if self._servers is None:
            self.refresh()
        return self._servers or {}


class Attempt(threading.Thread):
    """Messages on their way to one service, up to the first that fails. A daemon: it must not keep the agent from stopping."""

    def __init__(
        self, channel: str, server: Any, messages: Sequence[Message], known: Sequence[Message], results: Results
    ) -> None:
        super().__init__(name=f"notify-{channel}", daemon=True)
        self.patience = _patience(server)  # seconds for each message
        self.given_up = False  # nobody waits for it any more: nothing further is sent
        self.taken: list[Message] = []
        self._channel = channel
        self._server = server
        self._messages = messages
        self._known = known  # were taken before
        self._results = results

    def run(self) -> None:
        """Send one after another, and say of each how it went."""
        for message in self._messages:
            if self.given_up:
                return
            result = Delivered(ok=True) if message in self._known else _hand_over(self._server, message)
            if result.ok:
                self.taken.append(message)
            self._results.put((self._channel, result))
            if not result.ok:
                return


def _next(results: Results, until: Mapping[str, float]) -> tuple[str, Delivered | None]:
    """Return the next result, or the first channel that has used up its time and None."""
    first = min(until, key=lambda channel: until[channel])
    while True:
        try:
            channel, result = results.get(timeout=max(until[first] - monotonic(), 0))
        except Empty:
            return first, None
        if channel in until:  # else it comes too late
            return channel, result


# ---------------------------------------------------------------- loading


def _load(configs: Sequence[str], urls: Sequence[str], check: Check) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return channel id -> server, and what is wrong."""
    # Apprise and the HTTP library under it log addresses: `_listening` hears what may be known, and nobody else does.
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    import apprise  # noqa: PLC0415 - heavy; an agent that only writes to the journal never loads it

    faults: list[str] = []
    found: list[Any] = []
    asset = apprise.AppriseAsset(app_id="certmedic", app_desc="certmedic", async_mode=False)
    for config in configs:
        path = _path(config)
        try:
            if fault := check(path):
                faults.append(fault)
                continue
            with path.open("rb") as file:
                head = file.read(HEAD)
        except OSError as error:
            faults.append(f"{path}: cannot be read: {error.strerror}")
            continue
        with _listening() as heard:
            one = apprise.Apprise(asset=asset)
            one.add(apprise.AppriseConfig(paths=[_known_as(path, head)], asset=asset, recursion=1))
            servers = list(one)
        faults += [f"{path}: {fault}" for fault in _faults(servers, heard)]
        found += servers
    with _listening():
        for number, url in enumerate(urls, 1):
            one = apprise.Apprise(asset=asset)
            if not one.add(url):
                faults.append(f"notify.apprise: address number {number}: apprise cannot use it")
            found += list(one)
    known: dict[str, Any] = {}
    for server in found:
        same = known.setdefault(_id(server), server)
        if same is not server:  # one address in two places is told once, by either's tags
            same.tags = {*same.tags, *server.tags} if same.tags and server.tags else set()
    return known, tuple(faults)


def _known_as(path: Path, head: bytes) -> str:
    """Return a file as apprise is to be told of it: it knows YAML by a name's ending only, and a credential has none."""
    first = next((line for line in map(bytes.strip, head.splitlines()) if line and line[:1] not in b"#;"), b"")
    if path.suffix or not re.match(rb"---|\w+:(?!//)", first):
        return str(path)
    return f"file://{quote(str(path))}?format=yaml"


def _path(config: str) -> Path:
    name = config.removeprefix("credential:")
    if name == config:
        return Path(config)
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", "/run/credentials/certmedic.service")) / name


def _id(server: Any) -> str:
    """Return an address's hash: equal for equal receivers, whatever the order in which a set of them came out."""
    parts = urlsplit(server.url(privacy=False))
    query = sorted(
        (name, ",".join(sorted(value.split(","))))
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name not in MANNERS
    )
    return hashlib.sha256(repr((parts.scheme, parts.netloc, parts.path, query)).encode()).hexdigest()[:16]


def _label(server: Any, key: str) -> str:
    """Return what people know a channel by. Some services have a secret where others have a host: that is not shown."""
    scheme, _, rest = str(server.url(privacy=True)).partition("://")
    host = re.split(r"[/?]", rest, maxsplit=1)[0].rpartition("@")[2]
    real = host if re.fullmatch(r"(localhost|[\w-]+(\.[\w-]+)+|\[[0-9a-f:]+\])(:\d+)?", host) else ""
    return f"{scheme}://{real} ({key[:4]})"


# ---------------------------------------------------------------- sending


def _hand_over(server: Any, message: Message) -> Delivered:
    """Give a server its form of a message. Never raises."""
    kind = {Severity.CRITICAL: "failure", Severity.WARNING: "warning", Severity.INFO: "info"}[message.severity]
    if message.kind is MessageKind.RESOLVED:
        kind = "success"
    try:
        shape, text = _form(server, message)
        # Where the title becomes part of the text, the first line says all that it does.
        title = message.title if server.title_maxlen > 0 else ""
        with _listening() as heard:
            took = server.notify(body=text, title=title, notify_type=kind, body_format=shape)
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything, and its text may hold the address
        return Delivered(ok=False, error=f"apprise failed ({type(error).__name__})")
    return Delivered(ok=True) if took is True else Delivered(ok=False, error=_reason(heard))  # it also answers None


def _form(server: Any, message: Message) -> tuple[str, str]:
    """Return the name of the form that a server takes, and the message in it, no longer than it takes."""
    # Of late a service can take more than one form, and says through this which is meant.
    shape = server.resolve_format(None) if hasattr(server, "resolve_format") else server.notify_format
    shape = str(getattr(shape, "value", shape))
    limit = server.body_maxlen if server.body_maxlen > 0 else len(message.html)
    if shape == "html":
        whole = f"<pre>{html.escape(message.plain, quote=False)}</pre>"
        return shape, message.html if len(message.html) <= limit else whole
    markdown = shape == "markdown" or not TEXT_IS_MARKDOWN.isdisjoint(_schemes(server))
    return shape, _whole_lines(message.markdown if markdown else message.plain, limit)


def _schemes(server: Any) -> set[str]:
    schemes: set[str] = set()
    for names in (server.protocol, server.secure_protocol):
        schemes |= {names} if isinstance(names, str) else set(names or ())
    return schemes


def _whole_lines(text: str, limit: int) -> str:
    """Return as many whole lines as fit; of a first line that does not fit alone, what does."""
    while len(text) > limit and "\n" in text:
        text = text.rpartition("\n")[0]
    return text[:limit]


def _patience(server: Any) -> float:
    """Return for how long an attempt may take: the address's own timeouts, and apprise's pause between two messages."""
    own = server.socket_connect_timeout + server.socket_read_timeout + max(server.request_rate_per_sec, 0)
    return min(float(own) + SLACK, LONGEST)


# ---------------------------------------------------------------- what apprise says


class _Ear(logging.Handler):
    """Keeps the harmless parts of what apprise logs on one thread: places in a file with a known reason, and HTTP statuses."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != self._thread:
            return
        text = record.getMessage()
        status = re.search(r"\berror=(\d{3})\b", text)
        place = re.search(r"\b(line|entry) #?(\d+)", text)
        reason = next((f": {reason}" for reason in REASONS if text.startswith(reason)), "")
        fault = f"{place[1]} {place[2]}: apprise cannot use it{reason}" if place else reason
        self.heard.append(f"HTTP {status[1]}" if status else fault)


@contextmanager
def _listening() -> Iterator[list[str]]:
    ear = _Ear()
    logger = logging.getLogger("apprise")
    logger.addHandler(ear)
    try:
        yield ear.heard
    finally:
        logger.removeHandler(ear)


def _faults(servers: Sequence[Any], heard: Sequence[str]) -> list[str]:
    """Return what is wrong with a file. Not every apprise logs the line or the entry."""
    places = [fault for fault in dict.fromkeys(heard) if fault.startswith(("line ", "entry "))]
    reason = next((fault for fault in heard if fault.startswith(": ")), "")
    if not servers:
        return places or [f"holds no address that apprise can use{reason}"]
    return places or ([f"holds something that apprise cannot use{reason}"] if heard else [])


def _reason(heard: Sequence[str]) -> str:
    answers = [said for said in heard if said.startswith("HTTP ")]
    if not answers:
        return "the service could not be reached or did not take it"
    return (
        "the service answered and did not take it" if answers[0] == "HTTP 200" else f"the service answered {answers[0]}"
    )
