"""One service: a message in the form that it takes, handed to apprise on a thread."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

from certmedic.core.message import badged, page
from certmedic.core.model import Message, MessageKind, Severity
from certmedic.core.text import in_html
from certmedic.edge.notify.capture import captured
from certmedic.edge.notify.pager import PagerService
from certmedic.edge.notify.threads import MAIL, Threads
from certmedic.ports import Delivered

SLACK = 1.0  # seconds over an address's own timeouts (cto, rto: 4 s each unless it says otherwise)
LONGEST = 20.0  # seconds for one attempt, whatever the address says
# Services that apprise hands plain text to, and that render it as Markdown.
TEXT_IS_MARKDOWN = frozenset({"discord", "mmost", "mmosts"})
# Chats to which apprise sends no colour, and that show a coloured circle. Not text messages: one such character halves their length.
COLOURLESS = frozenset({"discord", "tgram", "ntfy", "ntfys", "gchat", "mmost", "mmosts", "rocket", "rockets"})
COMMANDS = re.compile(r"(- \*)?(Type|More)\b")  # the beginning of the first block with commands, and of those after it

Results = SimpleQueue[tuple[str, Delivered]]  # channel, and the result of its next message


class Attempt(threading.Thread):
    """Sends messages to one service, up to the first that fails. A daemon thread, so that the agent can stop meanwhile."""

    def __init__(  # noqa: PLR0913, PLR0917 - what the notifier knows of one channel
        self,
        channel: str,
        server: Any,
        threads: Threads,
        messages: Sequence[Message],
        known: Sequence[Message],
        results: Results,
    ) -> None:
        super().__init__(name=f"notify-{channel}", daemon=True)
        self.patience = server.patience if isinstance(server, PagerService) else patience_of(server)  # for each message
        self.given_up = False  # at its deadline; then it sends nothing further
        self.taken: list[Message] = []
        self._channel = channel
        self._server = server
        self._threads = threads
        self._messages = messages
        self._known = known  # sent by the attempt before, after it was given up
        self._results = results

    def run(self) -> None:
        """Send one message after another, and report the result of each."""
        for message in self._messages:
            if self.given_up:
                return
            result = Delivered(ok=True) if message in self._known else self._send(message)
            if result.ok:
                self.taken.append(message)
            self._results.put((self._channel, result))
            if not result.ok:
                return

    def _send(self, message: Message) -> Delivered:
        return (
            self._server.deliver(message)
            if isinstance(self._server, PagerService)
            else hand_over(self._server, message, self._threads)
        )


def hand_over(server: Any, message: Message, threads: Threads) -> Delivered:
    """Send a message in the form that a server takes. Never raises."""
    kind = {Severity.CRITICAL: "failure", Severity.WARNING: "warning", Severity.INFO: "info"}[message.severity]
    if message.kind is MessageKind.RESOLVED:
        kind = "success"
    try:
        message = badged(message, titled=server.title_maxlen > 0, circled=not COLOURLESS.isdisjoint(_schemes(server)))
        shape, text = form_of(server, message)
        # Without a title field, apprise would put the title into the text, whose first line says the same.
        title = message.title if server.title_maxlen > 0 else ""
        with captured() as records, threads.joined(server, _schemes(server), message.thread):
            result = server.notify(body=text, title=title, notify_type=kind, body_format=shape)
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything, and its text may hold the address
        return Delivered(ok=False, error=f"apprise failed ({type(error).__name__})")
    return (
        Delivered(ok=True) if result is True else Delivered(ok=False, error=_reason(records))
    )  # None is a failure too


def form_of(server: Any, message: Message) -> tuple[str, str]:
    """Return the name of the form that a server takes, and the message in that form, cut to the length that it takes."""
    # In newer versions of apprise a service may take several forms, and this selects one.
    shape = server.resolve_format(None) if hasattr(server, "resolve_format") else server.notify_format
    shape = str(getattr(shape, "value", shape))
    limit = server.body_maxlen if server.body_maxlen > 0 else len(message.html)
    if shape == "html":
        if not MAIL.isdisjoint(_schemes(server)):
            return shape, page(message)
        whole = f"<pre>{in_html(message.plain)}</pre>"
        return shape, message.html if len(message.html) <= limit else whole
    markdown = shape == "markdown" or not TEXT_IS_MARKDOWN.isdisjoint(_schemes(server))
    return shape, _shortened(message.markdown if markdown else message.plain, limit)


def _schemes(server: Any) -> set[str]:
    schemes: set[str] = set()
    for names in (server.protocol, server.secure_protocol):
        schemes |= {names} if isinstance(names, str) else set(names or ())
    return schemes


def _shortened(text: str, limit: int) -> str:
    """Return a message that fits: without its last facts, then without its first commands; else the beginning of its first line."""
    blocks = re.split(r"\n(?![ \n])", text)  # a head with its indented lines is one block
    commands = next((place for place, block in enumerate(blocks) if COMMANDS.match(block)), len(blocks))
    while len(blocks) > 1 and len("\n".join(blocks)) > limit:
        commands = max(commands - 1, 1)
        del blocks[commands]
    return "\n".join(blocks)[:limit].rstrip("\n")


def patience_of(server: Any) -> float:
    """Return the seconds for one message: the address's own timeouts, and apprise's pause between two messages."""
    own = server.socket_connect_timeout + server.socket_read_timeout + max(server.request_rate_per_sec, 0)
    return min(float(own) + SLACK, LONGEST)


def _reason(records: Sequence[str]) -> str:
    answers = [record for record in records if record.startswith("HTTP ")]
    if not answers:
        return "the service could not be reached or did not take it"
    return (
        "the service answered and did not take it" if answers[0] == "HTTP 200" else f"the service answered {answers[0]}"
    )
