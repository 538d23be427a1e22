"""PagerDuty, Opsgenie and Splunk On-Call by their own events, which apprise does not send under one key for each incident."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from pathlib import Path

from certmedic.core.message import BASES, NEVER_AGAIN, event
from certmedic.core.model import Message, Pager
from certmedic.edge.notify.addresses import Check, credential
from certmedic.edge.os import readfile
from certmedic.edge.os.post import failure, post
from certmedic.ports import Delivered

DEADLINE = 10.0  # seconds for one event, with the TLS handshake
MOST_KEY = 1024  # bytes
LONGEST_WAIT = 3600.0  # seconds, whatever a service demands


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerService:
    """One such service as a channel. Its key is read for each event, so that a new one is used at once."""

    pager: Pager
    host: str
    check: Check = field(repr=False)
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC), repr=False)
    patience = DEADLINE + 1.0  # seconds, with the look-up of a name

    @property
    def id(self) -> str:
        """The id of the channel: equal for the same service and file, whatever key that holds."""
        pager = self.pager
        parts = (pager.service, pager.region, pager.key, pager.routing)
        return sha256(repr(parts).encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The service, its region and a part of the id."""
        region = f" {self.pager.region}" if self.pager.region != "us" else ""
        return f"{self.pager.service}{region} ({self.id[:4]})"

    @property
    def tags(self) -> set[str]:
        """The tags, as apprise has them."""
        return {self.pager.tag} if self.pager.tag else set()

    def fault(self) -> str | None:
        """Return what is wrong with the file of the key, in a sentence."""
        try:
            self._secret()
        except OSError as error:
            path = credential(self.pager.key)
            return error.strerror if not error.errno else f"{path}: cannot be read: {error.strerror}"
        return None

    def deliver(self, message: Message) -> Delivered:
        """Send a message as an event. Never raises."""
        try:
            sent = event(self.pager, self._secret(), message, host=self.host)
            url = BASES[self.pager.service, self.pager.region] + sent.path
            reply = post(url, sent.body, headers=sent.headers, seconds=DEADLINE)
        except Exception as error:  # noqa: BLE001 - its text may hold the address
            return Delivered(ok=False, error=failure(error))
        if reply.status not in (200, 202):
            return Delivered(
                ok=False,
                error=f"the service answered HTTP {reply.status}",
                final=reply.status in NEVER_AGAIN,
                wait=self._seconds(reply.retry_after),
            )
        if self.pager.service == "splunk" and b'"success"' not in reply.body:
            return Delivered(ok=False, error="the service answered and did not take it")
        return Delivered(ok=True)

    def _secret(self) -> str:
        """Return the key. Raises OSError, without a number if the sentence names the file."""
        path = Path(credential(self.pager.key))
        if fault := self.check(path):
            raise OSError(0, fault)
        text = readfile.read_bytes(str(path), MOST_KEY).decode("ascii", "replace").strip()
        if not text.isascii() or not text.isprintable() or not text or " " in text:
            raise OSError(0, f"{path}: holds no key of {self.pager.service}: one word on one line")
        return text

    def _seconds(self, retry_after: str) -> float:
        """Return how long a service asks to wait: in seconds or until a date; 0 if it does not say."""
        if retry_after.isascii() and retry_after.isdigit():
            return min(float(retry_after), LONGEST_WAIT)
        try:
            until = parsedate_to_datetime(retry_after)
        except ValueError:
            return 0.0
        left = (until.replace(tzinfo=until.tzinfo or UTC) - self.clock()).total_seconds()
        return min(max(left, 0.0), LONGEST_WAIT)
